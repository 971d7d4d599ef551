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
        let file =
            archive.download_pinned(&package.wanted(), package.sha256, folder.path(), progress).map_err(Box::new)?;
        package.check(sum(&file)?)?;
        let staging = lock.stage()?;
        fs::rename(&file, staging.path()).map_err(FileError::of("read", &file))?;
        Ok(staging.publish()?)
    }

    /// Fetches those of these packages that are missing, the ones of each suite in one go. One that does not arrive, or is not
    /// the pinned one, is left to [`Self::fetch`], which says what is wrong.
    pub(crate) fn fetch_ahead(&mut self, packages: &[PinnedPackage<'_>]) -> Result<(), PinnedError> {
        let (cache, progress) = (self.cache, self.progress);
        let downloads = cache.folder(Area::Downloads)?;
        let mut missing: BTreeMap<&str, Vec<&PinnedPackage<'_>>> = BTreeMap::new();
        for package in packages.iter().filter(|package| !downloads.join(package.file_name()).exists()) {
            missing.entry(package.suite).or_default().push(package);
        }
        // One download alone needs no company.
        for (suite, packages) in missing.into_iter().filter(|(_, packages)| packages.len() > 1) {
            let archive = self.archive(suite)?;
            let folder = tempfile::tempdir_in(&downloads).map_err(FileError::of("read", &downloads))?;
            let wanted: Vec<Package> = packages.iter().map(|package| package.wanted()).collect();
            for file in archive.download_all(&wanted, folder.path(), progress).unwrap_or_default() {
                let found = sum(&file)?;
                if let Some(package) = packages.iter().find(|package| package.sha256 == found) {
                    package.keep(&file, cache, progress)?;
                }
            }
        }
        Ok(())
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

    fn wanted(&self) -> Package {
        Package { name: self.name.to_owned(), version: self.version.to_owned() }
    }

    /// Moves its file, whose sum is right, into the cache.
    fn keep(&self, file: &Path, cache: &Cache, progress: &Progress) -> Result<(), PinnedError> {
        let lock = cache.entry(Area::Downloads, &self.file_name())?.lock(progress)?;
        // Another process may have fetched it meanwhile.
        if lock.entry().pinned(self.sha256, progress)?.is_none() {
            let staging = lock.stage()?;
            fs::rename(file, staging.path()).map_err(FileError::of("read", file))?;
            staging.publish()?;
        }
        Ok(())
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
    use crate::mirror::archive::sample::{Sample, trusted};

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
    fn packages_are_fetched_in_one_go_and_what_does_not_arrive_is_told_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("cache")).unwrap();
        let samples = ["p", "q"].map(|name| Sample { name, version: "1", fields: "" });
        let mirror = folder.path().join("mirror");
        let archive = trusted(&cache, &mirror, "trixie", &samples);
        let (progress, log) = Progress::captured();
        let mut fetcher = Fetcher::new(&cache, &progress);
        fetcher.add(archive);
        let package = |name: &'static str, version: &'static str| PinnedPackage {
            suite: "trixie",
            name,
            version,
            sha256: sum(&mirror.join(format!("{name}.deb"))).unwrap(),
        };
        let (p, q) = (package("p", "1"), package("q", "1"));
        let wrong = PinnedPackage { sha256: Sha256::of_parts([]), ..q };
        let kept =
            |package: &PinnedPackage<'_>| cache.folder(Area::Downloads).unwrap().join(package.file_name()).exists();
        // One that is gone: none arrives, and nothing is an error yet.
        fetcher.fetch_ahead(&[p, package("q", "2")]).unwrap();
        assert!(!kept(&p) && matches!(fetcher.fetch(&package("q", "2")), Err(PinnedError::Archive(_))));
        // One that is not the pinned one is not kept.
        fetcher.fetch_ahead(&[p, wrong]).unwrap();
        assert!(kept(&p) && !kept(&wrong) && matches!(fetcher.fetch(&wrong), Err(PinnedError::WrongSum { .. })));
        fs::remove_file(fetcher.fetch(&p).unwrap()).unwrap();
        fetcher.fetch_ahead(&[p, q]).unwrap();
        assert!(kept(&p) && kept(&q));
        assert_eq!(
            log.text().lines().filter(|line| line.starts_with("download 2 packages of trixie: done")).count(),
            2,
            "{}",
            log.text()
        );
    }

    #[test]
    fn a_package_with_another_sum_is_refused() {
        let (pinned, found) = (Sha256::of_parts([]), Sha256::of_parts([&b"x"[..]]));
        package(pinned).check(pinned).unwrap();
        assert!(matches!(package(pinned).check(found), Err(PinnedError::WrongSum { found: sum }) if sum == found));
    }
}
