//! Why the guest program is not available.

use std::{io, path::PathBuf};

use thiserror::Error;

use crate::{cache::CacheError, command::CommandError};

/// Why the guest program is not available.
#[derive(Debug, Error)]
pub enum GuestProgramError {
    /// A source file could not be read.
    #[error("cannot read {}, a source of the guest program", path.display())]
    Source {
        /// The file or folder.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A program that was built could not be read.
    #[error("cannot read the guest program {}; to build it again, remove its folder", path.display())]
    Program {
        /// The program.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The compiler does not report its version.
    #[error("cannot get the version of the Rust compiler")]
    Compiler(#[source] CommandError),
    /// The compiler of the guard's BPF programs does not report its version.
    #[error("cannot get the version of clang, which compiles the guard's BPF programs")]
    Clang(#[source] CommandError),
    /// The build failed.
    #[error("cannot build the {what}")]
    Build {
        /// The program.
        what: &'static str,
        /// The error of cargo.
        source: CommandError,
    },
    /// A built program could not be copied to the cache.
    #[error("cannot copy {} to {}", from.display(), to.display())]
    Copy {
        /// The built program.
        from: PathBuf,
        /// Its path in the cache.
        to: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A cache operation failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
}
