//! Reads systemd unit files and their drop-ins.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use harness_frontend::{
    Names, SYSTEMD, Sources, SystemdRelease, VmUnit,
    source::{MOST_BYTES, SourceError},
};
use harness_protocol::plan::Assignment;
use harness_uapi::vocabulary::KnownNames;
use thiserror::Error;

use crate::file;

/// Why a unit file cannot be used.
#[derive(Debug, Error)]
pub enum UnitFileError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A file is too long, alone or with the others.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// Reads a unit file and what systemd would read with it: the drop-ins in `FILE.d`, in the order of their names
/// (systemd.unit(5)).
///
/// # Errors
/// [`UnitFileError`] naming the file that cannot be used.
pub fn sources(file: &Path) -> Result<Sources, UnitFileError> {
    let mut sources = Sources::of(&label(file), &bytes_of(file)?)?;
    for drop_in in drop_ins(file)? {
        sources.add(&label(&drop_in), &bytes_of(&drop_in)?)?;
    }
    Ok(sources)
}

/// Returns what a unit's file and each of its drop-ins assign in its VM unit, or describes why there is no VM unit.
pub(crate) fn assignments(file: &Path, known: &KnownNames) -> Result<Vec<Vec<Assignment>>, String> {
    let sources = sources(file).map_err(|error| in_words(&error))?;
    let names = Names::new(known, SystemdRelease::NEWEST);
    let configurations = harness_frontend::read(SYSTEMD, &sources, &names);
    let configurations = configurations.map_err(|report| report.to_string())?;
    let configuration = configurations.first().ok_or_else(|| format!("{} is not a unit", file.display()))?;
    let unit = VmUnit::of(configuration).map_err(|error| error.to_string())?.unit;
    Ok(std::iter::once(unit.service).chain(unit.drop_ins).collect())
}

fn in_words(error: &UnitFileError) -> String {
    match error {
        UnitFileError::Io { source, .. } => format!("{error}: {source}"),
        UnitFileError::Source(error) => error.to_string(),
    }
}

fn label(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, UnitFileError> {
    file::read(path, MOST_BYTES as u64).map_err(|source| UnitFileError::Io { path: path.to_owned(), source })
}

fn drop_ins(file: &Path) -> Result<Vec<PathBuf>, UnitFileError> {
    let mut folder = file.as_os_str().to_owned();
    folder.push(".d");
    let failed = |source| UnitFileError::Io { path: PathBuf::from(&folder), source };
    let entries = match fs::read_dir(&folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        entries => entries.map_err(failed)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(failed)?.path());
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
        fs::write(&unit, "[Service]\nExecStart=/x {y}\nPrivateBPF=no\n").unwrap();
        let drop_ins = folder.path().join("a.service.d");
        fs::create_dir(&drop_ins).unwrap();
        for (name, text) in [("20-b.conf", "[Service]\nPrivateBPF=yes\n"), ("10-a.conf", "[Service]\n"), ("README", "")]
        {
            fs::write(drop_ins.join(name), text).unwrap();
        }
        let sources = sources(&unit).unwrap();
        let labels: Vec<&str> = sources.iter().map(|source| source.label().rsplit('/').next().unwrap()).collect();
        assert_eq!(labels, ["a.service", "10-a.conf", "20-b.conf"]);
        let known = KnownNames::from_json([]).unwrap();
        let files = assignments(&unit, &known).unwrap();
        let lines = |file: &[Assignment]| file.iter().map(|a| format!("{}={}", a.key, a.value)).collect::<Vec<_>>();
        assert_eq!(lines(&files[0]), ["PrivateBPF=no"]);
        assert_eq!(lines(files.last().unwrap()), ["PrivateBPF=yes"]);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = assignments(&folder.path().join("x.service"), &KnownNames::from_json([]).unwrap()).unwrap_err();
        let message = error.to_string().replace(folder.path().to_str().unwrap(), "FOLDER");
        insta::assert_snapshot!(message, @"cannot read FOLDER/x.service: No such file or directory (os error 2)");
    }
}
