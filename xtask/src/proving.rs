//! What proofs in VMs take: the options that `validate` and `caps` share, and kernels that are built.

use anyhow::{Context, Result, anyhow};
use clap::Args;
use harness_builder::{progress::Progress, project::Project};
use harness_model::name::{ImageName, KernelName};
use harness_runner::{proof, store::Freshness, supplies::Supplies, testbed::Testbed};

use crate::{bpf_objects::Named, candidates, exit::Wrong, setup};

/// How VMs are had.
#[derive(Debug, Args)]
pub(crate) struct Proving {
    /// The guest's root file system [default: minimal, and for units of systemd the newest image meant for them]
    #[arg(long, value_name = "NAME", add = candidates::images())]
    image: Option<ImageName>,

    /// Do not believe what earlier runs proved
    #[arg(long)]
    fresh: bool,

    /// Print what would be installed on the host instead of installing it
    #[arg(long)]
    no_install: bool,
}

impl Proving {
    /// What the project has, with the store of earlier proofs.
    pub(crate) fn supplies(&self, project: Project, progress: Progress) -> Result<Supplies> {
        let freshness = if self.fresh { Freshness::ThisRun } else { Freshness::Any };
        Ok(Supplies::open(project, freshness, progress)?)
    }

    /// The image that is named, or the one for what needs nothing of an image.
    pub(crate) fn image(&self) -> ImageName {
        self.image.clone().unwrap_or_else(|| "minimal".parse().expect("it is a name"))
    }

    /// The image that units are tried in, and the version of its systemd.
    ///
    /// # Errors
    /// If the one that is named has no systemd, or if none is meant for units.
    pub(crate) fn image_for_units(&self, supplies: &Supplies) -> Result<(ImageName, u32)> {
        let named = match &self.image {
            Some(image) => image.clone(),
            None => supplies
                .image_for_units()?
                .context("no recipe of images/ with `default = true` has systemd; name an image: --image")?,
        };
        let systemd = supplies.systemd_of(&named).map_err(Wrong::input)?;
        let none =
            || anyhow!("the image {named} has no systemd to start a unit; `cargo xtask image list` shows which do");
        let systemd = systemd.ok_or_else(|| Wrong::input(none()))?;
        Ok((named, systemd))
    }

    /// These kernels with an image, built if need be, in their order.
    pub(crate) fn testbeds<'a>(
        &self,
        supplies: &'a Supplies,
        kernels: &[KernelName],
        image: &ImageName,
    ) -> Result<Vec<Testbed<'a>>> {
        setup::prepare_for(supplies, kernels, image, self.no_install)?;
        kernels.iter().map(|kernel| Ok(supplies.build(kernel, image)?)).collect()
    }
}

/// Objects as proofs take them.
///
/// # Errors
/// If one is too large for a guest.
pub(crate) fn objects<'a>(named: impl IntoIterator<Item = &'a Named>) -> Result<Vec<proof::Object>> {
    let each = named.into_iter().map(|one| proof::Object::new(&one.name, one.bytes.clone()));
    each.collect::<Result<_, _>>().map_err(Wrong::input)
}
