//! Kernels as far as they are known without building them: release, names, and who makes them.

use anyhow::{Context, Result, anyhow};
use harness_builder::{
    kernel::{
        Catalogue, Manifest,
        manifest::{PrebuiltSource, Source},
    },
    project::Project,
};
use harness_findings::subject::{KernelFacts, Origin};
use harness_model::{
    scenario::Release,
    vocabulary::{KnownNames, Vocabulary},
};

use crate::exit::Wrong;

/// The committed vocabularies, each with the name and release of its kernel, in the order of releases.
pub(crate) struct Vocabularies(Vec<(String, Release, Vocabulary)>);

impl Vocabularies {
    /// Reads them.
    pub(crate) fn read(project: &Project) -> Result<Self> {
        let folder = project.kernels().join("vocabulary");
        let files = project.vocabularies().with_context(|| format!("cannot read {}", folder.display()))?;
        let read = |(name, text): &(String, String)| {
            let what = || format!("the vocabulary of kernel {name} in {}", folder.display());
            Ok((name.clone(), name.parse().with_context(what)?, serde_json::from_str(text).with_context(what)?))
        };
        files.iter().map(read).collect::<Result<Vec<_>>>().map(Self).map_err(Wrong::input)
    }

    /// Every name that a kernel of this project knows.
    pub(crate) fn known_names(&self) -> KnownNames {
        KnownNames::of(self.0.iter().map(|(_, _, vocabulary)| vocabulary))
    }

    /// All of them, with the releases of their kernels.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Release, &Vocabulary)> {
        self.0.iter().map(|(_, release, vocabulary)| (*release, vocabulary))
    }

    /// The one of this kernel, of one that is alike, or of the newest release that is not later.
    fn of(&self, manifest: &Manifest, release: Release) -> Option<&Vocabulary> {
        let named = |name: &str| self.0.iter().find(|(known, ..)| known == name);
        let own = named(manifest.name.as_str());
        let alike = || manifest.alike.iter().find_map(|name| named(name.as_str()));
        let before = || self.0.iter().rfind(|(_, known, _)| *known <= release);
        own.or_else(alike).or_else(before).map(|(_, _, vocabulary)| vocabulary)
    }
}

/// What is known of these kernels; those that run by default if none is named.
///
/// # Errors
/// If there is no such kernel, or nothing tells its release.
pub(crate) fn facts(names: &[String], project: &Project, vocabularies: &Vocabularies) -> Result<Vec<KernelFacts>> {
    let catalogue = Catalogue::of_folder(&project.kernels()).map_err(Wrong::input)?;
    let manifests = match names {
        [] => catalogue.defaults(),
        names => catalogue.named(names.iter().map(String::as_str)),
    };
    let each = |manifest: Manifest| {
        let name = &manifest.name;
        let unknown =
            || anyhow!("nothing tells the release of kernel {name}; call it MAJOR.MINOR-…, such as 6.12-{name}");
        let release = release(&manifest).ok_or_else(unknown).map_err(Wrong::input)?;
        let vocabulary = vocabularies.of(&manifest, release).ok_or_else(unknown).map_err(Wrong::input)?.clone();
        Ok(KernelFacts { origin: origin(&manifest), name: manifest.name, release, vocabulary })
    };
    manifests.map_err(Wrong::input)?.into_iter().map(each).collect()
}

/// The release that a kernel's name begins with, or the version of its package.
fn release(manifest: &Manifest) -> Option<Release> {
    let of_source = || match &manifest.source {
        Source::Debian(debian) => debian.version.parse().ok(),
        _ => None,
    };
    manifest.name.as_str().parse().ok().or_else(of_source)
}

fn origin(manifest: &Manifest) -> Origin {
    match manifest.source {
        Source::Prebuilt(PrebuiltSource::Debian(_)) => Origin::Debian,
        _ => Origin::Built,
    }
}
