//! Reads files with delegation configurations.

use std::{
    io::{self, Read},
    path::Path,
};

use anyhow::{Context, Result, anyhow};
use harness_frontend::{
    Configuration, Frontend, Names, NotRead, Sources, SystemdRelease, mentioned, not_read, source::MOST_BYTES,
};
use harness_runner::unit_files;
use harness_uapi::vocabulary::KnownNames;

use crate::exit::Wrong;

/// The label of standard input.
pub(crate) const STANDARD_INPUT: &str = "<stdin>";

/// Returns the names of known kernels, and of the newest known systemd.
pub(crate) fn names(known: &KnownNames) -> Names<'_> {
    Names::new(known, SystemdRelease::NEWEST)
}

/// Reads the configurations in a file that concern a delegation.
///
/// # Errors
/// If its front-end is unknown, it is not in the front-end's language, or it may have a delegation that is not read.
pub(crate) fn read(sources: &Sources, from: Option<Frontend>, names: &Names<'_>) -> Result<Vec<Configuration>> {
    let label = sources.get(0).label();
    let unknown = || {
        let width = Frontend::all().map(|frontend| frontend.name.len()).max().unwrap_or(0);
        let kinds: Vec<String> =
            Frontend::all().map(|frontend| format!("\n    {frontend:<width$}  {}", frontend.reads())).collect();
        Wrong::input(anyhow!(
            "{label} is not recognized as any of the kinds of files that are read; name its kind with --from:{}",
            kinds.concat()
        ))
    };
    let refused = |why: NotRead| Wrong::input(anyhow!("{label}: {why}"));
    if let Some(why) = not_read(sources.get(0)).filter(|_| from.is_none()) {
        return Err(refused(why));
    }
    let unrecognized = || mentioned(sources.get(0)).map_or_else(unknown, refused);
    let frontend = from.or_else(|| Frontend::detect(sources.get(0))).ok_or_else(unrecognized)?;
    let mut configurations = harness_frontend::read(frontend, sources, names).map_err(Wrong::input)?;
    configurations.retain(concerns_a_delegation);
    match mentioned(sources.get(0)).filter(|_| configurations.is_empty()) {
        Some(why) => Err(refused(why)),
        None => Ok(configurations),
    }
}

/// Whether there is something to check: a unit may have nothing to do with BPF.
fn concerns_a_delegation(configuration: &Configuration) -> bool {
    let is_delegated = configuration.delegated.iter().any(|assignments| !assignments.is_empty());
    configuration.bpffs.is_some() || is_delegated || !configuration.problems.is_empty()
}

/// Reads a file with the files that systemd reads with it, or standard input.
///
/// # Errors
/// If a file cannot be read.
pub(crate) fn sources(file: &Path) -> Result<Sources> {
    if file != Path::new("-") {
        return unit_files::sources(file).map_err(Wrong::input);
    }
    // One byte more than the limit, so that a longer input is refused.
    let mut bytes = Vec::new();
    let read = io::stdin().lock().take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes);
    read.context("cannot read standard input").map_err(Wrong::input)?;
    Sources::of(STANDARD_INPUT, &bytes).map_err(Wrong::input)
}
