//! The object files of a run: read once before any fork, so that every executor has them without a file system.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use harness_protocol::plan::{LARGEST_OBJECT, OBJECTS_FOLDER};
use thiserror::Error;

/// Why the objects are not available.
#[derive(Debug, Error)]
pub(crate) enum LibraryError {
    /// A file or the folder cannot be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// A file is too large.
    #[error("the object {0} is larger than {LARGEST_OBJECT} bytes")]
    TooLarge(PathBuf),
}

static OBJECTS: OnceLock<BTreeMap<String, Vec<u8>>> = OnceLock::new();

/// Reads the objects in a run folder; there may be none.
pub(crate) fn open(run_folder: &Path) -> Result<(), LibraryError> {
    let objects = read(&run_folder.join(OBJECTS_FOLDER))?;
    OBJECTS.get_or_init(|| objects);
    Ok(())
}

/// Sets the objects in a process that was executed and so has none in memory.
pub(crate) fn hold(objects: BTreeMap<String, Vec<u8>>) {
    OBJECTS.get_or_init(|| objects);
}

/// Returns the bytes of an object.
pub(crate) fn get(name: &str) -> Option<&'static [u8]> {
    OBJECTS.get()?.get(name).map(Vec::as_slice)
}

fn read(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, LibraryError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        |source| LibraryError::Io { path, source }
    };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        entries => entries.map_err(failed(folder))?,
    };
    let mut objects = BTreeMap::new();
    for entry in entries {
        let entry = entry.map_err(failed(folder))?;
        let (path, mut bytes) = (entry.path(), Vec::new());
        let file = File::open(&path).map_err(failed(&path))?;
        file.take(LARGEST_OBJECT + 1).read_to_end(&mut bytes).map_err(failed(&path))?;
        if bytes.len() as u64 > LARGEST_OBJECT {
            return Err(LibraryError::TooLarge(path));
        }
        objects.insert(entry.file_name().to_string_lossy().into_owned(), bytes);
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_found_by_their_file_names() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(&folder.path().join("none")).unwrap().is_empty());
        fs::write(folder.path().join("a.o"), b"bytes").unwrap();
        assert_eq!(read(folder.path()).unwrap()["a.o"], b"bytes");
    }

    #[test]
    fn an_object_that_is_too_large_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        File::create(folder.path().join("big.o")).unwrap().set_len(LARGEST_OBJECT + 1).unwrap();
        let error = read(folder.path()).unwrap_err().to_string();
        let error = error.replace(&folder.path().display().to_string(), "[FOLDER]");
        insta::assert_snapshot!(error, @"the object [FOLDER]/big.o is larger than 4194304 bytes");
    }
}
