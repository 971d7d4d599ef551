//! Which kernels, image and scenarios a verb is about: the options that `run`, `test` and `bless` share.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
};

use anyhow::Result;
use clap::Args;
use harness_builder::{host::Purpose, kernel::running, progress::Progress, project::Project};
use harness_model::{
    check::Checked,
    name::{ImageName, KernelName, ScenarioName},
    scenario::suggest::similar_scenarios,
};
use harness_runner::{
    lab::{Lab, LabError},
    report::Finding,
    store::Freshness,
    supplies::{Supplies, SuppliesError},
    testbed::Testbed,
};

use crate::{candidates, exit, exit::Wrong, setup};

/// Which kernels, image and scenarios.
#[derive(Debug, Args)]
pub(crate) struct Selectors {
    /// Kernels to boot, by name or glob; `all` means every one that has a manifest, `host` the running kernel without a VM
    /// [default: those whose manifest says so]
    #[arg(long, value_name = "NAME", num_args = 1.., add = candidates::kernels())]
    kernel: Vec<String>,

    /// The guest's root file system
    #[arg(long, value_name = "NAME", default_value = "minimal", add = candidates::images())]
    image: ImageName,

    /// Only scenarios whose name matches; `*` also matches `/`
    #[arg(long, value_name = "GLOB", default_value = "*", add = candidates::scenarios())]
    filter: String,

    /// A folder of scenario files other than the project's own
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    scenarios: Option<PathBuf>,

    /// Do not believe outcomes of earlier runs: boot and attempt everything again
    #[arg(long)]
    fresh: bool,

    /// Print what would be installed on the host instead of installing it
    #[arg(long)]
    no_install: bool,
}

/// What was selected, read and checked; nothing is built or booted yet.
#[derive(Debug)]
pub(crate) struct Selection {
    pub(crate) lab: Lab,
    pub(crate) kernels: Vec<KernelName>,
    pub(crate) image: ImageName,
    pub(crate) scenarios: Vec<Checked>,
    supplies: Supplies,
    filter: String,
    no_install: bool,
}

impl Selectors {
    /// Finds and checks everything named, so that a typo is told before anything is built.
    pub(crate) fn resolve(&self, progress: Progress) -> Result<Selection> {
        let project = Project::find()?;
        let freshness = if self.fresh { Freshness::ThisRun } else { Freshness::Any };
        let supplies = Supplies::open(project.clone(), freshness, progress.clone())?;
        let kernels = match &self.kernel[..] {
            [] => supplies.default_kernels().map_err(Wrong::input)?,
            names => named(names, &supplies, &progress)?,
        };
        let supplies = supplies.for_kernels(kernels.len());
        let folder = self.scenarios.clone().unwrap_or_else(|| project.scenarios());
        let lab = Lab::open(&project, &folder).map_err(Wrong::input)?;
        let names = lab.suite().select(&self.filter).map_err(Wrong::input)?;
        let scenarios = lab.check(&names).map_err(Wrong::input)?;
        supplies.check_image(&self.image).map_err(Wrong::input)?;
        let (image, filter) = (self.image.clone(), self.filter.clone());
        Ok(Selection { lab, kernels, image, scenarios, supplies, filter, no_install: self.no_install })
    }
}

/// The kernels of these names; the running one only by its very name, and only for root.
fn named(names: &[String], supplies: &Supplies, progress: &Progress) -> Result<Vec<KernelName>> {
    let others = names.iter().map(String::as_str).filter(|name| *name != running::NAME);
    let mut kernels = supplies.kernels(others).map_err(Wrong::input)?;
    if names.iter().any(|name| name == running::NAME) {
        if !rustix::process::geteuid().is_root() {
            return Err(Wrong::input(anyhow::anyhow!("{NOT_ROOT}")));
        }
        progress.note(BEFOREHAND);
        kernels.push(running::name());
    }
    Ok(kernels)
}

fn is_running(kernel: &KernelName) -> bool {
    kernel.as_str() == running::NAME
}

const NOT_ROOT: &str = "`--kernel host` needs root: only root of the machine can set what a bpffs delegates. Try
    sudo --preserve-env=PATH,HOME,CARGO_HOME,RUSTUP_HOME cargo xtask run --kernel host";

const BEFOREHAND: &str = "\
kernel host: scenarios run as root on this machine, in pid, mount, network, IPC, UTS and cgroup namespaces of their own
and in a cgroup below this one; those that would reach beyond these are skipped. BPF objects are global to a kernel: what
is not freed afterwards is told.";

impl Selection {
    /// Says that nothing was selected.
    pub(crate) fn nothing(&self) -> ExitCode {
        let suite = self.lab.suite();
        let folder = suite.folder().display();
        let similar: Vec<&str> =
            similar_scenarios(&self.filter, suite.names()).into_iter().map(ScenarioName::as_str).collect();
        let advice = match similar[..] {
            [] => format!("`--filter '*'` selects all {}", suite.names().count()),
            _ => format!("did you mean {}?", similar.join(" or ")),
        };
        eprintln!("error: no scenario in {folder} matches `{}`; {advice}", self.filter);
        exit::NOTHING_SELECTED.into()
    }

    /// What came of the scenarios on each kernel, findings of one scenario together. Kernels run side by side.
    pub(crate) fn findings(&self) -> Result<Vec<Finding>> {
        let (here, vms): (Vec<_>, Vec<_>) = self.kernels.iter().cloned().partition(is_running);
        if !here.is_empty() {
            let purposes = [Purpose::GuestProgram, Purpose::Objects];
            setup::prepare_host(&purposes, self.no_install, self.supplies.progress())?;
        }
        if !vms.is_empty() {
            setup::prepare_for(&self.supplies, &vms, &self.image, self.no_install)?;
        }
        let testbeds: Result<Vec<_>, _> = self.kernels.iter().map(|kernel| self.testbed(kernel)).collect();
        let testbeds = testbeds?;
        let results: Vec<Result<Vec<Finding>, LabError>> = thread::scope(|scope| {
            let run = |testbed| scope.spawn(move || self.lab.findings(testbed, &self.scenarios));
            let threads: Vec<_> = testbeds.iter().map(run).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        });
        let mut findings: Vec<Finding> = Vec::new();
        for result in results {
            findings.extend(result.map_err(blame)?);
        }
        findings.sort_by(|a, b| a.scenario.cmp(&b.scenario));
        Ok(findings)
    }

    fn testbed(&self, kernel: &KernelName) -> Result<Testbed<'_>, SuppliesError> {
        if is_running(kernel) { self.supplies.running() } else { self.supplies.build(kernel, &self.image) }
    }

    /// Whether the running kernel is among the kernels.
    pub(crate) fn has_running_kernel(&self) -> bool {
        self.kernels.iter().any(is_running)
    }

    /// What the project has to run them on.
    pub(crate) fn supplies(&self) -> &Supplies {
        &self.supplies
    }

    /// Makes sure that the host can build and boot kernels.
    pub(crate) fn prepare_host(&self) -> Result<()> {
        setup::prepare_host(&Purpose::ALL, self.no_install, self.supplies.progress())
    }

    /// Whether these are all scenarios of the project.
    pub(crate) fn is_whole_suite(&self) -> bool {
        self.scenarios.len() == self.lab.suite().names().count()
            && self.lab.suite().folder() == self.supplies.project().scenarios()
    }

    /// The kernels a scenario's snapshots are held to.
    pub(crate) fn default_kernels(&self) -> Result<Vec<KernelName>> {
        Ok(self.supplies.default_kernels()?)
    }

    /// A path as it is written into files: from the project's folder, if it is in it.
    pub(crate) fn shown_path(&self, path: &Path) -> String {
        path.strip_prefix(self.supplies.project().root()).unwrap_or(path).display().to_string()
    }
}

/// A scenario that asks for what a kernel does not know is its author's fault.
fn blame(error: LabError) -> anyhow::Error {
    match error {
        LabError::Scenarios(_) => Wrong::input(error),
        other => other.into(),
    }
}
