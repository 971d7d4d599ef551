//! The packages of a manifest, fetched once and checked on each use.

use std::path::PathBuf;

use thiserror::Error;

use super::{
    manifest::{Layer, Manifest},
    pin::{self, PinError},
};
use crate::{
    cache::CacheError,
    digest::Sha256,
    file::FileError,
    mirror::{
        ArchiveError, MirrorError,
        pinned::{Fetcher, PinnedError, PinnedPackage},
    },
    pins::Pins,
};

/// Why a package is not available.
#[derive(Debug, Error)]
pub enum FetchError {
    /// The mirror is not known.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// The archive does not have it, or could not be read.
    #[error("{}: cannot fetch a package{}", manifest.display(), hint(.source))]
    Archive {
        /// The manifest that pins the package.
        manifest: PathBuf,
        /// The error of the archive.
        source: Box<ArchiveError>,
    },
    /// The mirror no longer has a pinned version, and nothing may take its place.
    #[error("{}: cannot fetch a package, and `--locked` permits no other version{}", manifest.display(), hint(.source))]
    Locked {
        /// The manifest that pins the package.
        manifest: PathBuf,
        /// The error of the archive.
        source: Box<ArchiveError>,
    },
    /// The mirror no longer has a pinned version, and the newest ones do not fit.
    #[error("{}: a pinned version is gone, and no newer one can take its place", manifest.display())]
    Replace {
        /// The manifest that pins the package.
        manifest: PathBuf,
        /// Why.
        source: Box<PinError>,
    },
    /// The manifest installs packages that it does not pin.
    #[error(
        "{} installs {}, which `[pinned]` does not have; `{} image pin` adds it",
        manifest.display(), .names.join(", "), harness_program::NAME
    )]
    NotPinned {
        /// The manifest.
        manifest: PathBuf,
        /// The packages.
        names: Vec<String>,
    },
    /// The received file is not the pinned one.
    #[error(transparent)]
    WrongSum(Box<WrongSum>),
    /// A package file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A cache operation failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// The received file is not the pinned one.
#[derive(Debug, Error)]
#[error(
    "{}: {name}={version} has the wrong SHA-256 sum:\n  pinned   {pinned}\n  received {found}\nthe download was discarded; \
     if Debian rebuilt the package, `{} image pin` writes the new sum",
    manifest.display(), harness_program::NAME
)]
pub struct WrongSum {
    manifest: PathBuf,
    name: String,
    version: String,
    pinned: Sha256,
    found: Sha256,
}

fn is_gone(error: &ArchiveError) -> bool {
    matches!(error, ArchiveError::NoSuchVersion { .. })
}

fn hint(error: &ArchiveError) -> String {
    match error {
        ArchiveError::NoSuchVersion { .. } => {
            format!("; the pinned version is gone, `{} image pin` pins the newest ones", harness_program::NAME)
        }
        _ => String::new(),
    }
}

/// A manifest and its package files, in its order.
#[derive(Debug)]
pub(super) struct Fetched {
    /// The manifest; with other pins if those of the file have left the mirror.
    pub(super) manifest: Manifest,
    /// The package files.
    pub(super) files: Vec<PathBuf>,
}

/// Fetches the packages of a manifest. Layers with a package that has left the mirror get the newest versions of all
/// their packages, which fit together, unless the pins are locked, systemd would be one of another series, or a package another that
/// the manifest wants exactly.
pub(super) fn packages(manifest: &Manifest, pins: Pins, fetcher: &mut Fetcher<'_>) -> Result<Fetched, FetchError> {
    let names: Vec<String> = manifest.unpinned().into_iter().map(str::to_owned).collect();
    if !names.is_empty() {
        return Err(FetchError::NotPinned { manifest: manifest.path.clone(), names });
    }
    let all: Vec<PinnedPackage<'_>> = manifest.layers().iter().flat_map(Layer::needed).collect();
    // What is wrong is found where the package is needed.
    let _ = fetcher.fetch_ahead(&all);
    let (mut files, mut layers, mut replaced) = (Vec::new(), Vec::new(), Vec::new());
    for layer in manifest.layers() {
        match files_of(layer, manifest, fetcher) {
            Ok(fetched) => {
                files.extend(fetched);
                layers.push(layer.clone());
            }
            Err(FetchError::Archive { manifest, source }) if pins == Pins::Locked && is_gone(&source) => {
                return Err(FetchError::Locked { manifest, source });
            }
            Err(gone) if gone.is_gone() => {
                let Some(archive) = layer.suite().and_then(|suite| fetcher.opened(suite)) else { return Err(gone) };
                let failed = |source| FetchError::Replace { manifest: manifest.path.clone(), source: Box::new(source) };
                let (renewed, changed) = pin::renewed(layer, archive).map_err(failed)?;
                if !layer.may_become(&renewed) {
                    return Err(gone);
                }
                files.extend(files_of(&renewed, manifest, fetcher)?);
                layers.push(renewed);
                replaced.extend(changed);
            }
            Err(error) => return Err(error),
        }
    }
    let manifest = if replaced.is_empty() { manifest.clone() } else { manifest.with(layers, replaced) };
    Ok(Fetched { manifest, files })
}

/// Returns the package files of a layer, fetched if needed.
fn files_of(layer: &Layer, manifest: &Manifest, fetcher: &mut Fetcher<'_>) -> Result<Vec<PathBuf>, FetchError> {
    let fetch = |needed| fetcher.fetch(&needed).map_err(|error| FetchError::of(error, manifest, &needed));
    layer.needed().map(fetch).collect()
}

impl FetchError {
    /// Reports whether the mirror no longer has a pinned version, as happens in suites that move on, and nothing may
    /// take its place.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Archive { source, .. } if is_gone(source))
    }

    /// Returns why a package of a manifest is not available.
    fn of(error: PinnedError, manifest: &Manifest, needed: &PinnedPackage<'_>) -> Self {
        match error {
            PinnedError::Mirror(error) => Self::Mirror(error),
            PinnedError::Archive(source) => Self::Archive { manifest: manifest.path.clone(), source },
            PinnedError::WrongSum { found } => Self::WrongSum(Box::new(WrongSum {
                manifest: manifest.path.clone(),
                name: needed.name.to_owned(),
                version: needed.version.to_owned(),
                pinned: needed.sha256,
                found,
            })),
            PinnedError::File(error) => Self::File(error),
            PinnedError::Cache(error) => Self::Cache(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use harness_fixtures::chain;

    use super::*;
    use crate::{
        cache::{Area, Cache},
        mirror,
        progress::Progress,
    };

    fn manifest(folder: &Path, sum: Sha256) -> Manifest {
        let path = folder.join("r.toml");
        let text = format!(
            "summary = \"s\"\nsuite = \"trixie\"\n[[package]]\nname = \"p\"\nversion = \"1\"\nsha256 = \"{sum}\"\n\
             files = {{ \"x\" = \"x\" }}\n"
        );
        fs::write(&path, text).unwrap();
        Manifest::read(&path).unwrap()
    }

    #[test]
    fn a_cached_package_needs_no_archive() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("cache")).unwrap();
        let sum = Sha256::of_reader(&b"package"[..]).unwrap();
        let manifest = manifest(folder.path(), sum);
        let file = cache.folder(Area::Downloads).unwrap().join(format!("p-{}.deb", sum.short()));
        fs::write(&file, "package").unwrap();
        let progress = Progress::silent();
        let fetched = packages(&manifest, Pins::Locked, &mut Fetcher::new(&cache, &progress)).unwrap();
        assert_eq!((fetched.files, fetched.manifest), (vec![file], manifest));
    }

    #[test]
    fn a_wrong_sum_names_both_sums_and_the_manifest() {
        let folder = tempfile::tempdir().unwrap();
        let (pinned, found) = (Sha256::of_parts([]), Sha256::of_parts([&b"x"[..]]));
        let manifest = manifest(folder.path(), pinned);
        let needed = manifest.needed().next().unwrap();
        let message = FetchError::of(PinnedError::WrongSum { found }, &manifest, &needed).to_string();
        assert!(!FetchError::of(PinnedError::WrongSum { found }, &manifest, &needed).is_gone());
        let message = message.replace(folder.path().to_str().unwrap(), "images");
        insta::assert_snapshot!(message, @r"
        images/r.toml: p=1 has the wrong SHA-256 sum:
          pinned   e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
          received f91b14e7bbea4c5bfa0e1a704017716659f4910e557b869f226a69652d2a6f12
        the download was discarded; if Debian rebuilt the package, `cargo xtask image pin` writes the new sum
        ");
    }

    #[test]
    fn a_version_that_is_gone_comes_with_the_command_that_pins_another() {
        let source = ArchiveError::NoSuchVersion {
            package: mirror::Package { name: "p".into(), version: "1".into() },
            suite: "trixie".into(),
            mirror: "http://mirror.example/debian".parse().unwrap(),
            available: vec!["2".into()],
        };
        let error = FetchError::Archive { manifest: "images/r.toml".into(), source: Box::new(source) };
        assert!(error.is_gone());
        insta::assert_snapshot!(chain(&error), @r"
        images/r.toml: cannot fetch a package; the pinned version is gone, `cargo xtask image pin` pins the newest ones
        caused by: http://mirror.example/debian has no p=1 in trixie; it has 2
        ");
    }
}
