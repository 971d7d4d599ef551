//! The programs that run in the guest: built static, so that they run in any image, and kept in the cache.
//!
//! Finding them costs one look at the sources they are made of. Building them costs minutes only once, because libbpf,
//! libelf and zlib are built from source for them and kept in a target folder of their own. That folder is apart from
//! the workspace's, so a build started from within `cargo test` or `cargo run` does not wait for their lock.

mod cargo;
mod sources;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::{
    cache::{Area, Cache, CacheError, cleaning::References},
    command::CommandError,
    progress::Progress,
};

/// The package of the program that attempts what a plan asks for.
const GUEST: &str = "harness-guest";
/// The package of the guest's init and agent.
const AGENT: &str = "harness-agent";
/// The folder cargo builds them in.
const TARGET: &str = "guest-program";

/// Guest programs that were built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestProgram {
    /// What they were built from, as a hash: equal keys, equal programs.
    pub key: String,
    /// The folder they are in.
    folder: PathBuf,
}

impl GuestProgram {
    /// Programs of this key in this folder.
    pub(crate) fn in_folder(key: impl Into<String>, folder: PathBuf) -> Self {
        Self { key: key.into(), folder }
    }

    /// The program that attempts what a plan asks for.
    pub fn path(&self) -> PathBuf {
        self.folder.join(GUEST)
    }

    /// The guest's init and agent.
    pub fn agent(&self) -> PathBuf {
        self.folder.join(AGENT)
    }
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

/// The guest program of the workspace in this folder, if it was built from the sources as they are now.
pub fn find_built(workspace: &Path, cache: &Cache) -> Result<Option<GuestProgram>, GuestProgramError> {
    let key = sources::key(workspace)?;
    let folder = cache.entry(Area::Guest, &key)?.existing();
    Ok(folder.map(|folder| GuestProgram::in_folder(key, folder)))
}

/// Adds the guest program of the workspace in this folder; every one, if its sources cannot be read.
pub(crate) fn add_references(workspace: &Path, references: &mut References) {
    references.add(Area::Trees, TARGET);
    match sources::key(workspace) {
        Ok(key) => references.add(Area::Guest, key),
        Err(_) => references.add_all(Area::Guest, ""),
    }
}

/// The guest program of the workspace in this folder, built if need be.
pub fn build(workspace: &Path, cache: &Cache, progress: &Progress) -> Result<GuestProgram, GuestProgramError> {
    let key = sources::key(workspace)?;
    let entry = cache.entry(Area::Guest, &key)?;
    if let Some(folder) = entry.existing() {
        return Ok(GuestProgram::in_folder(key, folder));
    }
    let lock = entry.lock(progress)?;
    // Another process may have built it while this one waited.
    if let Some(folder) = lock.entry().existing() {
        return Ok(GuestProgram::in_folder(key, folder));
    }
    // Held until the programs are copied: clones of the project share the folder.
    let target = cache.entry(Area::Trees, TARGET)?.lock(progress)?;
    let target_folder = target.entry().path();
    cargo::forget(&target_folder, "harness-");
    let built = cargo::build(workspace, &[GUEST, AGENT], &target_folder, progress).map_err(GuestProgramError::Build)?;
    let staging = lock.stage_folder()?;
    for name in [GUEST, AGENT] {
        let (from, to) = (built.join(name), staging.path().join(name));
        fs::copy(&from, &to).map_err(|source| GuestProgramError::Copy { from, to, source })?;
    }
    Ok(GuestProgram::in_folder(key, staging.publish()?))
}
