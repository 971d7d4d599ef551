//! All images there are recipes for.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::recipe::{Recipe, RecipeError};

/// Why an image was not found in the catalogue.
#[derive(Debug, Error)]
pub enum CatalogueError {
    /// The folder could not be listed.
    #[error("cannot list the image recipes in {}", path.display())]
    List {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No recipe has this name.
    #[error("no image is called `{name}`; there are: {}", .known.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
        /// All names.
        known: Vec<String>,
    },
    /// A recipe is not usable.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
}

/// The recipes of a folder, by name. Each is read when it is asked for.
#[derive(Clone, Debug)]
pub struct Catalogue {
    files: BTreeMap<String, PathBuf>,
}

impl Catalogue {
    /// Lists the recipes (`*.toml`) of a folder.
    pub fn of_folder(folder: &Path) -> Result<Self, CatalogueError> {
        let list = || fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>();
        let entries = list().map_err(|source| CatalogueError::List { path: folder.to_owned(), source })?;
        let recipes =
            entries.iter().map(fs::DirEntry::path).filter(|path| path.extension().is_some_and(|e| e == "toml"));
        let named = |path: PathBuf| Some((path.file_stem()?.to_str()?.to_owned(), path));
        Ok(Self { files: recipes.filter_map(named).collect() })
    }

    /// The names of all images.
    pub fn names(&self) -> Vec<&str> {
        self.files.keys().map(String::as_str).collect()
    }

    /// Reads the recipe of this name.
    pub fn get(&self, name: &str) -> Result<Recipe, CatalogueError> {
        match self.files.get(name) {
            Some(path) => Ok(Recipe::read(path)?),
            None => Err(CatalogueError::Unknown { name: name.to_owned(), known: self.files.keys().cloned().collect() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_gets_the_list() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["minimal.toml", "debian.toml", "README.md"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let catalogue = Catalogue::of_folder(folder.path()).unwrap();
        let message = catalogue.get("mini").unwrap_err().to_string();
        assert_eq!(message, "no image is called `mini`; there are: debian, minimal");
    }

    #[test]
    fn a_missing_folder_and_an_empty_recipe_are_named() {
        let error = Catalogue::of_folder(Path::new("/nonexistent/images")).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/images"), "{error}");

        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("empty.toml"), "").unwrap();
        let error = Catalogue::of_folder(folder.path()).unwrap().get("empty").unwrap_err().to_string();
        assert!(error.contains("empty.toml") && error.contains("missing field"), "{error}");
    }
}
