//! `cargo xtask run`: the main job.

use std::{
    io::{self, Write},
    process::ExitCode,
    time::Instant,
};

use anyhow::{Context, Result};
use clap::{Args as ClapArgs, ValueEnum};
use harness_builder::progress::Progress;
use harness_model::name::KernelName;
use harness_runner::report::{self, Counts, Finding, Outcome};

use crate::{exit, screen, selection::Selectors};

/// Run scenarios in VMs and show what the kernels allowed and denied
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  cargo xtask run                                 all scenarios on the default kernels
  cargo xtask run --kernel 7.3 --filter 'token/*'
  cargo xtask run --kernel host               on this machine's own kernel, as root
  cargo xtask run --scenarios ~/mine --format json | jq 'select(.matches | not)'

Exit codes: 0 as recorded; 1 verdicts differ; 2 wrong usage or a bad file; 3 the harness,
QEMU or a build failed; 4 nothing was selected.")]
pub(crate) struct Args {
    #[command(flatten)]
    selectors: Selectors,

    /// How to show the verdicts
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table with a column a kernel
    Human,
    /// One JSON object an attempt, and nothing else
    Json,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let start = Instant::now();
    let progress = match args.format {
        Format::Human => Progress::detect(),
        Format::Json => Progress::silent(),
    };
    let selection = args.selectors.resolve(progress)?;
    if selection.scenarios.is_empty() {
        return Ok(selection.nothing());
    }
    let findings = selection.findings()?;
    match args.format {
        Format::Human => print_table(&selection.kernels, &findings, start)?,
        Format::Json => {
            let text = report::json_lines(&selection.image, &findings).context("cannot write a verdict as JSON")?;
            print(&text)?;
        }
    }
    Ok(exit_code(&findings))
}

fn print_table(kernels: &[KernelName], findings: &[Finding], start: Instant) -> Result<()> {
    let counts = Counts::of(findings);
    let table = report::table(kernels, findings, screen::width());
    print(&format!("{table}{}; {:.1} s\n", counts.sentence(), start.elapsed().as_secs_f64()))
}

/// Prints to standard output, with styles where it is a terminal; a reader that went away is no error.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = anstream::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}

/// What the gravest finding says.
pub(crate) fn exit_code(findings: &[Finding]) -> ExitCode {
    match findings.iter().map(Finding::outcome).max() {
        None => exit::NOTHING_SELECTED.into(),
        Some(Outcome::AsRecorded) => ExitCode::SUCCESS,
        Some(Outcome::Differs) => exit::DIFFERS.into(),
        Some(Outcome::Fault) => exit::FAILED.into(),
    }
}
