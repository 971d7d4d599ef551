//! Root file systems for guests: from a manifest to an image in the cache, and from there to the private copy of one
//! run.
//!
//! A manifest names Debian packages, and which of their files to take, or that it takes them whole. Building an image
//! runs nothing of a package and maps no users, so it needs no privileges, and the image has exactly what its manifest
//! names.

mod assemble;
pub mod catalogue;
mod fetch;
mod manifest;
mod pin;
mod private_root;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use harness_protocol::name::ImageName;
use serde::{Deserialize, Serialize};

pub use assemble::AssembleError;
pub use fetch::FetchError;
use fetch::Fetched;
pub use manifest::{BadPath, BadPattern, Boot, GuestPath, Layer, Manifest, ManifestError, Package, Pattern, Pin};
pub use pin::{PinError, pin};
pub use private_root::{CopyError, GUEST_PROGRAM, PrivateRoot, SHELL_ARGUMENT};

use crate::{
    cache::{Area, Cache, CacheError, Lock, cleaning::References},
    mirror::{self, MirrorError, pinned::Fetcher},
    pins::{self, Pins, Repinned, Replacement, WriteError},
    progress::{Progress, Unit},
};

/// The version of the build; it enters the key, and is raised when the same manifest would make another image.
const EDITION: &str = "1";

/// A built image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its name.
    pub name: ImageName,
    /// A hash of everything it was built from: equal keys mean equal images.
    pub key: String,
    /// Its root folder. A guest must not use it: it gets a [`Image::private_copy`].
    pub folder: PathBuf,
    /// How a guest is started; `None` if this project's own init starts it.
    pub boot: Option<Boot>,
    /// What differs from the pins of its manifest, because those have left the mirror.
    pub replaced: Vec<Repinned>,
}

/// Why an image could not be built.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The mirror is not known.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// A package is not available.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The packages do not have what the manifest names.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// What takes the place of a pin could not be recorded.
    #[error(transparent)]
    Record(#[from] WriteError),
    /// A cache operation failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl ImageError {
    /// Reports whether the mirror no longer has a pinned version, and none that may take its place: the suite has moved
    /// on, which is not an error of the manifest.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Fetch(error) if error.is_gone())
    }
}

/// Returns the key of the image of a manifest. Comments and the order of keys do not affect it.
pub fn key(manifest: &Manifest) -> String {
    crate::digest::Sha256::of_parts([EDITION.as_bytes(), manifest.contents().as_bytes()]).short()
}

fn image(manifest: &Manifest, folder: PathBuf) -> Image {
    Image {
        name: manifest.name.clone(),
        key: key(manifest),
        folder,
        boot: manifest.boot().cloned(),
        replaced: manifest.replaced.clone(),
    }
}

fn entry_name(manifest: &Manifest) -> String {
    format!("{}-{}", manifest.name, key(manifest))
}

/// The pins of one layer: those of single packages, in their order, and those of whole ones, by name.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LayerPins {
    packages: Vec<Pin>,
    whole: BTreeMap<String, Pin>,
}

impl LayerPins {
    fn of(layer: &Layer) -> Self {
        let pin = |package: &Package| Pin { version: package.version.clone(), sha256: package.sha256 };
        Self { packages: layer.packages().iter().map(pin).collect(), whole: layer.pinned().clone() }
    }

    /// Returns a layer with these pins.
    fn applied_to(self, layer: &Layer) -> Layer {
        let mut layer = layer.clone();
        for (package, Pin { version, sha256 }) in layer.package.iter_mut().zip(self.packages) {
            (package.version, package.sha256) = (version, sha256);
        }
        layer.pinned = self.whole;
        layer
    }
}

/// Returns the name of the file with what takes the place of a manifest's pins.
fn replacement_name(manifest: &Manifest) -> String {
    pins::file_name("image", manifest.name.as_str(), &key(manifest))
}

/// Returns the manifest with what took the place of its pins when they had left the mirror, if that is recorded in the
/// cache folder `root`.
fn recorded(manifest: &Manifest, root: &Path) -> Option<Manifest> {
    let Replacement { replaced, pins } = pins::read::<Vec<LayerPins>>(root, &replacement_name(manifest))?;
    let layers = manifest.layers().iter().zip(pins).map(|(layer, pins)| pins.applied_to(layer));
    Some(manifest.with(layers.collect(), replaced))
}

/// Adds the cache items of a manifest. `root` is the cache folder.
pub(crate) fn add_references(manifest: &Manifest, root: &Path, references: &mut References) {
    references.add(Area::Downloads, replacement_name(manifest));
    for manifest in recorded(manifest, root).iter().chain([manifest]) {
        references.add(Area::Images, entry_name(manifest));
        manifest.suites().into_iter().for_each(|suite| references.add_all(Area::Downloads, mirror::lists_of(suite)));
        manifest.needed().for_each(|needed| needed.add_references(references));
    }
}

/// Returns the image of a manifest, if it was built: from its pins, or else from what took their place when they had
/// left the mirror.
pub fn find_built(manifest: &Manifest, cache: &Cache) -> Result<Option<Image>, CacheError> {
    let found = find_pinned(manifest, cache)?;
    if found.is_some() {
        return Ok(found);
    }
    recorded(manifest, cache.root()).map_or(Ok(None), |replacement| find_pinned(&replacement, cache))
}

fn find_pinned(manifest: &Manifest, cache: &Cache) -> Result<Option<Image>, CacheError> {
    Ok(cache.entry(Area::Images, &entry_name(manifest))?.existing().map(|folder| image(manifest, folder)))
}

/// Returns the image of a manifest, built if needed. A pin that has left the mirror is replaced or not, as `pins` says.
pub fn build(manifest: &Manifest, pins: Pins, cache: &Cache, progress: &Progress) -> Result<Image, ImageError> {
    build_from(&mut Fetcher::new(cache, progress), manifest, pins, cache, progress)
}

/// [`build`] with the packages of a fetcher.
fn build_from(
    fetcher: &mut Fetcher<'_>,
    manifest: &Manifest,
    pins: Pins,
    cache: &Cache,
    progress: &Progress,
) -> Result<Image, ImageError> {
    let find = if pins == Pins::Locked { find_pinned } else { find_built };
    if let Some(image) = find(manifest, cache)? {
        return Ok(image);
    }
    let lock = cache.entry(Area::Images, &entry_name(manifest))?.lock(progress)?;
    // Another process may have built it while this one was waiting.
    if let Some(image) = find(manifest, cache)? {
        return Ok(image);
    }
    let Fetched { manifest: in_use, files } = fetch::packages(manifest, pins, fetcher)?;
    if in_use.replaced.is_empty() {
        return assembled(manifest, &files, &lock, progress);
    }
    progress.note(&pins::described(&format!("image {}", manifest.name), &in_use.replaced));
    let layers = in_use.layers().iter().map(LayerPins::of).collect::<Vec<_>>();
    let replacement = Replacement { replaced: in_use.replaced.clone(), pins: layers };
    pins::write(cache, &replacement_name(manifest), &replacement)?;
    let lock = cache.entry(Area::Images, &entry_name(&in_use))?.lock(progress)?;
    match find_pinned(&in_use, cache)? {
        Some(image) => Ok(image),
        None => assembled(&in_use, &files, &lock, progress),
    }
}

fn assembled(manifest: &Manifest, files: &[PathBuf], lock: &Lock, progress: &Progress) -> Result<Image, ImageError> {
    let task = progress.task(&format!("image {}", manifest.name), Unit::Things("packages"), None);
    let staging = lock.stage_folder()?;
    assemble::assemble(manifest, files, staging.path(), &task)?;
    let folder = staging.publish()?;
    task.finish("built");
    Ok(image(manifest, folder))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use harness_fixtures::chain;

    use super::*;
    use crate::{
        digest::Sha256,
        mirror::sample::{Sample, trusted},
    };

    /// Writes a manifest that pins version 1 of `tool`, whatever its systemd.
    fn manifest(folder: &Path, systemd: &str) -> Manifest {
        manifest_with(folder, systemd, "")
    }

    fn manifest_with(folder: &Path, systemd: &str, more: &str) -> Manifest {
        let sum = Sha256::of_parts([]);
        let text = format!(
            "summary = \"s\"\nsuite = \"trixie\"\ninstall = [\"tool\", \"systemd\"]\n{more}[pinned]\n\
             systemd = {{ version = \"{systemd}\", sha256 = \"{sum}\" }}\n\
             tool = {{ version = \"1\", sha256 = \"{sum}\" }}\n"
        );
        fs::write(folder.join("i.toml"), text).unwrap();
        Manifest::read(&folder.join("i.toml")).unwrap()
    }

    /// A cache and a mirror that has version 2 of `tool`, which needs a library, and systemd 262.1.
    struct Bench {
        folder: tempfile::TempDir,
        cache: Cache,
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let cache = Cache::at(folder.path().join("cache")).unwrap();
            Self { folder, cache }
        }

        fn build(&self, manifest: &Manifest, pins: Pins, has_mirror: bool) -> (Result<Image, String>, String) {
            let (progress, log) = Progress::captured();
            let mut fetcher = Fetcher::new(&self.cache, &progress);
            if has_mirror {
                let samples = [
                    Sample { name: "tool", version: "2", fields: "Depends: lib\n" },
                    Sample { name: "lib", version: "1", fields: "" },
                    Sample { name: "systemd", version: "262.1-1", fields: "" },
                ];
                fetcher.add(trusted(&self.cache, &self.folder.path().join("mirror"), "trixie", &samples));
            }
            let built = build_from(&mut fetcher, manifest, pins, &self.cache, &progress);
            let shown = |text: &str| text.replace(self.folder.path().to_str().unwrap(), "/BENCH");
            (built.map_err(|error| shown(&chain(&error))), shown(&log.text()))
        }
    }

    #[test]
    fn newer_packages_take_the_place_of_pins_that_have_left_the_mirror() {
        let bench = Bench::new();
        let manifest = manifest(bench.folder.path(), "262-1");
        let (image, log) = bench.build(&manifest, Pins::Replaceable, true);
        let image = image.unwrap();
        let note = log.lines().find(|line| line.starts_with("image i: pinned")).unwrap();
        insta::assert_snapshot!(note, @"image i: pinned versions have left the mirror, so newer ones are used: lib none -> 1, systemd 262-1 -> 262.1-1, tool 1 -> 2");
        assert!(["tool-2", "lib-1", "systemd-262.1-1"].iter().all(|file| image.folder.join(file).exists()));
        assert_ne!(image.key, key(&manifest));
        // Without a mirror, too.
        assert_eq!(bench.build(&manifest, Pins::Replaceable, false), (Ok(image.clone()), String::new()));
        assert_eq!(find_built(&manifest, &bench.cache).unwrap(), Some(image));
    }

    #[test]
    fn locked_pins_are_not_replaced() {
        let bench = Bench::new();
        let manifest = manifest(bench.folder.path(), "262-1");
        bench.build(&manifest, Pins::Replaceable, true).0.unwrap();
        insta::assert_snapshot!(bench.build(&manifest, Pins::Locked, true).0.unwrap_err(), @r"
        /BENCH/i.toml: cannot fetch a package, and `--locked` permits no other version; the pinned version is gone, `cargo xtask image pin` pins the newest ones
        caused by: http://mirror.example/debian has no systemd=262-1 in trixie; it has 262.1-1
        ");
    }

    #[test]
    fn what_is_wanted_exactly_is_not_replaced() {
        let bench = Bench::new();
        let folder = bench.folder.path();
        let manifest = manifest_with(folder, "262-1", "exact = [\"tool\"]\n");
        let error = bench.build(&manifest, Pins::Replaceable, true).0.unwrap_err();
        assert!(error.contains("the pinned version is gone"), "{error}");
        let text = fs::read_to_string(folder.join("i.toml")).unwrap().replace("exact = [\"tool", "exact = [\"toll");
        fs::write(folder.join("i.toml"), text).unwrap();
        let error = crate::error_chain::chain(&Manifest::read(&folder.join("i.toml")).unwrap_err());
        assert!(error.contains("`exact` names `toll`, which `[pinned]` does not have"), "{error}");
    }

    #[test]
    fn systemd_is_not_replaced_by_another_series() {
        let bench = Bench::new();
        let manifest = manifest(bench.folder.path(), "261-1");
        insta::assert_snapshot!(bench.build(&manifest, Pins::Replaceable, true).0.unwrap_err(), @r"
        /BENCH/i.toml: cannot fetch a package; the pinned version is gone, `cargo xtask image pin` pins the newest ones
        caused by: http://mirror.example/debian has no systemd=261-1 in trixie; it has 262.1-1
        ");
    }

    #[test]
    fn the_cache_keeps_what_replaced_pins_refer_to() {
        let bench = Bench::new();
        let manifest = manifest(bench.folder.path(), "262-1");
        let image = bench.build(&manifest, Pins::Replaceable, true).0.unwrap();
        let mut references = References::default();
        add_references(&manifest, bench.cache.root(), &mut references);
        assert!(references.has(Area::Images, image.folder.file_name().unwrap().to_str().unwrap()));
        for entry in fs::read_dir(bench.cache.folder(Area::Downloads).unwrap()).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(references.has(Area::Downloads, &name), "{name}");
        }
    }
}
