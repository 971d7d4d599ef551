//! A kernel, an image and the guest program: all it takes to run scenarios and to keep their outcomes.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
};

use harness_builder::{cache::Area, guest_program::GuestProgram, image::Image, kernel::Kernel};
use harness_model::{
    check::Checked,
    configuration::Configuration,
    expand::{self, Expanded, Expansion, Target},
    name::KernelName,
    outcome::ScenarioOutcome,
    plan,
    scenario::{Release, Report},
    snapshot::Lineage,
    vocabulary::Vocabulary,
};

use crate::{
    batches::batches,
    launch::{Launch, LaunchError, MEMORY_MIB},
    objects::Shelf,
    store::Artefacts,
    supplies::Supplies,
};

/// A kernel, an image and the guest program, built.
#[derive(Debug)]
pub struct Testbed<'a> {
    pub(crate) supplies: &'a Supplies,
    pub(crate) kernel: Kernel,
    pub(crate) image: Image,
    pub(crate) guest: GuestProgram,
    pub(crate) objects: Shelf,
    /// What the kernel is started with, if it needs modules to reach its root.
    pub(crate) initramfs: Option<PathBuf>,
    pub(crate) vocabulary: Vocabulary,
    pub(crate) configuration: Configuration,
    pub(crate) release: Release,
}

impl Testbed<'_> {
    /// The kernel's name.
    pub fn kernel_name(&self) -> &KernelName {
        &self.kernel.name
    }

    /// Whose snapshots hold for the kernel.
    pub fn lineage(&self) -> Lineage {
        Lineage { kernel: self.kernel.name.clone(), alike: self.kernel.alike.clone() }
    }

    /// The names the kernel knows.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The kernel.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Memory of its VMs in MiB.
    pub(crate) fn memory_mib(&self) -> u32 {
        self.kernel.memory_mib.unwrap_or(MEMORY_MIB)
    }

    /// What a scenario asks of this kernel.
    ///
    /// `path` is the scenario's file, beside which the objects it loads may be.
    ///
    /// # Errors
    /// What is wrong with it on this kernel, or with an object.
    pub fn expand(&self, checked: &Checked, path: &Path) -> Result<Expansion, Report> {
        let target = Target {
            name: &self.kernel.name,
            release: self.release,
            vocabulary: &self.vocabulary,
            configuration: &self.configuration,
        };
        let mut expansion = expand::expand(checked, target)?;
        if let Expansion::Run(expanded) = &mut expansion {
            let folder = path.parent().unwrap_or(path);
            self.objects.fetch(&mut expanded.plan, folder).map_err(|why| checked.complaint(&why))?;
        }
        Ok(expansion)
    }

    /// The outcomes of these scenarios if the store knows all of them.
    pub fn known(&self, wanted: &[&Expanded]) -> Option<Vec<ScenarioOutcome>> {
        wanted.iter().map(|expanded| self.load(&expanded.plan)).collect()
    }

    /// The outcomes of these scenarios, from the store or from VMs booted now.
    ///
    /// While one process boots VMs of a kernel, another waits and then finds the outcomes in the store.
    ///
    /// # Errors
    /// [`LaunchError`] if a VM cannot be had or an outcome cannot be kept. What other VMs answered until then is kept.
    pub fn outcomes(&self, wanted: &[&Expanded]) -> Result<Vec<ScenarioOutcome>, LaunchError> {
        if let Some(known) = self.known(wanted) {
            return Ok(known);
        }
        // By its key: kernels of one name with different bugs in them do not wait for each other.
        let lock = format!("{}-{}-{}", self.kernel.name, self.kernel.key, self.image.name);
        let _lock = self.supplies.cache.entry(Area::Store, &lock)?.lock(&self.supplies.progress)?;
        let missing: Vec<&Expanded> =
            wanted.iter().copied().filter(|expanded| self.load(&expanded.plan).is_none()).collect();
        if !missing.is_empty() {
            self.fill(&missing)?;
        }
        self.known(wanted).ok_or(LaunchError::NotKept)
    }

    fn load(&self, scenario: &plan::Scenario) -> Option<ScenarioOutcome> {
        self.supplies.store.load(&self.artefacts(), scenario)
    }

    fn artefacts(&self) -> Artefacts {
        Artefacts {
            kernel: self.kernel.key.clone(),
            image: self.image.key.clone(),
            guest: self.guest.key.clone(),
            machine: format!("{} MiB, {}", self.memory_mib(), self.kernel.args.join(" ")),
        }
    }

    /// Runs these scenarios and keeps their outcomes.
    fn fill(&self, missing: &[&Expanded]) -> Result<(), LaunchError> {
        let launch = Launch::prepare(self, missing.len())?;
        let batches = batches(missing, self.supplies.vms);
        let workers = self.supplies.vms.min(batches.len());
        let queue = Mutex::new(batches.into_iter());
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let work = || {
            while let Some(batch) = next() {
                for (scenario, outcome) in batch.iter().zip(launch.session(&batch)?) {
                    self.supplies.store.keep(&self.artefacts(), scenario, &outcome)?;
                }
            }
            Ok(())
        };
        let done: Result<(), LaunchError> = thread::scope(|scope| {
            let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
            workers.into_iter().try_for_each(|worker| worker.join().unwrap_or(Err(LaunchError::Panicked)))
        });
        done?;
        launch.finish();
        Ok(())
    }
}
