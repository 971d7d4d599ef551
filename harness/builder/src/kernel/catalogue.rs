//! All kernels there are manifests for.

use std::path::Path;

use harness_model::name::KernelName;
use thiserror::Error;

use super::manifest::{Manifest, ManifestError};
use crate::listing::{Listing, ListingError};

/// Why a kernel was not found in the catalogue.
#[derive(Debug, Error)]
pub enum CatalogueError {
    /// There is no manifest of that name.
    #[error(transparent)]
    Listing(#[from] ListingError),
    /// A glob that is none, or that no kernel matches.
    #[error("no kernel matches `{glob}`: {reason}")]
    Glob {
        /// As it was given.
        glob: String,
        /// What is wrong with it, or what there is.
        reason: String,
    },
    /// A manifest is not usable.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// The manifests of a folder, by name. Each is read when it is asked for.
#[derive(Clone, Debug)]
pub struct Catalogue {
    listing: Listing,
}

impl Catalogue {
    /// Lists the manifests (`*.toml`) of a folder.
    pub fn of_folder(folder: &Path) -> Result<Self, CatalogueError> {
        Ok(Self { listing: Listing::of_folder("kernel", folder)? })
    }

    /// The names of all kernels, older ones first.
    pub fn names(&self) -> Vec<&str> {
        self.listing.names()
    }

    /// The names that this one stands for: all for `all`, those it matches for a glob such as `7.*`, or itself.
    ///
    /// # Errors
    /// [`CatalogueError::Glob`] if a glob is none or matches nothing. Whether a plain name exists is not looked at.
    pub fn matching<'a>(&'a self, name: &'a str) -> Result<Vec<&'a str>, CatalogueError> {
        if name == "all" {
            return Ok(self.names());
        }
        if !name.contains(['*', '?', '[']) {
            return Ok(vec![name]);
        }
        let wrong = |reason: String| CatalogueError::Glob { glob: name.to_owned(), reason };
        let glob = glob::Pattern::new(name).map_err(|error| wrong(error.to_string()))?;
        let found: Vec<&str> = self.names().into_iter().filter(|name| glob.matches(name)).collect();
        if found.is_empty() { Err(wrong(format!("there are: {}", self.names().join(", ")))) } else { Ok(found) }
    }

    /// Reads the manifests of the kernels that these names stand for, each once.
    ///
    /// # Errors
    /// [`CatalogueError`] if there is none of a name, or if one of them is wrong.
    pub fn named<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<Vec<Manifest>, CatalogueError> {
        let mut found: Vec<Manifest> = Vec::new();
        for name in names {
            for name in self.matching(name)? {
                let manifest = self.get(name)?;
                if !found.iter().any(|known| known.name == manifest.name) {
                    found.push(manifest);
                }
            }
        }
        Ok(found)
    }

    /// Reads all manifests, older kernels' first.
    ///
    /// # Errors
    /// [`CatalogueError::Manifest`] if one of them is wrong.
    pub fn all(&self) -> Result<Vec<Manifest>, CatalogueError> {
        self.names().into_iter().map(|name| self.get(name)).collect()
    }

    /// Reads the manifests of the kernels that run where nobody says which: those with `default = true`.
    ///
    /// # Errors
    /// [`CatalogueError::Manifest`] if any manifest is wrong.
    pub fn defaults(&self) -> Result<Vec<Manifest>, CatalogueError> {
        Ok(self.all()?.into_iter().filter(|manifest| manifest.is_default).collect())
    }

    /// Reads the manifest of this name.
    pub fn get(&self, name: &str) -> Result<Manifest, CatalogueError> {
        Ok(Manifest::read(self.listing.file(name)?)?)
    }

    /// Reads the manifest of this name.
    pub fn kernel(&self, name: &KernelName) -> Result<Manifest, CatalogueError> {
        self.get(name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_names_several_kernels() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["6.12", "7.3", "7.2-debian", "6.1"] {
            std::fs::write(folder.path().join(format!("{name}.toml")), "").unwrap();
        }
        let catalogue = Catalogue::of_folder(folder.path()).unwrap();
        assert_eq!(catalogue.matching("7.*").unwrap(), ["7.2-debian", "7.3"]);
        assert_eq!(catalogue.matching("all").unwrap().len(), 4);
        assert_eq!(catalogue.matching("9.9").unwrap(), ["9.9"]);
        let error = catalogue.matching("8.*").unwrap_err().to_string();
        assert!(error.contains("`8.*`") && error.contains("there are: 6.1, 6.12"), "{error}");
        assert!(matches!(catalogue.matching("[6"), Err(CatalogueError::Glob { .. })));
    }
}
