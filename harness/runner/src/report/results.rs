//! What reports are about: the findings of a run, and what they were found on.

use harness_protocol::name::{Ground, ImageName, KernelName};

use super::{Counts, Finding, Naming};

/// The version of the harness, as results name it.
pub const HARNESS: &str = env!("CARGO_PKG_VERSION");

/// A ground as results name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroundLabel {
    /// The kernel and its image.
    pub ground: Ground,
    /// What `uname -r` says in it; `None` if it never ran.
    pub release: Option<String>,
}

/// All that a report tells of.
#[derive(Clone, Debug)]
pub struct Results {
    /// The grounds, in the order of columns and suites.
    pub grounds: Vec<GroundLabel>,
    /// Findings of one scenario stand together.
    pub findings: Vec<Finding>,
}

impl Results {
    /// Findings of one ground, by scenario.
    pub(super) fn of<'a>(&'a self, label: &'a GroundLabel) -> impl Iterator<Item = &'a Finding> {
        self.findings.iter().filter(|finding| finding.ground == label.ground)
    }

    /// What the grounds are called.
    pub(super) fn naming(&self) -> Naming {
        Naming::of(self.grounds.iter().map(|label| &label.ground))
    }

    /// The images, each once.
    pub(super) fn images(&self) -> Vec<&ImageName> {
        let mut images: Vec<&ImageName> = Vec::new();
        for label in &self.grounds {
            if !images.contains(&&label.ground.image) {
                images.push(&label.ground.image);
            }
        }
        images
    }

    /// The kernels with their releases, each once.
    pub(super) fn kernels(&self) -> Vec<(&KernelName, Option<&str>)> {
        let mut kernels: Vec<(&KernelName, Option<&str>)> = Vec::new();
        for label in &self.grounds {
            let release = label.release.as_deref();
            match kernels.iter_mut().find(|(name, _)| *name == &label.ground.kernel) {
                Some((_, known)) => *known = known.or(release),
                None => kernels.push((&label.ground.kernel, release)),
            }
        }
        kernels
    }

    /// How much was judged, and to what it came.
    pub fn counts(&self) -> Counts {
        Counts::of(&self.findings)
    }
}
