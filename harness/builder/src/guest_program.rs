//! The programs that run in the guest: static executables, which run in any image, kept in the cache.
//!
//! Finding them takes one look at their sources. Building them takes minutes only the first time: libbpf, libelf and
//! zlib are built from source and kept in a separate target folder. Because it is not the workspace's, a build started
//! from within `cargo test` or `cargo run` does not wait for their lock.

mod cargo;
mod error;
pub mod guard;
pub mod loaders;
mod sources;

use std::{
    fs,
    path::{Path, PathBuf},
};

use cargo::Builds;
pub use error::GuestProgramError;

use crate::{
    cache::{Area, Cache, Entry, Lock, Part, cleaning::References},
    digest::Sha256,
    progress::Progress,
};

/// The package of the guest program, which makes the containers and attempts.
const GUEST: &str = "harness-guest";
/// The package of the guest's init and agent.
const INIT: &str = "harness-init";
/// The folder of a project that has the programs themselves, in the place of their sources.
pub(crate) const READY: &str = "programs";
/// The folder cargo builds them in.
const TARGET: &str = "guest-program";
/// How the names of the workspace's own packages start.
const OURS: [&str; 4] = ["harness-", "guard-", guard::GUARD, loaders::PREFIX];

/// Built guest programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestProgram {
    /// A sum of the programs themselves: sources that differ only in what does not reach the guest give the same one.
    pub key: String,
    /// Their folder.
    folder: PathBuf,
}

impl GuestProgram {
    /// Returns the programs in a folder.
    pub(crate) fn in_folder(folder: PathBuf) -> Result<Self, GuestProgramError> {
        let sum = |name: &str| {
            let path = folder.join(name);
            Sha256::of_file(&path).map_err(|source| GuestProgramError::Program { path, source })
        };
        let sums = [sum(GUEST)?, sum(INIT)?].map(|sum| sum.to_string());
        let key = Sha256::of_parts(sums.iter().map(|sum| sum.as_bytes())).to_string();
        Ok(Self { key, folder })
    }

    /// The guest program, which makes the containers and attempts.
    pub fn path(&self) -> PathBuf {
        self.folder.join(GUEST)
    }

    /// The guest's init and agent.
    pub fn init(&self) -> PathBuf {
        self.folder.join(INIT)
    }
}

/// Returns the folder of a project's programs, if it has them in the place of their sources.
fn ready(project: &Path) -> Option<PathBuf> {
    Some(project.join(READY)).filter(|folder| folder.is_dir())
}

/// Returns the files and folders, relative to a workspace, that its guest programs and the guard's program are made from.
pub fn sources() -> impl Iterator<Item = &'static str> {
    sources::GUEST.iter().chain(sources::GUARD).copied()
}

/// Returns the guest programs of a workspace, if they were built from its current sources.
pub fn find_built(workspace: &Path, cache: &Cache) -> Result<Option<GuestProgram>, GuestProgramError> {
    if let Some(folder) = ready(workspace) {
        return GuestProgram::in_folder(folder).map(Some);
    }
    let key = sources::key(workspace, sources::GUEST, &[])?;
    let folder = cache.entry(Area::Guest, &key)?.undamaged(Part::Whole)?;
    folder.map(GuestProgram::in_folder).transpose()
}

/// Adds the guest programs of a workspace; adds all of them if its sources cannot be read.
pub(crate) fn add_references(workspace: &Path, references: &mut References) {
    references.add(Area::Trees, TARGET);
    for key in [sources::key(workspace, sources::GUEST, &[]), guard::key(workspace), loaders::key(workspace)] {
        match key {
            Ok(key) => references.add(Area::Guest, key),
            Err(_) => references.add_all(Area::Guest, ""),
        }
    }
}

/// Returns the guest programs of a workspace, built if needed.
pub fn build(workspace: &Path, cache: &Cache, progress: &Progress) -> Result<GuestProgram, GuestProgramError> {
    if let Some(folder) = ready(workspace) {
        return GuestProgram::in_folder(folder);
    }
    let key = sources::key(workspace, sources::GUEST, &[])?;
    let entry = cache.entry(Area::Guest, &key)?;
    let make = |lock: &Lock| compile("guest program", &[GUEST, INIT], workspace, (cache, lock), progress);
    let folder = built(entry, progress, make)?;
    GuestProgram::in_folder(folder)
}

/// Returns the folder of an entry, made if needed.
fn built(
    entry: Entry,
    progress: &Progress,
    make: impl FnOnce(&Lock) -> Result<PathBuf, GuestProgramError>,
) -> Result<PathBuf, GuestProgramError> {
    if let Some(folder) = entry.intact(Part::Whole, progress)? {
        return Ok(folder);
    }
    let lock = entry.lock(progress)?;
    // Another process may have built it while this one was waiting.
    match lock.intact(Part::Whole, progress)? {
        Some(folder) => Ok(folder),
        None => make(&lock),
    }
}

/// Compiles programs, shown as `what` and named like their packages, and publishes a folder of them as the locked entry.
fn compile(
    what: &'static str,
    programs: &[&str],
    workspace: &Path,
    (cache, lock): (&Cache, &Lock),
    progress: &Progress,
) -> Result<PathBuf, GuestProgramError> {
    // Locked until the programs are copied: clones of the project share the folder.
    let target = cache.entry(Area::Trees, TARGET)?.lock(progress)?;
    let target_folder = target.entry().path();
    forget(&target_folder);
    compile_in((&target_folder, Builds::Once), what, programs, workspace, (lock, progress))
}

/// Makes cargo recompile the workspace's own packages.
fn forget(target_folder: &Path) {
    OURS.iter().for_each(|prefix| cargo::forget(target_folder, prefix));
}

/// As [`compile`], in a folder that nobody else uses; it is built in as often as said.
fn compile_in(
    target: (&Path, Builds),
    what: &'static str,
    programs: &[&str],
    workspace: &Path,
    (lock, progress): (&Lock, &Progress),
) -> Result<PathBuf, GuestProgramError> {
    let built = cargo::build(what, workspace, programs, target, progress)
        .map_err(|source| GuestProgramError::Build { what, source })?;
    let staging = lock.stage_folder()?;
    for name in programs {
        let (from, to) = (built.join(name), staging.path().join(name));
        fs::copy(&from, &to).map_err(|source| GuestProgramError::Copy { from, to, source })?;
    }
    Ok(staging.publish()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::Project;

    #[test]
    fn a_program_with_a_flipped_bit_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path()).unwrap();
        let project = Project::find().unwrap();
        let lock = cache.entry(Area::Guest, &sources::key(project.root(), sources::GUEST, &[]).unwrap()).unwrap();
        let lock = lock.lock(&Progress::silent()).unwrap();
        let staging = lock.stage_folder().unwrap();
        [GUEST, INIT].into_iter().for_each(|name| fs::write(staging.path().join(name), "program").unwrap());
        let published = staging.publish().unwrap();
        assert!(find_built(project.root(), &cache).unwrap().is_some());
        fs::write(published.join(INIT), "prograM").unwrap();
        assert_eq!(find_built(project.root(), &cache).unwrap(), None);
    }
}
