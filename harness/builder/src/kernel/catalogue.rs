//! The kernels that have manifests.

use std::path::Path;

use harness_protocol::name::KernelName;
use thiserror::Error;

use super::manifest::{Manifest, ManifestError};
use crate::listing::{Listing, ListingError};

/// Why a kernel was not found in the catalogue.
#[derive(Debug, Error)]
pub enum CatalogueError {
    /// No manifest has this name.
    #[error(transparent)]
    Listing(#[from] ListingError),
    /// A manifest is not valid.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// The manifests of a folder, by name. Each is read when it is requested.
#[derive(Clone, Debug)]
pub struct Catalogue {
    listing: Listing,
}

impl Catalogue {
    /// Lists the manifests (`*.toml`) of a folder.
    pub fn of_folder(folder: &Path) -> Result<Self, CatalogueError> {
        Ok(Self { listing: Listing::of_folder("kernel", folder)? })
    }

    /// Returns the names of all kernels, older ones first.
    pub fn names(&self) -> Vec<&str> {
        self.listing.names()
    }

    /// Returns the names that a name stands for: all for `all`, the matching ones for a glob such as `7.*`, or itself.
    ///
    /// # Errors
    /// [`CatalogueError::Listing`] if a glob is not valid or matches nothing. A plain name need not exist.
    pub fn matching<'a>(&'a self, name: &'a str) -> Result<Vec<&'a str>, CatalogueError> {
        Ok(self.listing.matching(name)?)
    }

    /// Reads the manifests of the kernels that these names stand for, each once.
    ///
    /// # Errors
    /// [`CatalogueError`] if there is no manifest of a name, or if one is not valid.
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
    /// [`CatalogueError::Manifest`] if one is not valid.
    pub fn all(&self) -> Result<Vec<Manifest>, CatalogueError> {
        self.names().into_iter().map(|name| self.get(name)).collect()
    }

    /// Reads the manifests of the default kernels: those with `default = true`, which run if the user names none.
    ///
    /// # Errors
    /// [`CatalogueError::Manifest`] if one is not valid.
    pub fn defaults(&self) -> Result<Vec<Manifest>, CatalogueError> {
        Ok(self.all()?.into_iter().filter(|manifest| manifest.is_default).collect())
    }

    /// Reads the manifest of a name.
    pub fn get(&self, name: &str) -> Result<Manifest, CatalogueError> {
        Ok(Manifest::read(self.listing.file(name)?)?)
    }

    /// Reads the manifest of a kernel.
    pub fn kernel(&self, name: &KernelName) -> Result<Manifest, CatalogueError> {
        self.get(name.as_str())
    }
}
