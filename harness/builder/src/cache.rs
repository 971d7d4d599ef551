//! The cache: everything that is costly to make and can be made again.
//!
//! An artefact is built in a staging folder beside its final place and renamed, so a reader never sees half of one; a
//! lock per artefact lets two processes ask for the same thing, and one of them wait.

mod area;
pub mod cleaning;
mod entry;
mod error;
pub mod inventory;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

pub use area::Area;
use area::LOCKS;
pub use entry::{Entry, Lock, Staging};
pub use error::{CACHE_VARIABLE, CacheError};

const FOLDER: &str = "bpf-token-harness";
/// A cache folder that exists and can be written to.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The cache the environment names: `$BPF_TOKEN_HARNESS_CACHE`, or `bpf-token-harness` under `$XDG_CACHE_HOME` or
    /// `~/.cache`.
    pub fn from_env() -> Result<Self, CacheError> {
        Self::at(Self::place()?)
    }

    /// Where [`Self::from_env`] has it, whether or not it is there; nothing is made.
    pub fn place() -> Result<PathBuf, CacheError> {
        place(|name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
    }

    /// The cache in this folder, which is made if it is missing.
    pub fn at(root: impl Into<PathBuf>) -> Result<Self, CacheError> {
        let root = root.into();
        fs::create_dir_all(&root).map_err(CacheError::io("create", &root))?;
        let root = root.canonicalize().map_err(CacheError::io("resolve", &root))?;
        tempfile::tempfile_in(&root).map_err(CacheError::io("write to", &root))?;
        Ok(Self { root })
    }

    /// The folder of the whole cache, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of one area, made if it is missing.
    pub fn folder(&self, area: Area) -> Result<PathBuf, CacheError> {
        let folder = self.root.join(area.folder());
        fs::create_dir_all(&folder).map_err(CacheError::io("create", &folder))?;
        Ok(folder)
    }

    /// The entry of this name, whether or not it exists. The name becomes a file name.
    pub fn entry(&self, area: Area, name: &str) -> Result<Entry, CacheError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+' | '~');
        if name.is_empty() || name.len() > 200 || name.starts_with('.') || !name.chars().all(plain) {
            return Err(CacheError::BadName { name: name.chars().take(200).collect() });
        }
        Ok(Entry::new(self.folder(area)?, self.root.join(LOCKS), area, name))
    }
}

/// Where the cache belongs, given the environment's variables.
fn place(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf, CacheError> {
    variable(CACHE_VARIABLE)
        .or_else(|| variable("XDG_CACHE_HOME").map(|base| base.join(FOLDER)))
        .or_else(|| variable("HOME").map(|home| home.join(".cache").join(FOLDER)))
        .ok_or(CacheError::NoPlace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Result<PathBuf, CacheError> {
        place(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| PathBuf::from(value)))
    }

    #[test]
    fn the_first_variable_that_is_set_decides() {
        assert_eq!(from(&[("HOME", "/h")]).unwrap(), Path::new("/h/.cache/bpf-token-harness"));
        assert_eq!(from(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]).unwrap(), Path::new("/x/bpf-token-harness"));
        assert_eq!(from(&[("HOME", "/h"), (CACHE_VARIABLE, "/c")]).unwrap(), Path::new("/c"));
        assert!(matches!(from(&[]), Err(CacheError::NoPlace)));
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
    fn a_place_that_is_a_file_is_refused_with_a_way_out() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let message = Cache::at(file.path().join("below")).unwrap_err().to_string();
        assert!(message.contains(CACHE_VARIABLE) && message.contains("below"), "{message}");
    }
}
