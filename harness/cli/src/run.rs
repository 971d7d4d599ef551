//! `run`: runs scenarios.

use std::{collections::BTreeSet, process::ExitCode, time::Instant};

use anyhow::Result;
use clap::Args as ClapArgs;
use harness_builder::{compilers, progress::Progress};
use harness_program::NAME;
use harness_protocol::name::ScenarioName;
use harness_runner::{
    failed::Failed,
    report::{self, Results, RunStatus, ScenarioResult, again},
    selection::Selection,
};

use crate::{
    Context, actions, exit,
    output::{Delivery, OutputOptions},
    selection::{self, GuardOption, Selectors},
    view::{View, ViewOptions},
    watch::{self, Watched},
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
  {program} run --scenarios mine --watch    again whenever a file there changes
  {program} run --rerun-failed --fresh      what failed when it last ran, again
  {program} run --guard audit               all scenarios while a guard records every bpf(2) call
  {program} run --junit results.xml --json results.jsonl
  {program} run --baseline old.jsonl --fail-on new
  {program} run --filter 'token/*' --again 5
  {program} run --scenarios ~/mine --format json | jq 'select(.matches == false)'

A line for each scenario is shown as soon as all kernels have answered, with all its attempts if it
differs, or if few scenarios are selected. `{program} report` has the same options and shows all.

If GITHUB_ACTIONS is `true`, the run also writes annotations and a step summary for GitHub.

Exit codes: 0 as recorded; 1 verdicts differ; 2 wrong usage or a bad file; 3 the harness, QEMU or
a build failed; 4 nothing was selected.")]
pub struct Args {
    #[command(flatten)]
    selectors: Selectors,

    /// Select only scenarios that failed when they last ran; --fresh attempts them again
    #[arg(long)]
    rerun_failed: bool,

    /// Run again whenever a file in the directory of scenarios changes, until Ctrl-C; only what changed is attempted
    #[arg(long)]
    watch: bool,

    #[command(flatten)]
    guard: GuardOption,

    #[command(flatten)]
    view: ViewOptions,

    #[command(flatten)]
    outputs: OutputOptions,

    /// Run everything this many times, each time afresh, and fail if a verdict is not always the same
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(2..=1000))]
    again: Option<u16>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    if !args.watch {
        return once(args, context);
    }
    let folder = args.selectors.folder(context)?;
    let progress = if args.outputs.resolve()?.is_for_people() { args.view.progress() } else { Progress::silent() };
    watch::repeat(&Watched { folders: vec![folder], files: Vec::new() }, &progress, || once(args, &context.anew()))
}

fn once(args: &Args, context: &Context) -> Result<ExitCode> {
    let start = Instant::now();
    // Programs that come with the project are not compiled.
    if context.project().is_ok_and(|project| !project.has_programs()) {
        compilers::ask_ahead();
    }
    let delivery = args.outputs.resolve()?;
    let progress = if delivery.is_for_people() { args.view.progress() } else { Progress::silent() };
    let mut selection = args.selectors.resolve_under(args.guard, context, progress.clone())?;
    if args.again.is_some() {
        selection = selection.again();
    }
    let folder = selection.runner.suite().folder().to_owned();
    if args.rerun_failed {
        let failed = Failed::read(selection.resources.cache())?.of(&folder);
        selection.scenarios.retain(|checked| failed.contains(checked.name()));
        if selection.scenarios.is_empty() {
            eprintln!("error: no selected scenario of {} failed when it last ran", folder.display());
            return Ok(exit::NOTHING_SELECTED.into());
        }
    }
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
    let unsteady =
        args.again.map_or_else(|| Ok(Vec::new()), |times| repeat(args, context, (times, &progress), &results))?;
    let (results, mut complaints) = selection.accept_refusals(results);
    complaints.extend(unsteady);
    // The verdicts are not lost with the list.
    if let Err(error) = Failed::read(selection.resources.cache()).and_then(|failed| failed.record(&folder, &results)) {
        eprintln!("warning: {:#}", anyhow::Error::new(error));
    }
    let more = format!("{NAME} report{}", args.selectors.words(args.guard));
    conclude(&selection, &delivery, (results, complaints), |results| {
        view.rest(results, Some(start.elapsed()), Some(&more))
    })
}

/// Runs the selection again until it ran this many times. Returns what differs from the first run's results.
fn repeat(
    args: &Args,
    context: &Context,
    (times, progress): (u16, &Progress),
    first: &[ScenarioResult],
) -> Result<Vec<String>> {
    let mut unsteady = Vec::new();
    let ran: BTreeSet<&ScenarioName> = first.iter().map(|result| &result.scenario).collect();
    for run in 2..=usize::from(times) {
        let mut selection = args.selectors.resolve_under(args.guard, context, progress.clone())?.again();
        selection.scenarios.retain(|checked| ran.contains(checked.name()));
        let results = selection.results().map_err(selection::blame)?;
        unsteady.extend(again::unsteady((1, first), (run, &results)));
    }
    Ok(unsteady)
}

/// Outputs the results, and what is wrong with what the guard of the run refuses, in all requested formats, the one for people as
/// given; returns the exit code.
pub(crate) fn conclude(
    selection: &Selection,
    delivery: &Delivery,
    (results, complaints): (Vec<ScenarioResult>, Vec<String>),
    for_people: impl FnOnce(&Results) -> Result<String>,
) -> Result<ExitCode> {
    complaints.iter().for_each(|complaint| eprintln!("error: {complaint}"));
    let mut results = selection.report(results)?;
    delivery.compare(&mut results)?;
    let delivered = delivery.deliver(&results, || for_people(&results));
    actions::report(selection, delivery, &results)?;
    delivered?;
    let complained = selection::has_reason_complaints(selection)? || !complaints.is_empty();
    Ok(exit_code(&results, delivery, complained))
}

/// Returns the exit code of the worst result; a reason that does not match the snapshots is as bad as a changed snapshot.
fn exit_code(results: &Results, delivery: &Delivery, complained: bool) -> ExitCode {
    match report::worst(&results.results, |result| delivery.counts(results, result)) {
        None if results.results.is_empty() => exit::NOTHING_SELECTED.into(),
        None | Some(RunStatus::AsRecorded) if !complained => ExitCode::SUCCESS,
        None | Some(RunStatus::AsRecorded | RunStatus::Differs) => exit::DIFFERS.into(),
        Some(RunStatus::Fault) => exit::FAILED.into(),
    }
}
