//! Selects kernels, images and scenarios: the options that `run`, `report`, `bless` and others share.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Result, anyhow};
use clap::{Args, ValueEnum};
use harness_builder::{kernel::running, progress::Progress};
use harness_planner::checked::Checked;
use harness_program::NAME;
use harness_protocol::name::{KernelName, ScenarioName};
use harness_runner::{
    environments::Images,
    fleet::Jobs,
    guard::RunGuard,
    resources::Resources,
    scenario_runner::{Runner, RunnerError},
    selection::{Selection, SelectionError},
    store::Freshness,
    suite::Suite,
};

use crate::{
    Context, candidates, exit, exit::Wrong, pin_options::PinOptions, scenario_folder::FolderOption, screen::quoted,
    setup::Installation,
};

/// Options that select kernels, images and scenarios.
#[derive(Debug, Args)]
pub struct Selectors {
    /// Kernels to boot, by name or glob; `all` selects every kernel with a manifest, `host` the running kernel without a VM
    /// [default: those marked as default in their manifests]
    #[arg(long, value_name = "NAME", num_args = 1.., add = candidates::kernels())]
    kernel: Vec<String>,

    /// Take a distribution's build of the same release in place of each kernel that would be compiled: verdicts in minutes
    #[arg(long)]
    prebuilt: bool,

    #[command(flatten)]
    scope: Scope,
}

/// The option that puts all scenarios under a guard.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct GuardOption {
    /// Run everything under a guard that records every bpf(2) call; no verdict may change
    #[arg(long, value_enum, value_name = "MODE")]
    guard: Option<GuardChoice>,
}

impl GuardOption {
    /// Whether all scenarios run under a guard.
    pub(crate) fn is_given(self) -> bool {
        self.guard.is_some()
    }
}

/// A guard that scenarios are under.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum GuardChoice {
    /// It refuses nothing except what no policy allows, as scenarios/guard-audit.toml lists
    Audit,
}

/// Options that select images and scenarios, and how they run.
#[derive(Debug, Args)]
pub struct Scope {
    /// Images of the VMs, by name or glob; `all` selects every image with a manifest [default: for each scenario its first image
    /// among those marked as default in their manifests]
    #[arg(long, value_name = "NAME", num_args = 1.., add = candidates::images())]
    image: Vec<String>,

    /// Select only scenarios whose name matches; `*` also matches `/`. May be repeated: one match is enough [default: all]
    #[arg(long, value_name = "GLOB", add = candidates::scenarios())]
    filter: Vec<String>,

    #[command(flatten)]
    folder: FolderOption,

    /// Ignore stored results: boot and attempt everything again
    #[arg(long)]
    fresh: bool,

    /// Maximum VMs at once; fewer if memory is short [default: one per processor, two that mostly wait]
    #[arg(long, value_name = "N")]
    jobs: Option<Jobs>,

    #[command(flatten)]
    installation: Installation,

    #[command(flatten)]
    pins: PinOptions,
}

impl Selectors {
    /// Returns the directory of scenario files.
    pub(crate) fn folder(&self, context: &Context) -> Result<PathBuf> {
        self.scope.folder.folder(context)
    }

    /// Whether stored outcomes are ignored.
    pub fn wants_fresh(&self) -> bool {
        self.scope.fresh
    }

    /// Whether nothing is asked.
    pub fn assumes_yes(&self) -> bool {
        self.scope.installation.assumes_yes()
    }

    /// Returns the options that select the same results again, each after a blank.
    pub(crate) fn words(&self, guard: GuardOption) -> String {
        let Scope { image, filter, folder, .. } = &self.scope;
        let mut words: Vec<String> = Vec::new();
        let mut add = |option: &str, values: &[String]| {
            words.extend((!values.is_empty()).then(|| option.to_owned()));
            words.extend(values.iter().map(|value| quoted(value)));
        };
        add("--kernel", &self.kernel);
        add("--image", image);
        filter.iter().for_each(|filter| add("--filter", std::slice::from_ref(filter)));
        folder.given().iter().for_each(|folder| add("--scenarios", &[folder.display().to_string()]));
        guard
            .guard
            .iter()
            .filter_map(ValueEnum::to_possible_value)
            .for_each(|mode| add("--guard", &[mode.get_name().to_owned()]));
        words.extend(self.prebuilt.then(|| "--prebuilt".to_owned()));
        words.iter().map(|word| format!(" {word}")).collect()
    }

    /// Finds and checks everything that is named, so that a typo is reported before anything is built.
    ///
    /// # Errors
    /// If something named does not exist or is wrong.
    pub fn resolve(&self, context: &Context, progress: Progress) -> Result<Selection> {
        let mut selection = self.scope.resolve(context, &self.kernel, progress)?;
        if self.prebuilt || (self.kernel.is_empty() && context.defaults()?.prebuilt) {
            selection.kernels = selection.resources.prebuilt(&selection.kernels).map_err(Wrong::input)?;
        }
        Ok(selection)
    }

    /// As [`Self::resolve`], with all scenarios under a guard, if the option is given.
    ///
    /// # Errors
    /// If something named does not exist or is wrong, or if the running kernel is to be under a guard.
    pub(crate) fn resolve_under(&self, guard: GuardOption, context: &Context, progress: Progress) -> Result<Selection> {
        let guard = guard.guard.map(|GuardChoice::Audit| RunGuard::Audit);
        if guard.is_some() && self.kernel.iter().any(|name| name == running::NAME) {
            return Err(Wrong::input(anyhow!(
                "`--guard` puts the kernel of a VM under a guard, not this machine's; remove `--kernel host`"
            )));
        }
        Ok(self.resolve(context, progress)?.under(guard))
    }
}

impl Scope {
    /// Selects these kernels, or those of the project file, else the default ones, if none is named; otherwise like [`Selectors::resolve`].
    ///
    /// # Errors
    /// If something named does not exist or is wrong.
    pub fn resolve(&self, context: &Context, kernels: &[String], progress: Progress) -> Result<Selection> {
        let project = context.project()?;
        let defaults = context.defaults()?;
        let kernels = if kernels.is_empty() { &defaults.kernels } else { kernels };
        let image = if self.image.is_empty() { &defaults.images } else { &self.image };
        let freshness = if self.fresh { Freshness::ThisRun } else { Freshness::Any };
        let resources = Resources::open(project.clone(), freshness, progress.clone())?;
        let kernels = match kernels {
            [] => resources.default_kernels().map_err(Wrong::input)?,
            names => named(names, &resources, &progress)?,
        };
        let default_images = resources.default_images().map_err(Wrong::input)?;
        let all_images = resources.images(["all"]).map_err(Wrong::input)?;
        let images = match &image[..] {
            [] => Images::Meant(default_images.clone()),
            names => Images::Named(resources.images(names.iter().map(String::as_str)).map_err(Wrong::input)?),
        };
        let resources = resources.with_jobs(self.jobs.unwrap_or_default()).with_pins(self.pins.pins());
        let folder = self.folder.folder(context)?;
        let runner = Runner::open(project, &folder).map_err(Wrong::input)?;
        let names = runner.suite().select_any(&self.filter).map_err(Wrong::input)?;
        let scenarios = runner.check(&names).map_err(Wrong::input)?;
        let resources = resources.with_guard(None, scenarios.iter().any(Checked::has_guard));
        let (filters, mode) = (self.filter.clone(), self.installation.mode());
        Ok(Selection { runner, resources, kernels, images, default_images, all_images, scenarios, filters, mode })
    }
}

/// Returns the kernels of these names; the running one only by its exact name, and only for root.
fn named(names: &[String], resources: &Resources, progress: &Progress) -> Result<Vec<KernelName>> {
    let others = names.iter().map(String::as_str).filter(|name| *name != running::NAME);
    let mut kernels = resources.kernels(others).map_err(Wrong::input)?;
    if names.iter().any(|name| name == running::NAME) {
        if !rustix::process::geteuid().is_root() {
            return Err(Wrong::input(anyhow!(
                "`--kernel host` needs root: only root on the host can delegate with a bpffs. Try\n    sudo \
                 --preserve-env=PATH,HOME,CARGO_HOME,RUSTUP_HOME {NAME} run --kernel host"
            )));
        }
        progress.note(HOST_NOTE);
        kernels.push(running::name());
    }
    Ok(kernels)
}

const HOST_NOTE: &str = "\
kernel host: scenarios run as root on this machine, in their own pid, mount, network, IPC, UTS and cgroup namespaces and
in a cgroup below this one; scenarios that would reach beyond these are skipped. BPF objects are global to a kernel: leaked
ones are reported.";

/// Prints that nothing was selected.
pub fn nothing(selection: &Selection) -> ExitCode {
    none_of(selection.runner.suite(), &selection.filters)
}

/// Prints that filters select none of the scenarios in a folder.
pub(crate) fn none_of(suite: &Suite, filters: &[String]) -> ExitCode {
    let similar: Vec<&str> = suite.similar(filters).into_iter().map(ScenarioName::as_str).collect();
    let text = why_nothing(suite.folder(), suite.names().count(), filters, &similar);
    eprintln!("error: {text}");
    exit::NOTHING_SELECTED.into()
}

/// Explains why filters select none of the scenarios in a folder, of which there are `all`.
fn why_nothing(folder: &Path, all: usize, filters: &[String], similar: &[&str]) -> String {
    let folder = folder.display();
    let filter = filters.join("` or `");
    match (all, similar) {
        (0, _) => format!("{folder} has no scenario files"),
        (_, []) => format!("no scenario in {folder} matches `{filter}`; `--filter '*'` selects all {all}"),
        _ => format!("no scenario in {folder} matches `{filter}`; did you mean {}?", similar.join(" or ")),
    }
}

/// Prints snapshots of kernels and images without a reason, and reasons that no longer apply. Returns whether there are any.
///
/// # Errors
/// If a directory cannot be read.
pub fn has_reason_complaints(selection: &Selection) -> Result<bool> {
    let complaints = selection.reason_complaints()?;
    complaints.iter().for_each(|complaint| eprintln!("error: {}", complaint.text));
    Ok(!complaints.is_empty())
}

/// Decides whether an error is caused by the input: options that contradict each other are, and so are scenarios that need
/// something a kernel does not know.
pub fn blame(error: SelectionError) -> anyhow::Error {
    match error {
        // This way each mistake is underlined.
        SelectionError::Runner(error @ RunnerError::Scenarios(_)) => Wrong::input(error),
        error if error.is_wrong_input() => Wrong::input(error),
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_scenarios_is_not_blamed_on_the_filter() {
        let why = |all, similar: &[&str]| why_nothing(Path::new("mine"), all, &["maps/x".to_owned()], similar);
        insta::assert_snapshot!(why(0, &[]), @"mine has no scenario files");
        insta::assert_snapshot!(why(7, &[]), @"no scenario in mine matches `maps/x`; `--filter '*'` selects all 7");
        insta::assert_snapshot!(why(7, &["maps/y"]), @"no scenario in mine matches `maps/x`; did you mean maps/y?");
    }
}
