//! Which kernels, image and scenarios a verb is about: the options that `run`, `test` and `bless` share.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
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
    fleet::Jobs,
    identity::Identity,
    lab::{self, Lab, LabError},
    report::{Finding, KernelLabel, Results},
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

    #[command(flatten)]
    scope: Scope,
}

/// Which image and scenarios, and how they are run.
#[derive(Debug, Args)]
pub(crate) struct Scope {
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

    /// So many VMs at a time at most, fewer if memory is short [default: one a processor]
    #[arg(long, value_name = "N")]
    jobs: Option<Jobs>,

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
    /// Whether outcomes of earlier runs are not to be believed.
    pub(crate) fn wants_fresh(&self) -> bool {
        self.scope.fresh
    }

    /// Finds and checks everything named, so that a typo is told before anything is built.
    pub(crate) fn resolve(&self, progress: Progress) -> Result<Selection> {
        self.scope.resolve(&self.kernel, progress)
    }
}

impl Scope {
    /// The same for these kernels, or the default ones if none is named.
    pub(crate) fn resolve(&self, kernels: &[String], progress: Progress) -> Result<Selection> {
        let project = Project::find()?;
        let freshness = if self.fresh { Freshness::ThisRun } else { Freshness::Any };
        let supplies = Supplies::open(project.clone(), freshness, progress.clone())?;
        let kernels = match kernels {
            [] => supplies.default_kernels().map_err(Wrong::input)?,
            names => named(names, &supplies, &progress)?,
        };
        let supplies = supplies.with_jobs(self.jobs.unwrap_or_default());
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

    /// What came of the scenarios on each kernel, findings of one scenario together. A kernel that cannot be built or
    /// booted fails alone: its findings say so.
    pub(crate) fn findings(&self) -> Result<Vec<Finding>> {
        let (here, vms): (Vec<_>, Vec<_>) = self.kernels.iter().cloned().partition(is_running);
        if !here.is_empty() {
            let purposes = [Purpose::GuestProgram, Purpose::Objects];
            setup::prepare_host(&purposes, self.no_install, self.supplies.progress())?;
        }
        if !vms.is_empty() {
            setup::prepare_for(&self.supplies, &vms, &self.image, self.no_install)?;
            self.supplies.build_shared(&self.image)?;
        }
        let mut findings: Vec<Finding> = Vec::new();
        let mut testbeds: Vec<Testbed<'_>> = Vec::new();
        for kernel in &self.kernels {
            match self.testbed(kernel) {
                Ok(testbed) => testbeds.push(testbed),
                Err(error) => findings.extend(self.none(kernel, &self.cannot_build(kernel, &error))),
            }
        }
        // Before, for what an interrupted run leaves; afterwards, with the objects that its scenarios loaded.
        testbeds.iter().try_for_each(|testbed| self.supplies.remember(testbed))?;
        let testbeds: Vec<&Testbed<'_>> = testbeds.iter().collect();
        findings.extend(self.lab.findings_on(&testbeds, &self.scenarios).map_err(blame)?);
        testbeds.iter().try_for_each(|testbed| self.supplies.remember(testbed))?;
        Ok(sorted(findings))
    }

    /// What the store knows of the scenarios on each kernel, findings of one scenario together. Nothing is built or booted;
    /// what was not run is among them as such.
    pub(crate) fn known_findings(&self) -> Result<Vec<Finding>> {
        let mut findings: Vec<Finding> = Vec::new();
        for kernel in &self.kernels {
            match self.identity(kernel)? {
                Some(identity) => {
                    findings.extend(self.lab.stored_findings(self.supplies.store(), &identity, &self.scenarios)?);
                }
                None => {
                    let image = &self.image;
                    let cause = format!("the store knows nothing of it with image {image}; run it, or merge a store");
                    findings.extend(self.none(kernel, &cause));
                }
            }
        }
        Ok(sorted(findings))
    }

    fn cannot_build(&self, kernel: &KernelName, error: &SuppliesError) -> String {
        let cause = lab::chain(error);
        self.supplies.progress().note(&format!("kernel {kernel}: {cause}"));
        cause
    }

    /// No scenario was run on a kernel.
    fn none(&self, kernel: &KernelName, cause: &str) -> Vec<Finding> {
        let cause: Arc<str> = cause.into();
        self.scenarios.iter().map(|checked| lab::not_run(kernel, checked, &cause)).collect()
    }

    /// Tells which snapshots of kernels' own have no reason and which reasons apply no more, as far as the selected
    /// scenarios are concerned; whether there are any.
    pub(crate) fn tell_reason_complaints(&self) -> Result<bool> {
        let complaints = self.lab.reason_complaints(self.scenarios.iter().map(Checked::name))?;
        complaints.iter().for_each(|complaint| eprintln!("error: {}", complaint.text));
        Ok(!complaints.is_empty())
    }

    /// Who answered last by the name of this kernel; `None` if it never ran. After [`Self::findings`] that is who answered
    /// there.
    pub(crate) fn identity(&self, kernel: &KernelName) -> Result<Option<Identity>> {
        // Where there is no VM there is no image: what stands in its place has the kernel's name.
        let none = running::NAME.parse()?;
        Ok(self.supplies.store().recall(kernel, if is_running(kernel) { &none } else { &self.image })?)
    }

    /// These findings with what they were found on.
    pub(crate) fn results(&self, findings: Vec<Finding>) -> Result<Results> {
        let label = |name: &KernelName| -> Result<KernelLabel> {
            let release = self.identity(name)?.map(|identity| identity.release().to_owned());
            Ok(KernelLabel { name: name.clone(), release })
        };
        let kernels = self.kernels.iter().map(label).collect::<Result<_>>()?;
        Ok(Results { kernels, image: self.image.clone(), findings })
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

fn sorted(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by(|a, b| a.scenario.cmp(&b.scenario));
    findings
}

/// A scenario that asks for what a kernel does not know is its author's fault.
fn blame(error: LabError) -> anyhow::Error {
    match error {
        LabError::Scenarios(_) => Wrong::input(error),
        other => other.into(),
    }
}
