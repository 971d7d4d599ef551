//! The cache: everything that is costly to make and can be made again.
//!
//! An artefact is built in a staging folder beside its final path and then renamed, so a reader never sees half of one.
//! Each artefact has a lock: when two processes ask for the same one, the second waits. The sums of its files are recorded
//! when it is published, and compared when it is used ([`Entry::intact`]).

mod area;
pub mod cleaning;
mod entry;
mod error;
pub mod inventory;
mod sums;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

pub use area::Area;
use area::{LOCKS, SUMS};
pub use entry::{Entry, Lock, Staging};
pub use error::{CACHE_VARIABLE, CacheError};
pub use sums::Part;

use crate::progress::Progress;

const FOLDER: &str = "bpf-token-harness";

/// A cache folder that exists and is writable.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Opens the cache that the environment names: `$BPF_TOKEN_HARNESS_CACHE`, or `bpf-token-harness` under
    /// `$XDG_CACHE_HOME` or `~/.cache`.
    pub fn from_env() -> Result<Self, CacheError> {
        Self::at(Self::place()?)
    }

    /// Returns the folder that [`Self::from_env`] opens, whether or not it exists. Creates nothing.
    pub fn place() -> Result<PathBuf, CacheError> {
        let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        locate(variable, env::home_dir().filter(|home| !home.as_os_str().is_empty()))
    }

    /// Opens the cache in a folder, and creates the folder if it is missing.
    pub fn at(root: impl Into<PathBuf>) -> Result<Self, CacheError> {
        let root = root.into();
        fs::create_dir_all(&root).map_err(CacheError::io("create", &root))?;
        let root = root.canonicalize().map_err(CacheError::io("resolve", &root))?;
        tempfile::tempfile_in(&root).map_err(CacheError::io("write to", &root))?;
        Ok(Self { root })
    }

    /// The absolute path of the cache folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the folder of an area, and creates it if it is missing.
    pub fn folder(&self, area: Area) -> Result<PathBuf, CacheError> {
        let folder = self.root.join(area.folder());
        fs::create_dir_all(&folder).map_err(CacheError::io("create", &folder))?;
        Ok(folder)
    }

    /// Returns the entry of this name, whether or not it exists. The name is also the file name.
    pub fn entry(&self, area: Area, name: &str) -> Result<Entry, CacheError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+' | '~');
        if name.is_empty() || name.len() > 200 || name.starts_with('.') || !name.chars().all(plain) {
            return Err(CacheError::BadName { name: name.chars().take(200).collect() });
        }
        let file = format!("{}-{name}", area.folder());
        let [lock, sums] = [LOCKS, SUMS].map(|folder| self.root.join(folder).join(&file));
        Ok(Entry::new(self.folder(area)?.join(name), area, lock, sums))
    }

    /// Compares all of the entry that is at this path with its sums. Removes it if it is damaged, and shows that; returns
    /// whether it did. A path that is not that of an entry of this area is left as it is.
    pub fn remove_damaged(&self, area: Area, path: &Path, progress: &Progress) -> Result<bool, CacheError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match self.entry(area, &name) {
            Ok(entry) if entry.path() == path => Ok(entry.intact(Part::Whole, progress)?.is_none()),
            Ok(_) | Err(CacheError::BadName { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Returns the cache folder that the environment variables name, or else the one in the user's home folder, which runners of tests may
/// not name by `HOME`.
fn locate(variable: impl Fn(&str) -> Option<PathBuf>, home: Option<PathBuf>) -> Result<PathBuf, CacheError> {
    variable(CACHE_VARIABLE)
        .or_else(|| variable("XDG_CACHE_HOME").map(|base| base.join(FOLDER)))
        .or_else(|| home.map(|home| home.join(".cache").join(FOLDER)))
        .ok_or(CacheError::NoPlace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)], home: Option<&str>) -> Result<PathBuf, CacheError> {
        let variable = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| PathBuf::from(value));
        locate(variable, home.map(PathBuf::from))
    }

    #[test]
    fn the_first_variable_that_is_set_decides() {
        assert_eq!(from(&[], Some("/h")).unwrap(), Path::new("/h/.cache/bpf-token-harness"));
        assert_eq!(from(&[("XDG_CACHE_HOME", "/x")], Some("/h")).unwrap(), Path::new("/x/bpf-token-harness"));
        assert_eq!(from(&[("XDG_CACHE_HOME", "/x"), (CACHE_VARIABLE, "/c")], None).unwrap(), Path::new("/c"));
        assert!(matches!(from(&[], None), Err(CacheError::NoPlace)));
    }

    #[test]
    fn a_name_cannot_leave_its_area() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path()).unwrap();
        for name in ["", ".", "..", "../x", "a/b", ".partial", "a b", &"x".repeat(201)] {
            assert!(matches!(cache.entry(Area::Kernels, name), Err(CacheError::BadName { .. })), "{name:?}");
        }
        let entry = cache.entry(Area::Kernels, "6.12-0a~bpo13+1").unwrap();
        assert_eq!(entry.path(), cache.root().join("kernels/6.12-0a~bpo13+1"));
    }

    #[test]
    fn a_file_is_refused_as_the_folder() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().join("below");
        let message = Cache::at(&path).unwrap_err().to_string().replace(path.to_str().unwrap(), "/FILE/below");
        insta::assert_snapshot!(message, @"cannot create /FILE/below in the cache; set BPF_TOKEN_HARNESS_CACHE to a writable folder");
    }
}
