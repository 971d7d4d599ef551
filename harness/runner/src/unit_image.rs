//! The image that units of systemd are tried in.

use harness_protocol::name::ImageName;
use thiserror::Error;

use crate::resources::{Resources, ResourcesError};

/// Why units cannot be tried.
#[derive(Debug, Error)]
pub enum UnitImageError {
    /// The recipes cannot be read.
    #[error(transparent)]
    Supplies(#[from] ResourcesError),
    /// No image was named, and none is meant for units.
    #[error("no recipe of images/ with `default = true` has systemd; name an image: --image")]
    None,
    /// The image that was named does not exist.
    #[error(transparent)]
    Unknown(ResourcesError),
    /// The image that was named has no systemd.
    #[error("the image {0} has no systemd to start a unit; `{name} image list` shows which do", name = harness_program::NAME)]
    NoSystemd(ImageName),
}

impl UnitImageError {
    /// Whether the image that was named is the wrong one.
    pub fn is_wrong_input(&self) -> bool {
        matches!(self, Self::Unknown(_) | Self::NoSystemd(_))
    }
}

/// The image that is named, or the one that is meant for units, and the version of its systemd.
///
/// # Errors
/// [`UnitImageError`] if it has no systemd, or if none is meant for units.
pub fn unit_image(resources: &Resources, named: Option<&ImageName>) -> Result<(ImageName, u32), UnitImageError> {
    let image = match named {
        Some(image) => image.clone(),
        None => resources.image_for_units()?.ok_or(UnitImageError::None)?,
    };
    let systemd = resources.systemd_of(&image).map_err(UnitImageError::Unknown)?;
    systemd.map(|systemd| (image.clone(), systemd)).ok_or(UnitImageError::NoSystemd(image))
}
