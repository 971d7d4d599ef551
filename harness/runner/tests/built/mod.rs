//! What tests with real VMs need: a kernel that runs by default, the image `minimal` and the guest program, all built
//! (`cargo xtask test` sees to that). Where they are not, such tests are skipped, except in CI.

use std::{error::Error, path::PathBuf};

use harness_builder::{
    cache::{Area, Cache},
    guest_program::{self, GuestProgram},
    image::{self, Image},
    kernel::{self, Kernel},
    project::Project,
};
use libtest_mimic::{Completion, Failed, Trial};

/// What was built.
pub(crate) struct Supplies {
    /// Where VMs have their folders.
    pub(crate) runs: PathBuf,
    pub(crate) kernel: Kernel,
    pub(crate) image: Image,
    pub(crate) guest: GuestProgram,
}

/// A test with what was built, skipped with the reason where something is not.
pub(crate) fn trial(name: &str, test: impl FnOnce(&Supplies) -> Result<(), Failed> + Send + 'static) -> Trial {
    Trial::ignorable_test(name, move || match Supplies::find() {
        Ok(supplies) => test(&supplies).map(|()| Completion::Completed),
        Err(reason) if std::env::var_os("CI").is_some() => Err(Failed::from(reason.to_string())),
        Err(reason) => Ok(Completion::ignored_with(reason.to_string())),
    })
}

impl Supplies {
    fn find() -> Result<Self, Box<dyn Error>> {
        let (project, cache) = (Project::find()?, Cache::from_env()?);
        let mut kernel = None;
        for manifest in kernel::catalogue::Catalogue::of_folder(&project.kernels())?.defaults()? {
            kernel = kernel.or(kernel::find_built(&manifest, &cache)?);
        }
        let recipe = image::catalogue::Catalogue::of_folder(&project.images())?.get("minimal")?;
        Ok(Self {
            runs: cache.folder(Area::Runs)?,
            kernel: kernel.ok_or("no kernel is built: `cargo xtask kernel build 6.12`")?,
            image: image::find_built(&recipe, &cache)?.ok_or("the image is not built: `cargo xtask image build`")?,
            guest: guest_program::find_built(project.root(), &cache)?
                .ok_or("the guest program is not built: `cargo xtask image build`")?,
        })
    }
}
