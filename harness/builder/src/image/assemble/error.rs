//! Why an image could not be put together.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::{command::CommandError, file};

/// Why packages could not be put together.
#[derive(Debug, Error)]
pub enum AssembleError {
    /// A package file could not be unpacked.
    #[error("cannot unpack {}", package.display())]
    Unpack {
        /// The package file.
        package: PathBuf,
        /// What the program said.
        source: CommandError,
    },
    /// A package has no such file.
    #[error("{package} has no file {file}: `dpkg-deb --contents {}` lists what it has", archive.display())]
    NoSuchFile {
        /// The package.
        package: String,
        /// What the recipe wants of it.
        file: String,
        /// The package file.
        archive: PathBuf,
    },
    /// A whole package has something an image cannot have.
    #[error("{} has {place}, which is no file, folder or symbolic link", archive.display())]
    Unusual {
        /// The package file.
        archive: PathBuf,
        /// What it is about.
        place: String,
    },
    /// A file operation failed.
    #[error("cannot make {}", path.display())]
    Make {
        /// What was to be made.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

pub(super) fn making(path: &Path) -> impl FnOnce(io::Error) -> AssembleError {
    move |source| AssembleError::Make { path: path.to_owned(), source }
}

/// What to do with an error of a walk through the folder `top`.
pub(super) fn walking(top: &Path, error: walkdir::Error) -> AssembleError {
    let (path, source) = file::walked(top, error);
    AssembleError::Make { path, source }
}
