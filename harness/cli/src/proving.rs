//! What proofs in VMs take: the options that `validate` and `caps` share, and kernels that are built.

use anyhow::Result;
use clap::Args;
use harness_builder::{progress::Progress, project::Project};
use harness_findings::input::KernelFacts;
use harness_protocol::name::{Environment, ImageName, KernelName};
use harness_runner::{
    preparation::prepare_for,
    proof::{ProofError, needs},
    resources::Resources,
    store::Freshness,
    testbed::Testbed,
    unit_image::unit_image,
};

use crate::{candidates, exit::Wrong, setup::Installation};

/// How VMs are had.
#[derive(Debug, Args)]
pub(crate) struct Proving {
    /// The guest's root file system [default: minimal, and for units of systemd the newest image meant for them]
    #[arg(long, value_name = "NAME", add = candidates::images())]
    image: Option<ImageName>,

    /// Do not believe what earlier runs proved
    #[arg(long)]
    fresh: bool,

    #[command(flatten)]
    installation: Installation,
}

impl Proving {
    /// What the project has, with the store of earlier proofs.
    pub(crate) fn resources(&self, project: Project, progress: Progress) -> Result<Resources> {
        let freshness = if self.fresh { Freshness::ThisRun } else { Freshness::Any };
        Ok(Resources::open(project, freshness, progress)?)
    }

    /// The image that is named, or the one for what needs nothing of an image.
    pub(crate) fn image(&self) -> ImageName {
        self.image.clone().unwrap_or_else(|| "minimal".parse().expect("it is a name"))
    }

    /// The image that units are tried in, and the version of its systemd.
    ///
    /// # Errors
    /// If the one that is named has no systemd, or if none is meant for units.
    pub(crate) fn image_for_units(&self, resources: &Resources) -> Result<(ImageName, u32)> {
        unit_image(resources, self.image.as_ref()).map_err(|error| match error.is_wrong_input() {
            true => Wrong::input(error),
            false => error.into(),
        })
    }

    /// These kernels with an image, built if need be, in their order.
    pub(crate) fn testbeds<'a>(
        &self,
        resources: &'a Resources,
        kernels: &[KernelName],
        image: &ImageName,
    ) -> Result<Vec<Testbed<'a>>> {
        let environment = |kernel: &KernelName| Environment { kernel: kernel.clone(), image: image.clone() };
        let environments: Vec<Environment> = kernels.iter().map(environment).collect();
        prepare_for(resources, &environments, self.installation.mode())?;
        kernels.iter().map(|kernel| Ok(resources.build(kernel, image)?)).collect()
    }

    /// These kernels with their types, built if need be, in their order.
    pub(crate) fn environments<'a>(
        &self,
        resources: &'a Resources,
        kernels: &[KernelFacts],
    ) -> Result<Vec<needs::BuiltKernel<'a>>> {
        let names: Vec<KernelName> = kernels.iter().map(|kernel| kernel.name.clone()).collect();
        let built = self.testbeds(resources, &names, &self.image())?.into_iter().zip(kernels);
        built.map(|(testbed, kernel)| Ok(needs::BuiltKernel::new(testbed, kernel.release)?)).collect()
    }
}

/// An object that is too large is the fault of who named it.
pub(crate) fn blame(error: ProofError) -> anyhow::Error {
    match error {
        ProofError::Object { .. } => Wrong::input(error),
        ProofError::Launch(_) => error.into(),
    }
}
