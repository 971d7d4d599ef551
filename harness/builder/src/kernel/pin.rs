//! Pins a kernel to the newest version in its suite, and replaces a pin that has left the mirror.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use harness_protocol::name::KernelName;
use thiserror::Error;

use super::{
    manifest::{DebianKernel, DebianSource, Manifest, PrebuiltSource, Source},
    source::{self, SourceError},
};
use crate::{
    cache::Cache,
    file::{self, FileError},
    mirror::{Archive, ArchiveError, KernelPackage, Mirror, Package, numbers},
    pins::{self, Repinned, Replacement, WriteError},
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
    /// The replacement could not be recorded.
    #[error(transparent)]
    Record(#[from] WriteError),
}

/// Writes the newest version of a kernel's packages, or the requested one, to its manifest; returns what changed. If its
/// name has more than a series, such as `6.12.43`, the newest version is the newest one of that release.
pub fn pin(
    manifest: &Manifest,
    version: Option<&str>,
    cache: &Cache,
    progress: &Progress,
) -> Result<Vec<Repinned>, PinError> {
    let renewed = Renewed::of(manifest, version, cache, progress)?;
    let text = file::read_text(&manifest.path)?;
    let text = repinned(&text, &renewed.old, &renewed.new);
    file::replace(&manifest.path, &text).map_err(FileError::of("write", &manifest.path))?;
    Ok(renewed.differences())
}

/// Reports whether a kernel comes from packages of a Debian archive, so that [`pin`] can renew it.
pub fn is_pinned(manifest: &Manifest) -> bool {
    manifest.base.is_none() && packages(&manifest.source).is_some()
}

/// Returns the manifest with the newest versions of the same series in place of pins that have left the mirror, and
/// records it; `None` if the suite has none.
pub(super) fn replace(manifest: &Manifest, cache: &Cache, progress: &Progress) -> Result<Option<Manifest>, PinError> {
    let renewed = match Renewed::of(manifest, None, cache, progress) {
        Err(PinError::Incomplete { .. }) => return Ok(None),
        renewed => renewed?,
    };
    let Some(file_name) = file_name(manifest) else { return Ok(None) };
    let replacement = Replacement { replaced: renewed.differences(), pins: renewed.new };
    pins::write(cache, &file_name, &replacement)?;
    Ok(Some(with(manifest, replacement)))
}

/// Returns the manifest that [`replace`] recorded last for the pins of this one, in the cache folder `root`.
pub(super) fn recorded(manifest: &Manifest, root: &Path) -> Option<Manifest> {
    Some(with(manifest, pins::read(root, &file_name(manifest)?)?))
}

/// Returns the name of the file with what takes the place of this manifest's pins; `None` if it has no pins.
pub(super) fn file_name(manifest: &Manifest) -> Option<String> {
    packages(&manifest.source)?;
    let identity = source::identity(&manifest.source).ok()?;
    Some(pins::file_name("kernel", manifest.build_name().as_str(), &identity))
}

/// Returns the pinned packages of a source, with their suite.
fn packages(source: &Source) -> Option<(&str, Vec<DebianSource>)> {
    match source {
        Source::Debian(debian) => Some((&debian.suite, vec![debian.clone()])),
        Source::Prebuilt(PrebuiltSource::Debian(kernel)) => Some((&kernel.suite, kernel.each().collect())),
        _ => None,
    }
}

fn with(manifest: &Manifest, replacement: Replacement<Vec<DebianSource>>) -> Manifest {
    let Replacement { replaced, pins } = replacement;
    let mut manifest = Manifest { replaced, ..manifest.clone() };
    match (&mut manifest.source, &pins[..]) {
        (Source::Debian(debian), [package]) => *debian = package.clone(),
        (Source::Prebuilt(PrebuiltSource::Debian(kernel)), [first, ..]) => {
            kernel.version = first.version.clone();
            kernel.packages = pins.into_iter().map(|package| (package.package, package.sha256)).collect();
        }
        _ => {}
    }
    manifest
}

/// The pinned packages of a kernel, and those to pin now, in the same order.
#[derive(Debug)]
struct Renewed {
    old: Vec<DebianSource>,
    new: Vec<DebianSource>,
}

impl Renewed {
    /// Looks for the newest version of a kernel's packages, or the requested one, with sums from the signed lists.
    fn of(manifest: &Manifest, version: Option<&str>, cache: &Cache, progress: &Progress) -> Result<Self, PinError> {
        let not_debian = || PinError::NotDebian(manifest.path.clone());
        let (suite, old) = packages(&manifest.source).ok_or_else(not_debian)?;
        let context = PinContext::open(manifest, suite, cache, progress)?;
        let packages = match &manifest.source {
            Source::Prebuilt(PrebuiltSource::Debian(kernel)) => context.newest_kernel(kernel, version)?,
            _ => vec![context.newest_package(&old[0].package, version)?],
        };
        let new = packages.into_iter().map(|package| context.pinned(package)).collect::<Result<_, _>>()?;
        Ok(Self { old, new })
    }

    fn differences(&self) -> Vec<Repinned> {
        let name = |package: &str| KernelPackage::of(package).map(|kernel| kernel.with_release("*").to_string());
        let repinned = |(old, new): (&DebianSource, &DebianSource)| {
            (old != new).then(|| Repinned {
                package: name(&old.package).unwrap_or_else(|| old.package.clone()),
                pinned: Some(old.version.clone()),
                used: Some(new.version.clone()),
            })
        };
        self.old.iter().zip(&self.new).filter_map(repinned).collect()
    }
}

/// The archive to choose versions from, and the manifest.
struct PinContext<'d> {
    manifest: &'d Manifest,
    archive: Archive,
}

impl<'d> PinContext<'d> {
    fn open(manifest: &'d Manifest, suite: &str, cache: &Cache, progress: &Progress) -> Result<Self, SourceError> {
        let archive = Archive::open(cache, Mirror::of_this_machine()?, suite, progress);
        let archive = archive.map_err(|error| SourceError::archive(manifest.name.as_str(), error))?;
        Ok(Self { manifest, archive })
    }

    fn failed(&self, error: ArchiveError) -> SourceError {
        SourceError::archive(self.manifest.name.as_str(), error)
    }

    /// Returns the versions of a package, newest first; without a requested one, only those that the kernel's name
    /// stands for.
    fn versions(&self, name: &str, requested: Option<&str>) -> Result<Vec<String>, SourceError> {
        let mut versions = self.archive.versions(name).map_err(|error| self.failed(error))?;
        versions.retain(|version| requested.is_some() || is_of(version, self.manifest.build_name()));
        Ok(versions)
    }

    /// Returns the newest or the requested version of a package whose name does not change.
    fn newest_package(&self, name: &str, version: Option<&str>) -> Result<Package, PinError> {
        let newest = || Ok::<_, SourceError>(self.versions(name, None)?.into_iter().next());
        let version = version.map_or_else(newest, |version| Ok(Some(version.to_owned())))?;
        let version = version.ok_or_else(|| self.incomplete(vec![name.to_owned()]))?;
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
            let versions = names.iter().map(|name| self.versions(name, version)).collect::<Result<Vec<_>, _>>()?;
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

    /// Returns a package with its sum in the signed lists.
    fn pinned(&self, package: Package) -> Result<DebianSource, SourceError> {
        let sha256 = self.archive.sum(&package).map_err(|error| self.failed(error))?;
        let Package { name, version } = package;
        Ok(DebianSource { package: name, version, suite: self.archive.suite().to_owned(), sha256 })
    }
}

/// Reports whether a version is one that a kernel's name stands for, as 6.12.107-1 for `6.12-rt`; each one is, for a
/// name without a version.
fn is_of(version: &str, name: &KernelName) -> bool {
    let is_version = |c: char| c.is_ascii_digit() || c == '.';
    let leading = |text: &str| numbers(&text[..text.find(|c| !is_version(c)).unwrap_or(text.len())]);
    leading(version).starts_with(&leading(name.as_str()))
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
    use crate::digest::Sha256;

    #[test]
    fn the_name_of_a_kernel_limits_its_versions() {
        for (name, versions) in [
            ("6.12", ["6.12.107-1", "6.12-1"]),
            ("6.12-rt", ["6.12.43-1~bpo12+1", "6.12~rc5-1"]),
            ("6.12.43-debian", ["6.12.43-1~bpo12+1", "6.12.43+deb13-1"]),
            ("mine", ["6.12.107-1", "7.3.4-1"]),
        ] {
            let name = name.parse().unwrap();
            assert!(versions.iter().all(|version| is_of(version, &name)), "{name}");
        }
        for (name, version) in [("6.12.43-debian", "6.12.107-1"), ("6.12", "6.1.176-1"), ("6.1-debian", "6.12.107-1")] {
            assert!(!is_of(version, &name.parse().unwrap()), "{name}");
        }
    }

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
