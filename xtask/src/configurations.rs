//! Files of delegation configurations, and the names they are read by.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow};
use harness_frontend::{Configuration, Frontend, Names, Sources, SystemdRelease, source::MOST_BYTES};
use harness_model::vocabulary::KnownNames;

use crate::exit::Wrong;

/// What standard input is called.
pub(crate) const STANDARD_INPUT: &str = "<stdin>";

/// How names are spelled, systemd's being those of the newest one that is known.
pub(crate) fn names(known: &KnownNames) -> Names<'_> {
    Names::new(known, SystemdRelease::V262)
}

/// The configurations in a file that say anything of a delegation, with the texts they were read from.
///
/// # Errors
/// If the file cannot be read, or if nothing tells or said whose it is.
pub(crate) fn read(file: &Path, from: Option<Frontend>, names: &Names<'_>) -> Result<(Sources, Vec<Configuration>)> {
    let sources = sources(file)?;
    let label = sources.get(0).label();
    let unknown = || {
        let names: Vec<&str> = Frontend::ALL.iter().map(|frontend| frontend.name()).collect();
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

/// A file, and what systemd would read with it: the drop-ins in `FILE.d`, in the order of their names
/// (systemd.unit(5)).
fn sources(file: &Path) -> Result<Sources> {
    if file == Path::new("-") {
        let bytes = bounded(io::stdin().lock()).context("cannot read standard input").map_err(Wrong::input)?;
        return Sources::of(STANDARD_INPUT, &bytes).map_err(Wrong::input);
    }
    let mut sources = Sources::of(&label(file), &bytes_of(file)?).map_err(Wrong::input)?;
    for drop_in in drop_ins(file).map_err(Wrong::input)? {
        sources.add(&label(&drop_in), &bytes_of(&drop_in)?).map_err(Wrong::input)?;
    }
    Ok(sources)
}

fn label(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn bytes_of(path: &Path) -> Result<Vec<u8>> {
    let read = File::open(path).and_then(bounded);
    read.with_context(|| format!("cannot read {}", path.display())).map_err(Wrong::input)
}

/// As much as is read of a file and a byte more, so that a longer one is refused as that.
fn bounded(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn drop_ins(file: &Path) -> Result<Vec<PathBuf>> {
    let mut folder = file.as_os_str().to_owned();
    folder.push(".d");
    let entries = match fs::read_dir(&folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        entries => entries.with_context(|| format!("cannot read {}", Path::new(&folder).display()))?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry?.path());
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_read_with_its_drop_ins_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let unit = folder.path().join("a.service");
        fs::write(&unit, "[Service]\n").unwrap();
        let drop_ins = folder.path().join("a.service.d");
        fs::create_dir(&drop_ins).unwrap();
        for name in ["20-b.conf", "10-a.conf", "README"] {
            fs::write(drop_ins.join(name), "").unwrap();
        }
        let sources = sources(&unit).unwrap();
        let labels: Vec<&str> = sources.iter().map(|source| source.label().rsplit('/').next().unwrap()).collect();
        assert_eq!(labels, ["a.service", "10-a.conf", "20-b.conf"]);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let error = format!("{:#}", sources(Path::new("/nonexistent/x.service")).unwrap_err());
        assert!(error.contains("/nonexistent/x.service"), "{error}");
    }
}
