//! What scenarios run on: a kernel with an image.

use std::fmt;

use crate::name::{ImageName, KernelName};

/// A kernel, and the root file system its guests have.
///
/// It is shown as `6.12@systemd-262`; neither name can have an `@` in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ground {
    /// The kernel.
    pub kernel: KernelName,
    /// The image.
    pub image: ImageName,
}

impl fmt::Display for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}@{}", self.kernel, self.image))
    }
}
