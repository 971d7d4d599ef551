//! The committed vocabularies: the names that kernels know, without building any.

use std::{io, path::PathBuf};

use harness_uapi::{
    release::Release,
    vocabulary::{KnownNames, Vocabulary},
};
use thiserror::Error;

use crate::{kernel::Manifest, project::Project};

/// The vocabularies, each with the name and release of its kernel, sorted by release.
#[derive(Clone, Debug)]
pub struct Vocabularies(Vec<(String, Release, Vocabulary)>);

/// Why the vocabularies cannot be read.
#[derive(Debug, Error)]
pub enum VocabulariesError {
    /// The folder or a file in it cannot be read.
    #[error("cannot read {}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The name of a file is not a release, or its contents are not a vocabulary.
    #[error("cannot read the vocabulary of kernel {kernel} in {}", folder.display())]
    Vocabulary {
        /// The kernel.
        kernel: String,
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Vocabularies {
    /// Reads the vocabularies of a project.
    ///
    /// # Errors
    /// [`VocabulariesError`] if one cannot be read.
    pub fn read(project: &Project) -> Result<Self, VocabulariesError> {
        let folder = project.kernels().join("vocabulary");
        let files =
            project.vocabularies().map_err(|source| VocabulariesError::Folder { folder: folder.clone(), source })?;
        let read = |(kernel, text): (String, String)| {
            let wrong =
                |source| VocabulariesError::Vocabulary { kernel: kernel.clone(), folder: folder.clone(), source };
            let release = kernel.parse::<Release>().map_err(|error| wrong(error.into()))?;
            let vocabulary = serde_json::from_str(&text).map_err(|error| wrong(error.into()))?;
            Ok((kernel, release, vocabulary))
        };
        files.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Returns every name that a kernel of this project knows.
    pub fn known_names(&self) -> KnownNames {
        KnownNames::of(self.0.iter().map(|(_, _, vocabulary)| vocabulary))
    }

    /// Iterates over all of them, with the releases of their kernels.
    pub fn iter(&self) -> impl Iterator<Item = (Release, &Vocabulary)> {
        self.0.iter().map(|(_, release, vocabulary)| (*release, vocabulary))
    }

    /// Returns the vocabulary of a kernel, else of the nearest one in `alike`, else of the newest release that is not
    /// later.
    pub fn of(&self, manifest: &Manifest, release: Release) -> Option<&Vocabulary> {
        let named = |name: &str| self.0.iter().find(|(known, ..)| known == name);
        let own = named(manifest.name.as_str());
        let alike = || manifest.alike.iter().find_map(|name| named(name.as_str()));
        let before = || self.0.iter().rfind(|(_, known, _)| *known <= release);
        own.or_else(alike).or_else(before).map(|(_, _, vocabulary)| vocabulary)
    }
}
