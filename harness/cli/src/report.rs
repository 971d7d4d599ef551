//! `report`: shows results of earlier runs without running anything.

use std::process::ExitCode;

use anyhow::{Result, anyhow};
use clap::Args as ClapArgs;
use harness_builder::progress::Progress;
use harness_program::NAME;

use crate::{
    Context,
    exit::Wrong,
    output::OutputOptions,
    run,
    selection::{self, GuardOption, Selectors},
    view::{View, ViewOptions},
};

/// Show results of earlier runs in any format, without building or booting anything
#[derive(Debug, ClapArgs)]
#[command(
    mut_arg("kernel", |arg| arg.help("Kernels to report on, by name or glob; `all` selects every kernel with a manifest [default: those marked as default in their manifests]")),
    mut_arg("verbose", |arg| arg.hide(true)),
    mut_arg("fresh", |arg| arg.hide(true)),
    mut_arg("jobs", |arg| arg.hide(true)),
    mut_arg("yes", |arg| arg.hide(true)),
    mut_arg("no_install", |arg| arg.hide(true)),
    mut_arg("locked", |arg| arg.hide(true)),
    after_help = "\
Examples:
  {program} report --junit results.xml --markdown results.md
  {program} report --kernel all --format markdown --by folder
  {program} report --image all --filter 'token/*'
  {program} report --format json | jq 'select(.kind == \"judged\" and .standing == \"differs\")'

A scenario without a stored result counts as a fault, unless the store records that the packages of
its default image have left the mirror. `{program} run` has the same options.

Exit codes: 0 as recorded; 1 verdicts differ; 2 wrong usage or a bad file; 3 a result is missing
or a file cannot be written; 4 nothing was selected."
)]
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
    if args.selectors.wants_fresh() {
        return Err(Wrong::input(anyhow!("`report` runs nothing; use `{NAME} run --fresh`")));
    }
    let delivery = args.outputs.resolve()?;
    let selection = args.selectors.resolve_under(args.guard, context, Progress::silent())?;
    if selection.scenarios.is_empty() {
        return Ok(selection::nothing(&selection));
    }
    let view = View::of(&selection, args.view.all());
    run::conclude(&selection, &delivery, selection.accept_refusals(selection.known_results()?), |results| {
        view.rest(results, None, None)
    })
}
