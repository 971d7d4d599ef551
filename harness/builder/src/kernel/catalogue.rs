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

    /// Reads the manifest of this name.
    pub fn get(&self, name: &str) -> Result<Manifest, CatalogueError> {
        Ok(Manifest::read(self.listing.file(name)?)?)
    }

    /// Reads the manifest of this name.
    pub fn kernel(&self, name: &KernelName) -> Result<Manifest, CatalogueError> {
        self.get(name.as_str())
    }
}
