//! A hash of everything the guest program is made from.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use walkdir::{DirEntry, WalkDir};
use xshell::cmd;

use super::{cargo, error::GuestProgramError};
use crate::{command, digest::Sha256, file};

/// The files and folders of the workspace that determine the programs.
const SOURCES: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "harness/init/Cargo.toml",
    "harness/init/src",
    "harness/guest/Cargo.toml",
    "harness/guest/build.rs",
    "harness/guest/src",
    "harness/protocol/Cargo.toml",
    "harness/protocol/src",
];

/// Computes a hash of the sources, the compiler and the flags. Equal sources have equal keys, whatever their folder.
pub(super) fn key(workspace: &Path) -> Result<String, GuestProgramError> {
    let mut parts = vec![cargo::FLAGS.as_bytes().to_vec(), compiler()?.as_bytes().to_vec()];
    for name in files(workspace)? {
        let path = workspace.join(&name);
        parts.push(name.into_os_string().into_encoded_bytes());
        parts.push(fs::read(&path).map_err(|source| GuestProgramError::Source { path, source })?);
    }
    Ok(Sha256::of_parts(parts.iter().map(Vec::as_slice)).to_string()[..32].to_owned())
}

/// Returns the compiler's version, which is queried once: through rustup that takes longer than everything else.
fn compiler() -> Result<&'static str, GuestProgramError> {
    static ANSWER: OnceLock<String> = OnceLock::new();
    if let Some(answer) = ANSWER.get() {
        return Ok(answer);
    }
    let answer = command::output(|shell| cmd!(shell, "rustc -vV")).map_err(GuestProgramError::Compiler)?;
    Ok(ANSWER.get_or_init(|| answer))
}

/// Lists all source files, relative to the workspace and in a fixed order.
fn files(workspace: &Path) -> Result<Vec<PathBuf>, GuestProgramError> {
    // Editors create and remove hidden files.
    let is_source = |entry: &DirEntry| !entry.file_name().as_encoded_bytes().starts_with(b".");
    let mut found = Vec::new();
    for source in SOURCES.iter().map(|source| workspace.join(source)) {
        for entry in WalkDir::new(&source).follow_links(true).into_iter().filter_entry(is_source) {
            let entry = entry.map_err(|error| {
                let (path, source) = file::walked(&source, error);
                GuestProgramError::Source { path, source }
            })?;
            if !entry.file_type().is_dir() {
                found.push(entry.path().strip_prefix(workspace).unwrap_or(entry.path()).to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for source in SOURCES {
            let path = folder.path().join(source);
            let file = if source.ends_with("src") { path.join("main.rs") } else { path };
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, source).unwrap();
        }
        folder
    }

    #[test]
    fn the_same_sources_have_the_same_key_wherever_they_are() {
        let (here, there) = (workspace(), workspace());
        assert_eq!(key(here.path()).unwrap(), key(there.path()).unwrap());
    }

    #[test]
    fn every_change_of_a_source_changes_the_key() {
        let folder = workspace();
        let before = key(folder.path()).unwrap();
        fs::write(folder.path().join("harness/guest/src/main.rs"), "changed").unwrap();
        let changed = key(folder.path()).unwrap();
        fs::write(folder.path().join("harness/guest/src/new.rs"), "").unwrap();
        let added = key(folder.path()).unwrap();
        fs::rename(folder.path().join("harness/guest/src/new.rs"), folder.path().join("harness/guest/src/newer.rs"))
            .unwrap();
        let renamed = key(folder.path()).unwrap();
        let keys = [&before, &changed, &added, &renamed];
        assert!(keys.iter().enumerate().all(|(i, key)| !keys[..i].contains(key)), "{keys:?}");
    }

    #[test]
    fn unrelated_files_do_not_change_the_key() {
        let folder = workspace();
        let before = key(folder.path()).unwrap();
        for other in ["README.md", "harness/guest/README.md", "harness/guest/src/.main.rs.swp"] {
            fs::write(folder.path().join(other), "").unwrap();
        }
        assert_eq!(key(folder.path()).unwrap(), before);
    }

    #[test]
    fn a_missing_source_is_named() {
        let folder = workspace();
        fs::remove_file(folder.path().join("Cargo.lock")).unwrap();
        let error = key(folder.path()).unwrap_err();
        let message = error.to_string().replace(folder.path().to_str().unwrap(), "/WORKSPACE");
        insta::assert_snapshot!(message, @"cannot read /WORKSPACE/Cargo.lock, a source of the guest program");
    }
}
