//! What the files of a project refer to in the cache: its manifests, recipes and sources as they are now.

use thiserror::Error;

use crate::{
    cache::cleaning::References,
    corpus, guest_program, image,
    kernel::{self, CatalogueError, mutant},
    listing::ListingError,
    objects,
    project::Project,
};

/// Why it is not known what a project refers to. Nothing is of no use then.
#[derive(Debug, Error)]
pub enum ReferencesError {
    /// A kernel's manifest cannot be used.
    #[error(transparent)]
    Kernels(#[from] CatalogueError),
    /// A folder of the project cannot be listed.
    #[error(transparent)]
    Listing(#[from] ListingError),
    /// An image's recipe cannot be used.
    #[error(transparent)]
    Images(#[from] image::catalogue::CatalogueError),
    /// The list of packages with objects cannot be used.
    #[error(transparent)]
    Specimens(#[from] corpus::CorpusError),
    /// A file of mutants cannot be used.
    #[error(transparent)]
    Mutants(#[from] mutant::MutantError),
}

/// Everything a project refers to.
///
/// # Errors
/// [`ReferencesError`] if any of its manifests, recipes or mutants cannot be read.
pub fn of(project: &Project) -> Result<References, ReferencesError> {
    let mut references = References::default();
    let kernels = kernel::Catalogue::of_folder(&project.kernels())?;
    for manifest in kernels.all()? {
        kernel::add_references(&manifest, &mut references);
    }
    let defaults: Vec<_> = kernels.defaults()?.into_iter().map(|manifest| manifest.name).collect();
    mutant::Mutants::of_folder(&project.kernels().join("mutants"), &defaults)?.add_references(&mut references);
    let images = image::catalogue::Catalogue::of_folder(&project.images())?;
    for name in images.names() {
        image::add_references(&images.get(name)?, &mut references);
    }
    guest_program::add_references(project.root(), &mut references);
    objects::add_references(&project.objects(), &mut references);
    corpus::add_references(&project.specimens(), &mut references)?;
    Ok(references)
}
