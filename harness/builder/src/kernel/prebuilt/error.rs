//! Why a prebuilt kernel cannot be used.

use std::path::PathBuf;

use thiserror::Error;

use super::{bzimage::ImageError, elf::ElfError, modules::ModulesError};
use crate::{cache::CacheError, file::FileError, kernel::source::SourceError, mirror::UnpackError};

/// Why a prebuilt kernel cannot be used.
#[derive(Debug, Error)]
pub enum PrebuiltError {
    /// Its files are not available.
    #[error(transparent)]
    Parts(#[from] PartsError),
    /// Its boot image is not usable.
    #[error("cannot use the boot image {}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ImageError,
    },
    /// The kernel packed into its boot image is not usable.
    #[error("cannot read the kernel packed into {}", path.display())]
    Elf {
        /// The boot image.
        path: PathBuf,
        /// Why.
        source: ElfError,
    },
    /// It has no type information.
    #[error("{} has no type information; it must be built with CONFIG_DEBUG_INFO_BTF", .0.display())]
    NoBtf(PathBuf),
    /// Its modules belong to another kernel.
    #[error("the modules in {} do not belong to kernel {release}", folder.display())]
    ForeignModules {
        /// The folder of the modules.
        folder: PathBuf,
        /// The release in the boot image.
        release: String,
    },
    /// Its modules cannot be used.
    #[error(transparent)]
    Modules(#[from] ModulesError),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

impl PrebuiltError {
    /// Reports whether the mirror no longer has a pinned version.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Parts(PartsError::Source(source)) if source.is_gone())
    }
}

/// Why the files of a kernel are not available.
#[derive(Debug, Error)]
pub enum PartsError {
    /// A package is not available.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A package cannot be unpacked.
    #[error("cannot unpack {}", package.display())]
    Unpack {
        /// The package file.
        package: PathBuf,
        /// Why.
        source: UnpackError,
    },
    /// An RPM package cannot be unpacked.
    #[error("cannot unpack {}", package.display())]
    Rpm {
        /// The package file.
        package: PathBuf,
        /// Why.
        source: rpm::Error,
    },
    /// The format of a package is not supported.
    #[error(
        "{}: only .deb and .rpm packages are supported; unpack other packages by hand, and name the files in \
         [source.prebuilt.files]",
        .0.display()
    )]
    Kind(PathBuf),
    /// The packages hold no kernel, or several.
    #[error(
        "the packages have {count} of {what}, but exactly one is needed; list all packages of one kernel (links in packages \
         do not count)"
    )]
    Number {
        /// The kind of file.
        what: &'static str,
        /// The number found.
        count: usize,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A cache operation failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
}
