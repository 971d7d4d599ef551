//! A recipe: which files of which packages make a root file system.

mod guest_path;
mod layer;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use harness_protocol::name::ImageName;
use thiserror::Error;

use crate::{
    file::{self, FileError},
    mirror::pinned::PinnedPackage,
};

pub use guest_path::{BadPath, BadPattern, GuestPath, Pattern};
pub use layer::{Boot, Layer, Package, Pin};

/// A recipe that was read, with those it includes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The image's name: the file's name without `.toml`.
    pub name: ImageName,
    /// The file.
    pub path: PathBuf,
    /// What is included, in the order of the names, and at the end what the file itself says.
    layers: Vec<Layer>,
}

/// Why a recipe is not usable.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// The file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is no recipe.
    #[error("{}:\n{}", path.display(), .source.to_string().trim_end())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where, and what is wrong there.
        source: Box<toml::de::Error>,
    },
    /// The recipe says things that cannot be, each in a line.
    #[error("{}:\n{}", path.display(), .reasons.join("\n"))]
    Meaning {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reasons: Vec<String>,
    },
}

impl Manifest {
    /// Reads a recipe and those it includes.
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
                return Err(meaning(&path, vec!["it is included itself, and so cannot include another".to_owned()]));
            }
            layers.push(layer);
        }
        layers.push(own);
        Ok(Self { name, path: path.to_owned(), layers })
    }

    /// What the recipe's own file says.
    pub fn own(&self) -> &Layer {
        self.layers.last().expect("a recipe has its own layer")
    }

    /// One line on what this image is for.
    pub fn summary(&self) -> &str {
        &self.own().summary
    }

    /// Whether scenarios that are meant for it run in it where nobody says which image.
    pub fn is_default(&self) -> bool {
        self.own().default
    }

    /// What is included, and at the end what the recipe itself says.
    pub(super) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The Debian suites of all its packages.
    pub fn suites(&self) -> BTreeSet<&str> {
        self.needed().map(|needed| needed.suite).collect()
    }

    /// The package files it is made of, layer by layer.
    pub(super) fn needed(&self) -> impl Iterator<Item = PinnedPackage<'_>> {
        self.layers.iter().flat_map(Layer::needed)
    }

    /// The version of its systemd, such as 262; `None` if it has none.
    pub fn systemd(&self) -> Option<u32> {
        let pin = self.layers.iter().rev().find_map(|layer| layer.pinned.get("systemd"))?;
        let upstream = pin.version.split_once(':').map_or(pin.version.as_str(), |(_, upstream)| upstream);
        upstream.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    }

    /// The options a kernel must have to boot it, such as `CONFIG_FHANDLE`.
    pub fn config(&self) -> BTreeSet<&str> {
        self.layers.iter().flat_map(|layer| &layer.config).map(String::as_str).collect()
    }

    /// How a guest is started; `None` if by this project's own init.
    pub fn boot(&self) -> Option<&Boot> {
        self.layers.iter().rev().find_map(|layer| layer.boot.as_ref())
    }

    /// The wanted packages that `[pinned]` does not have.
    pub(super) fn unpinned(&self) -> Vec<&str> {
        let unpinned = |layer: &'_ Layer, name: &String| !layer.pinned.contains_key(name);
        let names = self.layers.iter().flat_map(|layer| layer.install.iter().filter(move |name| unpinned(layer, name)));
        names.map(String::as_str).collect()
    }

    /// Whether a place of a whole package is left out.
    pub(super) fn leaves_out(&self, place: &Path) -> bool {
        self.layers.iter().flat_map(|layer| &layer.without).any(|pattern| pattern.matches(place))
    }

    /// Folders that are made, whether or not anything is put in them.
    pub(super) fn folders(&self) -> impl Iterator<Item = &Path> {
        self.layers.iter().flat_map(|layer| layer.folders.iter().map(GuestPath::as_path))
    }

    /// Symbolic links and what they point to; of two in one place the later counts.
    pub(super) fn symlinks(&self) -> impl Iterator<Item = (&Path, &str)> {
        let pairs = self.layers.iter().flat_map(|layer| &layer.symlinks);
        pairs.map(|(place, target)| (place.as_path(), target.as_str()))
    }

    /// Text files; one that starts with `#!` can be executed. Of two in one place the later counts.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&Path, &str)> {
        self.layers.iter().flat_map(|layer| &layer.texts).map(|(place, text)| (place.as_path(), text.as_str()))
    }

    /// All that decides what is made, in one form however the files are written.
    pub(super) fn contents(&self) -> String {
        let layers: Result<Vec<_>, _> = self.layers.iter().map(serde_json::to_string).collect();
        // The derived implementation fails for no value of these types; text of the error would still be a key.
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
    let layer: Layer = toml::from_str(text)
        .map_err(|source| ManifestError::Syntax { path: path.to_owned(), source: source.into() })?;
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
        Ok(Manifest { name: "small".parse().unwrap(), path: "images/small.toml".into(), layers: vec![layer] })
    }

    #[test]
    fn what_is_asked_of_a_kernel_is_an_option_and_changes_no_key() {
        let asked = parse(&format!("config = [\"CONFIG_FHANDLE\"]\n{SMALL}")).unwrap();
        assert_eq!(asked.config(), BTreeSet::from(["CONFIG_FHANDLE"]));
        assert_eq!(asked.contents(), parse(SMALL).unwrap().contents());
        let wrong = parse(&format!("config = [\"FHANDLE=y\"]\n{SMALL}")).unwrap_err().to_string();
        assert!(wrong.contains("`FHANDLE=y` is no option of a kernel"), "{wrong}");
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
    fn the_shipped_recipes_are_usable() {
        let catalogue = Catalogue::of_folder(&crate::project::Project::find().unwrap().images()).unwrap();
        for name in catalogue.names() {
            let recipe = catalogue.get(name).unwrap();
            assert_eq!(recipe.name.as_str(), name);
            assert!(recipe.unpinned().is_empty(), "{name}: {:?}", recipe.unpinned());
            let places: Vec<_> = recipe.layers().iter().flat_map(Layer::places).collect();
            for needed in ["usr/bin/bash", "usr/bin/mount", "usr/bin/mkdir", "usr/bin/sync"] {
                assert!(places.contains(&PathBuf::from(needed)), "{name} lacks {needed}, and vmtest calls it");
            }
            if let Some(wrapper) = recipe.boot().and_then(|boot| boot.wrapper.as_ref()) {
                assert!(places.iter().any(|place| place == wrapper.as_path()), "{name} lacks {wrapper}");
            }
        }
    }

    #[test]
    fn links_lie_beside_their_program() {
        let recipe = parse(SMALL).unwrap();
        let links: Vec<_> = recipe.own().packages()[0].link_places().collect();
        let expected = [("usr/bin/cat", "busybox"), ("usr/bin/ls", "busybox")];
        assert_eq!(links, expected.map(|(link, target)| (PathBuf::from(link), Path::new(target))));
    }

    #[test]
    fn only_what_is_made_counts() {
        let written_otherwise = format!("# a comment\n{}", SMALL.replace("[\"ls\", \"cat\"]", "[\"cat\", \"ls\"]"));
        assert_eq!(parse(SMALL).unwrap().contents(), parse(&written_otherwise).unwrap().contents());
        let chosen = format!("default = true\n{SMALL}");
        assert!(parse(&chosen).unwrap().is_default() && !parse(SMALL).unwrap().is_default());
        assert_eq!(parse(&chosen).unwrap().contents(), parse(SMALL).unwrap().contents());
        let other = SMALL.replace("\"ls\", ", "");
        assert_ne!(parse(SMALL).unwrap().contents(), parse(&other).unwrap().contents());
    }

    #[test]
    fn paths_cannot_leave_the_image() {
        let error = parse(&SMALL.replace("\"proc\"", "\"../proc\"")).unwrap_err().to_string();
        assert!(error.contains("small.toml") && error.contains("`../proc` is no path in an image"), "{error}");
    }

    #[test]
    fn unknown_keys_and_bad_sums_are_shown_where_they_are() {
        let error = parse(&SMALL.replace("suite", "release")).unwrap_err().to_string();
        assert!(error.contains("release") && error.contains("line 3"), "{error}");
        let error = parse(&SMALL.replace("SUM", "12")).unwrap_err().to_string();
        assert!(error.contains("`12` is no SHA-256 sum"), "{error}");
    }

    #[test]
    fn all_contradictions_are_told_at_once() {
        let text = SMALL.replace("links = [\"ls\", \"cat\"]", "links = [\"busybox\"]")
            + "[[package]]\nname = \"two\"\nversion = \"1\"\nsha256 = \"SUM\"\n\
               files = { \"a\" = \"x\", \"b\" = \"y\" }\nlinks = [\"z\"]\n";
        let ManifestError::Meaning { reasons, .. } = parse(&text).unwrap_err() else { panic!("it was understood") };
        assert_eq!(reasons.len(), 2, "{reasons:?}");
        assert!(reasons[0].contains("usr/bin/busybox is made twice"), "{reasons:?}");
        assert!(reasons[1].contains("two has links and 2 files"), "{reasons:?}");
    }

    /// Writes recipe files into a folder, and reads the first one.
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
        "etc/passwd" = "of the recipe"
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
    fn what_is_included_comes_first() {
        let recipe = read(&[("whole.toml", WHOLE), ("small.toml", SMALL), ("parts/p.toml", PART)]).unwrap();
        let needed: Vec<_> = recipe.needed().map(|needed| (needed.suite, needed.name)).collect();
        assert_eq!(needed, [("trixie", "busybox-static"), ("forky", "libc6"), ("forky", "systemd")]);
        assert_eq!(recipe.texts().last(), Some((Path::new("etc/passwd"), "of the recipe")));
        assert_eq!(recipe.boot().unwrap().init.to_string(), "usr/lib/systemd/systemd");
        let left_out = ["usr/share/doc", "usr/share/man", "usr/share"].map(|place| recipe.leaves_out(Path::new(place)));
        assert_eq!((left_out, recipe.summary()), ([true, true, false], "w"));
    }

    #[test]
    fn every_layer_decides_the_key() {
        let contents = |part: &str| {
            read(&[("whole.toml", WHOLE), ("small.toml", SMALL), ("parts/p.toml", part)]).unwrap().contents()
        };
        assert_ne!(contents(PART), contents(&PART.replace("of the part", "changed")));
    }

    #[test]
    fn an_included_file_that_is_missing_or_wrong_is_named() {
        let error = read(&[("whole.toml", WHOLE), ("small.toml", SMALL)]).unwrap_err().to_string();
        assert!(error.contains("parts/p.toml"), "{error}");
        let part = format!("include = [\"small.toml\"]\n{PART}");
        let error = read(&[("whole.toml", WHOLE), ("small.toml", SMALL), ("parts/p.toml", &part)]).unwrap_err();
        assert!(error.to_string().contains("cannot include another"), "{error}");
    }

    #[test]
    fn packages_have_a_suite_and_a_reason() {
        let error =
            parse("summary = \"s\"\n[pinned]\na = { version = \"1\", sha256 = \"SUM\" }\n").unwrap_err().to_string();
        assert!(error.contains("no `suite`") && error.contains("`install` names none"), "{error}");
    }

    #[test]
    fn what_is_not_pinned_yet_is_known() {
        let recipe = parse("summary = \"s\"\nsuite = \"forky\"\ninstall = [\"systemd\"]\n").unwrap();
        assert_eq!(recipe.unpinned(), ["systemd"]);
    }
}
