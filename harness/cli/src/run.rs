//! `run`: the main job.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::Args as ClapArgs;
use harness_builder::progress::Progress;
use harness_runner::{
    report::{Finding, Outcome},
    selection::Selection,
};

use crate::{
    Context, actions, exit,
    outlet::{Delivery, Outlets},
    selection::{self, Selectors},
};

/// Run scenarios in VMs and show what the kernels allowed and denied
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  {program} run                                 all scenarios on the default kernels
  {program} run --kernel 7.3 --filter 'token/*'
  {program} run --kernel host               on this machine's own kernel, as root
  {program} run --kernel 6.12 --image minimal systemd-262 --filter 'token/*'
                                              a column for each kernel and image
  {program} run --junit results.xml --json results.jsonl
  {program} run --scenarios ~/mine --format json | jq 'select(.matches == false)'

Where GITHUB_ACTIONS is `true`, GitHub is also given annotations and a step summary.

Exit codes: 0 as recorded; 1 verdicts differ; 2 wrong usage or a bad file; 3 the harness,
QEMU or a build failed; 4 nothing was selected.")]
pub struct Args {
    #[command(flatten)]
    selectors: Selectors,

    #[command(flatten)]
    outlets: Outlets,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let start = Instant::now();
    let delivery = args.outlets.resolve()?;
    let progress = if delivery.is_for_people() { Progress::detect() } else { Progress::silent() };
    let selection = args.selectors.resolve(context, progress)?;
    if selection.scenarios.is_empty() {
        return Ok(selection::nothing(&selection));
    }
    let findings = selection.findings().map_err(selection::blame)?;
    conclude(&selection, &delivery, findings, Some(start.elapsed()))
}

/// Tells what was found in every form that is wanted, and says the same by the exit code.
pub(crate) fn conclude(
    selection: &Selection,
    delivery: &Delivery,
    findings: Vec<Finding>,
    took: Option<Duration>,
) -> Result<ExitCode> {
    let results = selection.results(findings)?;
    let delivered = delivery.deliver(&results, took);
    actions::tell(selection, delivery, &results)?;
    delivered?;
    let complained = selection::has_reason_complaints(selection)?;
    Ok(exit_code(&results.findings, complained))
}

/// What the gravest finding says; reasons that do not fit the snapshots are as grave as a snapshot that does not fit.
fn exit_code(findings: &[Finding], complained: bool) -> ExitCode {
    match findings.iter().map(Finding::outcome).max() {
        None => exit::NOTHING_SELECTED.into(),
        Some(Outcome::AsRecorded) if !complained => ExitCode::SUCCESS,
        Some(Outcome::AsRecorded | Outcome::Differs) => exit::DIFFERS.into(),
        Some(Outcome::Fault) => exit::FAILED.into(),
    }
}
