//! Why mutants are not available.

use std::path::PathBuf;

use harness_protocol::name::{KernelName, MutantName};
use thiserror::Error;

use super::edit::EditMismatch;
use crate::{
    cache::CacheError,
    command::CommandError,
    file::{FileError, TomlError},
    guest_program::GuestProgramError,
    kernel::error::KernelError,
    listing::ListingError,
};

/// Why mutants cannot be read.
#[derive(Debug, Error)]
pub enum MutantError {
    /// The folder could not be listed.
    #[error(transparent)]
    Folder(#[from] ListingError),
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is not a file of mutants.
    #[error(transparent)]
    Syntax(#[from] TomlError),
    /// A mutant contradicts itself.
    #[error("{}: mutant {mutant}: {reason}", path.display())]
    Meaning {
        /// The file.
        path: PathBuf,
        /// The mutant.
        mutant: MutantName,
        /// What is wrong.
        reason: String,
    },
}

/// Why a mutant could not be built.
#[derive(Debug, Error)]
pub enum MutationError {
    /// The edit does not fit the source.
    #[error("mutant {mutant} does not fit {of}: cannot edit {}", file.display())]
    Misfit {
        /// The mutant.
        mutant: MutantName,
        /// What it is a mutant of: `kernel NAME`, or the guard.
        of: String,
        /// The file, relative to its source.
        file: PathBuf,
        /// Why.
        source: Box<EditMismatch>,
    },
    /// The changed source does not compile.
    #[error("mutant {mutant} does not compile as {of}")]
    DoesNotCompile {
        /// The mutant.
        mutant: MutantName,
        /// What it is a mutant of: `kernel NAME`, or the guard.
        of: String,
        /// The error of the compiler.
        source: CommandError,
    },
    /// A kernel disappeared from the cache a moment ago.
    #[error("mutant {mutant} was just removed from the cache; run this again")]
    Gone {
        /// The mutant.
        mutant: MutantName,
    },
    /// The copy is not of the kernel to compare with.
    #[error("the copy in {} is not configured like kernel {kernel}; remove it and try again", path.display())]
    OtherKernel {
        /// The copy.
        path: PathBuf,
        /// The kernel.
        kernel: KernelName,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The kernel itself could not be built.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The guard's program could not be built.
    #[error(transparent)]
    Guard(#[from] GuestProgramError),
}

impl From<CacheError> for MutationError {
    fn from(error: CacheError) -> Self {
        Self::Kernel(error.into())
    }
}

impl From<CommandError> for MutationError {
    fn from(error: CommandError) -> Self {
        Self::Kernel(error.into())
    }
}
