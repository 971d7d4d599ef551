//! Pins the packages of a manifest to the newest versions in the archive.

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

/// Why the packages of a manifest could not be pinned.
#[derive(Debug, Error)]
pub enum PinError {
    /// The mirror is not known.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// The archive could not be read.
    #[error(transparent)]
    Archive(Box<ArchiveError>),
    /// The archive has no such package.
    #[error("{suite} has no package {name}; check the name")]
    NoPackage {
        /// The package.
        name: String,
        /// The suite.
        suite: String,
    },
    /// A package file or the manifest could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The manifest is formatted in a way that replacing text cannot handle.
    #[error("{} does not contain the text `{text}`; pin {name} by hand", path.display())]
    NotWritten {
        /// The file.
        path: PathBuf,
        /// The package.
        name: String,
        /// The expected text.
        text: String,
    },
    /// A cache operation failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl From<ArchiveError> for PinError {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(Box::new(error))
    }
}

/// A package whose pin changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// The package.
    pub name: String,
    /// The version before; `None` if it was not pinned.
    pub from: Option<String>,
    /// The version now; `None` if it is no longer needed.
    pub to: Option<String>,
}

impl fmt::Display for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = |version: &Option<String>| version.clone().unwrap_or_else(|| "none".to_owned());
        write!(f, "{} {} -> {}", self.name, version(&self.from), version(&self.to))
    }
}

/// Pins every package of the manifest's own file to the newest version in its suite, and returns those that changed.
/// Pins what it installs with all dependencies; does not change the files it includes.
pub fn pin(manifest: &Manifest, cache: &Cache, progress: &Progress) -> Result<Vec<Pinned>, PinError> {
    let layer = manifest.own();
    let Some(suite) = layer.suite() else { return Ok(Vec::new()) };
    let archive = Archive::open(cache, Mirror::of_this_machine()?, suite, progress)?;
    let mut text = fs::read_to_string(&manifest.path).map_err(failed(&manifest.path))?;
    let mut changed = Vec::new();
    for package in layer.packages() {
        let pin = newest(&archive, &package.name, cache, progress)?;
        if pin.version != package.version || pin.sha256 != package.sha256 {
            text = rewrite(&manifest.path, &text, package, &pin)?;
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
        text = with_pinned(&manifest.path, &text, &pins)?;
    }
    file::replace(&manifest.path, &text).map_err(failed(&manifest.path))?;
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

/// Returns the packages that are new, gone, or have another version or sum.
fn differences(before: &BTreeMap<String, Pin>, now: &BTreeMap<String, Pin>) -> Vec<Pinned> {
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let differs = |name: &&String| before.get(*name) != now.get(*name);
    let version = |pins: &BTreeMap<String, Pin>, name: &String| pins.get(name).map(|pin| pin.version.clone());
    let pinned = |name: &String| Pinned { name: name.clone(), from: version(before, name), to: version(now, name) };
    names.into_iter().filter(differs).map(pinned).collect()
}

/// Returns the manifest's text with these packages in `[pinned]`, one per line; the rest stays as it is.
fn with_pinned(path: &Path, text: &str, pins: &BTreeMap<String, Pin>) -> Result<String, PinError> {
    let unreadable = |why: &dyn fmt::Display| failed(path)(io::Error::other(why.to_string()));
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| unreadable(&error))?;
    let pinned = document.entry("pinned").or_insert_with(toml_edit::table).as_table_mut();
    let pinned = pinned.ok_or_else(|| unreadable(&"`pinned` is not a table: write it as `[pinned]`"))?;
    pinned.clear();
    for (name, Pin { version, sha256 }) in pins {
        let pin = [("version", version.clone()), ("sha256", sha256.to_string())];
        pinned.insert(name, toml_edit::value(InlineTable::from_iter(pin)));
    }
    Ok(document.to_string())
}

/// Returns the manifest's text with the version and sum of one package replaced; comments and order stay.
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

    const MANIFEST: &str = "summary = \"s\"\nsuite = \"trixie\"\n\
        # the first\n[[package]]\nname = \"a\"\nversion = \"1\"\nsha256 = \"SUM\"\nfiles = { \"x\" = \"x\" }\n\
        # the second\n[[package]]\nname = \"b\"\nversion = \"1\"\nsha256 = \"SUM\"\nfiles = { \"y\" = \"y\" }\n";

    fn manifest(folder: &Path) -> (Manifest, String) {
        let path = folder.join("r.toml");
        let text = MANIFEST.replace("SUM", &Sha256::of_parts([]).to_string());
        fs::write(&path, &text).unwrap();
        (Manifest::read(&path).unwrap(), text)
    }

    fn newer() -> Pin {
        Pin { version: "2".into(), sha256: Sha256::of_parts([&b"new"[..]]) }
    }

    #[test]
    fn only_the_package_in_question_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (manifest, text) = manifest(folder.path());
        let new = rewrite(&manifest.path, &text, &manifest.own().packages()[1], &newer()).unwrap();
        fs::write(&manifest.path, &new).unwrap();
        let after = Manifest::read(&manifest.path).unwrap();
        assert_eq!(after.own().packages()[0], manifest.own().packages()[0]);
        assert_eq!(
            (after.own().packages()[1].version.as_str(), after.own().packages()[1].sha256),
            ("2", newer().sha256)
        );
        let old = format!("name = \"b\"\nversion = \"1\"\nsha256 = \"{}\"", Sha256::of_parts([]));
        assert_eq!(new, text.replace(&old, &format!("name = \"b\"\nversion = \"2\"\nsha256 = \"{}\"", newer().sha256)));
    }

    #[test]
    fn a_manifest_with_another_format_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (manifest, text) = manifest(folder.path());
        let reformatted = text.replace("version = \"1\"", "version='1'");
        let error =
            rewrite(&manifest.path, &reformatted, &manifest.own().packages()[1], &newer()).unwrap_err().to_string();
        let error = error.replace(folder.path().to_str().unwrap(), "images");
        insta::assert_snapshot!(error, @r#"images/r.toml does not contain the text `version = "1"`; pin b by hand"#);
    }

    #[test]
    fn whole_packages_are_written_one_per_line_and_the_rest_stays() {
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
    fn new_and_removed_packages_are_reported() {
        let (before, now) = (BTreeMap::from([("a".to_owned(), newer())]), BTreeMap::from([("b".to_owned(), newer())]));
        let shown: Vec<String> = differences(&before, &now).iter().map(Pinned::to_string).collect();
        assert_eq!(shown, ["a 2 -> none", "b none -> 2"]);
        assert!(differences(&now, &now).is_empty());
    }
}
