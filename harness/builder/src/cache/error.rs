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
    /// None of the variables that name its folder is set.
    #[error("no folder for the cache: set {CACHE_VARIABLE}, XDG_CACHE_HOME or HOME")]
    NoPlace,
    /// The name cannot be a file name.
    #[error("`{name}` cannot name a cache entry: use only letters, digits and . - _ + ~")]
    BadName {
        /// The refused name.
        name: String,
    },
    /// A file operation failed.
    #[error("cannot {action} {} in the cache; {}", path.display(), hint(source))]
    Io {
        /// The attempted operation, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}

impl CacheError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// Returns advice for a failed file operation.
fn hint(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("the disk is full: free some space, or set {CACHE_VARIABLE} to a folder on a larger disk")
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::NotADirectory => {
            format!("set {CACHE_VARIABLE} to a writable folder")
        }
        _ => format!(
            "{CACHE_VARIABLE} names another folder; the cache can be deleted: everything in it can be made again"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_failure_has_its_advice() {
        let failed = |kind: io::ErrorKind| CacheError::io("write to", Path::new("/c/x"))(kind.into()).to_string();
        insta::assert_snapshot!(failed(io::ErrorKind::StorageFull), @"cannot write to /c/x in the cache; the disk is full: free some space, or set BPF_TOKEN_HARNESS_CACHE to a folder on a larger disk");
        insta::assert_snapshot!(failed(io::ErrorKind::PermissionDenied), @"cannot write to /c/x in the cache; set BPF_TOKEN_HARNESS_CACHE to a writable folder");
        insta::assert_snapshot!(failed(io::ErrorKind::Other), @"cannot write to /c/x in the cache; BPF_TOKEN_HARNESS_CACHE names another folder; the cache can be deleted: everything in it can be made again");
        insta::assert_snapshot!(CacheError::NoPlace, @"no folder for the cache: set BPF_TOKEN_HARNESS_CACHE, XDG_CACHE_HOME or HOME");
        insta::assert_snapshot!(CacheError::BadName { name: "a/b".into() }, @"`a/b` cannot name a cache entry: use only letters, digits and . - _ + ~");
    }
}
