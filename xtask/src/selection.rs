//! Which kernels, image and scenarios a verb is about: the options that `run`, `test` and `bless` share.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
};

use anyhow::Result;
use clap::Args;
use harness_builder::{host::Purpose, progress::Progress, project::Project};
use harness_model::{
    check::Checked,
    name::{ImageName, KernelName, ScenarioName},
    scenario::suggest::similar_scenarios,
};
use harness_runner::{
    lab::{Lab, LabError},
    report::{Finding, KernelLabel, Results, Standing},
    store::Freshness,
    supplies::{Supplies, SuppliesError},
};

use crate::{candidates, exit, exit::Wrong, setup};

/// Which kernels, image and scenarios.
#[derive(Debug, Args)]
pub(crate) struct Selectors {
    /// Kernels to boot, by name or glob; `all` means every one that has a manifest [default: those whose manifest says so]
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
        let supplies = Supplies::open(project.clone(), freshness, progress)?;
        let kernels = match kernels {
            [] => supplies.default_kernels().map_err(Wrong::input)?,
            names => supplies.kernels(names.iter().map(String::as_str)).map_err(Wrong::input)?,
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
        setup::prepare_for(&self.supplies, &self.kernels, &self.image, self.no_install)?;
        let testbeds: Result<Vec<_>, _> =
            self.kernels.iter().map(|kernel| self.supplies.build(kernel, &self.image)).collect();
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

    /// Tells which snapshots of kernels' own have no reason and which reasons apply no more, as far as the selected
    /// scenarios are concerned; whether there are any.
    pub(crate) fn tell_reason_complaints(&self) -> Result<bool> {
        let complaints = self.lab.reason_complaints(self.scenarios.iter().map(Checked::name))?;
        complaints.iter().for_each(|complaint| eprintln!("error: {}", complaint.text));
        Ok(!complaints.is_empty())
    }

    /// What came of the scenarios on each kernel as far as the outcome store knows; nothing is built, installed or booted.
    /// A scenario of which nothing is known is a fault.
    pub(crate) fn known_findings(&self) -> Result<Vec<Finding>> {
        let mut findings: Vec<Finding> = Vec::new();
        for kernel in &self.kernels {
            match self.supplies.built(kernel, &self.image) {
                Ok(testbed) => {
                    for checked in &self.scenarios {
                        let known = self.lab.known_findings(&testbed, std::slice::from_ref(checked)).map_err(blame)?;
                        findings.extend(known.unwrap_or_else(|| vec![not_run(kernel, checked, NO_OUTCOME)]));
                    }
                }
                Err(error @ SuppliesError::NotBuilt { .. }) => {
                    let why = error.to_string();
                    findings.extend(self.scenarios.iter().map(|checked| not_run(kernel, checked, &why)));
                }
                Err(error) => return Err(error.into()),
            }
        }
        findings.sort_by(|a, b| a.scenario.cmp(&b.scenario));
        Ok(findings)
    }

    /// These findings with what they were found on.
    pub(crate) fn results(&self, findings: Vec<Finding>) -> Result<Results> {
        let label = |name: &KernelName| -> Result<KernelLabel> {
            Ok(KernelLabel { name: name.clone(), release: self.supplies.release(name)? })
        };
        let kernels = self.kernels.iter().map(label).collect::<Result<_>>()?;
        Ok(Results { kernels, image: self.image.clone(), findings })
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

const NO_OUTCOME: &str = "no outcome of it is known here; run `cargo xtask run` (crashes and faults are known only to the run that saw them)";

fn not_run(kernel: &KernelName, checked: &Checked, why: &str) -> Finding {
    Finding {
        kernel: kernel.clone(),
        scenario: checked.name().clone(),
        summary: checked.summary().to_owned(),
        took: None,
        standing: Standing::Fault { message: format!("not run: {why}") },
    }
}

/// A scenario that asks for what a kernel does not know is its author's fault.
fn blame(error: LabError) -> anyhow::Error {
    match error {
        LabError::Scenarios(_) => Wrong::input(error),
        other => other.into(),
    }
}
