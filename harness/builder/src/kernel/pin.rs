//! Pins a kernel to the newest version in its suite.

use std::{collections::BTreeMap, path::PathBuf};

use thiserror::Error;

use super::{
    manifest::{DebianKernel, DebianSource, Manifest, PrebuiltSource, Source},
    source::{self, SourceError},
};
use crate::{
    cache::{Area, Cache},
    digest::Sha256,
    file::{self, FileError},
    mirror::{Archive, ArchiveError, KernelPackage, Mirror, Package},
    progress::Progress,
};

/// Why a kernel could not be pinned.
#[derive(Debug, Error)]
pub enum PinError {
    /// The kernel does not come from Debian packages, which alone have versions to choose from.
    #[error("{}: only a kernel from Debian packages can be pinned; edit the manifest by hand", .0.display())]
    NotDebian(PathBuf),
    /// The suite has no kernel with all packages.
    #[error(
        "{}: {suite} has no kernel with all of the packages {}; another series or suite needs a new manifest",
        path.display(), wanted.join(", ")
    )]
    Incomplete {
        /// The manifest.
        path: PathBuf,
        /// The suite.
        suite: String,
        /// The packages of a kernel, with `*` for its release.
        wanted: Vec<String>,
    },
    /// A package is not available.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The manifest could not be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Writes the newest version of a kernel's packages, or the requested one, to its manifest; returns the version.
pub fn pin(manifest: &Manifest, version: Option<&str>, cache: &Cache, progress: &Progress) -> Result<String, PinError> {
    let (suite, old) = match &manifest.source {
        Source::Debian(old) => (&old.suite, vec![old.clone()]),
        Source::Prebuilt(PrebuiltSource::Debian(old)) => (&old.suite, old.each().collect()),
        _ => return Err(PinError::NotDebian(manifest.path.clone())),
    };
    let context = PinContext::open(manifest, suite, cache, progress)?;
    let packages = match &manifest.source {
        Source::Prebuilt(PrebuiltSource::Debian(old)) => context.newest_kernel(old, version)?,
        _ => vec![context.newest_package(&old[0].package, version)?],
    };
    let new: Vec<DebianSource> = packages.iter().map(|package| context.fetch(package)).collect::<Result<_, _>>()?;
    let text = file::read_text(&manifest.path)?;
    let text = repinned(&text, &old, &new);
    file::replace(&manifest.path, &text).map_err(FileError::of("write", &manifest.path))?;
    Ok(packages[0].version.clone())
}

/// The archive to choose versions from, and the manifest.
struct PinContext<'d> {
    manifest: &'d Manifest,
    archive: Archive,
    cache: &'d Cache,
    progress: &'d Progress,
}

impl<'d> PinContext<'d> {
    fn open(
        manifest: &'d Manifest,
        suite: &str,
        cache: &'d Cache,
        progress: &'d Progress,
    ) -> Result<Self, SourceError> {
        let archive = Archive::open(cache, Mirror::of_this_machine()?, suite, progress);
        let archive = archive.map_err(|error| SourceError::archive(manifest.name.as_str(), error))?;
        Ok(Self { manifest, archive, cache, progress })
    }

    fn failed(&self, error: ArchiveError) -> SourceError {
        SourceError::archive(self.manifest.name.as_str(), error)
    }

    /// Returns the newest or the requested version of a package whose name does not change.
    fn newest_package(&self, name: &str, version: Option<&str>) -> Result<Package, PinError> {
        let versions = self.archive.versions(name).map_err(|error| self.failed(error))?;
        let newest = version.map(str::to_owned).or_else(|| versions.into_iter().next());
        let version = newest.ok_or_else(|| self.incomplete(vec![name.to_owned()]))?;
        Ok(Package { name: name.to_owned(), version })
    }

    /// Returns the packages of the newest kernel of the same series and flavour that has all of them in one version.
    fn newest_kernel(&self, old: &DebianKernel, version: Option<&str>) -> Result<Vec<Package>, PinError> {
        let parts: Vec<KernelPackage> = old.packages.keys().filter_map(|name| KernelPackage::of(name)).collect();
        let wanted = || parts.iter().map(|part| part.with_release("*").to_string()).collect();
        let first = parts.first().filter(|_| parts.len() == old.packages.len());
        let Some(first) = first else { return Err(self.incomplete(old.packages.keys().cloned().collect())) };
        for sibling in self.archive.siblings(&first.to_string()).map_err(|error| self.failed(error))? {
            let names: Vec<String> = parts.iter().map(|part| part.with_release(&sibling.release).to_string()).collect();
            let versions: Result<Vec<_>, _> = names.iter().map(|name| self.archive.versions(name)).collect();
            let versions = versions.map_err(|error| self.failed(error))?;
            if let Some(common) = common(&versions, version) {
                let package = |name| Package { name, version: common.clone() };
                return Ok(names.into_iter().map(package).collect());
            }
        }
        Err(self.incomplete(wanted()))
    }

    fn incomplete(&self, wanted: Vec<String>) -> PinError {
        let (path, suite) = (self.manifest.path.clone(), self.archive.suite().to_owned());
        PinError::Incomplete { path, suite, wanted }
    }

    /// Fetches a package to pin, for its sum.
    fn fetch(&self, package: &Package) -> Result<DebianSource, SourceError> {
        let downloads = self.cache.folder(Area::Downloads)?;
        let folder = tempfile::tempdir_in(&downloads).map_err(FileError::of("create a folder in", &downloads))?;
        let file = self.archive.download(package, folder.path(), self.progress).map_err(|error| self.failed(error))?;
        let sha256 = Sha256::of_file(&file).map_err(FileError::of("read", &file))?;
        let Package { name, version } = package.clone();
        let new = DebianSource { package: name, version, suite: self.archive.suite().to_owned(), sha256 };
        source::keep_package(&new, &file, self.cache, self.progress)?;
        Ok(new)
    }
}

/// Returns the newest version that every package has, or the requested one if every package has it.
fn common(versions: &[Vec<String>], requested: Option<&str>) -> Option<String> {
    let (first, others) = versions.split_first()?;
    let fits = |version: &&String| {
        requested.is_none_or(|requested| *version == requested)
            && others.iter().all(|versions| versions.contains(version))
    };
    first.iter().find(fits).cloned()
}

/// Returns the manifest's text with new names, versions and sums; everything else stays as it was.
fn repinned(text: &str, old: &[DebianSource], new: &[DebianSource]) -> String {
    let mut words: BTreeMap<String, String> = BTreeMap::new();
    for (old, new) in old.iter().zip(new) {
        let fields = |source: &DebianSource| {
            [source.package.clone(), source.version.clone(), source.sha256.to_string()]
                .map(|text| format!("\"{text}\""))
        };
        words.extend(fields(old).into_iter().zip(fields(new)));
    }
    words.iter().fold(text.to_owned(), |text, (old, new)| text.replace(old, new))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str, sum: &str) -> DebianSource {
        let sha256 = Sha256::of_reader(sum.as_bytes()).unwrap();
        DebianSource { package: name.into(), version: version.into(), suite: "trixie".into(), sha256 }
    }

    #[test]
    fn only_name_version_and_sum_change() {
        let text = |sources: &[DebianSource]| {
            let head = format!("# 6.12.1-1 is kept\nversion = \"{}\" # pinned\n", sources[0].version);
            sources.iter().fold(head, |text, s| text + &format!("\"{}\" = \"{}\"\n", s.package, s.sha256))
        };
        let old =
            [package("linux-base-6.12.1-amd64", "6.12.1-1", "a"), package("linux-x-6.12.1-amd64", "6.12.1-1", "b")];
        let new =
            [package("linux-base-6.12.2-amd64", "6.12.2-1", "c"), package("linux-x-6.12.2-amd64", "6.12.2-1", "d")];
        assert_eq!(repinned(&text(&old), &old, &new), text(&new));
        let (old, new) = ([package("linux-source-6.12", "1", "a")], [package("linux-source-6.12", "2", "b")]);
        assert_eq!(repinned(&text(&old), &old, &new), text(&new));
    }

    #[test]
    fn a_kernel_is_pinned_to_a_version_that_all_its_packages_have() {
        let versions = |lists: &[&[&str]]| -> Vec<Vec<String>> {
            lists.iter().map(|list| list.iter().map(|version| (*version).to_owned()).collect()).collect()
        };
        assert_eq!(common(&versions(&[&["3", "2"], &["2", "1"]]), None).as_deref(), Some("2"));
        assert_eq!(common(&versions(&[&["3", "2"], &["3", "2"]]), Some("2")).as_deref(), Some("2"));
        assert_eq!(common(&versions(&[&["3"], &[]]), None), None);
        assert_eq!(common(&versions(&[&["3"]]), Some("4")), None);
    }
}
