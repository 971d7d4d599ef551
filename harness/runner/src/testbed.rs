//! Testbeds: a kernel, an image and the guest program, built.

use std::{
    io,
    path::{Path, PathBuf},
};

use harness_builder::{
    cache::Area,
    guest_program::{
        self, GuestProgram,
        guard::{self, GuardProgram},
    },
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
    plan,
};
use harness_scenario::expanded::Expanded;
use harness_snapshot::owner::Lineage;
use harness_uapi::{configuration::Configuration, release::Release, vocabulary::Vocabulary};

use crate::{
    identity::{Artefacts, Identity, ReplacedPins},
    objects::ObjectFiles,
    resources::{Resources, ResourcesError},
    session::MachineKind,
    signing,
    store::{Key, StoreError},
};

/// The default memory of a VM in MiB; `docs/performance.md` says how much is needed.
pub const MEMORY_MIB: u32 = 512;

/// Returns the memory of this kernel's VMs in MiB.
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
    /// The guard's program, if a scenario needs it.
    pub(crate) guard: Option<GuardProgram>,
    /// The initramfs, if the kernel needs modules to mount its root.
    pub(crate) initramfs: Option<PathBuf>,
    pub(crate) identity: Identity,
}

/// Builds testbeds.
impl Resources {
    /// Returns a testbed if the kernel, the image, the guest program and the objects that scenarios load are all built.
    ///
    /// # Errors
    /// [`ResourcesError::NotBuilt`] if something is not built, with the command that builds it.
    pub fn built(&self, kernel: &KernelName, image: &ImageName) -> Result<Testbed<'_>, ResourcesError> {
        let missing = |what: String, command: String| ResourcesError::NotBuilt { what, command };
        let kernel = self
            .built_kernel(kernel)?
            .ok_or_else(|| missing(format!("kernel {kernel}"), format!("kernel build {kernel}")))?;
        let image = image::find_built(&self.images.get(image.as_str())?, &self.cache)?
            .ok_or_else(|| missing(format!("image {image}"), format!("image build {image}")))?;
        let (root, cache) = (self.project.root(), &self.cache);
        let guest = self.shared.guest.find(|| guest_program::find_built(root, cache))?;
        let guest = guest.ok_or_else(|| missing("the guest program".to_owned(), "image build".to_owned()))?;
        let objects = self.shared.objects.find(|| objects::find_built(&self.project.objects(), cache))?;
        let objects =
            objects.ok_or_else(|| missing("an object that scenarios load".to_owned(), "image build".to_owned()))?;
        let guard = match self.shared.guard.find(|| guard::find_built(root, cache)) {
            Ok(None) if self.needs_guard => {
                return Err(missing("the guard's program".to_owned(), "run --filter 'guard/*'".to_owned()));
            }
            Err(error) if self.needs_guard => return Err(error.into()),
            found => found.ok().flatten(),
        };
        self.assemble(kernel, image, (guest, guard), objects)
    }

    /// Builds what is missing of a testbed and returns it.
    ///
    /// # Errors
    /// [`ResourcesError`] if something cannot be built.
    pub fn build(&self, kernel: &KernelName, image: &ImageName) -> Result<Testbed<'_>, ResourcesError> {
        self.with_kernel(self.build_kernel(kernel)?, image)
    }

    fn restore_kernel(&self, kernel: &Kernel) -> Result<(), ResourcesError> {
        // A mutant is in another area: it is compared when it is found.
        if self.cache.remove_damaged(Area::Kernels, &kernel.dir, &self.progress)? {
            self.build_kernel(&kernel.name)?;
        }
        Ok(())
    }

    fn restore_image(&self, image: &Image) -> Result<(), ResourcesError> {
        if self.cache.remove_damaged(Area::Images, &image.folder, &self.progress)? {
            self.build_image(&image.name)?;
        }
        Ok(())
    }

    fn build_kernel(&self, kernel: &KernelName) -> Result<Kernel, ResourcesError> {
        Ok(kernel::build(&self.kernels.kernel(kernel)?, self.pins, &self.cache, &self.progress)?)
    }

    /// Stores the testbed's identity, so that its outcomes can be judged where nothing is built.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be written.
    pub fn remember(&self, testbed: &Testbed<'_>) -> Result<(), StoreError> {
        self.store.remember(&testbed.identity)
    }

    /// Returns the testbed of host mode: the running kernel, and the guest program and objects, built if necessary.
    ///
    /// # Errors
    /// [`ResourcesError`] if the kernel does not show its type information or configuration, or if something cannot be
    /// built.
    pub fn running(&self) -> Result<Testbed<'_>, ResourcesError> {
        let release = release_of(&running::name(), &running::release())?;
        let alike = running::nearest(&release, &self.kernels.all()?);
        let kernel = running::look(alike, &self.cache, &self.progress)?;
        let (guest, objects) = self.build_shared()?;
        let name = running::NAME.parse().expect("it is a name");
        let image =
            Image { name, key: "none".to_owned(), folder: PathBuf::from("/"), boot: None, replaced: Vec::new() };
        // Nothing of a shared machine is put under a guard.
        Ok(self.assemble(kernel, image, (guest, None), objects)?.on(MachineKind::HostMode))
    }

    /// Returns a testbed with a kernel that was built elsewhere; the image and the guest program are built if
    /// necessary.
    ///
    /// # Errors
    /// [`ResourcesError`] if something cannot be built.
    pub fn with_kernel(&self, kernel: Kernel, image: &ImageName) -> Result<Testbed<'_>, ResourcesError> {
        let image = self.build_image(image)?;
        let (guest, objects) = self.build_shared()?;
        self.assemble(kernel, image, (guest, self.guard()?), objects)
    }

    fn assemble(
        &self,
        kernel: Kernel,
        image: Image,
        (guest, guard): (GuestProgram, Option<GuardProgram>),
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
            artefacts: Artefacts {
                kernel: kernel.key.clone(),
                image: image.key.clone(),
                guest: guest.key.clone(),
                machine: format!("{} MiB, {}", memory_mib(&kernel), kernel.args.join(" ")),
                guard: guard.as_ref().map(|guard| guard.key.clone()),
                run_guard: self.run_guard,
            },
            replaced: ReplacedPins { kernel: kernel.replaced.clone(), image: image.replaced.clone() },
            vocabulary,
            configuration,
            objects: ObjectFiles::compiled(objects),
            uname: kernel.release().to_owned(),
            release,
            machine_kind: MachineKind::Own,
        };
        Ok(Testbed { resources: self, kernel, image, guest, guard, initramfs, identity })
    }

    /// Errors if a kernel lacks options that an image needs. Host mode's root has no manifest.
    fn check_config(&self, kernel: &Kernel, image: &Image, has: &Configuration) -> Result<(), ResourcesError> {
        let Ok(manifest) = self.images.get(image.name.as_str()) else { return Ok(()) };
        let missing: Vec<String> =
            manifest.config().into_iter().filter(|option| !has.has(option)).map(str::to_owned).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(ResourcesError::Config { kernel: kernel.name.clone(), image: image.name.clone(), missing })
    }
}

impl Testbed<'_> {
    /// Returns whether scenarios have loaded objects that are compiled from the project's sources.
    pub(crate) fn has_loaded_objects(&self) -> bool {
        !self.identity.objects.names().is_empty()
    }

    /// Compares all files of the kernel and the image with what was built, before VMs start from them, and builds what
    /// is damaged again. Everything else is compared when the testbed is made.
    pub(crate) fn restore(&self) -> Result<(), ResourcesError> {
        self.resources.restore_kernel(&self.kernel)?;
        self.resources.restore_image(&self.image)
    }

    /// Returns the testbed as if others used its machine. Scenarios that would affect them are skipped; all others must
    /// have the usual verdicts.
    #[must_use]
    pub fn shared_with_others(self) -> Self {
        self.on(MachineKind::Shared)
    }

    /// Returns the testbed with another program of the guard; outcomes under a guard have other keys.
    pub(crate) fn with_guard(mut self, guard: GuardProgram) -> Self {
        self.identity.artefacts.guard = Some(guard.key.clone());
        self.guard = Some(guard);
        self
    }

    /// Returns the testbed on another kind of machine; its outcomes have other keys.
    pub(crate) fn on(mut self, machine_kind: MachineKind) -> Self {
        self.identity.machine_kind = machine_kind;
        self.identity.artefacts.machine.push_str(match machine_kind {
            MachineKind::Own => "",
            MachineKind::Shared => ", shared with others",
            MachineKind::HostMode => ", here",
        });
        self
    }

    /// Returns whether the testbed is this machine, without a VM (host mode).
    pub(crate) fn is_host_mode(&self) -> bool {
        self.identity.machine_kind == MachineKind::HostMode
    }

    /// Returns the kernel's name.
    pub fn kernel_name(&self) -> &KernelName {
        &self.kernel.name
    }

    /// Returns the kernel and the image.
    pub fn environment(&self) -> &Environment {
        self.identity.environment()
    }

    /// Returns whose snapshots apply to the environment.
    pub fn lineage(&self) -> Lineage {
        self.identity.lineage.clone()
    }

    /// Returns the names that the kernel knows.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.identity.vocabulary
    }

    /// Returns the kernel.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Returns the identity by which outcomes are judged.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Returns the memory of its VMs in MiB.
    pub(crate) fn memory_mib(&self) -> u32 {
        memory_mib(&self.kernel)
    }

    /// Expands a scenario for this kernel.
    ///
    /// `path` is the scenario's file; objects it loads may lie beside it.
    ///
    /// # Errors
    /// Reports what is wrong with the scenario on this kernel, or with an object.
    pub fn expand(&self, checked: &Checked, path: &Path) -> Result<Expansion, Report> {
        self.identity.expand(checked, path)
    }

    /// Returns the reusable outcome of this scenario, if one is stored.
    pub(crate) fn load(&self, expanded: &Expanded) -> Option<ScenarioOutcome> {
        self.resources.store.look_up(&Key::of(&self.identity.artefacts, &expanded.plan))?.reusable()
    }

    /// Puts the objects and signatures that these scenarios load into a guest's shared folder.
    ///
    /// # Errors
    /// If the folder cannot be written, or a program not signed.
    pub(crate) fn put_files(&self, scenarios: &[plan::Scenario], share: &Path) -> io::Result<()> {
        self.identity.objects.put(scenarios, share)?;
        signing::put(scenarios, &self.kernel, share)
    }

    /// Returns the name of its lock. It contains the kernel's key, because mutants have the same kernel name and need
    /// not wait for each other.
    pub(crate) fn lock_name(&self) -> String {
        format!("{}-{}-{}", self.kernel.name, self.kernel.key, self.image.name)
    }
}

/// Parses the version in the output of `uname -r`.
fn release_of(kernel: &KernelName, uname: &str) -> Result<Release, ResourcesError> {
    uname.parse().map_err(|_| ResourcesError::Release { kernel: kernel.clone(), release: uname.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use harness_builder::{cache::Cache, progress::Progress, project::Project};

    use super::*;
    use crate::store::{Freshness, RunId, Store};

    /// Opens a project with an image of one file.
    fn resources(folder: &Path, progress: Progress) -> Resources {
        ["kernels", "scenarios", "images"].into_iter().for_each(|name| fs::create_dir(folder.join(name)).unwrap());
        fs::write(folder.join("Cargo.toml"), "").unwrap();
        let manifest = "summary = \"s\"\nsuite = \"trixie\"\n[texts]\n\"etc/motd\" = \"hello\"\n";
        fs::write(folder.join("images/one.toml"), manifest).unwrap();
        let project = Project::above(folder).unwrap();
        let store = Store::new(folder.join("cache/store"), RunId::current(), Freshness::Any);
        Resources::in_cache(project, Cache::at(folder.join("cache")).unwrap(), store, progress).unwrap()
    }

    #[test]
    fn an_image_with_a_flipped_bit_is_built_again_before_a_vm_starts_from_it() {
        let folder = tempfile::tempdir().unwrap();
        let (progress, log) = Progress::captured();
        let resources = resources(folder.path(), progress);
        let image = resources.build_image(&"one".parse().unwrap()).unwrap();
        resources.restore_image(&image).unwrap();
        assert!(!log.text().contains("SHA-256"), "{}", log.text());
        let file = image.folder.join("etc/motd");
        fs::write(&file, "hellO").unwrap();
        resources.restore_image(&image).unwrap();
        assert_eq!(fs::read_to_string(file).unwrap(), "hello");
        let shown = log.text().replace(image.folder.to_str().unwrap(), "IMAGE");
        insta::assert_snapshot!(shown.lines().find(|line| line.contains("SHA-256")).unwrap(), @"IMAGE/etc/motd has another SHA-256 sum than when it was built; building IMAGE again");
    }
}
