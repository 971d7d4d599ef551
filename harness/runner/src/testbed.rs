//! A kernel, an image and the guest program: all it takes to run scenarios and to keep their outcomes.

use std::path::{Path, PathBuf};

use harness_builder::{
    guest_program::{self, GuestProgram},
    image::{self, Image},
    initramfs,
    kernel::{self, Kernel, running},
    objects::{self, Objects},
};
use harness_diagnostics::report::Report;
use harness_planner::{checked::Checked, expand::Expansion};
use harness_protocol::{
    name::{Environment, ImageName, KernelName},
    outcome::ScenarioOutcome,
};
use harness_scenario::expanded::Expanded;
use harness_snapshot::owner::Lineage;
use harness_uapi::{configuration::Configuration, release::Release, vocabulary::Vocabulary};

use crate::{
    identity::{Artefacts, Identity},
    objects::ObjectFiles,
    resources::{Resources, ResourcesError},
    session::MachineKind,
    store::{Key, StoreError},
};

/// Memory of a VM in MiB; `docs/performance.md` says what is needed.
pub const MEMORY_MIB: u32 = 512;

/// Memory of this kernel's VMs in MiB.
fn memory_mib(kernel: &Kernel) -> u32 {
    kernel.memory_mib.unwrap_or(MEMORY_MIB)
}

/// A kernel, an image and the guest program, built.
#[derive(Debug)]
pub struct Testbed<'a> {
    pub(crate) resources: &'a Resources,
    pub(crate) kernel: Kernel,
    pub(crate) image: Image,
    pub(crate) guest: GuestProgram,
    /// What the kernel is started with, if it needs modules to reach its root.
    pub(crate) initramfs: Option<PathBuf>,
    pub(crate) identity: Identity,
}

/// What testbeds are made of.
impl Resources {
    /// The kernel, the image, the guest program and the objects that scenarios load if all are built.
    ///
    /// # Errors
    /// [`ResourcesError::NotBuilt`] says what is not, and how to build it.
    pub fn built(&self, kernel: &KernelName, image: &ImageName) -> Result<Testbed<'_>, ResourcesError> {
        let missing = |what: String, command: String| ResourcesError::NotBuilt { what, command };
        let kernel = kernel::find_built(&self.kernels.kernel(kernel)?, &self.cache)?
            .ok_or_else(|| missing(format!("kernel {kernel}"), format!("kernel build {kernel}")))?;
        let image = image::find_built(&self.images.get(image.as_str())?, &self.cache)?
            .ok_or_else(|| missing(format!("image {image}"), format!("image build {image}")))?;
        let guest = guest_program::find_built(self.project.root(), &self.cache)?
            .ok_or_else(|| missing("the guest program".to_owned(), "image build".to_owned()))?;
        let objects = objects::find_built(&self.project.objects(), &self.cache)?
            .ok_or_else(|| missing("an object that scenarios load".to_owned(), "image build".to_owned()))?;
        self.put_together(kernel, image, guest, objects)
    }

    /// The kernel, the image, the guest program and the objects that scenarios load, built if need be.
    ///
    /// # Errors
    /// [`ResourcesError`] if one cannot be built.
    pub fn build(&self, kernel: &KernelName, image: &ImageName) -> Result<Testbed<'_>, ResourcesError> {
        let kernel = kernel::build(&self.kernels.kernel(kernel)?, &self.cache, &self.progress)?;
        self.with_kernel(kernel, image)
    }

    /// Writes down in the store who answers, so that the outcomes can be judged where nothing is built.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be written.
    pub fn remember(&self, testbed: &Testbed<'_>) -> Result<(), StoreError> {
        self.store.remember(&testbed.identity)
    }

    /// The running kernel of the machine we are on, and what else is needed there, built if need be. No VM is.
    ///
    /// # Errors
    /// [`ResourcesError`] if the kernel does not tell what it knows, or if something cannot be built.
    pub fn running(&self) -> Result<Testbed<'_>, ResourcesError> {
        let release = release_of(&running::name(), &running::release())?;
        let alike = running::nearest(&release, &self.kernels.all()?);
        let kernel = running::look(alike, &self.cache, &self.progress)?;
        let (guest, objects) = self.build_shared()?;
        let name = running::NAME.parse().expect("it is a name");
        let image = Image { name, key: "none".to_owned(), folder: PathBuf::from("/"), boot: None };
        Ok(self.put_together(kernel, image, guest, objects)?.among(MachineKind::Here))
    }

    /// A kernel that was built elsewhere, with the image and the guest program, these built if need be.
    ///
    /// # Errors
    /// [`ResourcesError`] if one cannot be built.
    pub fn with_kernel(&self, kernel: Kernel, image: &ImageName) -> Result<Testbed<'_>, ResourcesError> {
        let image = self.build_image(image)?;
        let (guest, objects) = self.build_shared()?;
        self.put_together(kernel, image, guest, objects)
    }

    fn put_together(
        &self,
        kernel: Kernel,
        image: Image,
        guest: GuestProgram,
        objects: Objects,
    ) -> Result<Testbed<'_>, ResourcesError> {
        let vocabulary = kernel.vocabulary()?;
        let initramfs = initramfs::of(&kernel, &guest, &self.cache, &self.progress)?;
        let release = release_of(&kernel.name, kernel.release())?;
        let configuration = kernel.configuration()?;
        self.check_config(&kernel, &image, &configuration)?;
        let environment = Environment { kernel: kernel.name.clone(), image: image.name.clone() };
        let identity = Identity {
            lineage: Lineage { environment, alike: kernel.alike.clone() },
            artefacts: artefacts(&kernel, &image, &guest),
            vocabulary,
            configuration,
            objects: ObjectFiles::beside(objects),
            uname: kernel.release().to_owned(),
            release,
            machine_kind: MachineKind::Own,
        };
        Ok(Testbed { resources: self, kernel, image, guest, initramfs, identity })
    }

    /// Whether a kernel has what an image asks of it; the root of the machine we are on has no recipe.
    fn check_config(&self, kernel: &Kernel, image: &Image, has: &Configuration) -> Result<(), ResourcesError> {
        let Ok(recipe) = self.images.get(image.name.as_str()) else { return Ok(()) };
        let missing: Vec<String> =
            recipe.config().into_iter().filter(|option| !has.has(option)).map(str::to_owned).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(ResourcesError::Config { kernel: kernel.name.clone(), image: image.name.clone(), missing })
    }
}

impl Testbed<'_> {
    /// The same with the guest program told that others live on its machine. Scenarios that would reach them are skipped
    /// then, and all others must come out as usual.
    #[must_use]
    pub fn shared_with_others(self) -> Self {
        self.among(MachineKind::Shared)
    }

    /// The same in these surroundings; its outcomes are kept apart.
    pub(crate) fn among(mut self, machine_kind: MachineKind) -> Self {
        self.identity.machine_kind = machine_kind;
        self.identity.artefacts.machine.push_str(match machine_kind {
            MachineKind::Own => "",
            MachineKind::Shared => ", shared with others",
            MachineKind::Here => ", here",
        });
        self
    }

    /// Whether it is the machine we are on, and no VM.
    pub(crate) fn is_here(&self) -> bool {
        self.identity.machine_kind == MachineKind::Here
    }

    /// The kernel's name.
    pub fn kernel_name(&self) -> &KernelName {
        &self.kernel.name
    }

    /// The kernel and the image.
    pub fn environment(&self) -> &Environment {
        self.identity.environment()
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
        self.resources.store.look_up(&Key::of(&self.identity.artefacts, &expanded.plan))?.believed()
    }

    /// What stands for it among locks: its key, too, since kernels of one name with different bugs in them do not wait
    /// for each other.
    pub(crate) fn lock_name(&self) -> String {
        format!("{}-{}-{}", self.kernel.name, self.kernel.key, self.image.name)
    }
}

/// What `uname -r` says of the version.
fn release_of(kernel: &KernelName, uname: &str) -> Result<Release, ResourcesError> {
    uname.parse().map_err(|_| ResourcesError::Release { kernel: kernel.clone(), release: uname.to_owned() })
}

fn artefacts(kernel: &Kernel, image: &Image, guest: &GuestProgram) -> Artefacts {
    Artefacts {
        kernel: kernel.key.clone(),
        image: image.key.clone(),
        guest: guest.key.clone(),
        machine: format!("{} MiB, {}", memory_mib(kernel), kernel.args.join(" ")),
    }
}
