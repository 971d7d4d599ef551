//! The cache: everything that is costly to make and can be made again.
//!
//! An artefact is built in a staging folder beside its final place and renamed, so a reader never sees half of one; a
//! lock per artefact lets two processes ask for the same thing, and one of them wait.

pub mod cleaning;
mod entry;
pub mod inventory;

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;

pub use entry::{Entry, Lock, Staging};

/// The environment variable that moves the cache.
pub const CACHE_VARIABLE: &str = "BPF_TOKEN_HARNESS_CACHE";
const FOLDER: &str = "bpf-token-harness";
/// The folder of the locks of all entries.
const LOCKS: &str = "locks";

/// A part of the cache, one sub-folder each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Area {
    /// What came over the network, verified.
    Downloads,
    /// Built kernels.
    Kernels,
    /// Kernels with a bug put in on purpose, apart from the real ones.
    Mutants,
    /// Source and object trees that make the next kernel build a short one.
    Trees,
    /// Guest root file systems.
    Images,
    /// The static guest program.
    Guest,
    /// BPF objects for scenarios.
    Objects,
    /// Outcomes of scenarios.
    Store,
    /// Run folders.
    Runs,
}

impl Area {
    /// Every area.
    pub const ALL: [Self; 9] = [
        Self::Downloads,
        Self::Kernels,
        Self::Mutants,
        Self::Trees,
        Self::Images,
        Self::Guest,
        Self::Objects,
        Self::Store,
        Self::Runs,
    ];

    /// The name of its sub-folder.
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Downloads => "downloads",
            Self::Kernels => "kernels",
            Self::Mutants => "mutants",
            Self::Trees => "trees",
            Self::Images => "images",
            Self::Guest => "guest",
            Self::Objects => "objects",
            Self::Store => "store",
            Self::Runs => "runs",
        }
    }
}

/// Why the cache could not be used.
#[derive(Debug, Error)]
pub enum CacheError {
    /// Neither of the variables that say where it is was set.
    #[error("there is no place for the cache: set {CACHE_VARIABLE}, XDG_CACHE_HOME or HOME")]
    NoPlace,
    /// A name that cannot be a file name.
    #[error("`{name}` cannot name an entry of the cache: use letters, digits and . - _ + ~ only")]
    BadName {
        /// The refused name.
        name: String,
    },
    /// A file operation failed.
    #[error("cannot {action} {} in the cache; {}", path.display(), hint(source))]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl CacheError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// What to do about a failed file operation.
fn hint(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("the disk is full: free some space, or set {CACHE_VARIABLE} to a folder on a larger one")
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::NotADirectory => {
            format!("set {CACHE_VARIABLE} to a folder you may write to")
        }
        _ => format!("the folder can be moved by {CACHE_VARIABLE}, and deleted: everything in it can be made again"),
    }
}

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

    #[test]
    fn a_full_disk_is_named_as_such() {
        let error = CacheError::io("write to", Path::new("/c/x"))(io::ErrorKind::StorageFull.into());
        assert!(error.to_string().contains("the disk is full"), "{error}");
    }
}
