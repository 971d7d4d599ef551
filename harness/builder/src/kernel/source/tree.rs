//! A source that is a folder somebody works in.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{SourceError, check};
use crate::{digest::Sha256, file::FileError};

/// The sum of a folder's listing, if it is a kernel source.
pub(super) fn fingerprint(folder: &Path) -> Result<Sha256, SourceError> {
    check(folder)?;
    listing_sum(folder)
}

/// A sum over names, sizes and times of all files but git's own: another one after any edit. Reading all contents of a
/// kernel source would take longer than building what an edit changes.
pub(in crate::kernel) fn listing_sum(folder: &Path) -> Result<Sha256, SourceError> {
    let mut facts = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        list(&next, folder, &mut open, &mut facts).map_err(FileError::of("list", &next))?;
    }
    facts.sort_unstable();
    Ok(Sha256::of_parts(facts.iter().map(String::as_bytes)))
}

fn list(folder: &Path, top: &Path, open: &mut Vec<PathBuf>, facts: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            if entry.file_name() != ".git" {
                open.push(path);
            }
        } else {
            let name = path.strip_prefix(top).unwrap_or(&path).to_string_lossy().into_owned();
            facts.push(format!("{name} {} {} {}", metadata.size(), metadata.mtime(), metadata.mtime_nsec()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
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
    fn a_folder_without_a_makefile_is_no_source() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(fingerprint(folder.path()), Err(SourceError::NotASource { .. })));
    }
}
