//! Reads systemd unit files and their drop-ins.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use harness_frontend::{
    Names, SYSTEMD, Sources, SystemdRelease, UNIT_FOLDERS, VmUnit, drop_in_folders,
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

/// Reads a unit file and what systemd would read with it: the drop-ins in `FILE.d`, in the order of their names, and for a
/// file in one of systemd's folders of units, such as `ROOT/usr/lib/systemd/system`, the unit and drop-ins in the others
/// (systemd.unit(5)).
///
/// # Errors
/// [`UnitFileError`] naming the file that cannot be used.
pub fn sources(file: &Path) -> Result<Sources, UnitFileError> {
    let mut sources = Sources::default();
    for path in together(file)? {
        sources.add(&label(&path), &bytes_of(&path)?)?;
    }
    Ok(sources)
}

/// Returns the files of the unit that a file belongs to, the unit's own first.
fn together(file: &Path) -> Result<Vec<PathBuf>, UnitFileError> {
    let main = unit_of(file).unwrap_or_else(|| file.to_owned());
    let mut paths = vec![main.clone()];
    paths.extend(drop_ins(&main)?);
    let name = main.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if let Some(root) = root_of(&main) {
        let of = drop_in_folders(name);
        for folder in UNIT_FOLDERS.map(|folder| root.join(folder)) {
            for of in &of {
                paths.extend(files_in(&folder.join(of))?);
            }
        }
    }
    if !paths.iter().any(|path| path == file) {
        paths.push(file.to_owned());
    }
    let mut known = BTreeSet::new();
    paths.retain(|path| known.insert(path.clone()));
    Ok(paths)
}

/// Returns the unit that a drop-in is for, if it is beside the drop-in's folder or in another of systemd's folders.
fn unit_of(file: &Path) -> Option<PathBuf> {
    let folder = file.parent().filter(|_| file.extension().is_some_and(|extension| extension == "conf"))?;
    let name = folder.file_name()?.to_str()?.strip_suffix(".d").filter(|name| name.contains('.'))?;
    let beside = folder.parent()?.join(name);
    let elsewhere = root_of(&beside)
        .into_iter()
        .flat_map(|root| UNIT_FOLDERS.iter().map(move |folder| root.join(folder).join(name)));
    std::iter::once(beside.clone()).chain(elsewhere).find(|path| path.is_file())
}

/// Returns the folder that a path is below as on a machine, if it is directly in one of systemd's folders of units.
fn root_of(file: &Path) -> Option<PathBuf> {
    let folder = file.parent()?.to_str()?;
    let within = UNIT_FOLDERS.iter().find_map(|of| folder.strip_suffix(of.trim_end_matches('/')))?;
    (within.is_empty() || within.ends_with('/')).then(|| PathBuf::from(if within.is_empty() { "." } else { within }))
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
    files_in(Path::new(&folder))
}

/// Returns the drop-ins in a folder, in the order of their names; none if it does not exist.
fn files_in(folder: &Path) -> Result<Vec<PathBuf>, UnitFileError> {
    let failed = |source| UnitFileError::Io { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        entries => entries.map_err(failed)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "conf") && path.is_file());
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
    fn a_unit_is_read_with_the_drop_ins_of_all_folders() {
        let root = tempfile::tempdir().unwrap();
        let file = |path: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "[Service]\n").unwrap();
            path
        };
        let unit = file("usr/lib/systemd/system/a-b.service");
        let own = file("etc/systemd/system/a-b.service.d/x.conf");
        let others = [file("run/systemd/system/a-.service.d/y.conf"), file("etc/systemd/system/service.d/z.conf")];
        let elsewhere = file("home/a-b.service");
        file("etc/systemd/system/c.service.d/w.conf");
        let read = |path: &Path| -> BTreeSet<String> {
            sources(path).unwrap().iter().map(|one| one.label().to_owned()).collect()
        };
        let all: BTreeSet<String> = [&unit, &own].into_iter().chain(&others).map(|path| label(path)).collect();
        assert_eq!((read(&unit), read(&own)), (all.clone(), all));
        assert_eq!(read(&elsewhere), BTreeSet::from([label(&elsewhere)]));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = assignments(&folder.path().join("x.service"), &KnownNames::from_json([]).unwrap()).unwrap_err();
        let message = error.to_string().replace(folder.path().to_str().unwrap(), "FOLDER");
        insta::assert_snapshot!(message, @"cannot read FOLDER/x.service: No such file or directory (os error 2)");
    }
}
