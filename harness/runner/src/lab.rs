//! Runs scenarios on kernels and says what came of them.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use harness_builder::project::Project;
use harness_model::{
    check::Checked,
    expand::{Expanded, Expansion},
    judgement,
    name::ScenarioName,
    outcome::{ScenarioEnd, ScenarioOutcome},
    reasons::{Complaint, Reasons},
    scenario::Report,
    vocabulary::{KnownNames, KnownNamesError},
};
use thiserror::Error;

use crate::{
    launch::LaunchError,
    report::{Finding, Standing},
    suite::{Suite, SuiteError},
    testbed::Testbed,
};

/// Why scenarios could not be run at all.
#[derive(Debug, Error)]
pub enum LabError {
    /// The scenario folder cannot be used.
    #[error(transparent)]
    Suite(#[from] SuiteError),
    /// The committed vocabularies cannot be read.
    #[error("cannot read the kernels' vocabularies in {}", folder.display())]
    Vocabularies {
        /// Where they are.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A committed vocabulary is damaged.
    #[error(transparent)]
    KnownNames(#[from] KnownNamesError),
    /// A VM could not be used.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// Scenario files, or reasons beside them, with errors.
    #[error("{}", each(.0))]
    Scenarios(Vec<Report>),
}

fn each(reports: &[Report]) -> String {
    reports.iter().map(Report::to_string).collect::<Vec<_>>().join("\n")
}

/// The scenarios of a folder, and the names they may use.
#[derive(Debug)]
pub struct Lab {
    suite: Suite,
    known: KnownNames,
    reasons: Reasons,
}

impl Lab {
    /// The scenarios of this folder, which need not be the project's own.
    ///
    /// # Errors
    /// [`LabError`] if the folder or the vocabularies cannot be read, or if the reasons for which kernels differ are wrong.
    pub fn open(project: &Project, scenarios: &Path) -> Result<Self, LabError> {
        let folder = project.kernels().join("vocabulary");
        let files = project.vocabularies().map_err(|source| LabError::Vocabularies { folder, source })?;
        let known = KnownNames::from_json(files.iter().map(|(kernel, text)| (kernel.as_str(), text.as_str())))?;
        let suite = Suite::find(scenarios)?;
        let reasons = suite.reasons()?.map_err(|report| LabError::Scenarios(vec![report]))?;
        Ok(Self { suite, known, reasons })
    }

    /// The scenario files.
    pub fn suite(&self) -> &Suite {
        &self.suite
    }

    /// Why kernels differ, as far as somebody has said.
    pub fn reasons(&self) -> &Reasons {
        &self.reasons
    }

    /// Snapshots of kernels' own that nobody has given a reason for, and reasons that apply no more, as far as these
    /// scenarios are concerned.
    ///
    /// # Errors
    /// [`LabError::Suite`] if a folder cannot be read.
    pub fn reason_complaints<'a>(
        &self,
        scenarios: impl IntoIterator<Item = &'a ScenarioName>,
    ) -> Result<Vec<Complaint>, LabError> {
        let selected: BTreeSet<&ScenarioName> = scenarios.into_iter().collect();
        let mut complaints = self.reasons.complaints(&self.suite.own_snapshots()?);
        // A name that is no scenario's is everybody's business.
        let exists = |name: &ScenarioName| self.suite.names().any(|known| known == name);
        complaints.retain(|complaint| complaint.scenarios.iter().any(|name| selected.contains(name) || !exists(name)));
        Ok(complaints)
    }

    /// Reads and checks these scenarios.
    ///
    /// # Errors
    /// [`LabError::Scenarios`] with everything wrong with any of them.
    pub fn check<'a>(&self, names: impl IntoIterator<Item = &'a ScenarioName>) -> Result<Vec<Checked>, LabError> {
        let read: Result<Vec<_>, _> = names.into_iter().map(|name| self.suite.check(name, &self.known)).collect();
        all(read?)
    }

    /// What came of these scenarios on a kernel: runs those whose outcome the store does not know.
    ///
    /// # Errors
    /// [`LabError`] if a scenario asks for what this kernel does not know, or if no VM can be had.
    pub fn findings(&self, testbed: &Testbed<'_>, checked: &[Checked]) -> Result<Vec<Finding>, LabError> {
        let expansions = self.expand_all(testbed, checked)?;
        let outcomes = testbed.outcomes(&to_run(&expansions))?;
        self.judge_all(testbed, &expansions, outcomes, checked)
    }

    /// What came of these scenarios on a kernel, if the store knows that.
    ///
    /// # Errors
    /// [`LabError`] if a scenario asks for what this kernel does not know.
    pub fn known_findings(&self, testbed: &Testbed<'_>, checked: &[Checked]) -> Result<Option<Vec<Finding>>, LabError> {
        let expansions = self.expand_all(testbed, checked)?;
        match testbed.known(&to_run(&expansions)) {
            Some(outcomes) => self.judge_all(testbed, &expansions, outcomes, checked).map(Some),
            None => Ok(None),
        }
    }

    /// How long each of these scenarios took on a kernel; `None` for one that did not end there, as far as the store knows.
    ///
    /// # Errors
    /// [`LabError`] if a scenario asks for what this kernel does not know.
    pub fn times(&self, testbed: &Testbed<'_>, checked: &[Checked]) -> Result<Vec<Option<Duration>>, LabError> {
        let time =
            |expansion: &Expansion| testbed.known(&to_run(std::slice::from_ref(expansion)))?.first().and_then(took);
        Ok(self.expand_all(testbed, checked)?.iter().map(time).collect())
    }

    fn expand_all(&self, testbed: &Testbed<'_>, checked: &[Checked]) -> Result<Vec<Expansion>, LabError> {
        all(checked.iter().map(|checked| testbed.expand(checked, self.suite.path(checked.name()))).collect())
    }

    fn judge_all(
        &self,
        testbed: &Testbed<'_>,
        expansions: &[Expansion],
        outcomes: Vec<ScenarioOutcome>,
        checked: &[Checked],
    ) -> Result<Vec<Finding>, LabError> {
        let mut outcomes = outcomes.into_iter();
        let judge = |(checked, expansion): (&Checked, &Expansion)| {
            let (standing, took) = match expansion {
                Expansion::Skipped { reason } => (Standing::Skipped { reason: reason.clone() }, None),
                Expansion::Run(expanded) => {
                    let outcome = outcomes.next();
                    (self.judge(testbed, expanded, outcome.as_ref())?, outcome.as_ref().and_then(took))
                }
            };
            let (kernel, scenario) = (testbed.kernel_name().clone(), checked.name().clone());
            Ok(Finding { kernel, scenario, summary: checked.summary().to_owned(), took, standing })
        };
        checked.iter().zip(expansions).map(judge).collect()
    }

    fn judge(
        &self,
        testbed: &Testbed<'_>,
        expanded: &Expanded,
        outcome: Option<&ScenarioOutcome>,
    ) -> Result<Standing, LabError> {
        let Some(outcome) = outcome else {
            return Ok(Standing::Fault { message: "the VM gave no outcome for it".to_owned() });
        };
        Ok(match judgement::judge(expanded, outcome, testbed.vocabulary()) {
            Err(fault) => Standing::Fault { message: fault.to_string() },
            Ok(judgement) => {
                let recorded = self.suite.recorded(&expanded.plan.name)?;
                let recorded = recorded.for_kernel(&testbed.lineage()).map(str::to_owned);
                Standing::Judged { judgement, recorded }
            }
        })
    }
}

/// How long a scenario took in the guest, if it ended there.
fn took(outcome: &ScenarioOutcome) -> Option<Duration> {
    match outcome.end {
        ScenarioEnd::Finished { micros } => Some(Duration::from_micros(micros)),
        ScenarioEnd::Crashed { .. } | ScenarioEnd::Fault { .. } => None,
    }
}

fn to_run(expansions: &[Expansion]) -> Vec<&Expanded> {
    let mut wanted: Vec<&Expanded> = Vec::new();
    for expansion in expansions {
        if let Expansion::Run(expanded) = expansion {
            wanted.push(expanded);
        }
    }
    wanted
}

/// All values, or else all reports.
fn all<T>(results: Vec<Result<T, Report>>) -> Result<Vec<T>, LabError> {
    let mut reports = Vec::new();
    let values = results.into_iter().filter_map(|result| result.map_err(|report| reports.push(report)).ok()).collect();
    if reports.is_empty() { Ok(values) } else { Err(LabError::Scenarios(reports)) }
}
