//! Why there are no mutants, or no kernel of one.

use std::path::PathBuf;

use harness_protocol::name::{KernelName, MutantName};
use thiserror::Error;

use super::edit::EditMismatch;
use crate::{
    cache::CacheError, command::CommandError, file::FileError, kernel::error::KernelError, listing::ListingError,
};

/// Why the mutants cannot be used.
#[derive(Debug, Error)]
pub enum MutantError {
    /// The folder could not be listed.
    #[error(transparent)]
    Folder(#[from] ListingError),
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is not one of mutants.
    #[error("{}:\n{}", path.display(), .error.to_string().trim_end())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where, and what is wrong there.
        error: Box<toml::de::Error>,
    },
    /// A mutant says something that cannot be.
    #[error("{}: mutant {mutant}: {reason}", path.display())]
    Meaning {
        /// The file.
        path: PathBuf,
        /// Which.
        mutant: MutantName,
        /// What is wrong.
        reason: String,
    },
}

/// Why there is no kernel with a bug.
#[derive(Debug, Error)]
pub enum MutationError {
    /// The edit does not fit the source.
    #[error("mutant {mutant} does not fit kernel {kernel}: {file}: {source}", file = file.display())]
    Misfit {
        /// Which mutant.
        mutant: MutantName,
        /// Which kernel.
        kernel: KernelName,
        /// The file below the top of its source.
        file: PathBuf,
        /// Why.
        source: Box<EditMismatch>,
    },
    /// The changed source does not compile.
    #[error("mutant {mutant} does not compile on kernel {kernel}")]
    DoesNotCompile {
        /// Which mutant.
        mutant: MutantName,
        /// Which kernel.
        kernel: KernelName,
        /// What the compiler said.
        source: CommandError,
    },
    /// A kernel that was there a moment ago is not any more.
    #[error("the kernel of mutant {mutant} was just removed from the cache; run this again")]
    Gone {
        /// Which mutant.
        mutant: MutantName,
    },
    /// The copy is not of the kernel that it is to be compared with.
    #[error("the copy in {} is configured otherwise than kernel {kernel}; remove it and try again", path.display())]
    OtherKernel {
        /// The copy.
        path: PathBuf,
        /// Which kernel.
        kernel: KernelName,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The kernel itself could not be built.
    #[error(transparent)]
    Kernel(#[from] KernelError),
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
