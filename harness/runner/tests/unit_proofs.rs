//! Proofs in VM units that a real systemd starts: what a bpffs delegates, which objects load, and the results of a unit
//! that does not run.

#[allow(dead_code, reason = "this test uses only a part of it")]
mod built;

use std::process::ExitCode;

use anyhow::{Context, Result};
use harness_builder::{objects, progress::Progress, project::Project};
use harness_proof::{object::ObjectDefect, question::ContainerProbe, setting::TrialSite};
use harness_protocol::plan::{Assignment, Unit};
use harness_runner::{
    proof::{self, Criterion, Mount, Object, Proof, Trial},
    resources::Resources,
    store::Freshness,
    vm,
};
use harness_verdict::verdict::Class;
use libtest_mimic::{Arguments, Failed};

fn main() -> ExitCode {
    vm::run_child_if_asked();
    let trial = |image, name, test: fn(&built::Built) -> Result<()>| {
        built::trial_in(image, name, move |built| test(built).map_err(|error| Failed::from(format!("{error:#}"))))
    };
    let trials = vec![
        trial("systemd-262", "units_load_objects_with_the_bpffs_that_systemd_mounts", delegated),
        trial("systemd-257", "an_older_systemd_delegates_nothing", ignored),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

const SOUND: [(&str, &str); 7] = [
    ("PrivateUsers", "yes"),
    ("DelegateNamespaces", "mnt"),
    ("PrivateBPF", "yes"),
    ("BPFDelegateCommands", "BPFProgLoad,BPFBtfLoad"),
    ("BPFDelegateMaps", "any"),
    ("BPFDelegatePrograms", "BPFProgTypeSocketFilter,BPFProgTypeXdp"),
    ("BPFDelegateAttachments", "BPFCgroupInetIngress,BPFXdp"),
];

fn assignments(lines: &[(&str, &str)]) -> Vec<Assignment> {
    lines.iter().map(|(key, value)| Assignment { key: (*key).to_owned(), value: (*value).to_owned() }).collect()
}

/// A trial of a valid unit with these lines in a drop-in.
fn trial(name: &str, drop_in: &[(&str, &str)], objects: &[Object]) -> Trial {
    let unit = Unit { service: assignments(&SOUND), drop_ins: vec![assignments(drop_in)], ..Unit::default() };
    let (name, objects) = (name.to_owned(), objects.to_vec());
    Trial { name, site: TrialSite::Unit(unit), objects, criterion: Criterion::Attached }
}

/// A unit whose own file systemd refuses to load.
fn refused() -> Unit {
    Unit { service: assignments(&[SOUND.as_slice(), &[("DynamicUser", "maybe")]].concat()), ..Unit::default() }
}

/// Returns an object compiled from the project's sources.
fn object(resources: &Resources, name: &str) -> Result<Object> {
    let found = objects::find_built(&resources.project().objects(), resources.cache())?;
    Ok(Object::new(name, std::fs::read(found.context("no object is compiled")?.path(name))?)?)
}

fn proved(built: &built::Built, trials: impl FnOnce(&[Object]) -> Vec<Trial>) -> Result<Vec<Proof>> {
    let resources = Resources::open(Project::find()?, Freshness::ThisRun, Progress::silent())?;
    let testbed = resources.built(&built.kernel.name, &built.image.name)?;
    let objects = ["xdp", "queue"].map(|name| object(&resources, name)).into_iter().collect::<Result<Vec<_>>>()?;
    let (_, proofs) = proof::prove(&[&testbed], &trials(&objects))?.remove(0);
    Ok(proofs)
}

fn probe(proof: &Proof) -> &ContainerProbe {
    match &proof.mount {
        Ok(Mount::Mounted(probe)) => probe,
        other => panic!("{}: {other:?}", proof.trial),
    }
}

/// Returns the verdict class of each object.
fn classes(proof: &Proof) -> Vec<Class> {
    let proofs = proof.objects.iter().map(|object| object.proof.as_ref().unwrap_or_else(|error| panic!("{error}")));
    proofs.map(|proof| proof.verdict.class()).collect()
}

fn delegated(built: &built::Built) -> Result<()> {
    let proofs = proved(built, |objects| {
        vec![
            trial("sound", &[], objects),
            trial("of the host", &[("DelegateNamespaces", "")], objects),
            trial("killed", &[("SystemCallFilter", "~bpf")], objects),
            // In a drop-in, systemd would only warn about it.
            Trial { site: TrialSite::Unit(refused()), ..trial("refused", &[], objects) },
        ]
    })?;
    let [sound, of_the_host, killed, refused] = &proofs[..] else { panic!("each trial has a proof") };

    let found = probe(sound);
    assert_eq!(found.token.verdict.class(), Class::Allowed, "{found:?}");
    let masks = found.masks.as_ref().unwrap().each_ref().map(String::as_str);
    assert_eq!(masks, ["0x40020", "any", "0x42", "0x2000000001"]);
    let unit = found.unit.as_ref().unwrap();
    assert!(unit.ran && unit.result == "success", "{unit:?}");
    let mount = unit.mount.as_ref().unwrap();
    assert!(mount.contains(" on /sys/fs/bpf type bpf (") && mount.contains("delegate_maps=any"), "{mount}");
    assert_eq!(classes(sound), [Class::Allowed, Class::Denied]);
    let queue = sound.objects[1].proof.as_ref().unwrap();
    assert_eq!(queue.cause.as_ref().unwrap().to_string(), "lacks cmds map_create");

    assert_eq!(probe(of_the_host).token.verdict.to_string(), "denied EPERM");
    assert!(probe(of_the_host).masks.is_none());
    assert_eq!(classes(of_the_host), [Class::Denied, Class::Denied]);

    for (proof, ran, result) in [(killed, true, "signal"), (refused, false, "bad-setting")] {
        let unit = probe(proof).unit.as_ref().unwrap();
        assert_eq!((unit.ran, unit.result.as_str()), (ran, result), "{unit:?}");
        assert_eq!(probe(proof).token.verdict.class(), Class::NotMade);
        assert_eq!(classes(proof), [Class::NotMade, Class::NotMade]);
        let defect = proof.objects[0].proof.as_ref().unwrap().defect();
        assert!(matches!(defect, Some(ObjectDefect::NotTried(_))), "{defect:?}");
        assert_eq!(proof.objects[0].unit.as_ref().unwrap().result, result);
    }
    Ok(())
}

fn ignored(built: &built::Built) -> Result<()> {
    let proofs = proved(built, |objects| vec![trial("sound", &[], objects)])?;
    let found = probe(&proofs[0]);
    assert!(found.shown.is_empty() && found.masks.is_none(), "{found:?}");
    assert!(found.unit.as_ref().unwrap().ran);
    assert_eq!(classes(&proofs[0]), [Class::Denied, Class::Denied]);
    Ok(())
}
