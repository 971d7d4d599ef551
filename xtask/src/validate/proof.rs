//! Configurations tried in VMs: the container is set up as the front-end would, and the objects are loaded in it.

use anyhow::Result;
use harness_findings::{
    report::{Judgement, OnKernel, Proved, ProvedObject},
    subject,
};
use harness_frontend::{
    Configuration,
    surroundings::{Namespace as Own, SystemCall as Call, User, UserNamespace},
};
use harness_model::{
    delegation::{MountOption, OPTIONS},
    name::KernelName,
    plan::{Filter, FilterErrno, Namespace, Refused, Restrictions, SystemCall},
    proof::{Lack, Setting, Users},
    scenario::capability,
    verdict::Class,
};
use harness_objects::{Object, loading};
use harness_runner::{
    proof::{self, Criterion, Mount, Proof, Trial},
    supplies::Supplies,
    testbed::Testbed,
};

use crate::{
    bpf_objects::Named,
    proving::{self, Proving},
};

/// Tries each configuration on each of its kernels, and writes down what came of it.
pub(super) fn all(
    proving: &Proving,
    supplies: &Supplies,
    objects: &[Named],
    judgements: &mut [Judgement],
) -> Result<()> {
    let Some(first) = judgements.first() else { return Ok(()) };
    let kernels: Vec<KernelName> = first.kernels.iter().map(|kernel| kernel.name.clone()).collect();
    let testbeds = proving.testbeds(supplies, &kernels)?;
    let files = proving::objects(objects)?;
    let settings: Vec<Result<Setting, String>> =
        judgements.iter().map(|judgement| setting(&judgement.configuration)).collect();
    let trials: Vec<Trial> = judgements
        .iter()
        .zip(&settings)
        .filter_map(|(judgement, setting)| {
            let (name, setting) = (judgement.name().to_owned(), setting.as_ref().ok()?.clone());
            Some(Trial { name, setting, objects: files.clone(), criterion: Criterion::Attached })
        })
        .collect();
    let references: Vec<&Testbed<'_>> = testbeds.iter().collect();
    let plain: Vec<(&str, &Object)> = objects.iter().map(|one| (one.name.as_str(), &one.object)).collect();
    for (kernel, proofs) in proof::prove(&references, &trials)? {
        let mut proofs = proofs.into_iter();
        for (judgement, setting) in judgements.iter_mut().zip(&settings) {
            let configuration = &judgement.configuration;
            let Some(on) = judgement.kernels.iter_mut().find(|on| on.name == kernel) else { continue };
            on.proved = Some(match setting {
                Err(why) => Proved { stand: format!("not tried: {why}"), ..Proved::default() },
                Ok(_) => proofs.next().map(|proof| told(&proof, on, configuration, &plain)).unwrap_or_default(),
            });
        }
    }
    Ok(())
}

/// The container that a configuration's processes are in; an error says why there is none like it.
fn setting(configuration: &Configuration) -> Result<Setting, String> {
    let around = &configuration.surroundings;
    let users = match around.user_namespace.value {
        UserNamespace::Host => Users::Initial,
        UserNamespace::Own | UserNamespace::Unknown if subject::belongs_to_host(configuration) => {
            return Err("its bpffs would belong to the host's user namespace, which takes its own front-end to set up"
                .to_owned());
        }
        UserNamespace::Own | UserNamespace::Unknown => Users::Own,
    };
    let held = match around.user.value {
        User::Root | User::Unknown => around.bounding_set.value.0,
        User::Named(_) | User::Dynamic => around.bounding_set.value.0 & around.ambient_set.value.0,
    };
    let net = (around.network_namespace.value == Own::Own).then_some(Namespace::Net);
    Ok(Setting {
        options: configuration.mount_options(),
        capabilities: capability::all().into_iter().filter(|number| held & (1 << number) != 0).collect(),
        users,
        namespaces: net.into_iter().collect(),
        restrictions: restrictions(configuration),
    })
}

fn restrictions(configuration: &Configuration) -> Restrictions {
    let around = &configuration.surroundings;
    let calls = around.refused_calls.keys().filter_map(|call| match call {
        Call::Bpf => Some(SystemCall::Bpf),
        Call::PerfEventOpen => Some(SystemCall::PerfEventOpen),
        // What mounts is called by the front-end, before its filter.
        Call::Fsopen | Call::Fsconfig | Call::Fsmount | Call::MoveMount => None,
    });
    let refused: Vec<Refused> = calls.map(|call| Refused { call, command: None }).collect();
    let filter = (!refused.is_empty()).then_some(Filter { refused, answer: FilterErrno::Eperm });
    Restrictions { no_new_privs: around.no_new_privileges.value, filter }
}

/// What came of a trial, and where that is not what was judged without a kernel.
fn told(proof: &Proof, on: &OnKernel, configuration: &Configuration, objects: &[(&str, &Object)]) -> Proved {
    let mut proved = Proved::default();
    match &proof.stand {
        Err(error) => {
            proved.stand = format!("not known: {error}");
            proved.disagreements.push(error.to_string());
            return proved;
        }
        Ok(Mount::Refused(refusal)) => {
            proved.stand = format!("the kernel refuses an option: {refusal}");
            if on.delegation.is_some() {
                proved.disagreements.push("the kernel refuses an option that was judged sound".to_owned());
            }
            return proved;
        }
        Ok(Mount::Stands(stand)) => {
            let has_token = stand.token.verdict.class() == Class::Allowed;
            let cause = stand.token.cause.as_ref().map(|cause| format!(" ({cause})")).unwrap_or_default();
            proved.stand = format!("token {}{cause}; the kernel shows {}", stand.token.verdict, shown(&stand.shown));
            proved.disagreements.extend(stand.disagreements.iter().cloned());
            if has_token != on.makes_token() {
                let judged = if on.makes_token() { "a token" } else { "no token" };
                proved.disagreements.push(format!("judged {judged}, and the kernel says {}", stand.token.verdict));
            }
        }
    }
    for (object, (_, read)) in proof.objects.iter().zip(objects) {
        proved.objects.push(loaded(object, read, on, configuration, &mut proved.disagreements));
    }
    proved
}

fn shown(options: &[MountOption]) -> String {
    let each = OPTIONS.iter().filter_map(|key| options.iter().find(|option| option.key == *key));
    let texts: Vec<String> = each.map(|option| format!("{}={}", option.key, option.value)).collect();
    if texts.is_empty() { "nothing delegated".to_owned() } else { texts.join(" ") }
}

fn loaded(
    object: &proof::ProvedObject,
    read: &Object,
    on: &OnKernel,
    configuration: &Configuration,
    disagreements: &mut Vec<String>,
) -> ProvedObject {
    let name = object.object.clone();
    let proof = match &object.proof {
        Ok(proof) => proof,
        Err(error) => {
            disagreements.push(error.to_string());
            return ProvedObject { name, loads: false, verdict: format!("not known: {error}"), calls: Vec::new() };
        }
    };
    let lack = proof.lack();
    let grant = subject::grant(configuration, on.delegation.unwrap_or_default());
    let judged = on.delegation.is_some() && loading(read, on.release.into(), &grant).stops_at.is_none();
    let broken = matches!(lack, Some(Lack::Broken(_)));
    if judged != lack.is_none() && !broken {
        let word = |loads| if loads { "loads" } else { "is refused" };
        disagreements.push(format!("{name}: judged that it {}, and it {}", word(judged), word(lack.is_none())));
    }
    let cause = proof.cause.as_ref().map(|cause| format!(" ({cause})")).unwrap_or_default();
    let lost = proof.lost.iter().map(|feature| format!("{}: lost", feature.name));
    ProvedObject {
        name,
        loads: lack.is_none(),
        verdict: format!("{}{cause}", proof.verdict),
        calls: proof.calls.iter().map(ToString::to_string).chain(lost).collect(),
    }
}
