//! All images there are recipes for.

use std::path::Path;

use thiserror::Error;

use super::manifest::{Manifest, ManifestError};
use crate::listing::{Listing, ListingError};

/// Why an image was not found in the catalogue.
#[derive(Debug, Error)]
pub enum CatalogueError {
    /// There is no recipe of that name.
    #[error(transparent)]
    Listing(#[from] ListingError),
    /// A recipe is not usable.
    #[error(transparent)]
    Recipe(#[from] ManifestError),
}

/// The recipes of a folder, by name. Each is read when it is asked for.
#[derive(Clone, Debug)]
pub struct Catalogue {
    listing: Listing,
}

impl Catalogue {
    /// Lists the recipes (`*.toml`) of a folder.
    pub fn of_folder(folder: &Path) -> Result<Self, CatalogueError> {
        Ok(Self { listing: Listing::of_folder("image", folder)? })
    }

    /// The names of all images.
    pub fn names(&self) -> Vec<&str> {
        self.listing.names()
    }

    /// Reads the recipes of the images that these names stand for, each once: `all` stands for every one, and a name with
    /// `*`, `?` or `[` for every one it matches.
    ///
    /// # Errors
    /// [`CatalogueError`] if there is none of a name, or if one of them is wrong.
    pub fn named<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<Vec<Manifest>, CatalogueError> {
        let mut found: Vec<Manifest> = Vec::new();
        for name in names {
            for name in self.listing.matching(name)? {
                let recipe = self.get(name)?;
                if !found.iter().any(|known| known.name == recipe.name) {
                    found.push(recipe);
                }
            }
        }
        Ok(found)
    }

    /// Reads the recipes of the images that scenarios run in where nobody says which: those with `default = true`. The first
    /// is for all scenarios that name no image.
    ///
    /// # Errors
    /// [`CatalogueError::Manifest`] if any recipe is wrong.
    pub fn defaults(&self) -> Result<Vec<Manifest>, CatalogueError> {
        Ok(self.named(["all"])?.into_iter().filter(Manifest::is_default).collect())
    }

    /// The image that units are tried in if none is named: of the default ones that have systemd the newest.
    ///
    /// # Errors
    /// [`CatalogueError`] if a recipe is wrong.
    pub fn for_units(&self) -> Result<Option<Manifest>, CatalogueError> {
        let with_systemd = self.defaults()?.into_iter().filter(|recipe| recipe.systemd().is_some());
        Ok(with_systemd.max_by_key(Manifest::systemd))
    }

    /// Reads the recipe of this name.
    pub fn get(&self, name: &str) -> Result<Manifest, CatalogueError> {
        Ok(Manifest::read(self.listing.file(name)?)?)
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
        let names: Vec<&str> = defaults.iter().map(|recipe| recipe.name.as_str()).collect();
        assert_eq!(names, ["minimal", "systemd-262"]);
    }

    #[test]
    fn an_image_that_several_names_stand_for_is_there_once() {
        let catalogue = Catalogue::of_folder(&Project::find().unwrap().images()).unwrap();
        let named = |names: &[&str]| catalogue.named(names.iter().copied()).map(|recipes| recipes.len());
        assert_eq!(named(&["systemd-262", "systemd-*", "minimal"]).unwrap(), named(&["all", "minimal"]).unwrap());
        let error = named(&["minimum"]).unwrap_err().to_string();
        assert!(error.contains("did you mean `minimal`?"), "{error}");
    }
}
