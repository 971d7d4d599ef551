//! Programs that do nothing but load an object, each by another library: static executables like the guest program. Real
//! programs of packages come with images ([`crate::image`]).

use std::path::{Path, PathBuf};

use super::{GuestProgramError, built, compile, sources};
use crate::{
    cache::{Area, Cache, Part},
    progress::Progress,
};

/// How the names of their packages start.
pub(super) const PREFIX: &str = "load-by-";
const AYA: &str = "load-by-aya";
const LIBBPF: &str = "load-by-libbpf";

/// The programs, built. Each takes an object and a folder of a bpffs, and pins the programs of the object there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaders {
    folder: PathBuf,
}

impl Loaders {
    /// The program that loads by aya.
    pub fn aya(&self) -> PathBuf {
        self.folder.join(AYA)
    }

    /// The program that loads by libbpf.
    pub fn libbpf(&self) -> PathBuf {
        self.folder.join(LIBBPF)
    }
}

/// Returns the programs of a workspace, if they were built from its current sources.
///
/// # Errors
/// [`GuestProgramError`] if a source or the cache cannot be read, or if the compiler is missing.
pub fn find_built(workspace: &Path, cache: &Cache) -> Result<Option<Loaders>, GuestProgramError> {
    let folder = cache.entry(Area::Guest, &key(workspace)?)?.undamaged(Part::Whole)?;
    Ok(folder.map(|folder| Loaders { folder }))
}

/// Returns the programs of a workspace, built if needed.
///
/// # Errors
/// [`GuestProgramError`], with the compiler's message, if they cannot be built.
pub fn build(workspace: &Path, cache: &Cache, progress: &Progress) -> Result<Loaders, GuestProgramError> {
    let entry = cache.entry(Area::Guest, &key(workspace)?)?;
    let make = |lock: &_| compile("loaders of objects", &[AYA, LIBBPF], workspace, (cache, lock), progress);
    Ok(Loaders { folder: built(entry, progress, make)? })
}

/// Computes a hash of everything that they are made from.
pub(super) fn key(workspace: &Path) -> Result<String, GuestProgramError> {
    sources::key(workspace, sources::LOADERS, &[AYA])
}
