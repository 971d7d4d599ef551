//! The committed first releases of names (`kernels/vocabulary/first-releases.toml`), each with its source.

use std::path::PathBuf;

use harness_uapi::{
    names::{First, FirstError, Names},
    release::{Release, ReleaseError},
    vocabulary::Kind,
};
use serde::Deserialize;
use thiserror::Error;

use crate::{
    file::{self, FileError, TomlError},
    project::Project,
};

/// The name of the file below the folder of kernels.
const FILE: &str = "vocabulary/first-releases.toml";

/// The first release of a name.
#[derive(Clone, Debug)]
pub struct FirstRelease {
    /// The kind of the name.
    pub kind: Kind,
    /// The name.
    pub name: String,
    /// When it was introduced.
    pub first: First,
    /// Where that is known from.
    pub source: String,
}

/// Why the first releases cannot be used.
#[derive(Debug, Error)]
pub enum FirstReleasesError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not in its format.
    #[error(transparent)]
    Format(#[from] TomlError),
    /// A text is not a release.
    #[error("{}", path.display())]
    Release {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ReleaseError,
    },
    /// It contradicts a vocabulary.
    #[error(transparent)]
    First(#[from] FirstError),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    kind: Kind,
    name: String,
    since: String,
    not_in: String,
    source: String,
}

/// Reads the first releases of a project.
///
/// # Errors
/// [`FirstReleasesError`] if the file cannot be read or is not in its format.
pub fn read(project: &Project) -> Result<Vec<FirstRelease>, FirstReleasesError> {
    let path = project.kernels().join(FILE);
    let file: File = file::parse_toml(&path, &file::read_text(&path)?)?;
    let release = |text: &str| {
        text.parse::<Release>().map_err(|source| FirstReleasesError::Release { path: path.clone(), source })
    };
    let each = |entry: Entry| {
        let first = First { seen: release(&entry.since)?, not_in: Some(release(&entry.not_in)?) };
        Ok(FirstRelease { kind: entry.kind, name: entry.name, first, source: entry.source })
    };
    file.name.into_iter().map(each).collect()
}

/// Narrows a table of names by all of them.
///
/// # Errors
/// [`FirstReleasesError::First`] if one contradicts the table.
pub fn narrow(names: &mut Names, all: &[FirstRelease]) -> Result<(), FirstReleasesError> {
    all.iter().try_for_each(|one| Ok(names.narrow(one.kind, &one.name, one.first)?))
}
