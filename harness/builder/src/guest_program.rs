//! The guest program: built static, so that it runs in any image, and kept in the cache.
//!
//! Finding it costs one look at the sources it is made of; building it costs minutes only once, because libbpf, libelf
//! and zlib are built from source for it and kept in a target folder of its own. That folder is apart from the
//! workspace's, so a build started from within `cargo test` or `cargo run` does not wait for their lock.

mod cargo;
mod sources;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;

pub use cargo::BuildError;

use crate::{
    cache::{Area, Cache, CacheError},
    progress::Progress,
};

/// The cargo package it is built from.
const PACKAGE: &str = "harness-guest";
/// Its file name, in the cache and in the guest.
pub const FILE_NAME: &str = "bpf-token-guest";

/// A guest program that was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestProgram {
    /// What it was built from, as a hash: equal keys, equal programs.
    pub key: String,
    /// The executable.
    pub path: PathBuf,
}

/// Why there is no guest program.
#[derive(Debug, Error)]
pub enum GuestProgramError {
    /// A source file could not be read.
    #[error("cannot read {}, a source of the guest program", path.display())]
    Source {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The compiler could not be asked for its version.
    #[error("`{command}` does not say its version: is Rust installed, and in PATH?")]
    Compiler {
        /// The command.
        command: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The build failed.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// What was built could not be copied to the cache.
    #[error("cannot copy the guest program from {} to {}", from.display(), to.display())]
    Copy {
        /// What was built.
        from: PathBuf,
        /// Where it belongs.
        to: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// The guest program of the workspace in `workspace`, if it was built from the sources as they are now.
pub fn find_built(workspace: &Path, cache: &Cache) -> Result<Option<GuestProgram>, GuestProgramError> {
    let key = sources::key(workspace)?;
    let built = cache.entry(Area::Guest, &key)?.existing().map(|folder| folder.join(FILE_NAME));
    Ok(built.filter(|path| path.is_file()).map(|path| GuestProgram { key, path }))
}

/// The guest program of the workspace in `workspace`, built if need be.
pub fn build(workspace: &Path, cache: &Cache, progress: &Progress) -> Result<GuestProgram, GuestProgramError> {
    if let Some(built) = find_built(workspace, cache)? {
        return Ok(built);
    }
    let key = sources::key(workspace)?;
    let lock = cache.entry(Area::Guest, &key)?.lock(progress)?;
    // Another process may have built it while this one waited.
    if let Some(built) = find_built(workspace, cache)? {
        return Ok(built);
    }
    let executable = cargo::build(workspace, PACKAGE, &cache.folder(Area::Trees)?.join(PACKAGE), progress)?;
    let staging = lock.stage_folder()?;
    let staged = staging.path().join(FILE_NAME);
    fs::copy(&executable, &staged).map_err(|source| GuestProgramError::Copy {
        from: executable,
        to: staged,
        source,
    })?;
    Ok(GuestProgram { path: staging.publish()?.join(FILE_NAME), key })
}
