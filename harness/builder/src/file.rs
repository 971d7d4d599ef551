//! Files that are replaced whole, and what is told of one that cannot be used.

use std::{
    fs::{self, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;
use thiserror::Error;

/// A file or folder could not be read or written.
#[derive(Debug, Error)]
#[error("cannot {action} {}", path.display())]
pub struct FileError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl FileError {
    /// What to do with an error of the system: says what was tried, in a word such as `read`, and where.
    pub(crate) fn of(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { action, path: path.to_owned(), source }
    }

    /// What to do with an error of a walk through the folder `top`.
    pub(crate) fn walking(action: &'static str, top: &Path, error: walkdir::Error) -> Self {
        let (path, source) = walked(top, error);
        Self { action, path, source }
    }
}

/// The bytes of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    fs::read(path).map_err(FileError::of("read", path))
}

/// The text of a file.
pub(crate) fn read_text(path: &Path) -> Result<String, FileError> {
    fs::read_to_string(path).map_err(FileError::of("read", path))
}

/// Writes a file as it is, where nobody reads it meanwhile.
pub(crate) fn write(path: &Path, contents: impl AsRef<[u8]>) -> Result<(), FileError> {
    fs::write(path, contents).map_err(FileError::of("write", path))
}

/// Copies a file, permissions included.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::copy(from, to).map(drop).map_err(FileError::of("copy", from))
}

/// Removes a file, a link, or a folder with all in it; that it is not there is fine.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let result = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    result.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// The file or folder at which a walk through `top` failed, and why.
pub(crate) fn walked(top: &Path, error: walkdir::Error) -> (PathBuf, io::Error) {
    let path = error.path().unwrap_or(top).to_owned();
    // Without an error of the system it is a link that leads back to a folder it is in.
    (path, error.into_io_error().unwrap_or_else(|| rustix::io::Errno::LOOP.into()))
}

/// Everything below a folder, links not followed; the first thing that cannot be listed ends it.
pub(crate) fn below(folder: &Path) -> impl Iterator<Item = Result<walkdir::DirEntry, FileError>> {
    let entries = walkdir::WalkDir::new(folder).min_depth(1).into_iter();
    entries.map(|entry| entry.map_err(|error| FileError::walking("list", folder, error)))
}

/// Replaces a file: a reader sees the old text or the new one, never half of one.
///
/// # Errors
/// If the file or its folder cannot be written; the old file is still there then.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut file = partial(path)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

/// An empty file beside the one to be replaced, with the permissions a new file has; gone again when dropped.
///
/// # Errors
/// If there can be none in that folder.
pub fn partial(path: &Path) -> io::Result<NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Its error names the folder's fault; that of the file inside would name the file.
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
