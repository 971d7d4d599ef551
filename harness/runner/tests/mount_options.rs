//! A thousand lists of mount options with mistakes: compares how the harness reads each with how the kernels do.

#[allow(dead_code, reason = "this test uses only a part of it")]
mod built;
mod mutated;

use std::{process::ExitCode, time::Instant};

use anyhow::Result;
use harness_builder::{progress::Progress, project::Project};
use harness_proof::setting::TrialSetting;
use harness_protocol::mount_option::MountOption;
use harness_runner::{
    proof::{self, Criterion, Mount, Proof, Trial},
    resources::Resources,
    store::Freshness,
    testbed::Testbed,
    vm,
};
use harness_uapi::{
    delegation::{Delegation, known_bits},
    vocabulary::{Kind, Vocabulary},
};
use harness_verdict::verdict::Class;
use libtest_mimic::{Arguments, Failed};

/// The number of lists.
const COUNT: usize = 1000;

/// The seed of the lists.
const SEED: u64 = 69;

fn main() -> ExitCode {
    vm::run_child_if_asked();
    let trial = built::trial("a_thousand_lists_of_options_are_read_as_the_kernels_read_them", |built| {
        compared(built).map_err(|error| Failed::from(format!("{error:#}")))
    });
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code()
}

fn compared(built: &built::Built) -> Result<()> {
    let resources = Resources::open(Project::find()?, Freshness::ThisRun, Progress::silent())?;
    // Default kernels that are not built are left out.
    let kernels = resources.default_kernels()?;
    let testbeds: Vec<_> =
        kernels.iter().filter_map(|kernel| resources.built(kernel, &built.image.name).ok()).collect();
    let testbeds: Vec<&Testbed<'_>> = testbeds.iter().collect();
    let newest = testbeds.last().unwrap_or_else(|| panic!("{kernels:?} are not built"));
    let (started, lists) = (Instant::now(), mutated::lists(COUNT, SEED, newest.vocabulary()));
    let proved = proof::prove(&testbeds, &trials(&lists))?;
    println!("{COUNT} lists on {} kernels took {:.1} s", testbeds.len(), started.elapsed().as_secs_f64());
    for (testbed, (kernel, proofs)) in testbeds.iter().zip(&proved) {
        let judged = lists.iter().zip(proofs).filter_map(|(list, proof)| difference(list, proof, testbed.vocabulary()));
        let differences: Vec<String> = judged.collect();
        let refused = proofs.iter().filter(|proof| matches!(proof.mount, Ok(Mount::Refused(_)))).count();
        println!("{kernel}: {refused} refused, {} read differently", differences.len());
        assert!(differences.is_empty(), "{kernel}: {} differ:\n{}", differences.len(), differences.join("\n"));
        assert!((COUNT / 10..COUNT * 9 / 10).contains(&refused), "{refused} refused: the lists are one-sided");
    }
    Ok(())
}

fn trials(lists: &[Vec<MountOption>]) -> Vec<Trial> {
    let trial = |options: &Vec<MountOption>| Trial {
        name: shown(options),
        site: TrialSetting { options: options.clone(), ..TrialSetting::default() }.into(),
        objects: Vec::new(),
        criterion: Criterion::Loaded,
    };
    lists.iter().map(trial).collect()
}

fn shown(options: &[MountOption]) -> String {
    let shown = options.iter().map(|MountOption { key, value }| format!("{key}={value:?}"));
    shown.collect::<Vec<_>>().join(" ")
}

/// Returns the bits of a delegation that a mount shows: those with a name.
fn visible(delegation: Delegation, vocabulary: &Vocabulary) -> [u64; 4] {
    let known = Kind::ALL.map(|kind| known_bits(vocabulary.table(kind)));
    std::array::from_fn(|at| delegation.masks()[at] & known[at])
}

/// Describes how a kernel reads a list differently from the harness.
fn difference(list: &[MountOption], proof: &Proof, vocabulary: &Vocabulary) -> Option<String> {
    let ours = Delegation::requested(list, vocabulary);
    let what = match (&ours, &proof.mount) {
        (_, Err(error)) => error.to_string(),
        (Err(refused), Ok(Mount::Refused(refusal))) if refused.errno() == refusal.errno => return None,
        (Err(refused), Ok(Mount::Refused(refusal))) => {
            format!("{refused}: expected {}, got {refusal}", refused.errno())
        }
        (Err(refused), Ok(Mount::Mounted(probe))) => format!("{refused}, but the mount shows {:?}", probe.shown),
        (Ok(_), Ok(Mount::Refused(refusal))) => format!("the kernel refused it: {refusal}"),
        (Ok(ours), Ok(Mount::Mounted(probe))) => {
            let theirs = Delegation::shown(&probe.shown, vocabulary).map(|theirs| visible(theirs, vocabulary));
            let token = probe.token.verdict.class() == Class::Allowed;
            let any = *ours != Delegation::default();
            if theirs == Ok(visible(*ours, vocabulary)) && token == any {
                return None;
            }
            format!("the mount shows {:?}, and token_create is {}", probe.shown, probe.token.verdict)
        }
    };
    Some(format!("{}\n  {what}", shown(list)))
}
