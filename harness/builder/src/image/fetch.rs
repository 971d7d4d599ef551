//! Packages of a recipe, fetched once and checked each time they are used.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::manifest::Manifest;
use crate::{
    cache::{Cache, CacheError},
    digest::Sha256,
    file::FileError,
    mirror::{
        ArchiveError, MirrorError,
        pinned::{Fetcher, PinnedError, PinnedPackage},
    },
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
    #[error(
        "{} installs {}, which `[pinned]` does not have: `{} image pin` writes it",
        recipe.display(), .names.join(", "), harness_program::NAME
    )]
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
    #[error(transparent)]
    File(#[from] FileError),
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// What came is not what was pinned.
#[derive(Debug, Error)]
#[error(
    "{name} {version} has the SHA-256 sum {found}, but {} pins {pinned}: nothing of it was kept; if Debian rebuilt it, \
     `{} image pin` writes the new sum",
    recipe.display(), harness_program::NAME
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
            let (recipe, name) = (recipe.display(), harness_program::NAME);
            format!("; {recipe} pins a version that is gone, `{name} image pin` pins the newest ones")
        }
        _ => String::new(),
    }
}

/// The package files of a recipe, in its order.
pub(super) fn packages(recipe: &Manifest, cache: &Cache, progress: &Progress) -> Result<Vec<PathBuf>, FetchError> {
    let names: Vec<String> = recipe.unpinned().into_iter().map(str::to_owned).collect();
    if !names.is_empty() {
        return Err(FetchError::NotPinned { recipe: recipe.path.clone(), names });
    }
    let mut fetcher = Fetcher::new(cache, progress);
    let fetch = |needed| fetcher.fetch(&needed).map_err(|error| FetchError::of(error, recipe, &needed));
    recipe.needed().map(fetch).collect()
}

impl FetchError {
    /// Whether the mirror has a pinned version no more, as it happens to suites that move on.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Archive { source, .. } if matches!(**source, ArchiveError::NoSuchVersion { .. }))
    }

    /// Why a package of a recipe could not be had.
    fn of(error: PinnedError, recipe: &Manifest, needed: &PinnedPackage<'_>) -> Self {
        match error {
            PinnedError::Mirror(error) => Self::Mirror(error),
            PinnedError::Archive(source) => Self::Archive { recipe: recipe.path.clone(), source },
            PinnedError::WrongSum { found } => Self::WrongSum(Box::new(WrongSum {
                recipe: recipe.path.clone(),
                name: needed.name.to_owned(),
                version: needed.version.to_owned(),
                pinned: needed.sha256,
                found,
            })),
            PinnedError::File(error) => Self::File(error),
            PinnedError::Cache(error) => Self::Cache(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{cache::Area, mirror};

    fn recipe(folder: &Path, sum: Sha256) -> Manifest {
        let path = folder.join("r.toml");
        let text = format!(
            "summary = \"s\"\nsuite = \"trixie\"\n[[package]]\nname = \"p\"\nversion = \"1\"\nsha256 = \"{sum}\"\n\
             files = {{ \"x\" = \"x\" }}\n"
        );
        fs::write(&path, text).unwrap();
        Manifest::read(&path).unwrap()
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
        let message = FetchError::of(PinnedError::WrongSum { found }, &recipe, &needed).to_string();
        assert!(!FetchError::of(PinnedError::WrongSum { found }, &recipe, &needed).is_gone());
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
        let error = FetchError::Archive { recipe: "images/r.toml".into(), source: Box::new(source) };
        assert!(error.is_gone());
        let error = error.to_string();
        assert!(error.contains("it has 2; images/r.toml pins a version that is gone") && error.contains("image pin"));
    }
}
