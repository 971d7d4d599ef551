//! The images that have manifests.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use thiserror::Error;

use super::manifest::{Manifest, ManifestError};
use crate::listing::{Listing, ListingError};

/// Why an image was not found in the catalogue.
#[derive(Debug, Error)]
pub enum CatalogueError {
    /// No manifest has this name.
    #[error(transparent)]
    Listing(#[from] ListingError),
    /// A manifest is not valid.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// The manifests of a folder, by name. Each is read when it is first requested.
#[derive(Clone, Debug)]
pub struct Catalogue {
    listing: Listing,
    read: Arc<Mutex<BTreeMap<String, Manifest>>>,
}

impl Catalogue {
    /// Lists the manifests (`*.toml`) of a folder.
    pub fn of_folder(folder: &Path) -> Result<Self, CatalogueError> {
        Ok(Self { listing: Listing::of_folder("image", folder)?, read: Arc::default() })
    }

    /// Returns the names of all images.
    pub fn names(&self) -> Vec<&str> {
        self.listing.names()
    }

    /// Reads the manifests of images, each once. `all` stands for every image, and a name with `*`, `?` or `[` for
    /// every one it matches.
    ///
    /// # Errors
    /// [`CatalogueError`] if there is no manifest of a name, or if one is not valid.
    pub fn named<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<Vec<Manifest>, CatalogueError> {
        let mut found: Vec<Manifest> = Vec::new();
        for name in names {
            for name in self.listing.matching(name)? {
                let manifest = self.get(name)?;
                if !found.iter().any(|known| known.name == manifest.name) {
                    found.push(manifest);
                }
            }
        }
        Ok(found)
    }

    /// Reads the manifests of the default images: those with `default = true`. Scenarios that name no image run in the
    /// first; those that are meant for one of the others run in it.
    ///
    /// # Errors
    /// [`CatalogueError::Manifest`] if a manifest is not valid.
    pub fn defaults(&self) -> Result<Vec<Manifest>, CatalogueError> {
        Ok(self.named(["all"])?.into_iter().filter(Manifest::is_default).collect())
    }

    /// Returns the image to try units in if none is named: the default one with the newest systemd.
    ///
    /// # Errors
    /// [`CatalogueError`] if a manifest is not valid.
    pub fn for_units(&self) -> Result<Option<Manifest>, CatalogueError> {
        let with_systemd = self.defaults()?.into_iter().filter(|manifest| manifest.systemd().is_some());
        Ok(with_systemd.max_by_key(Manifest::systemd))
    }

    /// Returns the manifest of an image.
    ///
    /// # Errors
    /// As [`Self::named`].
    pub fn get(&self, name: &str) -> Result<Manifest, CatalogueError> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(manifest) = read.get(name) {
            return Ok(manifest.clone());
        }
        let manifest = Manifest::read(self.listing.file(name)?)?;
        Ok(read.entry(name.to_owned()).or_insert(manifest).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::Project;

    #[test]
    fn the_first_default_image_is_for_scenarios_that_name_none() {
        let catalogue = Catalogue::of_folder(&Project::find().unwrap().images()).unwrap();
        let defaults = catalogue.defaults().unwrap();
        let names: Vec<&str> = defaults.iter().map(|manifest| manifest.name.as_str()).collect();
        assert_eq!(
            names,
            ["minimal", "programs-bookworm", "programs-forky", "programs-trixie", "tracers", "systemd-262"]
        );
    }

    #[test]
    fn an_image_that_several_names_stand_for_is_returned_once() {
        let catalogue = Catalogue::of_folder(&Project::find().unwrap().images()).unwrap();
        let named = |names: &[&str]| catalogue.named(names.iter().copied()).map(|manifests| manifests.len());
        assert_eq!(
            named(&["systemd-262", "systemd-*", "minimal", "programs-*", "tracers"]).unwrap(),
            named(&["all", "minimal"]).unwrap()
        );
        let error = named(&["minimum"]).unwrap_err().to_string();
        let (message, _) = error.split_once("; available: ").unwrap();
        insta::assert_snapshot!(message, @"no image is named `minimum` (did you mean `minimal`?)");
    }
}
