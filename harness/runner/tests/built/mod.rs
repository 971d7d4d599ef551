//! What tests with real VMs need: a default kernel, an image and the guest program, all built (`cargo xtask test` builds
//! them, with the image `minimal`). If something is not built, these tests are skipped; in CI they fail, unless their image
//! is recorded as gone from the mirror.

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use harness_builder::{
    cache::{Area, Cache},
    guest_program::{self, GuestProgram},
    image::{self, Image},
    kernel::{self, Kernel},
    progress::Progress,
    project::Project,
};
use harness_protocol::plan::Plan;
use harness_runner::{
    accel,
    qemu::Qemu,
    resources::Resources,
    session::{self, Deadlines, MachineKind, QemuMachine, RunFolder, Session, SessionError},
    store::Freshness,
    vm::{Vm, VmEnd, VmEvent, VmSpec},
};
use libtest_mimic::{Completion, Failed, Trial};

/// A built kernel, image and guest program.
pub(crate) struct Built {
    /// The folder that contains the VMs' folders.
    pub(crate) runs: PathBuf,
    pub(crate) kernel: Kernel,
    pub(crate) image: Image,
    #[allow(dead_code, reason = "not every test program starts a VM itself")]
    pub(crate) guest: GuestProgram,
}

/// The image that every test can count on.
pub(crate) const MINIMAL: &str = "minimal";

/// Creates a test that is skipped, with the reason, if something is not built.
#[allow(dead_code, reason = "each test program uses one of the two")]
pub(crate) fn trial(name: &str, test: impl FnOnce(&Built) -> Result<(), Failed> + Send + 'static) -> Trial {
    trial_in(MINIMAL, name, test)
}

/// As [`trial`], with another image.
#[allow(dead_code, reason = "each test program uses one of the two")]
pub(crate) fn trial_in(
    image: &'static str,
    name: &str,
    test: impl FnOnce(&Built) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, move || match Built::find(image) {
        Ok(built) => test(&built).map(|()| Completion::Completed),
        Err(reason) => match gone(image) {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None if std::env::var_os("CI").is_some() => Err(Failed::from(reason.to_string())),
            None => Ok(Completion::ignored_with(reason.to_string())),
        },
    })
}

/// Returns why tests of this image are skipped in CI, too, if its packages have left the mirror.
pub(crate) fn gone(image: &str) -> Option<String> {
    let resources = Resources::open(Project::find().ok()?, Freshness::Any, Progress::silent()).ok()?;
    resources.gone_image(&image.parse().ok()?).ok()?.filter(|_| image != MINIMAL)
}

/// Runs a VM until its command has ended, and returns what its console and its command showed.
#[allow(dead_code, reason = "not every test program starts a VM itself")]
pub(crate) fn shown(spec: &VmSpec, folder: &Path, patience: Duration) -> Result<String, Box<dyn Error>> {
    let mut vm = Vm::start(spec, folder)?;
    let (start, mut lines) = (Instant::now(), Vec::new());
    while start.elapsed() < patience {
        match vm.next_event(Duration::from_secs(1)).map(|event| event.event) {
            Some(VmEvent::Console(line) | VmEvent::Output(line)) => lines.push(line),
            Some(VmEvent::Ended(VmEnd::CommandEnded)) => return Ok(lines.join("\n")),
            Some(VmEvent::Ended(end)) => return Err(format!("{end}\n{}", lines.join("\n")).into()),
            Some(VmEvent::Reached(_) | VmEvent::LinesDropped(_)) | None => {}
        }
    }
    vm.stop();
    Err(format!("the guest did not end in time\n{}", lines.join("\n")).into())
}

impl Built {
    /// Returns a VM of the kernel with the image; its folders and its command are still to be set.
    #[allow(dead_code, reason = "not every test program starts a VM itself")]
    pub(crate) fn spec(&self) -> Result<VmSpec, Box<dyn Error>> {
        let qemu = Qemu::find()?;
        let accel = accel::choose(&qemu, &self.runs)?.accel;
        Ok(VmSpec {
            accel,
            confinement: accel::confine(&qemu, accel, &self.runs).confinement,
            qemu: qemu.path().to_owned(),
            qemu_args: Vec::new(),
            cpus: 1,
            memory_mib: self.kernel.memory_mib.unwrap_or(512),
            kernel: self.kernel.boot_image(),
            kernel_args: self.kernel.args.iter().cloned().chain(self.image.kernel_arguments()).collect(),
            root: PathBuf::new(),
            share: PathBuf::new(),
            command: String::new(),
        })
    }

    /// Runs a plan as a run does, in VMs with this image.
    #[allow(dead_code, reason = "not every test program has plans")]
    pub(crate) fn run(&self, plan: &Plan) -> Result<Session, SessionError> {
        let folder = RunFolder::create(&self.runs).unwrap();
        let spec = self.spec().unwrap();
        let deadlines = Deadlines::of(spec.accel);
        let make_root = |into: &Path| self.image.private_copy(&self.guest, into).map(drop).map_err(io::Error::other);
        let (program, machine_kind) = (self.image.guest_command(), MachineKind::Own);
        let machine = QemuMachine { spec, program, machine_kind, make_root: &make_root, fill_share: &|_| Ok(()) };
        session::run(plan, &machine, &folder, deadlines, &mut |_| {})
    }

    fn find(image: &str) -> Result<Self, Box<dyn Error>> {
        let (project, cache) = (Project::find()?, Cache::from_env()?);
        let mut kernel = None;
        for manifest in kernel::catalogue::Catalogue::of_folder(&project.kernels())?.defaults()? {
            kernel = kernel.or(kernel::find_built(&manifest, &cache)?);
        }
        let kernel = kernel.ok_or("no kernel is built: `cargo xtask kernel build 6.12`")?;
        Self::with(kernel, image)
    }

    /// Returns what a VM of this kernel needs, if the kernel is built.
    #[allow(dead_code, reason = "only one test program needs another kernel")]
    pub(crate) fn of_kernel(name: &str) -> Result<Option<Self>, Box<dyn Error>> {
        Self::of_kernel_in(name, MINIMAL)
    }

    /// Returns what a VM of this kernel needs with an image, if the kernel is built.
    #[allow(dead_code, reason = "only one test program needs both")]
    pub(crate) fn of_kernel_in(name: &str, image: &str) -> Result<Option<Self>, Box<dyn Error>> {
        let (project, cache) = (Project::find()?, Cache::from_env()?);
        let manifest = kernel::catalogue::Catalogue::of_folder(&project.kernels())?.get(name)?;
        kernel::find_built(&manifest, &cache)?.map(|kernel| Self::with(kernel, image)).transpose()
    }

    fn with(kernel: Kernel, image: &str) -> Result<Self, Box<dyn Error>> {
        let (project, cache) = (Project::find()?, Cache::from_env()?);
        let manifest = image::catalogue::Catalogue::of_folder(&project.images())?.get(image)?;
        Ok(Self {
            runs: cache.folder(Area::Runs)?,
            kernel,
            image: image::find_built(&manifest, &cache)?
                .ok_or_else(|| format!("the image is not built: `cargo xtask image build {image}`"))?,
            guest: guest_program::find_built(project.root(), &cache)?
                .ok_or("the guest program is not built: `cargo xtask image build`")?,
        })
    }
}
