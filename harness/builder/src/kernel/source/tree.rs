//! Kernel sources in a folder that somebody works in.

use std::{os::unix::fs::MetadataExt, path::Path};

use walkdir::{DirEntry, WalkDir};

use super::error::SourceError;
use crate::{digest::Sha256, file::FileError};

/// Errors if a folder is not a kernel source.
pub(super) fn check(folder: &Path) -> Result<(), SourceError> {
    if folder.join("Makefile").is_file() {
        Ok(())
    } else {
        Err(SourceError::NotASource { path: folder.to_owned(), reason: "it has no Makefile" })
    }
}

/// Computes the sum of a folder's listing, if it is a kernel source.
pub(super) fn fingerprint(folder: &Path) -> Result<Sha256, SourceError> {
    check(folder)?;
    listing_sum(folder)
}

/// Computes a sum over the names, sizes and times of all files except git's own, so any edit changes it. Reading all
/// the contents of a kernel source would take longer than compiling an edit.
pub(super) fn listing_sum(folder: &Path) -> Result<Sha256, SourceError> {
    let is_git = |entry: &DirEntry| entry.file_type().is_dir() && entry.file_name() == ".git";
    let mut facts = Vec::new();
    for entry in WalkDir::new(folder).min_depth(1).into_iter().filter_entry(|entry| !is_git(entry)) {
        let fact =
            entry.and_then(|entry| if entry.file_type().is_dir() { Ok(None) } else { fact(&entry, folder).map(Some) });
        facts.extend(fact.map_err(|error| FileError::walking("list", folder, error))?);
    }
    facts.sort_unstable();
    Ok(Sha256::of_parts(facts.iter().map(String::as_bytes)))
}

fn fact(entry: &DirEntry, top: &Path) -> walkdir::Result<String> {
    let metadata = entry.metadata()?;
    let name = entry.path().strip_prefix(top).unwrap_or(entry.path()).to_string_lossy();
    Ok(format!("{name} {} {} {}", metadata.size(), metadata.mtime(), metadata.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn an_edit_changes_the_fingerprint_and_a_commit_does_not() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("Makefile"), "").unwrap();
        fs::create_dir_all(folder.path().join(".git")).unwrap();
        fs::create_dir_all(folder.path().join("kernel")).unwrap();
        let first = fingerprint(folder.path()).unwrap();
        fs::write(folder.path().join(".git/HEAD"), "x").unwrap();
        assert_eq!(fingerprint(folder.path()).unwrap(), first);
        fs::write(folder.path().join("kernel/fork.c"), "x").unwrap();
        assert_ne!(fingerprint(folder.path()).unwrap(), first);
    }

    #[test]
    fn a_folder_without_a_makefile_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(fingerprint(folder.path()), Err(SourceError::NotASource { .. })));
    }
}
