//! Proofs in real VMs: which objects load, which are denied and why, and minimal grants.

#[allow(dead_code, reason = "this test uses only a part of it")]
mod built;

use std::{collections::BTreeSet, process::ExitCode, time::Instant};

use anyhow::{Context, Result};
use harness_builder::{objects, progress::Progress, project::Project};
use harness_objects::{Named, set_size};
use harness_proof::{
    minimizer::{Minimal, Reduction},
    object::ObjectDefect,
    setting::{TrialSetting, UserNamespace},
};
use harness_protocol::mount_option::MountOption;
use harness_runner::{
    proof::{self, Criterion, Mount, Object, Proof, ReductionInput, Subject, Task, Trial},
    resources::Resources,
    store::Freshness,
    vm,
};
use harness_uapi::{
    capability,
    permission::{Bit, Capability, Element, Grant},
    vocabulary::Kind,
};
use harness_verdict::{object::StepResult, verdict::Class};
use libtest_mimic::{Arguments, Failed};

fn main() -> ExitCode {
    vm::run_child_if_asked();
    let trial = |name, test: fn(&built::Built) -> Result<()>| {
        built::trial(name, move |built| test(built).map_err(|error| Failed::from(format!("{error:#}"))))
    };
    let trials = vec![
        trial("objects_load_or_are_refused_with_their_cause", tried),
        trial("maps_without_sizes_are_made_with_those_assumed_or_set", sized),
        trial("no_element_of_a_minimal_grant_can_be_spared", reduced),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Returns an object compiled from the project's sources.
fn object(resources: &Resources, name: &str) -> Result<Object> {
    let found = objects::find_built(&resources.project().objects(), resources.cache())?;
    Ok(Object::new(name, std::fs::read(found.context("no object is compiled")?.path(name))?)?)
}

fn resources() -> Result<Resources> {
    Ok(Resources::open(Project::find()?, Freshness::ThisRun, Progress::silent())?)
}

fn options(values: &[(&str, &str)]) -> Vec<MountOption> {
    values.iter().map(|(key, value)| MountOption { key: (*key).to_owned(), value: (*value).to_owned() }).collect()
}

const ANY: [(&str, &str); 4] =
    [("delegate_cmds", "any"), ("delegate_maps", "any"), ("delegate_progs", "any"), ("delegate_attachs", "any")];

fn caps(names: &[&str]) -> BTreeSet<u32> {
    names.iter().filter_map(|name| capability::number(name)).collect()
}

fn mount(proof: &Proof) -> &Mount {
    proof.mount.as_ref().unwrap_or_else(|error| panic!("{error}"))
}

/// Returns the verdict class of each object.
fn classes(proof: &Proof) -> Vec<Class> {
    let proofs = proof.objects.iter().map(|object| object.proof.as_ref().unwrap_or_else(|error| panic!("{error}")));
    proofs.map(|proof| proof.verdict.class()).collect()
}

fn tried(built: &built::Built) -> Result<()> {
    let resources = resources()?;
    let testbed = resources.built(&built.kernel.name, &built.image.name)?;
    let objects = ["kprobe", "fentry", "queue"].map(|name| object(&resources, name));
    let objects = objects.into_iter().chain([Ok(Object::new("garbage", *b"no object at all")?)]);
    let objects: Vec<Object> = objects.collect::<Result<_>>()?;
    let trial = |name: &str, setting: TrialSetting| Trial {
        name: name.to_owned(),
        site: setting.into(),
        objects: objects.clone(),
        criterion: Criterion::Attached,
    };
    let any = || TrialSetting { options: options(&ANY), ..TrialSetting::default() };
    let misspelt = options(&[("delegate_cmds", "any"), ("delegate_maps", "hsah")]);
    let trials = [
        trial("all", any()),
        trial("misspelt", TrialSetting { options: misspelt, ..TrialSetting::default() }),
        trial("bare", TrialSetting { capabilities: caps(&["net_admin"]), ..any() }),
        trial("nothing", TrialSetting::default()),
        trial("outside", TrialSetting { users: UserNamespace::Initial, capabilities: BTreeSet::new(), ..any() }),
    ];
    let started = Instant::now();
    let proved = proof::prove(&[&testbed], &trials)?;
    let loads = 3 * objects.len() * (trials.len() - 1);
    println!("{loads} loads and searches for causes took {:.1} s", started.elapsed().as_secs_f64());
    let [(_, proofs)] = &proved[..] else { panic!("one kernel was asked") };
    let [all, misspelt, bare, nothing, outside] = &proofs[..] else { panic!("each trial has a proof") };

    let Mount::Mounted(shown) = mount(all) else { panic!("{all:?}") };
    assert_eq!(shown.shown, options(&ANY));
    assert!(shown.disagreements.is_empty() && shown.token.errno().is_none(), "{shown:?}");
    assert_eq!(classes(all), [Class::Denied, Class::Allowed, Class::Allowed, Class::Malformed]);
    let kprobe = all.objects[0].proof.as_ref().unwrap();
    assert_eq!(kprobe.cause.as_ref().unwrap().to_string(), "not delegable");
    assert_eq!(kprobe.defect().unwrap().to_string(), "perf_event_open probe: denied EACCES");
    assert!(kprobe.calls.iter().any(|call| call.call.cmd == "prog_load" && call.result == StepResult::Allowed));
    assert!(matches!(all.objects[3].proof.as_ref().unwrap().defect(), Some(ObjectDefect::Broken { .. })));

    let Mount::Refused(refusal) = mount(misspelt) else { panic!("{misspelt:?}") };
    assert_eq!(refusal.to_string(), "EINVAL by fsconfig delegate_maps");
    assert!(misspelt.objects.is_empty());

    let Mount::Mounted(no_cap) = mount(bare) else { panic!("{bare:?}") };
    assert_eq!(no_cap.token.cause.as_ref().unwrap().to_string(), "lacks CAP_BPF");
    assert_eq!(classes(bare), [Class::Denied, Class::Denied, Class::Denied, Class::Malformed]);
    for proof in [nothing, outside] {
        let Mount::Mounted(probe) = mount(proof) else { panic!("{proof:?}") };
        assert!(probe.shown.is_empty() && probe.token.errno().is_some(), "{probe:?}");
        assert_eq!(classes(proof), [Class::Denied, Class::Denied, Class::Denied, Class::Malformed]);
    }
    Ok(())
}

/// Returns an object with maps without sizes, as `caps` and `validate` read it.
fn without_sizes(resources: &Resources) -> Result<Named> {
    let found = objects::find_built(&resources.project().objects(), resources.cache())?;
    let bytes = std::fs::read(found.context("no object is compiled")?.path("unsized"))?;
    Ok(Named::of_bytes("unsized", bytes, None)?.remove(0))
}

fn sized(built: &built::Built) -> Result<()> {
    let resources = resources()?;
    let testbed = resources.built(&built.kernel.name, &built.image.name)?;
    let assumed = without_sizes(&resources)?;
    let mut given = assumed.clone();
    // libbpf rounds the size of a ring buffer.
    set_size(std::slice::from_mut(&mut given), "events", 4097)?;
    let all = Object::all([&assumed, &given])?;
    let bare = Object::new("bare", assumed.bytes)?;
    let site = TrialSetting { options: options(&ANY), ..TrialSetting::default() }.into();
    let objects = all.into_iter().chain([bare]).collect();
    let trial = Trial { name: "sizes".to_owned(), site, objects, criterion: Criterion::Loaded };
    let proved = proof::prove(&[&testbed], &[trial])?;
    let [(_, proofs)] = &proved[..] else { panic!("one kernel was asked") };
    assert_eq!(classes(&proofs[0]), [Class::Allowed, Class::Allowed, Class::Malformed]);
    Ok(())
}

fn bit(kind: Kind, number: u32) -> Element {
    Element::Bit(Bit { kind, number })
}

/// Returns a grant with everything that a program or a map needs with libbpf, which loads a socket filter first, and
/// more.
fn too_much(own: &[Element]) -> Grant {
    let loading = [bit(Kind::Cmd, 5), bit(Kind::Prog, 1), bit(Kind::Attach, 0)];
    let besides = [bit(Kind::Cmd, 0), bit(Kind::Map, 1), Element::Capability(Capability::Perfmon)];
    let always = [Element::Capability(Capability::Bpf), Element::Capability(Capability::SysAdmin)];
    Grant::of([&loading[..], &besides, &always, own].concat())
}

fn reduced(built: &built::Built) -> Result<()> {
    let resources = resources()?;
    let testbed = resources.built(&built.kernel.name, &built.image.name)?;
    let subject = |name: &str, grant: Grant| -> Result<ReductionInput> {
        let subjects = vec![Subject::Object(object(&resources, name)?, Criterion::Loaded)];
        Ok(ReductionInput { name: name.to_owned(), subjects, grant })
    };
    let xdp = [bit(Kind::Prog, 6), bit(Kind::Attach, 37), Element::Capability(Capability::NetAdmin)];
    let subjects = vec![
        subject("queue", too_much(&[bit(Kind::Map, 22)]))?,
        subject("xdp-helpers", too_much(&xdp))?,
        subject("xdp-data", Grant::of([bit(Kind::Map, 22)]))?,
    ];
    let started = Instant::now();
    let known = proof::reduce(&[Task { testbed: &testbed, inputs: subjects }])?.remove(0);
    let [queue, helpers, short] = &known[..] else { panic!("each subject has a result") };
    let (queue, helpers) = (minimal(queue), minimal(helpers));
    let (loads, seconds) = (queue.loads + helpers.loads, started.elapsed().as_secs_f64());
    println!("{loads} loads in {} rounds and {seconds:.1} s", queue.rounds.max(helpers.rounds));

    let expected = [bit(Kind::Cmd, 0), bit(Kind::Cmd, 5), bit(Kind::Map, 22), bit(Kind::Prog, 1), bit(Kind::Attach, 0)];
    let with_bpf = |own: &[Element]| Grant::of([own, &[Element::Capability(Capability::Bpf)]].concat());
    assert_eq!(queue.grant, with_bpf(&expected));
    assert_eq!(needed(queue, bit(Kind::Map, 22)), "map_create queue waiting, without its name, token: denied EPERM");
    assert!(needed(queue, bit(Kind::Prog, 1)).starts_with("probe of loading: prog_load socket_filter"));
    assert!(queue.superfluous.contains(&Element::Capability(Capability::SysAdmin)));

    let capabilities: Vec<Capability> = helpers.grant.capabilities.iter().copied().collect();
    assert_eq!(capabilities, [Capability::NetAdmin, Capability::Perfmon, Capability::Bpf]);
    assert!(helpers.grant.has_bit(Bit { kind: Kind::Prog, number: 6 }) && helpers.superfluous.len() >= 3);
    let perfmon = needed(helpers, Element::Capability(Capability::Perfmon));
    assert!(perfmon.starts_with("prog_load xdp look_around"), "{perfmon}");
    assert!(perfmon.contains("the verifier: ") && perfmon.contains("call bpf_get_current_task#35"), "{perfmon}");
    for minimal in [queue, helpers] {
        assert!(minimal.needed.values().all(|needs| !needs.is_empty()), "{minimal:?}");
    }
    let Ok(Reduction::Insufficient(needs)) = short else { panic!("{short:?}") };
    assert_eq!(needs[0].object, "xdp-data");
    Ok(())
}

fn minimal(known: &Result<Reduction, proof::NoProof>) -> &Minimal {
    match known {
        Ok(Reduction::Minimal(minimal)) => minimal,
        other => panic!("{other:?}"),
    }
}

/// Returns what fails without an element.
fn needed(minimal: &Minimal, element: Element) -> String {
    let needs = minimal.needed.get(&element).unwrap_or_else(|| panic!("{element} is not in {minimal:?}"));
    needs.iter().map(|need| need.defect.to_string()).collect::<Vec<_>>().join("; ")
}
