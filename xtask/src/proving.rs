//! What proofs in VMs take: the options that `validate` and `caps` share, and kernels that are built.

use anyhow::Result;
use clap::Args;
use harness_builder::{progress::Progress, project::Project};
use harness_model::name::{ImageName, KernelName};
use harness_runner::{proof, store::Freshness, supplies::Supplies, testbed::Testbed};

use crate::{bpf_objects::Named, candidates, exit::Wrong, setup};

/// How VMs are had.
#[derive(Debug, Args)]
pub(crate) struct Proving {
    /// The guest's root file system
    #[arg(long, value_name = "NAME", default_value = "minimal", add = candidates::images())]
    image: ImageName,

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

    /// These kernels, built if need be, in their order.
    pub(crate) fn testbeds<'a>(&self, supplies: &'a Supplies, kernels: &[KernelName]) -> Result<Vec<Testbed<'a>>> {
        setup::prepare_for(supplies, kernels, &self.image, self.no_install)?;
        kernels.iter().map(|kernel| Ok(supplies.build(kernel, &self.image)?)).collect()
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
