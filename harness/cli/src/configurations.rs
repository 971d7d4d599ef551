//! Files of delegation configurations, and the names they are read by.

use std::{
    io::{self, Read},
    path::Path,
};

use anyhow::{Context, Result, anyhow};
use harness_frontend::{Configuration, Frontend, Names, Sources, SystemdRelease, source::MOST_BYTES};
use harness_runner::unit_files;
use harness_uapi::vocabulary::KnownNames;

use crate::exit::Wrong;

/// What standard input is called.
pub(crate) const STANDARD_INPUT: &str = "<stdin>";

/// How names are spelled, systemd's being those of the newest one that is known.
pub(crate) fn names(known: &KnownNames) -> Names<'_> {
    Names::new(known, SystemdRelease::NEWEST)
}

/// The configurations in a file that say anything of a delegation, with the texts they were read from.
///
/// # Errors
/// If the file cannot be read, or if nothing tells or said whose it is.
pub(crate) fn read(file: &Path, from: Option<Frontend>, names: &Names<'_>) -> Result<(Sources, Vec<Configuration>)> {
    let sources = sources(file)?;
    let label = sources.get(0).label();
    let unknown = || {
        let names: Vec<&str> = Frontend::all().map(|frontend| frontend.name).collect();
        Wrong::input(anyhow!("{label}: nothing in it tells who reads it; say so by --from {}", names.join("|")))
    };
    let frontend = from.or_else(|| Frontend::detect(sources.get(0))).ok_or_else(unknown)?;
    let mut configurations = harness_frontend::read(frontend, &sources, names).map_err(Wrong::input)?;
    configurations.retain(is_of_a_delegation);
    Ok((sources, configurations))
}

/// Whether there is something to judge: a unit's file may have nothing to do with BPF.
fn is_of_a_delegation(configuration: &Configuration) -> bool {
    let is_delegated = configuration.delegated.iter().any(|assignments| !assignments.is_empty());
    configuration.bpffs.is_some() || is_delegated || !configuration.problems.is_empty()
}

/// A file with what systemd would read with it, or standard input.
fn sources(file: &Path) -> Result<Sources> {
    if file != Path::new("-") {
        return unit_files::sources(file).map_err(Wrong::input);
    }
    // A byte more than is taken, so that more is refused as that.
    let mut bytes = Vec::new();
    let read = io::stdin().lock().take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes);
    read.context("cannot read standard input").map_err(Wrong::input)?;
    Sources::of(STANDARD_INPUT, &bytes).map_err(Wrong::input)
}
