//! Root file systems for guests: from a manifest to an image in the cache, and from there to the private copy of one
//! run.
//!
//! A manifest names Debian packages, and which of their files to take, or that it takes them whole. Building an image
//! runs nothing of a package and maps no users, so it needs no privileges, and the image has exactly what its manifest
//! names.

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

/// The version of the build; it enters the key, and is raised when the same manifest would make another image.
const EDITION: &str = "1";

/// A built image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its name.
    pub name: ImageName,
    /// A hash of everything it was built from: equal keys mean equal images.
    pub key: String,
    /// Its root folder. A guest must not use it: it gets a [`Image::private_copy`].
    pub folder: PathBuf,
    /// How a guest is started; `None` if this project's own init starts it.
    pub boot: Option<Boot>,
}

/// Why an image could not be built.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The mirror is not known.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// A package is not available.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The packages do not have what the manifest names.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// A cache operation failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl ImageError {
    /// Reports whether the mirror no longer has a pinned version: the suite has moved on, which is not an error of the
    /// manifest.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Fetch(error) if error.is_gone())
    }
}

/// Returns the key of the image of a manifest. Comments and the order of keys do not affect it.
pub fn key(manifest: &Manifest) -> String {
    crate::digest::Sha256::of_parts([EDITION.as_bytes(), manifest.contents().as_bytes()]).short()
}

fn image(manifest: &Manifest, folder: PathBuf) -> Image {
    Image { name: manifest.name.clone(), key: key(manifest), folder, boot: manifest.boot().cloned() }
}

fn entry_name(manifest: &Manifest) -> String {
    format!("{}-{}", manifest.name, key(manifest))
}

/// Adds the cache items of a manifest.
pub(crate) fn add_references(manifest: &Manifest, references: &mut References) {
    references.add(Area::Images, entry_name(manifest));
    manifest.suites().into_iter().for_each(|suite| references.add_all(Area::Downloads, mirror::lists_of(suite)));
    manifest.needed().for_each(|needed| needed.add_references(references));
}

/// Returns the image of a manifest, if it was built.
pub fn find_built(manifest: &Manifest, cache: &Cache) -> Result<Option<Image>, CacheError> {
    Ok(cache.entry(Area::Images, &entry_name(manifest))?.existing().map(|folder| image(manifest, folder)))
}

/// Returns the image of a manifest, built if needed.
pub fn build(manifest: &Manifest, cache: &Cache, progress: &Progress) -> Result<Image, ImageError> {
    let entry = cache.entry(Area::Images, &entry_name(manifest))?;
    if let Some(folder) = entry.existing() {
        return Ok(image(manifest, folder));
    }
    let lock = entry.lock(progress)?;
    // Another process may have built it while this one was waiting.
    if let Some(folder) = lock.entry().existing() {
        return Ok(image(manifest, folder));
    }
    let packages = fetch::packages(manifest, cache, progress)?;
    let task = progress.task(&format!("image {}", manifest.name), Unit::Things("packages"), None);
    let staging = lock.stage_folder()?;
    assemble::assemble(manifest, &packages, staging.path(), &task)?;
    let folder = staging.publish()?;
    task.finish("built");
    Ok(image(manifest, folder))
}
