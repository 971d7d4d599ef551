//! `grants`: what the token of a configuration grants, in plain words.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Result, anyhow};
use clap::{Args as ClapArgs, ValueEnum, ValueHint};
use harness_findings::{
    grants::{self, Granted},
    input::KernelFacts,
};
use harness_frontend::{Configuration, Frontend};
use harness_program::NAME;
use harness_protocol::name::KernelName;

use crate::{
    Context, candidates, configurations, exit,
    exit::Wrong,
    known_kernels, order,
    screen::{self, print},
};

/// Show what the token of a unit, instance or mount line grants, and how far that reaches
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
A FILE is what `validate` reads, except for policies of the guard. Each sentence is shown by
scenarios, which docs/what-a-token-grants.md links to; the exposure is the sum of what reaches
beyond the container, from 0.0 to 10.0.

Examples:
  {program} grants my.service
  {program} grants my.service --kernel 6.12 7.3 --threshold 5.0
  {program} grants my.service --format json

Exit codes: 0 no exposure is above the threshold; 1 one is; 2 wrong usage or a file that cannot be
read; 3 the output cannot be written; 4 the files have no delegation.")]
pub struct Args {
    /// Configurations to read
    #[arg(value_name = "FILE", required_unless_present = "kernel", value_hint = ValueHint::FilePath)]
    files: Vec<PathBuf>,

    /// Kernels to look at, by name, glob or release (such as 6.9) [default: those marked as default in their manifests]
    #[arg(long, value_name = "NAME", num_args = 1.., add = candidates::kernels())]
    kernel: Vec<String>,

    /// Front-end of the files, if it cannot be recognized by their names or contents
    #[arg(long, value_name = "FRONT-END")]
    from: Option<Frontend>,

    /// Exit with code 1 if an exposure is above this one
    #[arg(long, value_name = "EXPOSURE", value_parser = exposure)]
    threshold: Option<u32>,

    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Text for people
    Human,
    /// One JSON document (docs/what-a-token-grants.schema.json)
    Json,
}

/// Reads an exposure in tenths.
fn exposure(text: &str) -> Result<u32, String> {
    let wrong = || format!("`{text}` is not an exposure; write a number from 0.0 to 10.0");
    let number: f64 = text.parse().map_err(|_| wrong())?;
    if (0.0..=10.0).contains(&number) { Ok((number * 10.0).round() as u32) } else { Err(wrong()) }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let (kernels, after) = order::after_kernels(&args.kernel, context);
    let files = [args.files.clone(), after].concat();
    if files.is_empty() {
        return Err(Wrong::input(anyhow!("no FILE to read; `{NAME} validate --help` lists what a FILE can be")));
    }
    let vocabularies = known_kernels::vocabularies(context)?;
    let facts = known_kernels::facts(&kernels, context, &vocabularies)?;
    let known = vocabularies.known_names();
    let names = configurations::names(&known);
    let mut all: Vec<(String, Vec<Granted>)> = Vec::new();
    for file in &files {
        let sources = configurations::sources(file)?;
        for configuration in configurations::read(&sources, args.from, &names)? {
            if !configuration.unknown.is_empty() {
                let label = sources.get(0).label();
                return Err(Wrong::input(anyhow!(
                    "{label}: a value is not in the file, so what is granted is not known; `{NAME} validate` shows where"
                )));
            }
            let label = if configuration.name.is_empty() { sources.get(0).label() } else { &configuration.name };
            all.push((label.to_owned(), of(&configuration, &facts)));
        }
    }
    if all.is_empty() {
        eprintln!("the files have no delegation, so nothing is granted");
        return Ok(exit::NOTHING_SELECTED.into());
    }
    match args.format {
        Format::Json => print(&(grants::document(&all)? + "\n"))?,
        Format::Human => {
            for (name, granted) in &all {
                print(&screen::wrapped(&shown(name, granted, &facts)))?;
            }
        }
    }
    let above = |granted: &Granted| args.threshold.is_some_and(|threshold| granted.exposure() > threshold);
    let is_above = all.iter().flat_map(|(_, granted)| granted).any(above);
    Ok(if is_above { exit::DIFFERS.into() } else { ExitCode::SUCCESS })
}

/// Returns what a configuration grants on each kernel.
pub(crate) fn of(configuration: &Configuration, kernels: &[KernelFacts]) -> Vec<Granted> {
    kernels.iter().map(|kernel| Granted::of(configuration, kernel)).collect()
}

/// Formats what a configuration grants, once for kernels that agree.
pub(crate) fn shown(name: &str, granted: &[Granted], kernels: &[KernelFacts]) -> String {
    let names: Vec<&KernelName> = kernels.iter().map(|kernel| &kernel.name).collect();
    grants::human(name, names.into_iter().zip(granted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exposure_has_one_decimal() {
        assert_eq!((exposure("4.5"), exposure("10"), exposure("0")), (Ok(45), Ok(100), Ok(0)));
        for wrong in ["", "-1", "10.1", "x", "NaN"] {
            assert!(exposure(wrong).is_err(), "{wrong}");
        }
    }
}
