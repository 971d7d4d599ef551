//! `convert`: converts a delegation of one front-end for another.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Result, anyhow};
use clap::{Args as ClapArgs, ValueHint};
use harness_frontend::{Configuration, Frontend, LocatedLoss, Names, Sources, WritableFrontend, convert};

use crate::{Context, configurations, exit, exit::Wrong, known_kernels, screen::print};

/// Convert the delegation of a unit, instance or mount line for another front-end
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
The effective delegation is converted: names that the front-end ignores are lost. Standard error
lists everything that has no counterpart.

Examples:
  {program} convert --to incus my.service
  incus config show web | {program} convert --to systemd -
  {program} convert --to mount --from lxd profile.yaml

Exit codes: 0 converted without loss; 1 converted, but something was lost; 2 wrong usage, or a
file that cannot be read or that its front-end refuses.")]
pub struct Args {
    /// Configuration to convert; `-` is standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,

    #[arg(long, value_name = "FRONT-END", help = format!("Front-end to write for: {}", WritableFrontend::words("or")))]
    to: WritableFrontend,

    /// Front-end of the file, if it cannot be recognized by its name or contents
    #[arg(long, value_name = "FRONT-END")]
    from: Option<Frontend>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let known = known_kernels::vocabularies(context)?.known_names();
    let names = configurations::names(&known);
    let sources = configurations::sources(&args.file)?;
    let configurations = configurations::read(&sources, args.from, &names)?;
    if configurations.is_empty() {
        return Err(Wrong::input(anyhow!("{}: the file has no delegation", sources.get(0).label())));
    }
    let mut lost = false;
    for configuration in &configurations {
        lost |= one(configuration, args.to, &names, &sources)?;
    }
    Ok(if lost { ExitCode::from(exit::DIFFERS) } else { ExitCode::SUCCESS })
}

/// Prints one configuration; returns whether something was lost.
fn one(configuration: &Configuration, to: WritableFrontend, names: &Names<'_>, sources: &Sources) -> Result<bool> {
    let refused = |error: harness_frontend::configuration::RefusedElement| {
        Wrong::input(anyhow!("{}: {error}, so the configuration has no effect", sources.shown(&error.location)))
    };
    let (text, lost) = convert(configuration, to, names).map_err(refused)?;
    print(&text)?;
    for LocatedLoss { what, location } in &lost {
        let location =
            location.as_ref().map_or_else(|| sources.get(0).label().to_owned(), |location| sources.shown(location));
        eprintln!("{location}: lost: {what}");
    }
    Ok(!lost.is_empty())
}
