//! A kernel, an image and the guest program: all it takes to run scenarios and to keep their outcomes.

use std::path::{Path, PathBuf};

use harness_builder::{guest_program::GuestProgram, image::Image, kernel::Kernel};
use harness_model::{
    check::Checked,
    expand::{Expanded, Expansion},
    ground::Ground,
    name::KernelName,
    outcome::ScenarioOutcome,
    scenario::Report,
    snapshot::Lineage,
    vocabulary::Vocabulary,
};

use crate::{identity::Identity, launch::memory_mib, session::Surroundings, supplies::Supplies};

/// A kernel, an image and the guest program, built.
#[derive(Debug)]
pub struct Testbed<'a> {
    pub(crate) supplies: &'a Supplies,
    pub(crate) kernel: Kernel,
    pub(crate) image: Image,
    pub(crate) guest: GuestProgram,
    /// What the kernel is started with, if it needs modules to reach its root.
    pub(crate) initramfs: Option<PathBuf>,
    pub(crate) identity: Identity,
}

impl Testbed<'_> {
    /// The same with the guest program told that others live on its machine. Scenarios that would reach them are skipped
    /// then, and all others must come out as usual.
    #[must_use]
    pub fn shared_with_others(self) -> Self {
        self.among(Surroundings::Shared)
    }

    /// The same in these surroundings; its outcomes are kept apart.
    pub(crate) fn among(mut self, surroundings: Surroundings) -> Self {
        self.identity.surroundings = surroundings;
        self.identity.artefacts.machine.push_str(match surroundings {
            Surroundings::Own => "",
            Surroundings::Shared => ", shared with others",
            Surroundings::Here => ", here",
        });
        self
    }

    /// Whether it is the machine we are on, and no VM.
    pub(crate) fn is_here(&self) -> bool {
        self.identity.surroundings == Surroundings::Here
    }

    /// The kernel's name.
    pub fn kernel_name(&self) -> &KernelName {
        &self.kernel.name
    }

    /// The kernel and the image.
    pub fn ground(&self) -> &Ground {
        self.identity.ground()
    }

    /// Whose snapshots hold for the ground.
    pub fn lineage(&self) -> Lineage {
        self.identity.lineage.clone()
    }

    /// The names the kernel knows.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.identity.vocabulary
    }

    /// The kernel.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// What outcomes are judged by.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Memory of its VMs in MiB.
    pub(crate) fn memory_mib(&self) -> u32 {
        memory_mib(&self.kernel)
    }

    /// What a scenario asks of this kernel.
    ///
    /// `path` is the scenario's file, beside which the objects it loads may be.
    ///
    /// # Errors
    /// What is wrong with it on this kernel, or with an object.
    pub fn expand(&self, checked: &Checked, path: &Path) -> Result<Expansion, Report> {
        self.identity.expand(checked, path)
    }

    /// The outcome of this scenario, if the store knows it.
    pub(crate) fn load(&self, expanded: &Expanded) -> Option<ScenarioOutcome> {
        self.supplies.store.load(&self.identity.artefacts, &expanded.plan)
    }

    /// What stands for it among locks: its key, too, since kernels of one name with different bugs in them do not wait
    /// for each other.
    pub(crate) fn lock_name(&self) -> String {
        format!("{}-{}-{}", self.kernel.name, self.kernel.key, self.image.name)
    }
}
