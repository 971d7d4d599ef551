//! `cargo xtask doctor`: what this host can and cannot do. It changes nothing.

mod facts;
mod limits;
mod page;
mod version;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args as ClapArgs, ValueEnum};
use harness_cli::{Context, exit, screen::print};

/// Say what this host can and cannot do, and what to do about it
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
It installs, builds and writes nothing.

Examples:
  cargo xtask doctor
  cargo xtask doctor --format json | jq .problems

Exit codes: 0 scenarios can run here; 2 wrong usage; 3 they cannot: what is told as a problem says what
to do.")]
pub(crate) struct Args {
    /// How to show it
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Lines for people
    Human,
    /// One JSON object
    Json,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let facts = facts::gather(context.project()?)?;
    match args.format {
        Format::Human => print(&page::render(&facts))?,
        Format::Json => {
            let text = serde_json::to_string_pretty(&facts).context("cannot write the facts as JSON")?;
            print(&(text + "\n"))?;
        }
    }
    Ok(if facts.scenarios_can_run { ExitCode::SUCCESS } else { exit::FAILED.into() })
}
