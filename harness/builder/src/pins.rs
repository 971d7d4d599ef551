//! Pins: what to do about a version that has left the mirror, what takes its place, and where the cache records that.

use std::{fmt, fs, path::Path};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    cache::{Area, Cache, CacheError},
    digest::Sha256,
    file::{self, FileError},
};

/// What to do about a pinned version that has left the mirror.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pins {
    /// The newest version of the same series takes its place.
    #[default]
    Replaceable,
    /// Nothing takes its place: it is an error.
    Locked,
}

/// A package whose version is not the pinned one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repinned {
    /// The package; `*` stands for a kernel's release in its name.
    pub package: String,
    /// The pinned version; `None` if it was not pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<String>,
    /// The version that takes its place; `None` if the package is no longer needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<String>,
}

impl fmt::Display for Repinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = |version: &Option<String>| version.clone().unwrap_or_else(|| "none".to_owned());
        write!(f, "{} {} -> {}", self.package, version(&self.pinned), version(&self.used))
    }
}

/// Describes replaced pins in one line; `owner` is what they belong to, such as `kernel 6.12`.
pub fn described(owner: &str, replaced: &[Repinned]) -> String {
    let each: Vec<String> = replaced.iter().map(Repinned::to_string).collect();
    format!("{owner}: pinned versions have left the mirror, so newer ones are used: {}", each.join(", "))
}

/// What took the place of the pins of a manifest, so that later builds need no network to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Replacement<T> {
    /// What differs from the manifest.
    pub(crate) replaced: Vec<Repinned>,
    /// The pins to use, with sums from the signed lists of the archive.
    pub(crate) pins: T,
}

/// Returns the name of a replacement's file in the cache. `identity` covers all pins of the manifest.
pub(crate) fn file_name(kind: &str, name: &str, identity: &str) -> String {
    format!("pins-{kind}-{name}-{}.json", Sha256::of_parts([identity.as_bytes()]).short())
}

/// Reads a replacement in the cache folder `root`. A damaged one counts as missing.
pub(crate) fn read<T: DeserializeOwned>(root: &Path, file_name: &str) -> Option<Replacement<T>> {
    let text = fs::read_to_string(root.join(Area::Downloads.folder()).join(file_name)).ok()?;
    serde_json::from_str(&text).ok()
}

/// Records a replacement.
pub(crate) fn write<T: Serialize>(
    cache: &Cache,
    file_name: &str,
    replacement: &Replacement<T>,
) -> Result<(), WriteError> {
    let path = cache.entry(Area::Downloads, file_name)?.path();
    let text = serde_json::to_string_pretty(replacement).map_err(std::io::Error::from);
    let written = text.and_then(|text| file::replace(&path, &(text + "\n")));
    Ok(written.map_err(FileError::of("write", &path))?)
}

/// Why a replacement could not be recorded.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file could not be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A cache operation failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replacement_belongs_to_the_pins_that_it_replaces() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path()).unwrap();
        let [name, other] = ["1", "2"].map(|version| file_name("kernel", "6.12", version));
        let repinned = Repinned { package: "p".into(), pinned: Some("1".into()), used: Some("2".into()) };
        let replacement = Replacement { replaced: vec![repinned], pins: vec!["2".to_owned()] };
        write(&cache, &name, &replacement).unwrap();
        assert_eq!(read(cache.root(), &name), Some(replacement));
        assert_eq!(read::<Vec<String>>(cache.root(), &other), None);
        fs::write(cache.folder(Area::Downloads).unwrap().join(&name), "{").unwrap();
        assert_eq!(read::<Vec<String>>(cache.root(), &name), None);
    }

    #[test]
    fn new_and_removed_packages_are_described() {
        let repinned = |package: &str, pinned: Option<&str>, used: Option<&str>| Repinned {
            package: package.to_owned(),
            pinned: pinned.map(str::to_owned),
            used: used.map(str::to_owned),
        };
        let replaced =
            [repinned("a", Some("1"), Some("2")), repinned("b", None, Some("1")), repinned("c", Some("1"), None)];
        insta::assert_snapshot!(described("image i", &replaced), @"image i: pinned versions have left the mirror, so newer ones are used: a 1 -> 2, b none -> 1, c 1 -> none");
    }
}
