//! A recipe: which files of which packages make a root file system.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    path::{Component, Path, PathBuf},
};

use harness_model::name::ImageName;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::digest::Sha256;

/// A place in an image or in a package, relative to its root.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GuestPath(String);

/// A text that is no place in an image.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{0}` is no path in an image: it must be relative, without `.` and `..`")]
pub struct BadPath(String);

impl GuestPath {
    /// The path, relative.
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl fmt::Display for GuestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for GuestPath {
    type Error = BadPath;

    fn try_from(text: String) -> Result<Self, BadPath> {
        let plain = Path::new(&text).components().all(|part| matches!(part, Component::Normal(_)));
        let written_plainly = text.split('/').all(|part| !part.is_empty() && part != "." && !part.contains('\0'));
        if plain && written_plainly { Ok(Self(text)) } else { Err(BadPath(text)) }
    }
}

impl From<GuestPath> for String {
    fn from(path: GuestPath) -> Self {
        path.0
    }
}

/// A package and what is taken from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its full Debian version; apt fetches exactly this one.
    pub version: String,
    /// The sum of the package file.
    pub sha256: Sha256,
    /// Files of the package, and where each goes.
    pub files: BTreeMap<GuestPath, GuestPath>,
    /// Further names of its one program, as symbolic links beside it.
    #[serde(default)]
    pub links: BTreeSet<GuestPath>,
}

/// What a recipe file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    summary: String,
    suite: String,
    #[serde(default)]
    folders: BTreeSet<GuestPath>,
    package: Vec<Package>,
    #[serde(default)]
    symlinks: BTreeMap<GuestPath, String>,
    #[serde(default)]
    texts: BTreeMap<GuestPath, String>,
}

/// A recipe that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// The image's name: the file's name without `.toml`.
    pub name: ImageName,
    /// The file.
    pub path: PathBuf,
    file: File,
}

/// Why a recipe is not usable.
#[derive(Debug, Error)]
pub enum RecipeError {
    /// The file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
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

impl Recipe {
    /// Reads a recipe.
    pub fn read(path: &Path) -> Result<Self, RecipeError> {
        let text = fs::read_to_string(path).map_err(|source| RecipeError::Read { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, RecipeError> {
        let meaning = |reasons| RecipeError::Meaning { path: path.to_owned(), reasons };
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let name: ImageName = stem.parse().map_err(|error| meaning(vec![format!("{error}")]))?;
        let file: File = toml::from_str(text)
            .map_err(|source| RecipeError::Syntax { path: path.to_owned(), source: source.into() })?;
        let recipe = Self { name, path: path.to_owned(), file };
        let reasons = recipe.contradictions();
        if reasons.is_empty() { Ok(recipe) } else { Err(meaning(reasons)) }
    }

    fn contradictions(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let twice = self.places().into_iter().filter(|place| !seen.insert(place.clone()));
        let mut reasons: Vec<String> = twice.map(|place| format!("{} is made twice", place.display())).collect();
        for Package { name, files, links, .. } in &self.file.package {
            if !links.is_empty() && files.len() != 1 {
                let reason = format!("{name} has links and {} files: links need exactly one to point at", files.len());
                reasons.push(reason);
            }
        }
        reasons
    }

    /// Every place that something other than a folder is put at.
    fn places(&self) -> Vec<PathBuf> {
        let files = self.file.package.iter().flat_map(|package| package.files.values());
        let others = files.chain(self.file.symlinks.keys()).chain(self.file.texts.keys());
        let links = self.file.package.iter().flat_map(|package| package.link_places().map(|(link, _)| link));
        others.map(|place| place.as_path().to_owned()).chain(links).collect()
    }

    /// One line on what this image is for.
    pub fn summary(&self) -> &str {
        &self.file.summary
    }

    /// The Debian suite its packages are from.
    pub fn suite(&self) -> &str {
        &self.file.suite
    }

    /// Its packages.
    pub fn packages(&self) -> &[Package] {
        &self.file.package
    }

    /// Folders that are made, whether or not anything is put in them.
    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        self.file.folders.iter().map(GuestPath::as_path)
    }

    /// Symbolic links and what they point to.
    pub fn symlinks(&self) -> impl Iterator<Item = (&Path, &str)> {
        self.file.symlinks.iter().map(|(place, target)| (place.as_path(), target.as_str()))
    }

    /// Text files; one that starts with `#!` can be executed.
    pub fn texts(&self) -> impl Iterator<Item = (&Path, &str)> {
        self.file.texts.iter().map(|(place, text)| (place.as_path(), text.as_str()))
    }

    /// All that decides what is made, in one form however the file is written.
    pub(super) fn contents(&self) -> String {
        // The derived implementation fails for no value of these types; text of the error would still be a key.
        serde_json::to_string(&self.file).unwrap_or_else(|error| error.to_string())
    }
}

impl Package {
    /// The links beside the package's one file: where each is, and what it points to.
    pub(super) fn link_places(&self) -> impl Iterator<Item = (PathBuf, &Path)> {
        let program = self.files.values().next().map(GuestPath::as_path);
        self.links.iter().filter_map(move |link| {
            let program = program?;
            Some((program.parent()?.join(link.as_path()), Path::new(program.file_name()?)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUM: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn parse(text: &str) -> Result<Recipe, RecipeError> {
        Recipe::parse(Path::new("images/small.toml"), &text.replace("SUM", SUM))
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
        let folder = crate::project::Project::find().unwrap().images();
        let recipe = Recipe::read(&folder.join("minimal.toml")).unwrap();
        assert_eq!(recipe.name.as_str(), "minimal");
        for needed in ["usr/bin/bash", "usr/bin/mount", "usr/bin/mkdir", "usr/bin/sync"] {
            assert!(recipe.places().contains(&PathBuf::from(needed)), "{needed} is missing, and vmtest calls it");
        }
    }

    #[test]
    fn links_lie_beside_their_program() {
        let recipe = parse(SMALL).unwrap();
        let links: Vec<_> = recipe.packages()[0].link_places().collect();
        let expected = [("usr/bin/cat", "busybox"), ("usr/bin/ls", "busybox")];
        assert_eq!(links, expected.map(|(link, target)| (PathBuf::from(link), Path::new(target))));
    }

    #[test]
    fn only_what_is_made_counts() {
        let written_otherwise = format!("# a comment\n{}", SMALL.replace("[\"ls\", \"cat\"]", "[\"cat\", \"ls\"]"));
        assert_eq!(parse(SMALL).unwrap().contents(), parse(&written_otherwise).unwrap().contents());
        let other = SMALL.replace("\"ls\", ", "");
        assert_ne!(parse(SMALL).unwrap().contents(), parse(&other).unwrap().contents());
    }

    #[test]
    fn paths_cannot_leave_the_image() {
        for path in ["/etc/passwd", "../x", "a/../../x", "", "a//b", "./a", "a/"] {
            assert!(GuestPath::try_from(path.to_owned()).is_err(), "{path:?}");
        }
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
        let RecipeError::Meaning { reasons, .. } = parse(&text).unwrap_err() else { panic!("it was understood") };
        assert_eq!(reasons.len(), 2, "{reasons:?}");
        assert!(reasons[0].contains("usr/bin/busybox is made twice"), "{reasons:?}");
        assert!(reasons[1].contains("two has links and 2 files"), "{reasons:?}");
    }
}
