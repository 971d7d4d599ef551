//! Packages of a recipe, fetched once and checked each time they are used.

use std::{
    collections::{BTreeMap, btree_map},
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::recipe::{Needed, Recipe};
use crate::{
    cache::{Area, Cache, CacheError},
    digest::Sha256,
    mirror::{self, Archive, ArchiveError, Mirror, MirrorError},
    progress::Progress,
};

/// Why a package could not be had.
#[derive(Debug, Error)]
pub enum FetchError {
    /// No mirror is known.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// The archive does not have it, or could not be read.
    #[error("{source}{}", hint(.source, .recipe))]
    Archive {
        /// The recipe that pins the package.
        recipe: PathBuf,
        /// What the archive said.
        source: Box<ArchiveError>,
    },
    /// Packages are wanted, and nothing says which versions.
    #[error("{} installs {}, which `[pinned]` does not have: `cargo xtask image pin` writes it", recipe.display(), .names.join(", "))]
    NotPinned {
        /// The recipe.
        recipe: PathBuf,
        /// The packages.
        names: Vec<String>,
    },
    /// What came is not what was pinned.
    #[error(transparent)]
    WrongSum(Box<WrongSum>),
    /// A package file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// What came is not what was pinned.
#[derive(Debug, Error)]
#[error(
    "{name} {version} has the SHA-256 sum {found}, but {} pins {pinned}: nothing of it was kept; if Debian rebuilt it, \
     `cargo xtask image pin` writes the new sum",
    recipe.display()
)]
pub struct WrongSum {
    recipe: PathBuf,
    name: String,
    version: String,
    pinned: Sha256,
    found: Sha256,
}

fn hint(error: &ArchiveError, recipe: &Path) -> String {
    match error {
        ArchiveError::NoSuchVersion { .. } => {
            format!("; {} pins a version that is gone, `cargo xtask image pin` pins the newest ones", recipe.display())
        }
        _ => String::new(),
    }
}

/// The package files of a recipe, in its order.
pub(super) fn packages(recipe: &Recipe, cache: &Cache, progress: &Progress) -> Result<Vec<PathBuf>, FetchError> {
    let names: Vec<String> = recipe.unpinned().into_iter().map(str::to_owned).collect();
    if !names.is_empty() {
        return Err(FetchError::NotPinned { recipe: recipe.path.clone(), names });
    }
    // The lists of a suite are fetched only when a package is missing, and then once.
    let mut archives = BTreeMap::new();
    recipe.needed().map(|needed| one(recipe, &needed, cache, &mut archives, progress)).collect()
}

fn one<'a>(
    recipe: &'a Recipe,
    needed: &Needed<'a>,
    cache: &Cache,
    archives: &mut BTreeMap<&'a str, Archive>,
    progress: &Progress,
) -> Result<PathBuf, FetchError> {
    let lock = cache.entry(Area::Downloads, &file_name(needed))?.lock(progress)?;
    if let Some(file) = lock.entry().existing()
        && sum(&file)? == needed.sha256
    {
        return Ok(file);
    }
    let failed = |source| FetchError::Archive { recipe: recipe.path.clone(), source: Box::new(source) };
    let archive = match archives.entry(needed.suite) {
        btree_map::Entry::Occupied(archive) => archive.into_mut(),
        btree_map::Entry::Vacant(place) => {
            let mirror = Mirror::of_this_machine()?;
            place.insert(Archive::open(cache, mirror, needed.suite, progress).map_err(failed)?)
        }
    };
    let folder = tempfile::tempdir_in(cache.folder(Area::Downloads)?)
        .map_err(|source| FetchError::Read { path: cache.root().to_owned(), source })?;
    let wanted = mirror::Package { name: needed.name.to_owned(), version: needed.version.to_owned() };
    let file = archive.download(&wanted, folder.path(), progress).map_err(failed)?;
    check(recipe, needed, sum(&file)?)?;
    let staging = lock.stage()?;
    std::fs::rename(&file, staging.path()).map_err(|source| FetchError::Read { path: file, source })?;
    Ok(staging.publish()?)
}

/// The name of a package's file in the cache.
pub(super) fn file_name(needed: &Needed<'_>) -> String {
    format!("{}-{}.deb", needed.name, needed.sha256.short())
}

/// The sum of a package file.
pub(super) fn sum(file: &Path) -> Result<Sha256, FetchError> {
    Sha256::of_file(file).map_err(|source| FetchError::Read { path: file.to_owned(), source })
}

fn check(recipe: &Recipe, needed: &Needed<'_>, found: Sha256) -> Result<(), FetchError> {
    if found == needed.sha256 {
        return Ok(());
    }
    Err(FetchError::WrongSum(Box::new(WrongSum {
        recipe: recipe.path.clone(),
        name: needed.name.to_owned(),
        version: needed.version.to_owned(),
        pinned: needed.sha256,
        found,
    })))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn recipe(folder: &Path, sum: Sha256) -> Recipe {
        let path = folder.join("r.toml");
        let text = format!(
            "summary = \"s\"\nsuite = \"trixie\"\n[[package]]\nname = \"p\"\nversion = \"1\"\nsha256 = \"{sum}\"\n\
             files = {{ \"x\" = \"x\" }}\n"
        );
        fs::write(&path, text).unwrap();
        Recipe::read(&path).unwrap()
    }

    #[test]
    fn what_was_fetched_before_needs_no_archive() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("cache")).unwrap();
        let sum = Sha256::of_reader(&b"package"[..]).unwrap();
        let recipe = recipe(folder.path(), sum);
        let file = cache.folder(Area::Downloads).unwrap().join(format!("p-{}.deb", sum.short()));
        fs::write(&file, "package").unwrap();
        assert_eq!(packages(&recipe, &cache, &Progress::silent()).unwrap(), [file]);
    }

    #[test]
    fn a_wrong_sum_names_both_sums_and_the_recipe() {
        let folder = tempfile::tempdir().unwrap();
        let (pinned, found) = (Sha256::of_parts([]), Sha256::of_parts([&b"x"[..]]));
        let recipe = recipe(folder.path(), pinned);
        let needed = recipe.needed().next().unwrap();
        check(&recipe, &needed, pinned).unwrap();
        let message = check(&recipe, &needed, found).unwrap_err().to_string();
        for part in [&pinned.to_string(), &found.to_string(), "r.toml", "image pin"] {
            assert!(message.contains(part), "{part} is missing in: {message}");
        }
    }

    #[test]
    fn a_version_that_is_gone_tells_how_to_pin_anew() {
        let source = ArchiveError::NoSuchVersion {
            package: mirror::Package { name: "p".into(), version: "1".into() },
            suite: "trixie".into(),
            mirror: "http://mirror.example/debian".parse().unwrap(),
            available: vec!["2".into()],
        };
        let error = FetchError::Archive { recipe: "images/r.toml".into(), source: Box::new(source) }.to_string();
        assert!(error.contains("it has 2; images/r.toml pins a version that is gone") && error.contains("image pin"));
    }
}
