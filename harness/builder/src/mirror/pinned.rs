//! Packages that somebody pins by version and sum: fetched once, and checked each time they are used.

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

/// A package as it is pinned.
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

/// Why a package could not be had.
#[derive(Debug, Error)]
pub(crate) enum PinnedError {
    /// No mirror is known.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// The archive does not have it, or could not be read.
    #[error(transparent)]
    Archive(#[from] Box<ArchiveError>),
    /// What came has another sum.
    #[error("it has the SHA-256 sum {found}")]
    WrongSum {
        /// That one.
        found: Sha256,
    },
    /// A package file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// Fetches packages into a cache. The lists of a suite are fetched only when a package of it is missing, and then once.
#[derive(Debug)]
pub(crate) struct Fetcher<'a> {
    cache: &'a Cache,
    progress: &'a Progress,
    archives: BTreeMap<String, Archive>,
}

impl<'a> Fetcher<'a> {
    /// One that keeps packages in this cache.
    pub(crate) fn new(cache: &'a Cache, progress: &'a Progress) -> Self {
        Self { cache, progress, archives: BTreeMap::new() }
    }

    /// The file of a package.
    pub(crate) fn fetch(&mut self, package: &PinnedPackage<'_>) -> Result<PathBuf, PinnedError> {
        let lock = self.cache.entry(Area::Downloads, &package.file_name())?.lock(self.progress)?;
        if let Some(file) = lock.entry().existing()
            && sum(&file)? == package.sha256
        {
            return Ok(file);
        }
        let archive = match self.archives.entry(package.suite.to_owned()) {
            btree_map::Entry::Occupied(archive) => archive.into_mut(),
            btree_map::Entry::Vacant(place) => {
                let mirror = Mirror::of_this_machine()?;
                place.insert(Archive::open(self.cache, mirror, package.suite, self.progress).map_err(Box::new)?)
            }
        };
        let folder = tempfile::tempdir_in(self.cache.folder(Area::Downloads)?)
            .map_err(FileError::of("read", self.cache.root()))?;
        let wanted = Package { name: package.name.to_owned(), version: package.version.to_owned() };
        let file = archive.download(&wanted, folder.path(), self.progress).map_err(Box::new)?;
        package.check(sum(&file)?)?;
        let staging = lock.stage()?;
        fs::rename(&file, staging.path()).map_err(FileError::of("read", &file))?;
        Ok(staging.publish()?)
    }
}

impl PinnedPackage<'_> {
    /// The name of its file in the cache.
    fn file_name(&self) -> String {
        format!("{}-{}.deb", self.name, self.sha256.short())
    }

    /// Adds what it keeps in the cache.
    pub(crate) fn add_references(&self, references: &mut References) {
        references.add(Area::Downloads, self.file_name());
        references.add_all(Area::Downloads, lists_of(self.suite));
    }

    fn check(&self, found: Sha256) -> Result<(), PinnedError> {
        if found == self.sha256 { Ok(()) } else { Err(PinnedError::WrongSum { found }) }
    }
}

/// The sum of a package file.
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
    fn what_was_fetched_before_needs_no_archive() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("cache")).unwrap();
        let sum = Sha256::of_reader(&b"package"[..]).unwrap();
        let file = cache.folder(Area::Downloads).unwrap().join(format!("p-{}.deb", sum.short()));
        fs::write(&file, "package").unwrap();
        assert_eq!(Fetcher::new(&cache, &Progress::silent()).fetch(&package(sum)).unwrap(), file);
    }

    #[test]
    fn what_has_another_sum_is_not_taken() {
        let (pinned, found) = (Sha256::of_parts([]), Sha256::of_parts([&b"x"[..]]));
        package(pinned).check(pinned).unwrap();
        let error = package(pinned).check(found).unwrap_err().to_string();
        assert!(error.contains(&found.to_string()), "{error}");
    }
}
