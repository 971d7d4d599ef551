//! Pins the packages of a recipe to what the archive has now.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::{
    fetch::{self, FetchError},
    recipe::{Package, Recipe},
};
use crate::{
    cache::{Area, Cache, CacheError},
    digest::Sha256,
    mirror::{self, Archive, ArchiveError, Mirror, MirrorError},
    progress::Progress,
};

/// Why a recipe was not pinned anew.
#[derive(Debug, Error)]
pub enum PinError {
    /// No mirror is known.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// The archive could not be read.
    #[error(transparent)]
    Archive(Box<ArchiveError>),
    /// The archive has no such package.
    #[error("{suite} has no package {name}: is the name right?")]
    NoPackage {
        /// The package.
        name: String,
        /// The suite.
        suite: String,
    },
    /// A package file could not be read.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The recipe could not be read or written.
    #[error("cannot change {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The recipe is written in a way that cannot be changed by replacing a text.
    #[error("{} does not have `{text}` as it is: pin {name} by hand", path.display())]
    NotWritten {
        /// The file.
        path: PathBuf,
        /// The package.
        name: String,
        /// What was looked for.
        text: String,
    },
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl From<ArchiveError> for PinError {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(Box::new(error))
    }
}

/// A package that is pinned anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// The package.
    pub name: String,
    /// The version before.
    pub from: String,
    /// The version now.
    pub to: String,
    sha256: Sha256,
}

/// Pins every package of `recipe` to the newest version its suite has, in its file, and returns those that changed.
pub fn pin(recipe: &Recipe, cache: &Cache, progress: &Progress) -> Result<Vec<Pinned>, PinError> {
    let archive = Archive::open(cache, Mirror::of_this_machine()?, recipe.suite(), progress)?;
    let mut text = fs::read_to_string(&recipe.path).map_err(failed(&recipe.path))?;
    let mut changed = Vec::new();
    for package in recipe.packages() {
        let pinned = newest(&archive, recipe, package, cache, progress)?;
        if pinned.to != package.version || pinned.sha256 != package.sha256 {
            text = rewrite(&recipe.path, &text, package, &pinned)?;
            changed.push(pinned);
        }
    }
    fs::write(&recipe.path, text).map_err(failed(&recipe.path))?;
    Ok(changed)
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> PinError {
    move |source| PinError::File { path: path.to_owned(), source }
}

fn newest(
    archive: &Archive,
    recipe: &Recipe,
    package: &Package,
    cache: &Cache,
    progress: &Progress,
) -> Result<Pinned, PinError> {
    let name = package.name.clone();
    let no_package = || PinError::NoPackage { name: name.clone(), suite: recipe.suite().to_owned() };
    let version = archive.versions(&name)?.into_iter().next().ok_or_else(no_package)?;
    let downloads = cache.folder(Area::Downloads)?;
    let folder = tempfile::tempdir_in(&downloads).map_err(failed(&downloads))?;
    let wanted = mirror::Package { name: name.clone(), version: version.clone() };
    let sha256 = fetch::sum(&archive.download(&wanted, folder.path(), progress)?)?;
    Ok(Pinned { name, from: package.version.clone(), to: version, sha256 })
}

/// The recipe's text with one package's version and sum replaced; comments and order stay.
fn rewrite(path: &Path, text: &str, package: &Package, pinned: &Pinned) -> Result<String, PinError> {
    let missing =
        |text: &str| PinError::NotWritten { path: path.to_owned(), name: package.name.clone(), text: text.to_owned() };
    let name = format!("name = \"{}\"", package.name);
    let start = text.find(&name).ok_or_else(|| missing(&name))?;
    let (before, mut section) = (&text[..start], text[start..].to_owned());
    for (key, old, new) in
        [("version", &package.version, &pinned.to), ("sha256", &package.sha256.to_string(), &pinned.sha256.to_string())]
    {
        let old = format!("{key} = \"{old}\"");
        if !section.contains(&old) {
            return Err(missing(&old));
        }
        section = section.replacen(&old, &format!("{key} = \"{new}\""), 1);
    }
    Ok(format!("{before}{section}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPE: &str = "summary = \"s\"\nsuite = \"trixie\"\n\
        # the first\n[[package]]\nname = \"a\"\nversion = \"1\"\nsha256 = \"SUM\"\nfiles = { \"x\" = \"x\" }\n\
        # the second\n[[package]]\nname = \"b\"\nversion = \"1\"\nsha256 = \"SUM\"\nfiles = { \"y\" = \"y\" }\n";

    fn recipe(folder: &Path) -> (Recipe, String) {
        let path = folder.join("r.toml");
        let text = RECIPE.replace("SUM", &Sha256::of_parts([]).to_string());
        fs::write(&path, &text).unwrap();
        (Recipe::read(&path).unwrap(), text)
    }

    fn pinned() -> Pinned {
        let sha256 = Sha256::of_parts([&b"new"[..]]);
        Pinned { name: "b".into(), from: "1".into(), to: "2".into(), sha256 }
    }

    #[test]
    fn only_the_package_in_question_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (recipe, text) = recipe(folder.path());
        let new = rewrite(&recipe.path, &text, &recipe.packages()[1], &pinned()).unwrap();
        fs::write(&recipe.path, &new).unwrap();
        let after = Recipe::read(&recipe.path).unwrap();
        assert_eq!(after.packages()[0], recipe.packages()[0]);
        assert_eq!((after.packages()[1].version.as_str(), after.packages()[1].sha256), ("2", pinned().sha256));
        assert!(new.contains("# the first") && new.contains("# the second"));
    }

    #[test]
    fn a_recipe_written_otherwise_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (recipe, text) = recipe(folder.path());
        let otherwise = text.replace("version = \"1\"", "version='1'");
        let error = rewrite(&recipe.path, &otherwise, &recipe.packages()[1], &pinned()).unwrap_err().to_string();
        assert!(error.contains("version = \"1\"") && error.contains("by hand"), "{error}");
    }
}
