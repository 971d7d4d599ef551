//! Trials in VMs: the options that `validate` and `caps` share, and the kernels to build.

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

/// Options for trials in VMs.
#[derive(Debug, Args)]
pub(crate) struct Proving {
    /// Image to boot [default: minimal; for systemd units the newest image with systemd]
    #[arg(long, value_name = "NAME", add = candidates::images())]
    image: Option<ImageName>,

    /// Ignore stored results: boot and try everything again
    #[arg(long)]
    fresh: bool,

    #[command(flatten)]
    installation: Installation,
}

impl Proving {
    /// Opens the resources of the project, with the store of earlier results.
    pub(crate) fn resources(&self, project: Project, progress: Progress) -> Result<Resources> {
        let freshness = if self.fresh { Freshness::ThisRun } else { Freshness::Any };
        Ok(Resources::open(project, freshness, progress)?)
    }

    /// Returns whether an image is named.
    pub(crate) const fn has_image(&self) -> bool {
        self.image.is_some()
    }

    /// Returns the named image, or the default for everything but units.
    pub(crate) fn image(&self) -> ImageName {
        self.image.clone().unwrap_or_else(|| "minimal".parse().expect("it is a name"))
    }

    /// Returns the image for units, and the version of its systemd.
    ///
    /// # Errors
    /// If the named image has no systemd, or no image is for units.
    pub(crate) fn image_for_units(&self, resources: &Resources) -> Result<(ImageName, u32)> {
        unit_image(resources, self.image.as_ref()).map_err(|error| match error.is_wrong_input() {
            true => Wrong::input(error),
            false => error.into(),
        })
    }

    /// Builds these kernels with an image if necessary, and returns them in their order.
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

    /// Builds these kernels with their BTF if necessary, and returns them in their order.
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

/// Decides whether an error is caused by the input: an object that is too large is.
pub(crate) fn blame(error: ProofError) -> anyhow::Error {
    match error {
        ProofError::Object { .. } => Wrong::input(error),
        ProofError::Launch(_) => error.into(),
    }
}
