//! What reports are about: the findings of a run, and what they were found on.

use harness_model::name::{ImageName, KernelName};

use super::{Counts, Finding};

/// The version of the harness, as results name it.
pub const HARNESS: &str = env!("CARGO_PKG_VERSION");

/// A kernel as results name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelLabel {
    /// Its name.
    pub name: KernelName,
    /// What `uname -r` says in it; `None` if it never ran.
    pub release: Option<String>,
}

/// All that a report tells of.
#[derive(Clone, Debug)]
pub struct Results {
    /// The kernels, in the order of columns and suites.
    pub kernels: Vec<KernelLabel>,
    /// The root file system their guests had.
    pub image: ImageName,
    /// Findings of one scenario stand together.
    pub findings: Vec<Finding>,
}

impl Results {
    /// Findings of one kernel, by scenario.
    pub(super) fn of<'a>(&'a self, kernel: &'a KernelLabel) -> impl Iterator<Item = &'a Finding> {
        self.findings.iter().filter(|finding| finding.kernel == kernel.name)
    }

    /// How much was judged, and to what it came.
    pub fn counts(&self) -> Counts {
        Counts::of(&self.findings)
    }
}
