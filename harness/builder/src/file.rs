//! Reading, writing and atomically replacing files, with errors that name the file.

use std::{
    fs::{self, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use tempfile::NamedTempFile;
use thiserror::Error;

use crate::folder;

/// A file operation failed.
#[derive(Debug, Error)]
#[error("cannot {action} {}", path.display())]
pub struct FileError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// A TOML file is not valid.
#[derive(Debug, Error)]
#[error("{}:\n{}", path.display(), .error.to_string().trim_end())]
pub struct TomlError {
    path: PathBuf,
    error: Box<toml::de::Error>,
}

impl FileError {
    /// Converts an error of the system; `action` is the attempted operation, in a verb such as `read`.
    pub(crate) fn of(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { action, path: path.to_owned(), source }
    }

    /// Converts an error of a walk through the folder `top`.
    pub(crate) fn walking(action: &'static str, top: &Path, error: walkdir::Error) -> Self {
        let (path, source) = walked(top, error);
        Self { action, path, source }
    }
}

/// Reads the bytes of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    fs::read(path).map_err(FileError::of("read", path))
}

/// Reads the text of a file.
pub(crate) fn read_text(path: &Path) -> Result<String, FileError> {
    fs::read_to_string(path).map_err(FileError::of("read", path))
}

/// Writes a file in place, where nobody reads it at the same time.
pub(crate) fn write(path: &Path, contents: impl AsRef<[u8]>) -> Result<(), FileError> {
    fs::write(path, contents).map_err(FileError::of("write", path))
}

/// Parses the text of a TOML file.
pub(crate) fn parse_toml<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, TomlError> {
    toml::from_str(text).map_err(|error| TomlError { path: path.to_owned(), error: error.into() })
}

/// Copies a file with its permissions.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::copy(from, to).map(drop).map_err(FileError::of("copy", from))
}

/// Removes a file, a link, or a folder with everything in it ([`folder::remove`]). A missing one is not an error.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    folder::remove(path).or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// Returns the file or folder at which a walk through `top` failed, and why.
pub(crate) fn walked(top: &Path, error: walkdir::Error) -> (PathBuf, io::Error) {
    let path = error.path().unwrap_or(top).to_owned();
    // Without a system error it is a link back to a folder that contains it.
    (path, error.into_io_error().unwrap_or_else(|| rustix::io::Errno::LOOP.into()))
}

/// Lists everything below a folder without following links, and ends at the first entry that cannot be listed.
pub(crate) fn below(folder: &Path) -> impl Iterator<Item = Result<walkdir::DirEntry, FileError>> {
    let entries = walkdir::WalkDir::new(folder).min_depth(1).into_iter();
    entries.map(|entry| entry.map_err(|error| FileError::walking("list", folder, error)))
}

/// Replaces a file atomically: a reader sees the old text or the new one, never half of one.
///
/// # Errors
/// If the file or its folder cannot be written; the old file is then still there.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut file = partial(path)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

/// Creates an empty file beside the one to replace, with the permissions of a new file. It is removed when dropped.
///
/// # Errors
/// If no file can be created in that folder.
pub fn partial(path: &Path) -> io::Result<NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // This error is about the folder; that of the temporary file would be about the file.
    fs::metadata(folder)?;
    tempfile::Builder::new().permissions(Permissions::from_mode(0o666)).tempfile_in(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        for text in ["one", "two"] {
            replace(&path, text).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        assert_eq!(replace(&folder.path().join("no/a"), "x").unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
