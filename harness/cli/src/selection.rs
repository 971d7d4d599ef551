//! Which kernels, images and scenarios a verb is about: the options that `run`, `report`, `bless` and others share.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Result, anyhow};
use clap::Args;
use harness_builder::{kernel::running, progress::Progress};
use harness_program::NAME;
use harness_protocol::name::{KernelName, ScenarioName};
use harness_runner::{
    environments::Images,
    fleet::Jobs,
    resources::Resources,
    scenario_runner::{Runner, RunnerError},
    selection::{Selection, SelectionError},
    store::Freshness,
};

use crate::{Context, candidates, exit, exit::Wrong, setup::Installation};

/// Which kernels, images and scenarios.
#[derive(Debug, Args)]
pub struct Selectors {
    /// Kernels to boot, by name or glob; `all` means every one that has a manifest, `host` the running kernel without a VM
    /// [default: those whose manifest says so]
    #[arg(long, value_name = "NAME", num_args = 1.., add = candidates::kernels())]
    kernel: Vec<String>,

    #[command(flatten)]
    scope: Scope,
}

/// Which images and scenarios, and how they are run.
#[derive(Debug, Args)]
pub struct Scope {
    /// Root file systems of guests, by name or glob; `all` means every one that has a recipe [default: for each scenario the
    /// first it is meant for of those whose recipe says so]
    #[arg(long, value_name = "NAME", num_args = 1.., add = candidates::images())]
    image: Vec<String>,

    /// Only scenarios whose name matches; `*` also matches `/`
    #[arg(long, value_name = "GLOB", default_value = "*", add = candidates::scenarios())]
    filter: String,

    /// A folder of scenario files other than the project's own
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    scenarios: Option<PathBuf>,

    /// Do not believe outcomes of earlier runs: boot and attempt everything again
    #[arg(long)]
    fresh: bool,

    /// So many VMs at a time at most, fewer if memory is short [default: one a processor]
    #[arg(long, value_name = "N")]
    jobs: Option<Jobs>,

    #[command(flatten)]
    installation: Installation,
}

impl Selectors {
    /// Whether outcomes of earlier runs are not to be believed.
    pub fn wants_fresh(&self) -> bool {
        self.scope.fresh
    }

    /// Finds and checks everything named, so that a typo is told before anything is built.
    ///
    /// # Errors
    /// If something named does not exist or is wrong.
    pub fn resolve(&self, context: &Context, progress: Progress) -> Result<Selection> {
        self.scope.resolve(context, &self.kernel, progress)
    }
}

impl Scope {
    /// The same for these kernels, or the default ones if none is named.
    ///
    /// # Errors
    /// If something named does not exist or is wrong.
    pub fn resolve(&self, context: &Context, kernels: &[String], progress: Progress) -> Result<Selection> {
        let project = context.project()?;
        let freshness = if self.fresh { Freshness::ThisRun } else { Freshness::Any };
        let resources = Resources::open(project.clone(), freshness, progress.clone())?;
        let kernels = match kernels {
            [] => resources.default_kernels().map_err(Wrong::input)?,
            names => named(names, &resources, &progress)?,
        };
        let default_images = resources.default_images().map_err(Wrong::input)?;
        let all_images = resources.images(["all"]).map_err(Wrong::input)?;
        let images = match &self.image[..] {
            [] => Images::Meant(default_images.clone()),
            names => Images::Named(resources.images(names.iter().map(String::as_str)).map_err(Wrong::input)?),
        };
        let resources = resources.with_jobs(self.jobs.unwrap_or_default());
        let folder = self.scenarios.clone().unwrap_or_else(|| project.scenarios());
        let runner = Runner::open(project, &folder).map_err(Wrong::input)?;
        let names = runner.suite().select(&self.filter).map_err(Wrong::input)?;
        let scenarios = runner.check(&names).map_err(Wrong::input)?;
        let (filter, mode) = (self.filter.clone(), self.installation.mode());
        Ok(Selection { runner, resources, kernels, images, default_images, all_images, scenarios, filter, mode })
    }
}

/// The kernels of these names; the running one only by its very name, and only for root.
fn named(names: &[String], resources: &Resources, progress: &Progress) -> Result<Vec<KernelName>> {
    let others = names.iter().map(String::as_str).filter(|name| *name != running::NAME);
    let mut kernels = resources.kernels(others).map_err(Wrong::input)?;
    if names.iter().any(|name| name == running::NAME) {
        if !rustix::process::geteuid().is_root() {
            return Err(Wrong::input(anyhow!(
                "`--kernel host` needs root: only root of the machine can set what a bpffs delegates. Try\n    sudo \
                 --preserve-env=PATH,HOME,CARGO_HOME,RUSTUP_HOME {NAME} run --kernel host"
            )));
        }
        progress.note(BEFOREHAND);
        kernels.push(running::name());
    }
    Ok(kernels)
}

const BEFOREHAND: &str = "\
kernel host: scenarios run as root on this machine, in pid, mount, network, IPC, UTS and cgroup namespaces of their own
and in a cgroup below this one; those that would reach beyond these are skipped. BPF objects are global to a kernel: what
is not freed afterwards is told.";

/// Says that nothing was selected.
pub fn nothing(selection: &Selection) -> ExitCode {
    let suite = selection.runner.suite();
    let folder = suite.folder().display();
    let similar: Vec<&str> = selection.similar().into_iter().map(ScenarioName::as_str).collect();
    let advice = match similar[..] {
        [] => format!("`--filter '*'` selects all {}", suite.names().count()),
        _ => format!("did you mean {}?", similar.join(" or ")),
    };
    eprintln!("error: no scenario in {folder} matches `{}`; {advice}", selection.filter);
    exit::NOTHING_SELECTED.into()
}

/// Prints which snapshots of kernels' and images' own have no reason and which reasons apply no more; whether there are any.
///
/// # Errors
/// If a folder cannot be read.
pub fn has_reason_complaints(selection: &Selection) -> Result<bool> {
    let complaints = selection.reason_complaints()?;
    complaints.iter().for_each(|complaint| eprintln!("error: {}", complaint.text));
    Ok(!complaints.is_empty())
}

/// An error by whose fault it is: options that do not fit together are the user's, and so is a scenario that asks for what a
/// kernel does not know.
pub fn blame(error: SelectionError) -> anyhow::Error {
    match error {
        // As such it is shown with each mistake underlined.
        SelectionError::Lab(error @ RunnerError::Scenarios(_)) => Wrong::input(error),
        error if error.is_wrong_input() => Wrong::input(error),
        error => error.into(),
    }
}
