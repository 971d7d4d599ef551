//! Packages pinned by version and sum: fetched once, and checked on each use.

use std::{
    collections::{BTreeMap, btree_map},
    fs,
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::{Archive, ArchiveError, Mirror, MirrorError, Package, lists_of};
use crate::{
    cache::{Area, Cache, CacheError, cleaning::References},
    digest::Sha256,
    file::FileError,
    progress::Progress,
};

/// A pinned package.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PinnedPackage<'a> {
    /// The suite it is in.
    pub(crate) suite: &'a str,
    /// Its name.
    pub(crate) name: &'a str,
    /// Its full Debian version.
    pub(crate) version: &'a str,
    /// The sum of the package file.
    pub(crate) sha256: Sha256,
}

/// Why a package is not available.
#[derive(Debug, Error)]
pub(crate) enum PinnedError {
    /// The mirror is not known.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// The archive does not have it, or could not be read.
    #[error(transparent)]
    Archive(#[from] Box<ArchiveError>),
    /// The received file has another sum.
    #[error("the received file has the SHA-256 sum {found}")]
    WrongSum {
        /// Its sum.
        found: Sha256,
    },
    /// A package file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A cache operation failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// Fetches packages into a cache. Fetches the lists of a suite once, and only when one of its packages is missing.
#[derive(Debug)]
pub(crate) struct Fetcher<'a> {
    cache: &'a Cache,
    progress: &'a Progress,
    archives: BTreeMap<String, Archive>,
}

impl<'a> Fetcher<'a> {
    /// Keeps packages in this cache.
    pub(crate) fn new(cache: &'a Cache, progress: &'a Progress) -> Self {
        Self { cache, progress, archives: BTreeMap::new() }
    }

    /// Returns the file of a package, fetched if needed.
    pub(crate) fn fetch(&mut self, package: &PinnedPackage<'_>) -> Result<PathBuf, PinnedError> {
        let lock = self.cache.entry(Area::Downloads, &package.file_name())?.lock(self.progress)?;
        if let Some(file) = lock.entry().pinned(package.sha256, self.progress)? {
            return Ok(file);
        }
        let (cache, progress) = (self.cache, self.progress);
        let archive = self.archive(package.suite)?;
        let folder =
            tempfile::tempdir_in(cache.folder(Area::Downloads)?).map_err(FileError::of("read", cache.root()))?;
        let wanted = Package { name: package.name.to_owned(), version: package.version.to_owned() };
        let file = archive.download_pinned(&wanted, package.sha256, folder.path(), progress).map_err(Box::new)?;
        package.check(sum(&file)?)?;
        let staging = lock.stage()?;
        fs::rename(&file, staging.path()).map_err(FileError::of("read", &file))?;
        Ok(staging.publish()?)
    }

    /// Adds a suite.
    #[cfg(test)]
    pub(crate) fn add(&mut self, archive: Archive) {
        self.archives.insert(archive.suite().to_owned(), archive);
    }

    /// Returns a suite whose lists were fetched.
    pub(crate) fn opened(&self, suite: &str) -> Option<&Archive> {
        self.archives.get(suite)
    }

    /// Returns a suite of this machine's mirror, its lists fetched if needed.
    fn archive(&mut self, suite: &str) -> Result<&Archive, PinnedError> {
        Ok(match self.archives.entry(suite.to_owned()) {
            btree_map::Entry::Occupied(archive) => archive.into_mut(),
            btree_map::Entry::Vacant(vacant) => {
                let mirror = Mirror::of_this_machine()?;
                vacant.insert(Archive::open(self.cache, mirror, suite, self.progress).map_err(Box::new)?)
            }
        })
    }
}

impl PinnedPackage<'_> {
    /// Returns the name of its file in the cache.
    fn file_name(&self) -> String {
        format!("{}-{}.deb", self.name, self.sha256.short())
    }

    /// Adds its items in the cache.
    pub(crate) fn add_references(&self, references: &mut References) {
        references.add(Area::Downloads, self.file_name());
        references.add_all(Area::Downloads, lists_of(self.suite));
    }

    fn check(&self, found: Sha256) -> Result<(), PinnedError> {
        if found == self.sha256 { Ok(()) } else { Err(PinnedError::WrongSum { found }) }
    }
}

/// The sum of the package file.
fn sum(file: &Path) -> Result<Sha256, FileError> {
    Sha256::of_file(file).map_err(FileError::of("read", file))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(sha256: Sha256) -> PinnedPackage<'static> {
        PinnedPackage { suite: "trixie", name: "p", version: "1", sha256 }
    }

    #[test]
    fn a_cached_package_needs_no_archive() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("cache")).unwrap();
        let sum = Sha256::of_reader(&b"package"[..]).unwrap();
        let file = cache.folder(Area::Downloads).unwrap().join(format!("p-{}.deb", sum.short()));
        fs::write(&file, "package").unwrap();
        assert_eq!(Fetcher::new(&cache, &Progress::silent()).fetch(&package(sum)).unwrap(), file);
    }

    #[test]
    fn a_package_with_another_sum_is_refused() {
        let (pinned, found) = (Sha256::of_parts([]), Sha256::of_parts([&b"x"[..]]));
        package(pinned).check(pinned).unwrap();
        assert!(matches!(package(pinned).check(found), Err(PinnedError::WrongSum { found: sum }) if sum == found));
    }
}
