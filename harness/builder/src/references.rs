//! The cache items that the files of a project refer to: its current manifests and sources.

use std::path::Path;

use thiserror::Error;

use crate::{
    cache::cleaning::References,
    corpus, guard_mutant, guest_program, image,
    kernel::{self, CatalogueError, mutant},
    listing::ListingError,
    objects,
    project::Project,
};

/// Why it is not known what a project refers to. Nothing in the cache counts as unreferenced then.
#[derive(Debug, Error)]
pub enum ReferencesError {
    /// A kernel manifest is not valid.
    #[error(transparent)]
    Kernels(#[from] CatalogueError),
    /// A folder of the project cannot be listed.
    #[error(transparent)]
    Listing(#[from] ListingError),
    /// An image manifest is not valid.
    #[error(transparent)]
    Images(#[from] image::catalogue::CatalogueError),
    /// The list of packages of the corpus is not valid.
    #[error(transparent)]
    Corpus(#[from] corpus::CorpusError),
    /// A file of mutants is not valid.
    #[error(transparent)]
    Mutants(#[from] mutant::MutantError),
}

/// Returns everything a project refers to in the cache folder `root`.
///
/// # Errors
/// [`ReferencesError`] if any of its manifests or mutants cannot be read.
pub fn of(project: &Project, root: &Path) -> Result<References, ReferencesError> {
    let mut references = References::default();
    let kernels = kernel::Catalogue::of_folder(&project.kernels())?;
    for manifest in kernels.all()? {
        kernel::add_references(&manifest, root, &mut references);
    }
    let defaults: Vec<_> = kernels.defaults()?.into_iter().map(|manifest| manifest.name).collect();
    mutant::Mutants::of_folder(&project.kernels().join("mutants"), &defaults)?.add_references(&mut references);
    let images = image::catalogue::Catalogue::of_folder(&project.images())?;
    for name in images.names() {
        image::add_references(&images.get(name)?, root, &mut references);
    }
    guard_mutant::add_references(&mut references);
    guest_program::add_references(project.root(), &mut references);
    objects::add_references(&project.objects(), &mut references);
    corpus::add_references(&project.corpus(), &mut references)?;
    Ok(references)
}
