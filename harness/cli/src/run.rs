//! `run`: runs scenarios.

use std::{process::ExitCode, time::Instant};

use anyhow::Result;
use clap::Args as ClapArgs;
use harness_builder::progress::Progress;
use harness_program::NAME;
use harness_runner::{
    report::{self, Results, RunStatus, ScenarioResult},
    selection::Selection,
};

use crate::{
    Context, actions, exit,
    output::{Delivery, OutputOptions},
    selection::{self, GuardOption, Selectors},
    view::{View, ViewOptions},
};

/// Run scenarios in VMs and show what the kernels allowed and denied
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  {program} run                             all scenarios on the default kernels
  {program} run --prebuilt                  the same on Debian's builds of them: nothing is compiled
  {program} run --kernel 7.3 --filter 'token/*'
  {program} run --kernel host               on this machine's own kernel, as root
  {program} run --kernel 6.12 --image minimal systemd-262 --filter 'token/*'
                                              one column per kernel and image
  {program} run --verbose                   every attempt, not only where a scenario differs
  {program} run --guard audit               all scenarios while a guard records every bpf(2) call
  {program} run --junit results.xml --json results.jsonl
  {program} run --scenarios ~/mine --format json | jq 'select(.matches == false)'

A line for each scenario is shown as soon as all kernels have answered, with all its attempts if it
differs, or if few scenarios are selected. `{program} report` has the same options and shows all.

If GITHUB_ACTIONS is `true`, the run also writes annotations and a step summary for GitHub.

Exit codes: 0 as recorded; 1 verdicts differ; 2 wrong usage or a bad file; 3 the harness, QEMU or
a build failed; 4 nothing was selected.")]
pub struct Args {
    #[command(flatten)]
    selectors: Selectors,

    #[command(flatten)]
    guard: GuardOption,

    #[command(flatten)]
    view: ViewOptions,

    #[command(flatten)]
    outputs: OutputOptions,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let start = Instant::now();
    let delivery = args.outputs.resolve()?;
    let progress = if delivery.is_for_people() { args.view.progress() } else { Progress::silent() };
    let selection = args.selectors.resolve_under(args.guard, context, progress)?;
    if selection.scenarios.is_empty() {
        return Ok(selection::nothing(&selection));
    }
    let view = View::of(&selection, args.view.detail(selection.scenarios.len()));
    // What a guard refuses although it only audits is known only at the end.
    let is_shown_early = delivery.is_for_people() && !args.guard.is_given();
    let show = |result: &ScenarioResult| {
        if is_shown_early {
            view.take(result);
        }
    };
    let results = selection.results_shown(&show).map_err(selection::blame)?;
    let more = format!("{NAME} report{}", args.selectors.words(args.guard));
    conclude(&selection, &delivery, results, |results| view.rest(results, Some(start.elapsed()), Some(&more)))
}

/// Outputs the results in all requested formats, the one for people as given, and returns the exit code.
pub(crate) fn conclude(
    selection: &Selection,
    delivery: &Delivery,
    results: Vec<ScenarioResult>,
    for_people: impl FnOnce(&Results) -> Result<String>,
) -> Result<ExitCode> {
    let (results, complaints) = selection.accept_refusals(results);
    complaints.iter().for_each(|complaint| eprintln!("error: {complaint}"));
    let results = selection.report(results)?;
    let delivered = delivery.deliver(&results, || for_people(&results));
    actions::report(selection, delivery, &results)?;
    delivered?;
    let complained = selection::has_reason_complaints(selection)? || !complaints.is_empty();
    Ok(exit_code(&results.results, complained))
}

/// Returns the exit code of the worst result; a reason that does not match the snapshots is as bad as a changed snapshot.
fn exit_code(results: &[ScenarioResult], complained: bool) -> ExitCode {
    match report::worst(results) {
        None => exit::NOTHING_SELECTED.into(),
        Some(RunStatus::AsRecorded) if !complained => ExitCode::SUCCESS,
        Some(RunStatus::AsRecorded | RunStatus::Differs) => exit::DIFFERS.into(),
        Some(RunStatus::Fault) => exit::FAILED.into(),
    }
}
