//! What tests with real VMs need: a kernel that runs by default, an image and the guest program, all built (for the image
//! `minimal` `cargo xtask test` sees to that). Where they are not, such tests are skipped; in CI those of `minimal` fail.

use std::{error::Error, path::PathBuf};

use harness_builder::{
    cache::{Area, Cache},
    guest_program::{self, GuestProgram},
    image::{self, Image},
    kernel::{self, Kernel},
    project::Project,
};
use harness_runner::{accel, qemu::Qemu, vm::VmSpec};
use libtest_mimic::{Completion, Failed, Trial};

/// What was built.
pub(crate) struct Supplies {
    /// Where VMs have their folders.
    pub(crate) runs: PathBuf,
    pub(crate) kernel: Kernel,
    pub(crate) image: Image,
    #[allow(dead_code, reason = "not every test program starts a VM itself")]
    pub(crate) guest: GuestProgram,
}

/// The image that every test can count on.
const MINIMAL: &str = "minimal";

/// A test with what was built, skipped with the reason where something is not.
#[allow(dead_code, reason = "each test program uses one of the two")]
pub(crate) fn trial(name: &str, test: impl FnOnce(&Supplies) -> Result<(), Failed> + Send + 'static) -> Trial {
    trial_in(MINIMAL, name, test)
}

/// The same in another image.
#[allow(dead_code, reason = "each test program uses one of the two")]
pub(crate) fn trial_in(
    image: &'static str,
    name: &str,
    test: impl FnOnce(&Supplies) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, move || match Supplies::find(image) {
        Ok(resources) => test(&resources).map(|()| Completion::Completed),
        // A mirror that moves on may have none of another image's packages any more.
        Err(reason) if image == MINIMAL && std::env::var_os("CI").is_some() => Err(Failed::from(reason.to_string())),
        Err(reason) => Ok(Completion::ignored_with(reason.to_string())),
    })
}

impl Supplies {
    /// A VM of the kernel, as the image wants it; its folders and its command are still to be named.
    #[allow(dead_code, reason = "not every test program starts a VM itself")]
    pub(crate) fn spec(&self) -> Result<VmSpec, Box<dyn Error>> {
        let qemu = Qemu::find()?;
        Ok(VmSpec {
            accel: accel::choose(&qemu, &self.runs)?.accel,
            qemu: qemu.path().to_owned(),
            qemu_args: Vec::new(),
            cpus: 1,
            memory_mib: 512,
            kernel: self.kernel.boot_image(),
            kernel_args: self.kernel.args.iter().cloned().chain(self.image.kernel_arguments()).collect(),
            root: PathBuf::new(),
            share: PathBuf::new(),
            command: String::new(),
        })
    }

    fn find(image: &str) -> Result<Self, Box<dyn Error>> {
        let (project, cache) = (Project::find()?, Cache::from_env()?);
        let mut kernel = None;
        for manifest in kernel::catalogue::Catalogue::of_folder(&project.kernels())?.defaults()? {
            kernel = kernel.or(kernel::find_built(&manifest, &cache)?);
        }
        let recipe = image::catalogue::Catalogue::of_folder(&project.images())?.get(image)?;
        Ok(Self {
            runs: cache.folder(Area::Runs)?,
            kernel: kernel.ok_or("no kernel is built: `cargo xtask kernel build 6.12`")?,
            image: image::find_built(&recipe, &cache)?
                .ok_or_else(|| format!("the image is not built: `cargo xtask image build {image}`"))?,
            guest: guest_program::find_built(project.root(), &cache)?
                .ok_or("the guest program is not built: `cargo xtask image build`")?,
        })
    }
}
