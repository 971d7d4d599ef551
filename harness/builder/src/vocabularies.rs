//! The committed vocabularies: the names that kernels know, without building any.

use std::{io, path::PathBuf};

use harness_uapi::{
    names,
    release::Release,
    vocabulary::{Kind, KnownNames, Vocabulary},
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

/// The committed vocabularies as part of the program, for use outside of a project.
const BUILT_IN: [(&str, &str); 7] = [
    ("6.1-debian", include_str!("../../../kernels/vocabulary/6.1-debian.json")),
    ("6.12", include_str!("../../../kernels/vocabulary/6.12.json")),
    ("6.16-debian", include_str!("../../../kernels/vocabulary/6.16-debian.json")),
    ("6.17-debian", include_str!("../../../kernels/vocabulary/6.17-debian.json")),
    ("6.18-debian", include_str!("../../../kernels/vocabulary/6.18-debian.json")),
    ("7.2-debian", include_str!("../../../kernels/vocabulary/7.2-debian.json")),
    ("7.3", include_str!("../../../kernels/vocabulary/7.3.json")),
];

impl Vocabularies {
    /// Returns those that are part of the program.
    ///
    /// # Panics
    /// If one is not a vocabulary, which a test rules out.
    pub fn built_in() -> Self {
        let read = |(name, text): (&str, &str)| {
            let release = name.parse::<Release>().expect("it begins with a release");
            (name.to_owned(), release, serde_json::from_str(text).expect("it is committed"))
        };
        Self(BUILT_IN.map(read).into())
    }

    /// Returns the names of their kernels, older ones first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, ..)| name.as_str())
    }

    /// Returns the release of the kernel of this name, and its vocabulary.
    pub fn named(&self, name: &str) -> Option<(Release, &Vocabulary)> {
        self.0.iter().find(|(known, ..)| known == name).map(|(_, release, vocabulary)| (*release, vocabulary))
    }

    /// Returns the names that a kernel of this release has, and those of which it is not known: the newest vocabulary that
    /// is not of a later release, with the table of first releases. `None` if there are no vocabularies.
    pub fn of_release(&self, release: Release) -> Option<(Vocabulary, Vec<(Kind, &'static str)>)> {
        let before = self.0.iter().rfind(|(_, known, _)| *known <= release).or_else(|| self.0.first())?;
        let mut vocabulary = before.2.clone();
        let unknown = names::complete(&mut vocabulary, release);
        Some((vocabulary, unknown))
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_has_the_vocabularies_of_the_project() {
        let project = Project::above(env!("CARGO_MANIFEST_DIR").as_ref()).unwrap();
        let (read, built_in) = (Vocabularies::read(&project).unwrap(), Vocabularies::built_in());
        assert!(read.names().eq(built_in.names()));
        assert!(read.iter().eq(built_in.iter()));
    }

    #[test]
    fn first_releases_contradict_no_vocabulary() {
        let project = Project::above(env!("CARGO_MANIFEST_DIR").as_ref()).unwrap();
        let mut names = names::Names::of(Vocabularies::read(&project).unwrap().iter());
        let all = crate::first_releases::read(&project).unwrap();
        crate::first_releases::narrow(&mut names, &all).unwrap();
        assert!(&names == names::all(), "`cargo xtask codegen` writes the table");
        // What 6.9 and every later release has is known.
        let of = |text: &str| Vocabularies::built_in().of_release(text.parse().unwrap()).unwrap().1.len();
        assert!((9..20).all(|minor| of(&format!("6.{minor}")) == 0));
        assert!((0..4).all(|minor| of(&format!("7.{minor}")) == 0));
    }
}
