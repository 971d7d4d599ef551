//! Mutants of the guard: its program with one deliberate bug in its BPF programs.
//!
//! A mutant is described like a kernel's ([`crate::kernel::mutant`]). It is built in a copy of the workspace, in which one
//! file at a time is changed.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use crate::{
    cache::{Area, Cache, Lock, cleaning::References},
    command::CommandError,
    file::{self, FileError},
    guest_program::{
        GuestProgramError,
        guard::{self, GuardProgram},
    },
    kernel::mutant::{Edit, Mutant, MutationError},
    progress::Progress,
};

/// The folder of the guard's crates in a workspace, and of its BPF programs.
const GUARD: &str = "harness/guard";
const SOURCES: &str = "harness/guard/bpf";
/// The name of the copy in the cache.
const TREE: &str = "mutants-guard";

/// A copy of a workspace for mutants. Nobody else can use it while this value exists.
#[derive(Debug)]
pub struct GuardTree<'a> {
    workspace: &'a Path,
    cache: &'a Cache,
    copy: PathBuf,
    target: PathBuf,
    progress: Progress,
    _lock: Lock,
}

/// Adds the mutants of the guard in the cache.
pub(crate) fn add_references(references: &mut References) {
    references.add(Area::Trees, TREE);
    references.add_all(Area::Mutants, guard::CHANGED);
}

impl<'a> GuardTree<'a> {
    /// Makes the copy: the guard's files are copied, everything else is linked.
    ///
    /// # Errors
    /// [`MutationError`] if a file cannot be read or written.
    pub fn open(workspace: &'a Path, cache: &'a Cache, progress: &Progress) -> Result<Self, MutationError> {
        let lock = cache.entry(Area::Trees, TREE)?.lock(progress)?;
        let folder = lock.entry().path();
        let (copy, target) = (folder.join("workspace"), folder.join("target"));
        if copy.exists() {
            fs::remove_dir_all(&copy).map_err(FileError::of("remove", &copy))?;
        }
        copy_workspace(workspace, &copy)?;
        guard::forget_others(&target);
        Ok(Self { workspace, cache, copy, target, progress: progress.clone(), _lock: lock })
    }

    /// Checks that a mutant fits the guard's source.
    ///
    /// # Errors
    /// [`MutationError::Misfit`] if not.
    pub fn check(&self, mutant: &Mutant, edit: &Edit) -> Result<(), MutationError> {
        changed(self.workspace, mutant, edit).map(drop)
    }

    /// Returns the program of a mutant, built if needed.
    ///
    /// # Errors
    /// [`MutationError::DoesNotCompile`] if it does not compile, or another error.
    pub fn build(&self, mutant: &Mutant, edit: &Edit) -> Result<GuardProgram, MutationError> {
        let text = changed(self.workspace, mutant, edit)?;
        let [original, path] = [self.workspace, &self.copy].map(|root| root.join(SOURCES).join(&edit.file));
        file::write(&path, text)?;
        let name = mutant.name.as_str();
        let built = guard::build_changed(name, &self.copy, &self.target, self.cache, &self.progress);
        file::write(&path, file::read(&original)?)?;
        match built {
            Err(GuestProgramError::Build { source: source @ CommandError::Failed { .. }, .. }) => {
                Err(MutationError::DoesNotCompile { mutant: mutant.name.clone(), of: of(), source })
            }
            built => Ok(built?),
        }
    }
}

fn of() -> String {
    "the guard".to_owned()
}

/// Returns the changed text of a mutant's file.
fn changed(workspace: &Path, mutant: &Mutant, edit: &Edit) -> Result<String, MutationError> {
    let text = file::read_text(&workspace.join(SOURCES).join(&edit.file))?;
    edit.apply(&text).map_err(|misfit| MutationError::Misfit {
        mutant: mutant.name.clone(),
        of: of(),
        file: edit.file.clone(),
        source: misfit.into(),
    })
}

/// Copies the guard's files, and links all others but hidden ones and what cargo built.
fn copy_workspace(from: &Path, to: &Path) -> Result<(), FileError> {
    let harness = Path::new(GUARD).parent().unwrap_or(Path::new(""));
    link_all(from, to, &["target", "harness"])?;
    link_all(&from.join(harness), &to.join(harness), &["guard"])?;
    for entry in file::below(&from.join(GUARD)) {
        let entry = entry?;
        let path = to.join(entry.path().strip_prefix(from).unwrap_or(entry.path()));
        if entry.file_type().is_dir() {
            fs::create_dir_all(&path).map_err(FileError::of("create", &path))?;
        } else {
            file::write(&path, file::read(entry.path())?)?;
        }
    }
    Ok(())
}

/// Makes a folder of links to everything in another one, except for hidden files and those named.
fn link_all(from: &Path, to: &Path, except: &[&str]) -> Result<(), FileError> {
    fs::create_dir_all(to).map_err(FileError::of("create", to))?;
    for entry in fs::read_dir(from).map_err(FileError::of("list", from))? {
        let name = entry.map_err(FileError::of("list", from))?.file_name();
        let is_hidden = name.as_encoded_bytes().starts_with(b".");
        if !is_hidden && !except.iter().any(|other| name == *other) {
            let link = to.join(&name);
            symlink(from.join(&name), &link).map_err(FileError::of("link", &link))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kernel::mutant::Mutants, project::Project};

    #[test]
    fn a_copy_has_the_guards_files_and_links_to_all_others() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        for path in ["harness/guard/bpf", "harness/uapi", "target", ".git"] {
            fs::create_dir_all(from.join(path)).unwrap();
        }
        fs::write(from.join("Cargo.toml"), "").unwrap();
        fs::write(from.join("harness/guard/bpf/guard.bpf.c"), "int x;").unwrap();
        copy_workspace(&from, &to).unwrap();
        assert!(to.join("Cargo.toml").is_symlink() && to.join("harness/uapi").is_symlink());
        assert!(!to.join("harness").is_symlink() && !to.join("target").exists() && !to.join(".git").exists());
        fs::write(to.join("harness/guard/bpf/guard.bpf.c"), "int y;").unwrap();
        assert_eq!(fs::read_to_string(from.join("harness/guard/bpf/guard.bpf.c")).unwrap(), "int x;");
    }

    #[test]
    fn every_mutant_of_the_guard_fits_its_source() {
        let project = Project::find().unwrap();
        let kernel = "6.12".parse().unwrap();
        let mutants = Mutants::of_guard(&project.kernels().join("mutants"), std::slice::from_ref(&kernel)).unwrap();
        let edits = || mutants.iter().map(|mutant| (mutant, mutant.edit(&kernel).unwrap()));
        let misfits = edits().filter_map(|(mutant, edit)| changed(project.root(), mutant, edit).err());
        let misfits: Vec<String> = misfits.map(|error| format!("{:?}", error)).collect();
        assert!(misfits.is_empty(), "{}", misfits.join("\n"));
        assert!(edits().count() > 0);
    }
}
