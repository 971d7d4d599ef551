//! Pins the packages of a manifest to the newest versions in the archive, or takes those in place of the pinned ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;
use toml_edit::{DocumentMut, InlineTable};

use super::manifest::{Layer, Manifest, Package, Pin};
use crate::{
    cache::Cache,
    file::{self, FileError},
    mirror::{self, Archive, ArchiveError, Mirror, MirrorError},
    pins::Repinned,
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
}

impl From<ArchiveError> for PinError {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(Box::new(error))
    }
}

/// Pins every package of the manifest's own file to the newest version in its suite, and returns those that changed.
/// Pins what it installs with all dependencies; does not change the files it includes.
pub fn pin(manifest: &Manifest, cache: &Cache, progress: &Progress) -> Result<Vec<Repinned>, PinError> {
    let layer = manifest.own();
    let Some(suite) = layer.suite() else { return Ok(Vec::new()) };
    let archive = Archive::open(cache, Mirror::of_this_machine()?, suite, progress)?;
    let (renewed, changed) = renewed(layer, &archive)?;
    let mut text = fs::read_to_string(&manifest.path).map_err(failed(&manifest.path))?;
    for (package, new) in layer.packages().iter().zip(renewed.packages()) {
        if package != new {
            text = rewrite(&manifest.path, &text, package, new)?;
        }
    }
    if !layer.install().is_empty() {
        text = with_pinned(&manifest.path, &text, renewed.pinned())?;
    }
    file::replace(&manifest.path, &text).map_err(failed(&manifest.path))?;
    Ok(changed)
}

/// Returns a layer with the newest versions of its packages in the archive, and with sums from its signed lists; and what
/// changed.
pub(super) fn renewed(layer: &Layer, archive: &Archive) -> Result<(Layer, Vec<Repinned>), PinError> {
    let (mut renewed, mut changed) = (layer.clone(), Vec::new());
    for package in &mut renewed.package {
        let Pin { version, sha256 } = newest(archive, &package.name)?;
        if (&version, sha256) != (&package.version, package.sha256) {
            let (name, pinned) = (package.name.clone(), Some(package.version.clone()));
            changed.push(Repinned { package: name, pinned, used: Some(version.clone()) });
        }
        (package.version, package.sha256) = (version, sha256);
    }
    let wanted: Vec<&str> = layer.install().iter().map(String::as_str).collect();
    if !wanted.is_empty() {
        let closure = archive.closure(&wanted)?;
        let pins = closure.into_iter().map(|(name, (package, sha256))| {
            let version = package.version;
            (name, Pin { version, sha256 })
        });
        renewed.pinned = pins.collect();
        changed.extend(differences(layer.pinned(), renewed.pinned()));
    }
    Ok((renewed, changed))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> FileError {
    FileError::of("change", path)
}

fn newest(archive: &Archive, name: &str) -> Result<Pin, PinError> {
    let no_package = || PinError::NoPackage { name: name.to_owned(), suite: archive.suite().to_owned() };
    let version = archive.versions(name)?.into_iter().next().ok_or_else(no_package)?;
    let sha256 = archive.sum(&mirror::Package { name: name.to_owned(), version: version.clone() })?;
    Ok(Pin { version, sha256 })
}

/// Returns the packages that are new, gone, or have another version or sum.
fn differences(before: &BTreeMap<String, Pin>, now: &BTreeMap<String, Pin>) -> Vec<Repinned> {
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let differs = |name: &&String| before.get(*name) != now.get(*name);
    let version = |pins: &BTreeMap<String, Pin>, name: &String| pins.get(name).map(|pin| pin.version.clone());
    let repinned =
        |name: &String| Repinned { package: name.clone(), pinned: version(before, name), used: version(now, name) };
    names.into_iter().filter(differs).map(repinned).collect()
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
fn rewrite(path: &Path, text: &str, package: &Package, pin: &Package) -> Result<String, PinError> {
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
    use crate::digest::Sha256;

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

    /// The same package, newer.
    fn newer_package(package: &Package) -> Package {
        let Pin { version, sha256 } = newer();
        Package { version, sha256, ..package.clone() }
    }

    #[test]
    fn only_the_package_in_question_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (manifest, text) = manifest(folder.path());
        let old = &manifest.own().packages()[1];
        let new = rewrite(&manifest.path, &text, old, &newer_package(old)).unwrap();
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
        let old = &manifest.own().packages()[1];
        let error = rewrite(&manifest.path, &reformatted, old, &newer_package(old)).unwrap_err().to_string();
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
        let shown: Vec<String> = differences(&before, &now).iter().map(Repinned::to_string).collect();
        assert_eq!(shown, ["a 2 -> none", "b none -> 2"]);
        assert!(differences(&now, &now).is_empty());
    }
}
