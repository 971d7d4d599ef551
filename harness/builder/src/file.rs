//! What is told of a file or folder that cannot be used.

use std::{
    io,
    path::{Path, PathBuf},
};

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
}
