//! Chooses the image in which VM units are started.

use harness_protocol::name::ImageName;
use thiserror::Error;

use crate::resources::{Resources, ResourcesError};

/// Why there is no image for VM units.
#[derive(Debug, Error)]
pub enum UnitImageError {
    /// The image manifests cannot be read.
    #[error(transparent)]
    Resources(#[from] ResourcesError),
    /// No image was named, and no default image has systemd.
    #[error("no image with `default = true` has systemd; name an image with --image")]
    None,
    /// The image that was named does not exist.
    #[error(transparent)]
    Unknown(ResourcesError),
    /// The image that was named has no systemd.
    #[error("image {0} has no systemd to start a unit; `{name} image list` shows which images do", name = harness_program::NAME)]
    NoSystemd(ImageName),
}

impl UnitImageError {
    /// Returns whether the named image is the problem.
    pub fn is_wrong_input(&self) -> bool {
        matches!(self, Self::Unknown(_) | Self::NoSystemd(_))
    }
}

/// Returns the named image, or the one for VM units, and the version of its systemd.
///
/// # Errors
/// [`UnitImageError`] if it has no systemd, or if no default image has.
pub fn unit_image(resources: &Resources, named: Option<&ImageName>) -> Result<(ImageName, u32), UnitImageError> {
    let image = match named {
        Some(image) => image.clone(),
        None => resources.image_for_units()?.ok_or(UnitImageError::None)?,
    };
    let systemd = resources.systemd_of(&image).map_err(UnitImageError::Unknown)?;
    systemd.map(|systemd| (image.clone(), systemd)).ok_or(UnitImageError::NoSystemd(image))
}
