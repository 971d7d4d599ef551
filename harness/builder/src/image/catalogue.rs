//! All images there are recipes for.

use std::path::Path;

use thiserror::Error;

use super::recipe::{Recipe, RecipeError};
use crate::listing::{Listing, ListingError};

/// Why an image was not found in the catalogue.
#[derive(Debug, Error)]
pub enum CatalogueError {
    /// There is no recipe of that name.
    #[error(transparent)]
    Listing(#[from] ListingError),
    /// A recipe is not usable.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
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

    /// The image that units are tried in if none is named: of those that are meant for it the one with the newest systemd.
    ///
    /// # Errors
    /// [`CatalogueError`] if a recipe is wrong.
    pub fn for_units(&self) -> Result<Option<Recipe>, CatalogueError> {
        let all = self.names().into_iter().map(|name| self.get(name)).collect::<Result<Vec<_>, _>>()?;
        Ok(all.into_iter().filter(Recipe::is_for_units).max_by_key(Recipe::systemd))
    }

    /// Reads the recipe of this name.
    pub fn get(&self, name: &str) -> Result<Recipe, CatalogueError> {
        Ok(Recipe::read(self.listing.file(name)?)?)
    }
}
