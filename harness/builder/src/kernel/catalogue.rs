//! All kernels there are manifests for.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use harness_model::name::KernelName;
use thiserror::Error;

use super::manifest::{Manifest, ManifestError};

/// Why a kernel was not found in the catalogue.
#[derive(Debug, Error)]
pub enum CatalogueError {
    /// The folder could not be listed.
    #[error("cannot list the kernel manifests in {}", path.display())]
    List {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No manifest has this name.
    #[error("no kernel is called `{name}`{}; there are: {}", suggested(.suggestion), .known.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
        /// A similar name.
        suggestion: Option<String>,
        /// All names.
        known: Vec<String>,
    },
    /// A manifest is not usable.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

fn suggested(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map(|name| format!(", did you mean `{name}`?")).unwrap_or_default()
}

/// The manifests of a folder, by name. Each is read when it is asked for.
#[derive(Clone, Debug)]
pub struct Catalogue {
    files: BTreeMap<String, PathBuf>,
}

impl Catalogue {
    /// Lists the manifests (`*.toml`) of a folder.
    pub fn of_folder(folder: &Path) -> Result<Self, CatalogueError> {
        let list = || fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>();
        let entries = list().map_err(|source| CatalogueError::List { path: folder.to_owned(), source })?;
        let manifests =
            entries.iter().map(fs::DirEntry::path).filter(|path| path.extension().is_some_and(|e| e == "toml"));
        let named = |path: PathBuf| Some((path.file_stem()?.to_str()?.to_owned(), path));
        Ok(Self { files: manifests.filter_map(named).collect() })
    }

    /// The names of all kernels, older ones first.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.files.keys().map(String::as_str).collect();
        names.sort_by_key(|name| numbers(name));
        names
    }

    /// Reads the manifest of this name.
    pub fn get(&self, name: &str) -> Result<Manifest, CatalogueError> {
        match self.files.get(name) {
            Some(path) => Ok(Manifest::read(path)?),
            None => Err(self.unknown(name)),
        }
    }

    /// Reads the manifest of this name.
    pub fn kernel(&self, name: &KernelName) -> Result<Manifest, CatalogueError> {
        self.get(name.as_str())
    }

    fn unknown(&self, name: &str) -> CatalogueError {
        let names = self.names();
        let closest = names.iter().map(|known| (strsim::jaro_winkler(name, known), known));
        let best = closest.filter(|(score, _)| *score > 0.7).max_by(|a, b| a.0.total_cmp(&b.0));
        CatalogueError::Unknown {
            name: name.to_owned(),
            suggestion: best.map(|(_, known)| (*known).to_owned()),
            known: names.iter().map(|known| (*known).to_owned()).collect(),
        }
    }
}

/// The numbers in a name, so that 6.9 comes before 6.12.
fn numbers(name: &str) -> (Vec<u32>, String) {
    let numbers = name.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok());
    (numbers.collect(), name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue(names: &[&str]) -> (tempfile::TempDir, Catalogue) {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let catalogue = Catalogue::of_folder(folder.path()).unwrap();
        (folder, catalogue)
    }

    #[test]
    fn kernels_are_listed_from_old_to_new() {
        let (_folder, catalogue) = catalogue(&["7.3.toml", "6.12.toml", "6.9.toml", "README.md", "6.12-rt.toml"]);
        assert_eq!(catalogue.names(), ["6.9", "6.12", "6.12-rt", "7.3"]);
    }

    #[test]
    fn an_unknown_name_gets_a_suggestion_and_the_list() {
        let (_folder, catalogue) = catalogue(&["6.12.toml", "7.3.toml"]);
        let message = catalogue.get("6.1").unwrap_err().to_string();
        assert_eq!(message, "no kernel is called `6.1`, did you mean `6.12`?; there are: 6.12, 7.3");
        let message = catalogue.get("xyz").unwrap_err().to_string();
        assert_eq!(message, "no kernel is called `xyz`; there are: 6.12, 7.3");
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = Catalogue::of_folder(Path::new("/nonexistent/kernels")).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/kernels"), "{error}");
    }
}
