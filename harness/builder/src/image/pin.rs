//! Pins the packages of a recipe to what the archive has now.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;
use toml_edit::{DocumentMut, InlineTable};

use super::manifest::{Manifest, Package, Pin};
use crate::{
    cache::{Area, Cache, CacheError},
    digest::Sha256,
    file::{self, FileError},
    mirror::{self, Archive, ArchiveError, Mirror, MirrorError},
    progress::Progress,
};

/// Why a recipe was not pinned anew.
#[derive(Debug, Error)]
pub enum PinError {
    /// No mirror is known.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// The archive could not be read.
    #[error(transparent)]
    Archive(Box<ArchiveError>),
    /// The archive has no such package.
    #[error("{suite} has no package {name}: is the name right?")]
    NoPackage {
        /// The package.
        name: String,
        /// The suite.
        suite: String,
    },
    /// A package file or the recipe could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The recipe is written in a way that cannot be changed by replacing a text.
    #[error("{} does not have `{text}` as it is: pin {name} by hand", path.display())]
    NotWritten {
        /// The file.
        path: PathBuf,
        /// The package.
        name: String,
        /// What was looked for.
        text: String,
    },
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl From<ArchiveError> for PinError {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(Box::new(error))
    }
}

/// A package that is pinned anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// The package.
    pub name: String,
    /// The version before; `None` if it was not needed.
    pub from: Option<String>,
    /// The version now; `None` if it is not needed any more.
    pub to: Option<String>,
}

impl fmt::Display for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = |version: &Option<String>| version.clone().unwrap_or_else(|| "none".to_owned());
        write!(f, "{} {} -> {}", self.name, version(&self.from), version(&self.to))
    }
}

/// Pins every package of the file of `recipe` to the newest version its suite has, and returns those that changed. What it
/// installs is pinned with all that depends on; what it includes is left as it is.
pub fn pin(recipe: &Manifest, cache: &Cache, progress: &Progress) -> Result<Vec<Pinned>, PinError> {
    let layer = recipe.own();
    let Some(suite) = layer.suite() else { return Ok(Vec::new()) };
    let archive = Archive::open(cache, Mirror::of_this_machine()?, suite, progress)?;
    let mut text = fs::read_to_string(&recipe.path).map_err(failed(&recipe.path))?;
    let mut changed = Vec::new();
    for package in layer.packages() {
        let pin = newest(&archive, &package.name, cache, progress)?;
        if pin.version != package.version || pin.sha256 != package.sha256 {
            text = rewrite(&recipe.path, &text, package, &pin)?;
            let (name, from) = (package.name.clone(), Some(package.version.clone()));
            changed.push(Pinned { name, from, to: Some(pin.version) });
        }
    }
    let wanted: Vec<&str> = layer.install().iter().map(String::as_str).collect();
    if !wanted.is_empty() {
        let closure = archive.closure(&wanted)?;
        let pins =
            closure.into_iter().map(|(name, (package, sha256))| (name, Pin { version: package.version, sha256 }));
        let pins = pins.collect();
        changed.extend(differences(layer.pinned(), &pins));
        text = with_pinned(&recipe.path, &text, &pins)?;
    }
    file::replace(&recipe.path, &text).map_err(failed(&recipe.path))?;
    Ok(changed)
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> FileError {
    FileError::of("change", path)
}

fn newest(archive: &Archive, name: &str, cache: &Cache, progress: &Progress) -> Result<Pin, PinError> {
    let no_package = || PinError::NoPackage { name: name.to_owned(), suite: archive.suite().to_owned() };
    let version = archive.versions(name)?.into_iter().next().ok_or_else(no_package)?;
    let downloads = cache.folder(Area::Downloads)?;
    let folder = tempfile::tempdir_in(&downloads).map_err(failed(&downloads))?;
    let wanted = mirror::Package { name: name.to_owned(), version: version.clone() };
    let file = archive.download(&wanted, folder.path(), progress)?;
    let sha256 = Sha256::of_file(&file).map_err(FileError::of("read", &file))?;
    Ok(Pin { version, sha256 })
}

/// Which packages are new, gone, or of another version or sum.
fn differences(before: &BTreeMap<String, Pin>, now: &BTreeMap<String, Pin>) -> Vec<Pinned> {
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let differs = |name: &&String| before.get(*name) != now.get(*name);
    let version = |pins: &BTreeMap<String, Pin>, name: &String| pins.get(name).map(|pin| pin.version.clone());
    let pinned = |name: &String| Pinned { name: name.clone(), from: version(before, name), to: version(now, name) };
    names.into_iter().filter(differs).map(pinned).collect()
}

/// The recipe's text with these packages in `[pinned]`, a line each; all else stays as it is written.
fn with_pinned(path: &Path, text: &str, pins: &BTreeMap<String, Pin>) -> Result<String, PinError> {
    let unreadable = |why: &dyn fmt::Display| failed(path)(io::Error::other(why.to_string()));
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| unreadable(&error))?;
    let pinned = document.entry("pinned").or_insert_with(toml_edit::table).as_table_mut();
    let pinned = pinned.ok_or_else(|| unreadable(&"`pinned` is no table: write it as `[pinned]`"))?;
    pinned.clear();
    for (name, Pin { version, sha256 }) in pins {
        let pin = [("version", version.clone()), ("sha256", sha256.to_string())];
        pinned.insert(name, toml_edit::value(InlineTable::from_iter(pin)));
    }
    Ok(document.to_string())
}

/// The recipe's text with one package's version and sum replaced; comments and order stay.
fn rewrite(path: &Path, text: &str, package: &Package, pin: &Pin) -> Result<String, PinError> {
    let missing =
        |text: &str| PinError::NotWritten { path: path.to_owned(), name: package.name.clone(), text: text.to_owned() };
    let name = format!("name = \"{}\"", package.name);
    let start = text.find(&name).ok_or_else(|| missing(&name))?;
    let (before, mut section) = (&text[..start], text[start..].to_owned());
    for (key, old, new) in
        [("version", &package.version, &pin.version), ("sha256", &package.sha256.to_string(), &pin.sha256.to_string())]
    {
        let old = format!("{key} = \"{old}\"");
        if !section.contains(&old) {
            return Err(missing(&old));
        }
        section = section.replacen(&old, &format!("{key} = \"{new}\""), 1);
    }
    Ok(format!("{before}{section}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPE: &str = "summary = \"s\"\nsuite = \"trixie\"\n\
        # the first\n[[package]]\nname = \"a\"\nversion = \"1\"\nsha256 = \"SUM\"\nfiles = { \"x\" = \"x\" }\n\
        # the second\n[[package]]\nname = \"b\"\nversion = \"1\"\nsha256 = \"SUM\"\nfiles = { \"y\" = \"y\" }\n";

    fn recipe(folder: &Path) -> (Manifest, String) {
        let path = folder.join("r.toml");
        let text = RECIPE.replace("SUM", &Sha256::of_parts([]).to_string());
        fs::write(&path, &text).unwrap();
        (Manifest::read(&path).unwrap(), text)
    }

    fn newer() -> Pin {
        Pin { version: "2".into(), sha256: Sha256::of_parts([&b"new"[..]]) }
    }

    #[test]
    fn only_the_package_in_question_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (recipe, text) = recipe(folder.path());
        let new = rewrite(&recipe.path, &text, &recipe.own().packages()[1], &newer()).unwrap();
        fs::write(&recipe.path, &new).unwrap();
        let after = Manifest::read(&recipe.path).unwrap();
        assert_eq!(after.own().packages()[0], recipe.own().packages()[0]);
        assert_eq!(
            (after.own().packages()[1].version.as_str(), after.own().packages()[1].sha256),
            ("2", newer().sha256)
        );
        assert!(new.contains("# the first") && new.contains("# the second"));
    }

    #[test]
    fn a_recipe_written_otherwise_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (recipe, text) = recipe(folder.path());
        let otherwise = text.replace("version = \"1\"", "version='1'");
        let error = rewrite(&recipe.path, &otherwise, &recipe.own().packages()[1], &newer()).unwrap_err().to_string();
        assert!(error.contains("version = \"1\"") && error.contains("by hand"), "{error}");
    }

    #[test]
    fn whole_packages_are_written_a_line_each_and_all_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.toml");
        let text = "# why\nsummary = \"s\"\nsuite = \"trixie\" # here\ninstall = [\"b\"]\n\n[texts]\n\"a\" = \"\"\"\nx\n\"\"\"\n\n\
            # Written by `image pin`.\n[pinned]\nold = { version = \"1\", sha256 = \"SUM\" }\n"
            .replace("SUM", &newer().sha256.to_string());
        let pins = BTreeMap::from([("b".to_owned(), newer()), ("lib+c".to_owned(), newer())]);
        let written = with_pinned(&path, &text, &pins).unwrap();
        let (before, _) = text.split_once("old").unwrap();
        let sum = newer().sha256;
        let lines = ["b", "\"lib+c\""].map(|name| format!("{name} = {{ version = \"2\", sha256 = \"{sum}\" }}\n"));
        assert_eq!(written, format!("{before}{}", lines.concat()));
        fs::write(&path, written).unwrap();
        assert_eq!(Manifest::read(&path).unwrap().own().pinned(), &pins);
    }

    #[test]
    fn what_is_new_or_gone_is_told() {
        let (before, now) = (BTreeMap::from([("a".to_owned(), newer())]), BTreeMap::from([("b".to_owned(), newer())]));
        let told: Vec<String> = differences(&before, &now).iter().map(Pinned::to_string).collect();
        assert_eq!(told, ["a 2 -> none", "b none -> 2"]);
        assert!(differences(&now, &now).is_empty());
    }
}
