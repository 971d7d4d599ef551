//! Why there is no guest program.

use std::{io, path::PathBuf};

use thiserror::Error;

use crate::{cache::CacheError, command::CommandError};

/// Why there is no guest program.
#[derive(Debug, Error)]
pub enum GuestProgramError {
    /// A source file could not be read.
    #[error("cannot read {}, a source of the guest program", path.display())]
    Source {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A program that was built could not be read.
    #[error("cannot read the guest program {}; remove its folder, and it is built again", path.display())]
    Program {
        /// The program.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The compiler could not be asked for its version.
    #[error("cannot ask the Rust compiler for its version")]
    Compiler(#[source] CommandError),
    /// The build failed.
    #[error("the guest program cannot be built")]
    Build(#[source] CommandError),
    /// What was built could not be copied to the cache.
    #[error("cannot copy {} to {}", from.display(), to.display())]
    Copy {
        /// What was built.
        from: PathBuf,
        /// Where it belongs.
        to: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
}
