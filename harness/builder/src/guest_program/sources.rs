//! A hash of everything that static programs are made from.

use std::{
    fs,
    path::{Path, PathBuf},
};

use walkdir::{DirEntry, WalkDir};

use super::{cargo, error::GuestProgramError};
use crate::{compilers::RUSTC, digest::Sha256, file};

/// The files and folders of the workspace that determine the guest program and the guest's init.
pub(super) const GUEST: &[&str] = &[
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

/// Those that determine the guard's program: its BPF programs, its crates, and the crates that they link.
pub(super) const GUARD: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "harness/diagnostics/Cargo.toml",
    "harness/diagnostics/src",
    "harness/guard/bpf",
    "harness/guard/daemon/Cargo.toml",
    "harness/guard/daemon/src",
    "harness/guard/loader/Cargo.toml",
    "harness/guard/loader/build.rs",
    "harness/guard/loader/src",
    "harness/guard/policy/Cargo.toml",
    "harness/guard/policy/src",
    "harness/guard/record/Cargo.toml",
    "harness/guard/record/src",
    "harness/page/Cargo.toml",
    "harness/page/src",
    "harness/program/Cargo.toml",
    "harness/program/src",
    "harness/protocol/Cargo.toml",
    "harness/protocol/src",
    "harness/uapi/Cargo.toml",
    "harness/uapi/src",
];

/// Those that determine the programs that only load an object.
pub(super) const LOADERS: &[&str] = &["Cargo.toml", "Cargo.lock", "harness/loaders"];

/// Computes a hash of the sources, the compiler and the flags, and of `more`. Equal sources have equal keys, whatever
/// their folder.
pub(super) fn key(workspace: &Path, sources: &[&str], more: &[&str]) -> Result<String, GuestProgramError> {
    let mut parts =
        vec![cargo::FLAGS.as_bytes().to_vec(), RUSTC.version().map_err(GuestProgramError::Compiler)?.into_bytes()];
    parts.extend(more.iter().map(|part| part.as_bytes().to_vec()));
    for name in files(workspace, sources)? {
        let path = workspace.join(&name);
        parts.push(name.into_os_string().into_encoded_bytes());
        parts.push(fs::read(&path).map_err(|source| GuestProgramError::Source { path, source })?);
    }
    Ok(Sha256::of_parts(parts.iter().map(Vec::as_slice)).to_string()[..32].to_owned())
}

/// Lists all source files, relative to the workspace and in a fixed order.
fn files(workspace: &Path, sources: &[&str]) -> Result<Vec<PathBuf>, GuestProgramError> {
    // Editors create and remove hidden files.
    let is_source = |entry: &DirEntry| !entry.file_name().as_encoded_bytes().starts_with(b".");
    let mut found = Vec::new();
    for source in sources.iter().map(|source| workspace.join(source)) {
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
        for source in GUEST {
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
        assert_eq!(key(here.path(), GUEST, &[]).unwrap(), key(there.path(), GUEST, &[]).unwrap());
    }

    #[test]
    fn every_change_of_a_source_changes_the_key() {
        let folder = workspace();
        let before = key(folder.path(), GUEST, &[]).unwrap();
        fs::write(folder.path().join("harness/guest/src/main.rs"), "changed").unwrap();
        let changed = key(folder.path(), GUEST, &[]).unwrap();
        fs::write(folder.path().join("harness/guest/src/new.rs"), "").unwrap();
        let added = key(folder.path(), GUEST, &[]).unwrap();
        fs::rename(folder.path().join("harness/guest/src/new.rs"), folder.path().join("harness/guest/src/newer.rs"))
            .unwrap();
        let renamed = key(folder.path(), GUEST, &[]).unwrap();
        let keys = [&before, &changed, &added, &renamed];
        assert!(keys.iter().enumerate().all(|(i, key)| !keys[..i].contains(key)), "{keys:?}");
    }

    #[test]
    fn what_else_a_program_is_made_with_changes_the_key() {
        let folder = workspace();
        let with = |more: &[&str]| key(folder.path(), GUEST, more).unwrap();
        assert_ne!(with(&["clang 14"]), with(&["clang 19"]));
    }

    /// Returns the names of the workspace's crates that a manifest lists, and their folders.
    fn own_crates(manifest: &toml::Table, workspace: &toml::Table) -> Vec<String> {
        let tables =
            ["dependencies", "build-dependencies"].map(|key| manifest.get(key).and_then(|deps| deps.as_table()));
        let names = tables.into_iter().flatten().flat_map(|deps| deps.keys());
        names.filter_map(|name| Some(workspace.get(name)?.get("path")?.as_str()?.to_owned())).collect()
    }

    #[test]
    fn the_sources_of_a_program_are_those_of_all_crates_that_it_links() {
        let project = crate::project::Project::find().unwrap();
        let read = |path: &str| fs::read_to_string(project.root().join(path)).unwrap().parse::<toml::Table>().unwrap();
        let root = read("Cargo.toml");
        let workspace = root["workspace"]["dependencies"].as_table().unwrap();
        for (sources, programs) in
            [(GUEST, &["harness/guest", "harness/init"][..]), (GUARD, &["harness/guard/daemon"][..])]
        {
            let mut linked: Vec<String> = programs.iter().map(|&program| program.to_owned()).collect();
            let mut at = 0;
            while at < linked.len() {
                for folder in own_crates(&read(&format!("{}/Cargo.toml", linked[at])), workspace) {
                    if !linked.contains(&folder) {
                        linked.push(folder);
                    }
                }
                at += 1;
            }
            for folder in &linked {
                for part in ["Cargo.toml", "src", "build.rs"] {
                    let path = format!("{folder}/{part}");
                    let is_there = project.root().join(&path).exists();
                    assert!(!is_there || sources.contains(&path.as_str()), "{path} is no source of {programs:?}");
                }
            }
            let crates = sources.iter().filter_map(|path| path.strip_suffix("/Cargo.toml"));
            crates.for_each(|folder| assert!(linked.iter().any(|other| other == folder), "{folder} is not linked"));
        }
    }

    #[test]
    fn unrelated_files_do_not_change_the_key() {
        let folder = workspace();
        let before = key(folder.path(), GUEST, &[]).unwrap();
        for other in ["README.md", "harness/guest/README.md", "harness/guest/src/.main.rs.swp"] {
            fs::write(folder.path().join(other), "").unwrap();
        }
        assert_eq!(key(folder.path(), GUEST, &[]).unwrap(), before);
    }

    #[test]
    fn a_missing_source_is_named() {
        let folder = workspace();
        fs::remove_file(folder.path().join("Cargo.lock")).unwrap();
        let error = key(folder.path(), GUEST, &[]).unwrap_err();
        let message = error.to_string().replace(folder.path().to_str().unwrap(), "/WORKSPACE");
        insta::assert_snapshot!(message, @"cannot read /WORKSPACE/Cargo.lock, a source of the guest program");
    }
}
