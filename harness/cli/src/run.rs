//! `run`: the main job.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::Args as ClapArgs;
use harness_builder::progress::Progress;
use harness_runner::{
    report::{RunStatus, ScenarioResult},
    selection::Selection,
};

use crate::{
    Context, actions, exit,
    output::{Delivery, OutputOptions},
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
    outputs: OutputOptions,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let start = Instant::now();
    let delivery = args.outputs.resolve()?;
    let progress = if delivery.is_for_people() { Progress::detect() } else { Progress::silent() };
    let selection = args.selectors.resolve(context, progress)?;
    if selection.scenarios.is_empty() {
        return Ok(selection::nothing(&selection));
    }
    let results = selection.results().map_err(selection::blame)?;
    conclude(&selection, &delivery, results, Some(start.elapsed()))
}

/// Tells what was found in every form that is wanted, and says the same by the exit code.
pub(crate) fn conclude(
    selection: &Selection,
    delivery: &Delivery,
    results: Vec<ScenarioResult>,
    took: Option<Duration>,
) -> Result<ExitCode> {
    let results = selection.report(results)?;
    let delivered = delivery.deliver(&results, took);
    actions::tell(selection, delivery, &results)?;
    delivered?;
    let complained = selection::has_reason_complaints(selection)?;
    Ok(exit_code(&results.results, complained))
}

/// What the gravest result says; reasons that do not fit the snapshots are as grave as a snapshot that does not fit.
fn exit_code(results: &[ScenarioResult], complained: bool) -> ExitCode {
    match results.iter().map(ScenarioResult::outcome).max() {
        None => exit::NOTHING_SELECTED.into(),
        Some(RunStatus::AsRecorded) if !complained => ExitCode::SUCCESS,
        Some(RunStatus::AsRecorded | RunStatus::Differs) => exit::DIFFERS.into(),
        Some(RunStatus::Fault) => exit::FAILED.into(),
    }
}
