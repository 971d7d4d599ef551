//! Image manifests: which files of which packages make a root file system.

mod guest_path;
mod layer;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use harness_protocol::name::ImageName;
use thiserror::Error;

use crate::{
    file::{self, FileError, TomlError},
    mirror::pinned::PinnedPackage,
    pins::Repinned,
};

pub use guest_path::{BadPath, BadPattern, GuestPath, Pattern};
pub use layer::{Boot, Layer, Package, Pin};

/// A manifest, with the files it includes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The image's name: the file's name without `.toml`.
    pub name: ImageName,
    /// The file.
    pub path: PathBuf,
    /// The pins of the files that the layers do not have, because they have left the mirror.
    pub replaced: Vec<Repinned>,
    /// The included layers, in the order of their names, and then the file's own layer.
    layers: Vec<Layer>,
}

/// Why a manifest is not valid.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// The file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is not a manifest.
    #[error(transparent)]
    Syntax(#[from] TomlError),
    /// A manifest contradicts itself; one reason per line.
    #[error("{}:\n{}", path.display(), .reasons.join("\n"))]
    Meaning {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reasons: Vec<String>,
    },
}

impl Manifest {
    /// Reads a manifest and the files it includes.
    pub fn read(path: &Path) -> Result<Self, ManifestError> {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let name = stem.parse().map_err(|error| meaning(path, vec![format!("{error}")]))?;
        let own = read_layer(path)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut layers = Vec::new();
        for included in &own.include {
            let path = folder.join(included.as_path());
            let layer = read_layer(&path)?;
            if !layer.include.is_empty() {
                let reason = "an included file cannot include another".to_owned();
                return Err(meaning(&path, vec![reason]));
            }
            layers.push(layer);
        }
        layers.push(own);
        Ok(Self { name, path: path.to_owned(), replaced: Vec::new(), layers })
    }

    /// The layer of the manifest's own file.
    pub fn own(&self) -> &Layer {
        self.layers.last().expect("a manifest has a layer of its own")
    }

    /// What this image is for, in one line.
    pub fn summary(&self) -> &str {
        &self.own().summary
    }

    /// Reports whether it is a default image: scenarios that are meant for it run in it if the user names no image.
    pub fn is_default(&self) -> bool {
        self.own().default
    }

    /// The included layers, and then the manifest's own.
    pub(super) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Returns the manifest with other layers, which differ from its own in these pins.
    pub(super) fn with(&self, layers: Vec<Layer>, replaced: Vec<Repinned>) -> Self {
        Self { layers, replaced, ..self.clone() }
    }

    /// Returns the Debian suites of all its packages.
    pub fn suites(&self) -> BTreeSet<&str> {
        self.needed().map(|needed| needed.suite).collect()
    }

    /// Returns the package files it is made from, layer by layer.
    pub(super) fn needed(&self) -> impl Iterator<Item = PinnedPackage<'_>> {
        self.layers.iter().flat_map(Layer::needed)
    }

    /// Returns the version of its systemd, such as 262; `None` if it has none.
    pub fn systemd(&self) -> Option<u32> {
        self.layers.iter().rev().find_map(Layer::systemd)
    }

    /// Returns the options a kernel must have to boot it, such as `CONFIG_FHANDLE`.
    pub fn config(&self) -> BTreeSet<&str> {
        self.layers.iter().flat_map(|layer| &layer.config).map(String::as_str).collect()
    }

    /// Returns how a guest is started; `None` if this project's own init starts it.
    pub fn boot(&self) -> Option<&Boot> {
        self.layers.iter().rev().find_map(|layer| layer.boot.as_ref())
    }

    /// Returns the packages in `install` that `[pinned]` does not have.
    pub(super) fn unpinned(&self) -> Vec<&str> {
        let unpinned = |layer: &'_ Layer, name: &String| !layer.pinned.contains_key(name);
        let names = self.layers.iter().flat_map(|layer| layer.install.iter().filter(move |name| unpinned(layer, name)));
        names.map(String::as_str).collect()
    }

    /// Reports whether a path is left out of packages that are taken whole.
    pub(super) fn leaves_out(&self, guest_path: &Path) -> bool {
        self.layers.iter().flat_map(|layer| &layer.without).any(|pattern| pattern.matches(guest_path))
    }

    /// Returns the folders to create, even if they stay empty.
    pub(super) fn folders(&self) -> impl Iterator<Item = &Path> {
        self.layers.iter().flat_map(|layer| layer.folders.iter().map(GuestPath::as_path))
    }

    /// Returns symbolic links and their targets; a later one replaces an earlier one at the same path.
    pub(super) fn symlinks(&self) -> impl Iterator<Item = (&Path, &str)> {
        let pairs = self.layers.iter().flat_map(|layer| &layer.symlinks);
        pairs.map(|(guest_path, target)| (guest_path.as_path(), target.as_str()))
    }

    /// Returns text files; one that starts with `#!` is executable. A later one replaces an earlier one at the same
    /// path.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&Path, &str)> {
        self.layers
            .iter()
            .flat_map(|layer| &layer.texts)
            .map(|(guest_path, text)| (guest_path.as_path(), text.as_str()))
    }

    /// Serializes everything that determines the image, in a form that does not depend on how the files are written.
    pub(super) fn contents(&self) -> String {
        let layers: Result<Vec<_>, _> = self.layers.iter().map(serde_json::to_string).collect();
        // The derived implementation never fails for these types; the text of an error would still be a key.
        layers.map_or_else(|error| error.to_string(), |layers| layers.concat())
    }
}

fn meaning(path: &Path, reasons: Vec<String>) -> ManifestError {
    ManifestError::Meaning { path: path.to_owned(), reasons }
}

fn read_layer(path: &Path) -> Result<Layer, ManifestError> {
    parse(path, &file::read_text(path)?)
}

fn parse(path: &Path, text: &str) -> Result<Layer, ManifestError> {
    let layer: Layer = file::parse_toml(path, text)?;
    let reasons = layer.contradictions();
    if reasons.is_empty() { Ok(layer) } else { Err(meaning(path, reasons)) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{super::catalogue::Catalogue, *};

    const SUM: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn parse(text: &str) -> Result<Manifest, ManifestError> {
        let layer = super::parse(Path::new("images/small.toml"), &text.replace("SUM", SUM))?;
        Ok(Manifest {
            name: "small".parse().unwrap(),
            path: "images/small.toml".into(),
            replaced: Vec::new(),
            layers: vec![layer],
        })
    }

    #[test]
    fn required_kernel_options_do_not_change_the_key() {
        let asked = parse(&format!("config = [\"CONFIG_FHANDLE\"]\n{SMALL}")).unwrap();
        assert_eq!(asked.config(), BTreeSet::from(["CONFIG_FHANDLE"]));
        assert_eq!(asked.contents(), parse(SMALL).unwrap().contents());
    }

    #[test]
    fn units_are_tried_in_the_newest_systemd_of_the_default_images() {
        let catalogue = Catalogue::of_folder(&crate::project::Project::find().unwrap().images()).unwrap();
        let image = catalogue.for_units().unwrap().expect("a default image has systemd");
        assert!(image.systemd() >= Some(262) && image.is_default(), "{image:?}");
        let version = |name: &str| catalogue.get(name).unwrap().systemd();
        assert_eq!(
            (version("systemd-257"), version("systemd-262.1"), version("minimal")),
            (Some(257), Some(262), None)
        );
    }

    const SMALL: &str = r#"
        summary = "s"
        suite = "trixie"
        folders = ["proc"]
        [[package]]
        name = "busybox-static"
        version = "1:1.37"
        sha256 = "SUM"
        files = { "usr/bin/busybox" = "usr/bin/busybox" }
        links = ["ls", "cat"]
    "#;

    #[test]
    fn the_committed_manifests_are_valid() {
        let catalogue = Catalogue::of_folder(&crate::project::Project::find().unwrap().images()).unwrap();
        for name in catalogue.names() {
            let manifest = catalogue.get(name).unwrap();
            assert_eq!(manifest.name.as_str(), name);
            assert!(manifest.unpinned().is_empty(), "{name}: {:?}", manifest.unpinned());
            let paths: Vec<_> = manifest.layers().iter().flat_map(Layer::paths).collect();
            for needed in ["usr/bin/bash", "usr/bin/mount", "usr/bin/mkdir", "usr/bin/sync"] {
                assert!(paths.contains(&PathBuf::from(needed)), "{name} lacks {needed}, and vmtest calls it");
            }
            if let Some(wrapper) = manifest.boot().and_then(|boot| boot.wrapper.as_ref()) {
                assert!(paths.iter().any(|guest_path| guest_path == wrapper.as_path()), "{name} lacks {wrapper}");
            }
        }
    }

    #[test]
    fn links_are_beside_their_program() {
        let manifest = parse(SMALL).unwrap();
        let links: Vec<_> = manifest.own().packages()[0].link_paths().collect();
        let expected = [("usr/bin/cat", "busybox"), ("usr/bin/ls", "busybox")];
        assert_eq!(links, expected.map(|(link, target)| (PathBuf::from(link), Path::new(target))));
    }

    #[test]
    fn only_what_changes_the_image_changes_the_contents() {
        let reformatted = format!("# a comment\n{}", SMALL.replace("[\"ls\", \"cat\"]", "[\"cat\", \"ls\"]"));
        assert_eq!(parse(SMALL).unwrap().contents(), parse(&reformatted).unwrap().contents());
        let chosen = format!("default = true\n{SMALL}");
        assert!(parse(&chosen).unwrap().is_default() && !parse(SMALL).unwrap().is_default());
        assert_eq!(parse(&chosen).unwrap().contents(), parse(SMALL).unwrap().contents());
        let other = SMALL.replace("\"ls\", ", "");
        assert_ne!(parse(SMALL).unwrap().contents(), parse(&other).unwrap().contents());
    }

    /// Writes manifest files into a folder, and reads the first one.
    fn read(files: &[(&str, &str)]) -> Result<Manifest, ManifestError> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text.replace("SUM", SUM)).unwrap();
        }
        Manifest::read(&folder.path().join(files[0].0))
    }

    const WHOLE: &str = r#"
        summary = "w"
        suite = "forky"
        include = ["small.toml", "parts/p.toml"]
        install = ["systemd"]
        without = ["usr/share/doc"]
        [texts]
        "etc/passwd" = "of the manifest"
        [pinned]
        libc6 = { version = "2", sha256 = "SUM" }
        systemd = { version = "262-1", sha256 = "SUM" }
    "#;
    const PART: &str = r#"
        summary = "p"
        without = ["usr/share/man"]
        [boot]
        init = "usr/lib/systemd/systemd"
        [texts]
        "etc/passwd" = "of the part"
    "#;

    #[test]
    fn included_layers_come_first() {
        let manifest = read(&[("whole.toml", WHOLE), ("small.toml", SMALL), ("parts/p.toml", PART)]).unwrap();
        let needed: Vec<_> = manifest.needed().map(|needed| (needed.suite, needed.name)).collect();
        assert_eq!(needed, [("trixie", "busybox-static"), ("forky", "libc6"), ("forky", "systemd")]);
        assert_eq!(manifest.texts().last(), Some((Path::new("etc/passwd"), "of the manifest")));
        assert_eq!(manifest.boot().unwrap().init.to_string(), "usr/lib/systemd/systemd");
        let left_out = ["usr/share/doc", "usr/share/man", "usr/share"]
            .map(|guest_path| manifest.leaves_out(Path::new(guest_path)));
        assert_eq!((left_out, manifest.summary()), ([true, true, false], "w"));
    }

    #[test]
    fn every_layer_decides_the_key() {
        let contents = |part: &str| {
            read(&[("whole.toml", WHOLE), ("small.toml", SMALL), ("parts/p.toml", part)]).unwrap().contents()
        };
        assert_ne!(contents(PART), contents(&PART.replace("of the part", "changed")));
    }

    #[test]
    fn packages_without_a_pin_are_known() {
        let manifest = parse("summary = \"s\"\nsuite = \"forky\"\ninstall = [\"systemd\"]\n").unwrap();
        assert_eq!(manifest.unpinned(), ["systemd"]);
    }
}
