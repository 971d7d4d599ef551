//! Why an image could not be assembled.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::{file, mirror::UnpackError};

/// Why an image could not be assembled.
#[derive(Debug, Error)]
pub enum AssembleError {
    /// A package file could not be unpacked.
    #[error("cannot unpack {}", package.display())]
    Unpack {
        /// The package file.
        package: PathBuf,
        /// Why.
        source: UnpackError,
    },
    /// A package lacks a wanted file, or has a link in its place.
    #[error(
        "{package} has no plain file {file} (links are not followed); `dpkg-deb --contents {}` lists its files",
        archive.display()
    )]
    NoSuchFile {
        /// The package.
        package: String,
        /// The file that the manifest names.
        file: String,
        /// The package file.
        archive: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A package that is taken whole has a file of a kind that images cannot have.
    #[error("{} has {guest_path}, which is not a file, folder or symbolic link", archive.display())]
    Unusual {
        /// The package file.
        archive: PathBuf,
        /// The path in the package.
        guest_path: String,
    },
    /// A file operation failed.
    #[error("cannot copy or create {}", path.display())]
    Make {
        /// The file or folder.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}

pub(super) fn making(path: &Path) -> impl FnOnce(io::Error) -> AssembleError {
    move |source| AssembleError::Make { path: path.to_owned(), source }
}

/// Converts an error of a walk through the folder `top`.
pub(super) fn walking(top: &Path, error: walkdir::Error) -> AssembleError {
    let (path, source) = file::walked(top, error);
    AssembleError::Make { path, source }
}
