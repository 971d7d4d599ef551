//! The guard's program, which loads the guard's BPF programs: a static executable like the guest program, but with a key
//! of its own, so that editing the guard invalidates only outcomes of scenarios under it.

use std::path::{Path, PathBuf};

use super::{GuestProgramError, built, cargo::Builds, compile, compile_in, forget, ready, sources};
use crate::{
    cache::{Area, Cache, Part},
    compilers::CLANG,
    digest::Sha256,
    progress::Progress,
};

/// The package, and the program.
pub const GUARD: &str = "bpf-guard";

/// What its build is called.
const WHAT: &str = "guard's program";
/// How the names of programs of changed copies start in the cache.
pub(crate) const CHANGED: &str = "guard-";

/// The guard's program, built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardProgram {
    /// A sum of the program itself.
    pub key: String,
    path: PathBuf,
}

impl GuardProgram {
    fn in_folder(folder: &Path) -> Result<Self, GuestProgramError> {
        Self::at(folder.join(GUARD))
    }

    /// Returns the program at a path.
    ///
    /// # Errors
    /// [`GuestProgramError::Program`] if it cannot be read.
    pub fn at(path: PathBuf) -> Result<Self, GuestProgramError> {
        match Sha256::of_file(&path) {
            Ok(sum) => Ok(Self { key: sum.to_string(), path }),
            Err(source) => Err(GuestProgramError::Program { path, source }),
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Returns the guard's program of a workspace, if it was built from its current sources.
///
/// # Errors
/// [`GuestProgramError`] if a source or the cache cannot be read, or if a compiler is missing.
pub fn find_built(workspace: &Path, cache: &Cache) -> Result<Option<GuardProgram>, GuestProgramError> {
    if let Some(folder) = ready(workspace) {
        return GuardProgram::in_folder(&folder).map(Some);
    }
    let folder = cache.entry(Area::Guest, &key(workspace)?)?.undamaged(Part::Whole)?;
    folder.map(|folder| GuardProgram::in_folder(&folder)).transpose()
}

/// Returns the guard's program of a workspace, built if needed.
///
/// # Errors
/// [`GuestProgramError`], with the compiler's message, if it cannot be built.
pub fn build(workspace: &Path, cache: &Cache, progress: &Progress) -> Result<GuardProgram, GuestProgramError> {
    if let Some(folder) = ready(workspace) {
        return GuardProgram::in_folder(&folder);
    }
    let entry = cache.entry(Area::Guest, &key(workspace)?)?;
    let folder = built(entry, progress, |lock| compile(WHAT, &[GUARD], workspace, (cache, lock), progress))?;
    GuardProgram::in_folder(&folder)
}

/// Returns the program of a changed copy of a workspace, built if needed, under the name of the change. Cargo builds in the
/// folder `target`, which only the copy uses.
pub(crate) fn build_changed(
    name: &str,
    copy: &Path,
    target: &Path,
    cache: &Cache,
    progress: &Progress,
) -> Result<GuardProgram, GuestProgramError> {
    let entry = cache.entry(Area::Mutants, &format!("{CHANGED}{name}-{}", key(copy)?))?;
    let folder =
        built(entry, progress, |lock| compile_in((target, Builds::Often), WHAT, &[GUARD], copy, (lock, progress)))?;
    GuardProgram::in_folder(&folder)
}

/// Makes cargo recompile everything that may be of another copy in the folder `target`.
pub(crate) fn forget_others(target: &Path) {
    forget(target);
}

/// Computes a hash of everything that the program is made from.
pub(super) fn key(workspace: &Path) -> Result<String, GuestProgramError> {
    let clang = CLANG.version().map_err(GuestProgramError::Clang)?;
    sources::key(workspace, sources::GUARD, &[GUARD, &clang])
}
