//! The paths of the project's own files.

use std::{
    env,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::{guest_program, listing::version};

/// The project's folder: the one with `kernels/`, `images/` and `scenarios/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    root: PathBuf,
}

/// The project's folder was not found.
#[derive(Clone, Debug, Error)]
#[error("no folder with kernels/, images/ and scenarios/ in or above {}; run this in the project", start.display())]
pub struct NoProject {
    start: PathBuf,
}

const LANDMARKS: [&str; 4] = ["Cargo.toml", "kernels", "images", "scenarios"];

impl Project {
    /// Finds the project that this program was started for: by cargo (`CARGO_MANIFEST_DIR`, which `cargo nextest` also
    /// sets for an archive unpacked elsewhere), or from a folder within it.
    ///
    /// # Errors
    /// [`NoProject`] if there is none.
    pub fn find() -> Result<Self, NoProject> {
        let here = || env::current_dir().unwrap_or_default();
        Self::above(&env::var_os("CARGO_MANIFEST_DIR").map_or_else(here, PathBuf::from))
    }

    /// Finds the project in a folder or the nearest one above it.
    ///
    /// # Errors
    /// [`NoProject`] if there is none.
    pub fn above(start: &Path) -> Result<Self, NoProject> {
        let is_root = |folder: &&Path| LANDMARKS.iter().all(|name| folder.join(name).exists());
        let root = start.ancestors().find(is_root).ok_or_else(|| NoProject { start: start.to_owned() })?;
        Ok(Self { root: root.to_owned() })
    }

    /// The project in a folder that is known to be one.
    pub(crate) fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// The project's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether the guest's programs and the objects are there built, as in what an installed program brings: no compiler is
    /// needed for them.
    pub fn has_programs(&self) -> bool {
        self.root.join(guest_program::READY).is_dir()
    }

    /// The folder of kernel manifests.
    pub fn kernels(&self) -> PathBuf {
        self.root.join("kernels")
    }

    /// The folder of image manifests.
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// The folder of scenario files.
    pub fn scenarios(&self) -> PathBuf {
        self.root.join("scenarios")
    }

    /// The folder with the sources of the BPF objects that scenarios load.
    pub fn objects(&self) -> PathBuf {
        self.scenarios().join("objects/src")
    }

    /// The list of packages with the corpus of BPF objects; a project need not have it.
    pub fn corpus(&self) -> PathBuf {
        self.root.join("harness/objects/packages.toml")
    }

    /// Reads the committed vocabularies: each kernel's name and its file's text, the oldest kernel first.
    ///
    /// # Errors
    /// If the folder or a file in it cannot be read.
    pub fn vocabularies(&self) -> io::Result<Vec<(String, String)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.kernels().join("vocabulary"))? {
            let path = entry?.path();
            if let Some(name) = path.file_name().and_then(OsStr::to_str).and_then(|name| name.strip_suffix(".json")) {
                files.push((name.to_owned(), fs::read_to_string(&path)?));
            }
        }
        files.sort_by_cached_key(|(name, _)| version(name));
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_is_found_from_within() {
        let project = Project::find().unwrap();
        assert!(project.root().join("harness/builder/src/project.rs").exists());
    }

    #[test]
    fn elsewhere_the_error_names_the_folder() {
        let elsewhere = tempfile::tempdir().unwrap();
        let error = Project::above(elsewhere.path()).unwrap_err().to_string();
        let error = error.replace(elsewhere.path().to_str().unwrap(), "/ELSEWHERE");
        insta::assert_snapshot!(error, @"no folder with kernels/, images/ and scenarios/ in or above /ELSEWHERE; run this in the project");
    }
}
