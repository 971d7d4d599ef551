//! Where the project's own files are.

use std::{
    env,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::listing::version;

/// The project's folder: the one with `kernels/`, `images/` and `scenarios/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    root: PathBuf,
}

/// No folder of the project was found.
#[derive(Clone, Debug, Error)]
#[error("no folder with kernels/, images/ and scenarios/ in or above {}; run this from the project", start.display())]
pub struct NoProject {
    start: PathBuf,
}

const LANDMARKS: [&str; 4] = ["Cargo.toml", "kernels", "images", "scenarios"];

impl Project {
    /// The project that this program was started for: by cargo (`CARGO_MANIFEST_DIR`, which `cargo nextest` also sets
    /// for an archive unpacked elsewhere), or from a folder within it.
    ///
    /// # Errors
    /// [`NoProject`] if there is none.
    pub fn find() -> Result<Self, NoProject> {
        let here = || env::current_dir().unwrap_or_default();
        Self::above(&env::var_os("CARGO_MANIFEST_DIR").map_or_else(here, PathBuf::from))
    }

    /// The project in this folder or the nearest above it.
    ///
    /// # Errors
    /// [`NoProject`] if there is none.
    pub fn above(start: &Path) -> Result<Self, NoProject> {
        let is_root = |folder: &&Path| LANDMARKS.iter().all(|name| folder.join(name).exists());
        let root = start.ancestors().find(is_root).ok_or_else(|| NoProject { start: start.to_owned() })?;
        Ok(Self { root: root.to_owned() })
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Kernel manifests.
    pub fn kernels(&self) -> PathBuf {
        self.root.join("kernels")
    }

    /// Image recipes.
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// Scenario files.
    pub fn scenarios(&self) -> PathBuf {
        self.root.join("scenarios")
    }

    /// Sources of the BPF objects that scenarios load.
    pub fn objects(&self) -> PathBuf {
        self.scenarios().join("objects/src")
    }

    /// The list of packages with BPF objects that readers and least grants are tried on; a project need not have it.
    pub fn specimens(&self) -> PathBuf {
        self.root.join("harness/objects/packages.toml")
    }

    /// The committed vocabularies: a kernel's name and its file's text, the oldest kernel first.
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
    fn is_found_from_within() {
        let project = Project::find().unwrap();
        assert!(project.root().join("harness/builder/src/project.rs").exists());
    }

    #[test]
    fn elsewhere_it_is_an_error_that_names_the_place() {
        let elsewhere = tempfile::tempdir().unwrap();
        let error = Project::above(elsewhere.path()).unwrap_err().to_string();
        assert!(error.contains(elsewhere.path().to_str().unwrap()), "{error}");
    }
}
