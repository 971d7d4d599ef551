//! `diff`: compares two kernels.

use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow};
use clap::{Args as ClapArgs, ValueEnum};
use harness_builder::progress::Progress;
use harness_protocol::name::KernelName;
use harness_runner::report::difference::{self, Difference, Extent};
use harness_snapshot::difference::Effect;

use crate::{
    Context,
    exit::{self, Wrong},
    screen::print,
    selection::{self, Scope},
};

/// Show what differs between two kernels: verdicts, causes, masks and names
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  {program} diff 6.12 7.3                       the most important first; denied, now allowed on top
  {program} diff 7.3 mine --filter 'token/*' --fail-on loosened
  {program} diff 6.12 7.3 --format markdown > difference.md
  {program} diff 6.12 7.3 --format json | jq '.scenarios[].changes[] | select(.effect == \"loosened\")'

docs/diff.schema.json describes the JSON document. The reasons for differences are recorded in
differences.toml in the scenario directory.

Exit codes: 0 compared, whatever differs; 1 a change that --fail-on names, or a snapshot of a
kernel that does not match its reason; 2 wrong usage or a bad file; 3 the harness, QEMU or a build
failed, a scenario had no verdict or crashed a kernel; 4 nothing was selected.")]
pub struct Args {
    /// The kernel to start from
    #[arg(value_name = "A")]
    before: String,

    /// The kernel to compare with it
    #[arg(value_name = "B")]
    after: String,

    #[command(flatten)]
    scope: Scope,

    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Show long lists in full; JSON always has everything
    #[arg(long)]
    all: bool,

    /// Exit with code 1 if there is such a change
    #[arg(long, value_enum, value_name = "CHANGE")]
    fail_on: Option<FailOn>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Text for a terminal
    Text,
    /// One JSON document
    Json,
    /// Markdown for a pull request or a mailing list
    Markdown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// Something denied by A is allowed by B
    Loosened,
    /// Something allowed by A is denied by B
    Tightened,
    /// Anything differs, names included
    Any,
}

impl FailOn {
    fn is_met(self, difference: &Difference) -> bool {
        match self {
            Self::Loosened => difference.has(Effect::Loosened),
            Self::Tightened => difference.has(Effect::Tightened),
            Self::Any => difference.is_any(),
        }
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let progress = if args.format == Format::Text { Progress::detect() } else { Progress::silent() };
    let selection = args.scope.resolve(context, &[args.before.clone(), args.after.clone()], progress)?;
    let [before, after] = two(args, &selection.kernels)?;
    selection.refuse_several_images().map_err(selection::blame)?;
    if selection.scenarios.is_empty() {
        return Ok(selection::nothing(&selection));
    }
    let difference = selection.difference(before, after).map_err(selection::blame)?;
    let extent = if args.all { Extent::Whole } else { Extent::Abridged };
    print(&match args.format {
        Format::Text => difference::text(&difference, extent),
        Format::Markdown => difference::markdown(&difference, extent),
        Format::Json => difference::json(&difference).context("cannot write the difference as JSON")?,
    })?;
    let complained = selection::has_reason_complaints(&selection)?;
    let met = args.fail_on.is_some_and(|change| change.is_met(&difference));
    Ok(exit_code(difference.is_incomplete(), met || complained))
}

/// Returns the two kernels, if each name selects one and they are different.
fn two<'k>(args: &Args, kernels: &'k [KernelName]) -> Result<[&'k KernelName; 2]> {
    match kernels {
        [before, after] => Ok([before, after]),
        [one] => Err(Wrong::input(anyhow!("both names select {one}; name two different kernels"))),
        _ => {
            let names: Vec<&str> = kernels.iter().map(KernelName::as_str).collect();
            let given = format!("`{}` and `{}` select {}", args.before, args.after, names.join(", "));
            Err(Wrong::input(anyhow!("`diff` compares two kernels, but {given}; use exact names")))
        }
    }
}

fn exit_code(incomplete: bool, refused: bool) -> ExitCode {
    match (incomplete, refused) {
        (true, _) => exit::FAILED.into(),
        (false, true) => exit::DIFFERS.into(),
        (false, false) => ExitCode::SUCCESS,
    }
}
