//! Why the cache could not be used.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

/// The environment variable that moves the cache.
pub const CACHE_VARIABLE: &str = "BPF_TOKEN_HARNESS_CACHE";

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
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_named_as_such() {
        let error = CacheError::io("write to", Path::new("/c/x"))(io::ErrorKind::StorageFull.into());
        assert!(error.to_string().contains("the disk is full"), "{error}");
    }
}
