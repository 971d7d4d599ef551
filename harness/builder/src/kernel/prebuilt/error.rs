//! Why a prebuilt kernel cannot be used.

use std::path::PathBuf;

use thiserror::Error;

use super::{bzimage::ImageError, elf::ElfError, modules::ModulesError};
use crate::{cache::CacheError, command::CommandError, file::FileError, kernel::source::SourceError};

/// Why a prebuilt kernel cannot be used.
#[derive(Debug, Error)]
pub enum PrebuiltError {
    /// Its files are not to be had.
    #[error(transparent)]
    Parts(#[from] PartsError),
    /// Its boot image is none.
    #[error("{}: {source}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ImageError,
    },
    /// The kernel packed into its boot image is none.
    #[error("the kernel packed into {}: {source}", path.display())]
    Elf {
        /// The boot image.
        path: PathBuf,
        /// Why.
        source: ElfError,
    },
    /// It says nothing about its types.
    #[error("{} has no type information; it must be built with CONFIG_DEBUG_INFO_BTF", .0.display())]
    NoBtf(PathBuf),
    /// Its modules are another kernel's.
    #[error("the modules in {} are not those of kernel {release}", folder.display())]
    ForeignModules {
        /// The modules.
        folder: PathBuf,
        /// What the boot image calls itself.
        release: String,
    },
    /// Its modules cannot be used.
    #[error(transparent)]
    Modules(#[from] ModulesError),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Why the files of a kernel are not to be had.
#[derive(Debug, Error)]
pub enum PartsError {
    /// A package could not be had.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A package cannot be unpacked.
    #[error("cannot unpack {}", package.display())]
    Unpack {
        /// Which.
        package: PathBuf,
        /// Why.
        source: CommandError,
    },
    /// An RPM package cannot be unpacked.
    #[error("cannot unpack {}", package.display())]
    Rpm {
        /// Which.
        package: PathBuf,
        /// Why.
        source: rpm::Error,
    },
    /// A package of a kind that is not known.
    #[error(
        "{}: .deb and .rpm files are unpacked; unpack another package by hand, and name its files in [source.prebuilt.files]",
        .0.display()
    )]
    Kind(PathBuf),
    /// The packages hold no kernel, or several.
    #[error("the packages hold {count} of {what}, and one is needed: name all packages of one kernel")]
    Number {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
}
