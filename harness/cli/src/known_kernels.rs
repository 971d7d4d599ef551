//! What is known about kernels without building them: release, names, and who builds them.

use anyhow::{Result, anyhow};
use harness_builder::{
    kernel::{
        Catalogue, Manifest,
        manifest::{PrebuiltSource, Source},
    },
    project::Project,
    vocabularies::Vocabularies,
};
use harness_findings::input::{KernelFacts, Origin};
use harness_uapi::release::Release;

use crate::exit::Wrong;

/// Returns what is known about these kernels, or about the default ones if none is named.
///
/// # Errors
/// If there is no such kernel, or its release is unknown.
pub(crate) fn facts(names: &[String], project: &Project, vocabularies: &Vocabularies) -> Result<Vec<KernelFacts>> {
    let catalogue = Catalogue::of_folder(&project.kernels()).map_err(Wrong::input)?;
    let manifests = match names {
        [] => catalogue.defaults(),
        names => catalogue.named(names.iter().map(String::as_str)),
    };
    let each = |manifest: Manifest| {
        let name = &manifest.name;
        let unknown = || anyhow!("unknown release of kernel {name}; rename it to MAJOR.MINOR-…, such as 6.12-{name}");
        let release = release(&manifest).ok_or_else(unknown).map_err(Wrong::input)?;
        let vocabulary = vocabularies.of(&manifest, release).ok_or_else(unknown).map_err(Wrong::input)?.clone();
        Ok(KernelFacts { origin: origin(&manifest), name: manifest.name, release, vocabulary })
    };
    manifests.map_err(Wrong::input)?.into_iter().map(each).collect()
}

/// Returns the release that a kernel's name begins with, or the version of its package.
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
