//! The programs that run in the guest: built static, so that they run in any image, and kept in the cache.
//!
//! Finding them costs one look at the sources they are made of. Building them costs minutes only once, because libbpf,
//! libelf and zlib are built from source for them and kept in a target folder of their own. That folder is apart from
//! the workspace's, so a build started from within `cargo test` or `cargo run` does not wait for their lock.

mod cargo;
mod error;
mod sources;

use std::{
    fs,
    path::{Path, PathBuf},
};

pub use error::GuestProgramError;

use crate::{
    cache::{Area, Cache, cleaning::References},
    digest::Sha256,
    progress::Progress,
};

/// The package of the program that attempts what a plan asks for.
const GUEST: &str = "harness-guest";
/// The package of the guest's init and agent.
const INIT: &str = "harness-init";
/// The folder cargo builds them in.
const TARGET: &str = "guest-program";

/// Guest programs that were built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestProgram {
    /// A sum of the programs themselves: sources that differ only in what a guest has no part of give the same.
    pub key: String,
    /// The folder they are in.
    folder: PathBuf,
}

impl GuestProgram {
    /// The programs in this folder.
    pub(crate) fn in_folder(folder: PathBuf) -> Result<Self, GuestProgramError> {
        let sum = |name: &str| {
            let path = folder.join(name);
            Sha256::of_file(&path).map_err(|source| GuestProgramError::Program { path, source })
        };
        let sums = [sum(GUEST)?, sum(INIT)?].map(|sum| sum.to_string());
        let key = Sha256::of_parts(sums.iter().map(|sum| sum.as_bytes())).to_string();
        Ok(Self { key, folder })
    }

    /// The program that attempts what a plan asks for.
    pub fn path(&self) -> PathBuf {
        self.folder.join(GUEST)
    }

    /// The guest's init and agent.
    pub fn init(&self) -> PathBuf {
        self.folder.join(INIT)
    }
}

/// The guest program of the workspace in this folder, if it was built from the sources as they are now.
pub fn find_built(workspace: &Path, cache: &Cache) -> Result<Option<GuestProgram>, GuestProgramError> {
    let key = sources::key(workspace)?;
    let folder = cache.entry(Area::Guest, &key)?.existing();
    folder.map(GuestProgram::in_folder).transpose()
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
        return GuestProgram::in_folder(folder);
    }
    let lock = entry.lock(progress)?;
    // Another process may have built it while this one waited.
    if let Some(folder) = lock.entry().existing() {
        return GuestProgram::in_folder(folder);
    }
    // Held until the programs are copied: clones of the project share the folder.
    let target = cache.entry(Area::Trees, TARGET)?.lock(progress)?;
    let target_folder = target.entry().path();
    cargo::forget(&target_folder, "harness-");
    let built = cargo::build(workspace, &[GUEST, INIT], &target_folder, progress).map_err(GuestProgramError::Build)?;
    let staging = lock.stage_folder()?;
    for name in [GUEST, INIT] {
        let (from, to) = (built.join(name), staging.path().join(name));
        fs::copy(&from, &to).map_err(|source| GuestProgramError::Copy { from, to, source })?;
    }
    GuestProgram::in_folder(staging.publish()?)
}
