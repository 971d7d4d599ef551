//! A kernel, an image and the guest program: all it takes to run scenarios and to keep their outcomes.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
};

use harness_builder::{cache::Area, guest_program::GuestProgram, image::Image, kernel::Kernel};
use harness_model::{
    check::Checked,
    expand::{self, Expanded, Expansion},
    name::KernelName,
    outcome::ScenarioOutcome,
    plan::{self, Reach},
    scenario::{Release, Report},
    snapshot::Lineage,
    vocabulary::Vocabulary,
};

use crate::{
    batches::batches,
    launch::{Launch, LaunchError, MEMORY_MIB},
    objects::Shelf,
    session::Surroundings,
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
    pub(crate) release: Release,
    /// What the guest program is told of the VM.
    pub(crate) surroundings: Surroundings,
}

impl Testbed<'_> {
    /// The same with the guest program told that others live on its machine. Scenarios that would reach them are skipped
    /// then, and all others must come out as usual.
    #[must_use]
    pub fn shared_with_others(self) -> Self {
        Self { surroundings: Surroundings::Shared, ..self }
    }

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
        let mut expansion = expand::expand(checked, &self.kernel.name, &self.release, &self.vocabulary)?;
        if let Some(reach) = self.reach(&expansion) {
            let reason = format!("it is not run on a machine that others live on: it {}", reach.as_str());
            return Ok(Expansion::Skipped { reason });
        }
        if let Expansion::Run(expanded) = &mut expansion {
            let folder = path.parent().unwrap_or(path);
            self.objects.fetch(&mut expanded.plan, folder).map_err(|why| checked.complaint(&why))?;
        }
        Ok(expansion)
    }

    /// How a scenario would reach others on the machine, if there are any.
    fn reach(&self, expansion: &Expansion) -> Option<Reach> {
        match (expansion, self.surroundings) {
            (Expansion::Run(expanded), Surroundings::Shared | Surroundings::Here) => expanded.plan.reach(),
            _ => None,
        }
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
        let machine = format!("{} MiB, {}", self.memory_mib(), self.kernel.args.join(" "));
        Artefacts {
            kernel: self.kernel.key.clone(),
            image: self.image.key.clone(),
            guest: self.guest.key.clone(),
            machine: match self.surroundings {
                Surroundings::Own => machine,
                Surroundings::Shared => format!("{machine}, shared with others"),
                Surroundings::Here => format!("{machine}, here"),
            },
        }
    }

    /// Runs these scenarios and keeps their outcomes.
    fn fill(&self, missing: &[&Expanded]) -> Result<(), LaunchError> {
        let launch = Launch::prepare(self, missing.len())?;
        // Two runs on one machine would take each other's objects for leftovers.
        let vms = if self.surroundings == Surroundings::Here { 1 } else { self.supplies.vms };
        let batches = batches(missing, vms);
        let workers = vms.min(batches.len());
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
