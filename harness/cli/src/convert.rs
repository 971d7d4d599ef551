//! `convert`: converts a delegation of one front-end for another.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Result, anyhow};
use clap::{Args as ClapArgs, ValueEnum, ValueHint};
use harness_frontend::{Configuration, Frontend, LocatedLoss, Location, Names, Sources, WritableFrontend, convert};
use schemars::JsonSchema;
use serde::Serialize;

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

    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Front-end of the file, if it cannot be recognized by its name or contents
    #[arg(long, value_name = "FRONT-END")]
    from: Option<Frontend>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// What the front-end reads
    Text,
    /// One JSON document (docs/convert.schema.json)
    Json,
}

/// The version of the JSON document; it increases when readers of the previous one would misread the new one.
const FORMAT: u32 = 1;

/// The output of `cargo xtask convert --format json`.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "Conversion")]
pub(crate) struct Document {
    /// The version of this format.
    format: u32,
    /// The front-end that it is written for.
    to: String,
    /// Each configuration, in the order of the file.
    configurations: Vec<Converted>,
}

/// A converted configuration.
#[derive(Serialize, JsonSchema)]
struct Converted {
    /// The unit, instance, profile or mount point; empty if it has none.
    name: String,
    /// What the front-end reads.
    text: String,
    /// What has no counterpart.
    lost: Vec<OneLoss>,
}

/// Something that is lost.
#[derive(Serialize, JsonSchema)]
struct OneLoss {
    /// What.
    what: String,
    /// Where it is written, as `FILE:LINE:COLUMN`, or the file.
    place: String,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let known = known_kernels::vocabularies(context)?.known_names();
    let names = configurations::names(&known);
    let sources = configurations::sources(&args.file)?;
    let configurations = configurations::read(&sources, args.from, &names)?;
    if configurations.is_empty() {
        return Err(Wrong::input(anyhow!("{}: the file has no delegation", sources.get(0).label())));
    }
    let converted = configurations.iter().map(|configuration| one(configuration, args.to, &names, &sources));
    let configurations = converted.collect::<Result<Vec<_>>>()?;
    let is_lossy = configurations.iter().any(|configuration| !configuration.lost.is_empty());
    match args.format {
        Format::Text => configurations.iter().try_for_each(show)?,
        Format::Json => {
            let document = Document { format: FORMAT, to: args.to.frontend().name.to_owned(), configurations };
            print(&(serde_json::to_string_pretty(&document)? + "\n"))?;
        }
    }
    Ok(if is_lossy { ExitCode::from(exit::DIFFERS) } else { ExitCode::SUCCESS })
}

fn show(converted: &Converted) -> Result<()> {
    print(&converted.text)?;
    converted.lost.iter().for_each(|OneLoss { what, place }| eprintln!("{place}: lost: {what}"));
    Ok(())
}

/// Converts one configuration.
fn one(configuration: &Configuration, to: WritableFrontend, names: &Names<'_>, sources: &Sources) -> Result<Converted> {
    let refused = |error: harness_frontend::configuration::RefusedElement| {
        Wrong::input(anyhow!("{}: {error}, so the configuration has no effect", sources.shown(&error.location)))
    };
    let (text, lost) = convert(configuration, to, names).map_err(refused)?;
    let place = |location: Option<&Location>| match location {
        Some(location) => sources.shown(location),
        None => sources.get(0).label().to_owned(),
    };
    let loss = |LocatedLoss { what, location }| OneLoss { what, place: place(location.as_ref()) };
    Ok(Converted { name: configuration.name.clone(), text, lost: lost.into_iter().map(loss).collect() })
}
