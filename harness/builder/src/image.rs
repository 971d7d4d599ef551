//! Guest root file systems: from a recipe to a folder in the cache, and from there to the private copy of one run.
//!
//! A recipe names Debian packages, and the files it wants of them or that it wants them whole. Nothing of a package is run and no user has to be
//! mapped, so an image is made by anyone, without privileges, and holds exactly what its recipe says.

mod assemble;
pub mod catalogue;
mod fetch;
mod manifest;
mod pin;
mod private_root;

use std::path::PathBuf;

use harness_protocol::name::ImageName;

pub use assemble::AssembleError;
pub use fetch::FetchError;
pub use manifest::{BadPath, BadPattern, Boot, GuestPath, Layer, Manifest, ManifestError, Package, Pattern, Pin};
pub use pin::{PinError, Pinned, pin};
pub use private_root::{CopyError, GUEST_PROGRAM, PrivateRoot, SHELL_ARGUMENT};

use crate::{
    cache::{Area, Cache, CacheError, cleaning::References},
    mirror::{self, MirrorError},
    progress::{Progress, Unit},
};

/// Counts changes of what is made from the same recipe, so that they get another key.
const EDITION: &str = "1";

/// An image that was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its name.
    pub name: ImageName,
    /// What it was built from, as a hash: equal keys, equal images.
    pub key: String,
    /// Its root folder. A guest must not see it: it gets [`Image::private_copy`].
    pub folder: PathBuf,
    /// How a guest is started; `None` if by this project's own init.
    pub boot: Option<Boot>,
}

/// Why an image was not built.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// No mirror is known.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// A package could not be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The packages do not give what the recipe says.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl ImageError {
    /// Whether the mirror has a pinned package in that version no more: nothing is wrong here, the suite moved on.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Fetch(error) if error.is_gone())
    }
}

/// The key of what a recipe makes. Comments and order of keys do not count.
fn key(recipe: &Manifest) -> String {
    crate::digest::Sha256::of_parts([EDITION.as_bytes(), recipe.contents().as_bytes()]).short()
}

fn image(recipe: &Manifest, folder: PathBuf) -> Image {
    Image { name: recipe.name.clone(), key: key(recipe), folder, boot: recipe.boot().cloned() }
}

fn entry_name(recipe: &Manifest) -> String {
    format!("{}-{}", recipe.name, key(recipe))
}

/// Adds what this recipe keeps in the cache.
pub(crate) fn add_references(recipe: &Manifest, references: &mut References) {
    references.add(Area::Images, entry_name(recipe));
    recipe.suites().into_iter().for_each(|suite| references.add_all(Area::Downloads, mirror::lists_of(suite)));
    recipe.needed().for_each(|needed| needed.add_references(references));
}

/// The image of this recipe, if it was built.
pub fn find_built(recipe: &Manifest, cache: &Cache) -> Result<Option<Image>, CacheError> {
    Ok(cache.entry(Area::Images, &entry_name(recipe))?.existing().map(|folder| image(recipe, folder)))
}

/// The image of this recipe, built if need be.
pub fn build(recipe: &Manifest, cache: &Cache, progress: &Progress) -> Result<Image, ImageError> {
    let entry = cache.entry(Area::Images, &entry_name(recipe))?;
    if let Some(folder) = entry.existing() {
        return Ok(image(recipe, folder));
    }
    let lock = entry.lock(progress)?;
    // Another process may have built it while this one waited.
    if let Some(folder) = lock.entry().existing() {
        return Ok(image(recipe, folder));
    }
    let packages = fetch::packages(recipe, cache, progress)?;
    let task = progress.task(&format!("image {}", recipe.name), Unit::Things("packages"), None);
    let staging = lock.stage_folder()?;
    assemble::assemble(recipe, &packages, staging.path(), &task)?;
    let folder = staging.publish()?;
    task.finish("built");
    Ok(image(recipe, folder))
}
