//! Runs scenarios in environments and judges their outcomes.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use harness_builder::{error_chain::chain, project::Project};
use harness_diagnostics::report::Report;
use harness_planner::{checked::Checked, expand::Expansion};
use harness_protocol::{
    name::{Environment, ScenarioName},
    outcome::{ScenarioEnd, ScenarioOutcome},
};
use harness_scenario::expanded::Expanded;
use harness_snapshot::{
    allowed_splats::AllowedSplats,
    audit_refusals::AuditRefusals,
    reasons::{Complaint, Reasons},
};
use harness_uapi::vocabulary::{KnownNames, KnownNamesError};
use harness_verdict::judge;
use rayon::prelude::*;
use thiserror::Error;

use crate::{
    fleet::{Fulfilled, RunRequest},
    identity::Identity,
    launch::LaunchError,
    report::{RunStatus, ScenarioResult, Status},
    store::{Key, Store},
    suite::{Suite, SuiteError},
    testbed::Testbed,
};

/// Why scenarios could not be run.
#[derive(Debug, Error)]
pub enum RunnerError {
    /// The scenario folder cannot be used.
    #[error(transparent)]
    Suite(#[from] SuiteError),
    /// The committed vocabularies cannot be read.
    #[error("cannot read the kernels' vocabularies in {}", folder.display())]
    Vocabularies {
        /// The folder.
        folder: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A committed vocabulary is malformed.
    #[error(transparent)]
    KnownNames(#[from] KnownNamesError),
    /// VMs could not be run.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// Scenario files, or the file of recorded differences, have errors.
    #[error("{}", each(.0))]
    Scenarios(Vec<Report>),
}

fn each(reports: &[Report]) -> String {
    reports.iter().map(Report::to_string).collect::<Vec<_>>().join("\n")
}

/// An environment and the scenarios to run in it.
#[derive(Clone, Debug)]
pub struct EnvironmentTask<'a> {
    /// The environment, built.
    pub testbed: &'a Testbed<'a>,
    /// The scenarios.
    pub scenarios: Vec<&'a Checked>,
}

/// Runs the scenarios of a folder.
#[derive(Debug)]
pub struct Runner {
    suite: Suite,
    known: KnownNames,
    reasons: Reasons,
    allowed_splats: AllowedSplats,
    audit_refusals: AuditRefusals,
}

impl Runner {
    /// Opens a folder of scenarios, which need not be the project's own.
    ///
    /// # Errors
    /// [`RunnerError`] if the folder or the vocabularies cannot be read, or if one of the files at the top of the
    /// folder has errors.
    pub fn open(project: &Project, scenarios: &Path) -> Result<Self, RunnerError> {
        let folder = project.kernels().join("vocabulary");
        let files = project.vocabularies().map_err(|source| RunnerError::Vocabularies { folder, source })?;
        let known = KnownNames::from_json(files.iter().map(|(kernel, text)| (kernel.as_str(), text.as_str())))?;
        let suite = Suite::find(scenarios)?;
        let reasons = suite.reasons()?.map_err(|report| RunnerError::Scenarios(vec![report]))?;
        let allowed_splats = suite.allowed_splats()?.map_err(|report| RunnerError::Scenarios(vec![report]))?;
        let audit_refusals = suite.audit_refusals()?.map_err(|report| RunnerError::Scenarios(vec![report]))?;
        Ok(Self { suite, known, reasons, allowed_splats, audit_refusals })
    }

    /// Returns the scenario files.
    pub fn suite(&self) -> &Suite {
        &self.suite
    }

    /// Returns what a guard refuses although it only audits.
    pub(crate) fn audit_refusals(&self) -> &AuditRefusals {
        &self.audit_refusals
    }

    /// Returns the recorded differences.
    pub fn reasons(&self) -> &Reasons {
        &self.reasons
    }

    /// Returns the snapshots of single kernels and images that have no recorded difference, and the recorded
    /// differences that no longer apply, for these scenarios.
    ///
    /// # Errors
    /// [`RunnerError::Suite`] if a folder cannot be read.
    pub fn reason_complaints<'a>(
        &self,
        scenarios: impl IntoIterator<Item = &'a ScenarioName>,
    ) -> Result<Vec<Complaint>, RunnerError> {
        let selected: BTreeSet<&ScenarioName> = scenarios.into_iter().collect();
        let mut complaints = self.reasons.complaints(&self.suite.own_snapshots()?);
        // An entry with a name of no scenario concerns every selection.
        let exists = |name: &ScenarioName| self.suite.names().any(|known| known == name);
        complaints.retain(|complaint| complaint.scenarios.iter().any(|name| selected.contains(name) || !exists(name)));
        Ok(complaints)
    }

    /// Reads and checks these scenarios.
    ///
    /// # Errors
    /// [`RunnerError::Scenarios`] with every error in any of them.
    pub fn check<'a>(&self, names: impl IntoIterator<Item = &'a ScenarioName>) -> Result<Vec<Checked>, RunnerError> {
        let names: Vec<&ScenarioName> = names.into_iter().collect();
        let read: Result<Vec<_>, _> = names.into_par_iter().map(|name| self.suite.check(name, &self.known)).collect();
        all(read?)
    }

    /// Runs these scenarios in an environment, except those with a stored outcome, and returns the results.
    ///
    /// # Errors
    /// [`RunnerError`] if a scenario uses a name that this kernel does not know, or if no VM can be run.
    pub fn results(&self, testbed: &Testbed<'_>, checked: &[Checked]) -> Result<Vec<ScenarioResult>, RunnerError> {
        let task = EnvironmentTask { testbed, scenarios: checked.iter().collect() };
        let (results, error) = self.run(std::slice::from_ref(&task), &|_| {})?.remove(0);
        error.map_or_else(|| results.into_iter().collect(), |error| Err(error.into()))
    }

    /// Runs all tasks in one fleet of VMs and returns the results. The scenarios of an environment that cannot be used
    /// are [`Status::NotRun`].
    ///
    /// # Errors
    /// [`RunnerError`] if a scenario uses a name that a kernel does not know, or if no VM can be run for any
    /// environment.
    pub fn results_of(&self, tasks: &[EnvironmentTask<'_>]) -> Result<Vec<ScenarioResult>, RunnerError> {
        self.results_shown(tasks, &|_| {})
    }

    /// As [`Self::results_of`]; `show` gets each result as soon as it is known, if VMs are started.
    ///
    /// # Errors
    /// As [`Self::results_of`].
    pub fn results_shown(
        &self,
        tasks: &[EnvironmentTask<'_>],
        show: &ShowResult<'_>,
    ) -> Result<Vec<ScenarioResult>, RunnerError> {
        self.run(tasks, show)?.into_iter().flat_map(|(results, _)| results).collect()
    }

    /// Returns the results of these scenarios in an environment if the store has all their outcomes.
    ///
    /// # Errors
    /// [`RunnerError`] if a scenario uses a name that this kernel does not know.
    pub fn known_results(
        &self,
        testbed: &Testbed<'_>,
        checked: &[Checked],
    ) -> Result<Option<Vec<ScenarioResult>>, RunnerError> {
        let expansions = self.expand_all(testbed, &checked.iter().collect::<Vec<_>>())?;
        let known = |(checked, expansion): (&Checked, &Expansion)| {
            let identity = &testbed.identity;
            match expansion {
                Expansion::Skipped { reason } => Some(Ok(unjudged(identity.environment(), checked, skipped(reason)))),
                Expansion::Run(expanded) => Some(self.judge(identity, expanded, &testbed.load(expanded)?)),
            }
        };
        checked.iter().zip(&expansions).map(known).collect::<Option<Result<_, _>>>().transpose()
    }

    /// Returns the results of these scenarios from outcomes in a store, of any run. Neither the kernel nor the guest
    /// program need be built. A scenario without an outcome is [`Status::NotRun`].
    ///
    /// # Errors
    /// [`RunnerError`] if a snapshot cannot be read.
    pub fn stored_results(
        &self,
        store: &Store,
        identity: &Identity,
        checked: &[&Checked],
    ) -> Result<Vec<ScenarioResult>, RunnerError> {
        let unknown: Arc<str> = format!("no stored outcome for this scenario on {}; run it", identity.release()).into();
        let result = |&checked: &&Checked| {
            let status = match identity.expand(checked, self.suite.path(checked.name())) {
                Err(report) => Status::NotRun { cause: report.to_string().into() },
                Ok(Expansion::Skipped { reason }) => Status::Skipped { reason },
                Ok(Expansion::Run(expanded)) => match store.look_up(&Key::of(&identity.artefacts, &expanded.plan)) {
                    Some(stored) => return self.judge(identity, &expanded, &stored.outcome),
                    None => Status::NotRun { cause: Arc::clone(&unknown) },
                },
            };
            Ok(unjudged(identity.environment(), checked, status))
        };
        checked.par_iter().map(result).collect()
    }

    /// Returns how long each of these scenarios took on a kernel, by its stored outcome; `None` for one that did not
    /// finish.
    ///
    /// # Errors
    /// [`RunnerError`] if a scenario uses a name that this kernel does not know.
    pub fn times(&self, testbed: &Testbed<'_>, checked: &[Checked]) -> Result<Vec<Option<Duration>>, RunnerError> {
        let time = |expansion: &Expansion| {
            let Expansion::Run(expanded) = expansion else { return None };
            took(&testbed.load(expanded)?)
        };
        Ok(self.expand_all(testbed, &checked.iter().collect::<Vec<_>>())?.iter().map(time).collect())
    }

    fn expand_all(&self, testbed: &Testbed<'_>, checked: &[&Checked]) -> Result<Vec<Expansion>, RunnerError> {
        all(checked.par_iter().map(|checked| testbed.expand(checked, self.suite.path(checked.name()))).collect())
    }

    /// Runs the scenarios of each task that have no stored outcome. Returns one result per scenario, and the error if
    /// some were not run.
    fn run(&self, tasks: &[EnvironmentTask<'_>], show: &ShowResult<'_>) -> Result<Vec<Ran>, RunnerError> {
        let expand = |task: &EnvironmentTask<'_>| self.expand_all(task.testbed, &task.scenarios);
        let expansions: Vec<Vec<Expansion>> = tasks.iter().map(expand).collect::<Result<_, _>>()?;
        let Some(resources) = tasks.first().map(|task| task.testbed.resources) else { return Ok(Vec::new()) };
        let each = || tasks.iter().zip(&expansions);
        for (task, expansions) in each() {
            task.scenarios
                .iter()
                .zip(expansions)
                .filter_map(|(checked, one)| skip(task, checked, one))
                .for_each(|one| show(&one));
        }
        let requests: Vec<RunRequest<'_, _>> =
            each().map(|(task, expansions)| self.request(task.testbed, expansions, show)).collect();
        let fulfilled = resources.fleet.fulfil(resources, &requests)?;
        Ok(each().zip(fulfilled).map(|((task, expansions), fulfilled)| ran(task, expansions, fulfilled)).collect())
    }

    /// Returns a request that judges each outcome as soon as it is available.
    fn request<'a>(
        &'a self,
        testbed: &'a Testbed<'a>,
        expansions: &'a [Expansion],
        show: &'a ShowResult<'a>,
    ) -> RunRequest<'a, Result<ScenarioResult, RunnerError>> {
        let to_run = |expansion: &'a Expansion| match expansion {
            Expansion::Run(expanded) => Some(&**expanded),
            Expansion::Skipped { .. } => None,
        };
        let read = |expanded: &Expanded, outcome: &ScenarioOutcome| {
            let judged = self.judge(&testbed.identity, expanded, outcome);
            let differs = judged.as_ref().is_ok_and(|judged| judged.run_status() == RunStatus::Differs);
            (judged, differs)
        };
        let show = move |judged: &Result<ScenarioResult, RunnerError>| judged.iter().for_each(show);
        let wanted = expansions.iter().filter_map(to_run).collect();
        let allowed_splats = &self.allowed_splats;
        RunRequest { testbed, wanted, allowed_splats, read: Box::new(read), show: Box::new(show) }
    }

    fn judge(
        &self,
        identity: &Identity,
        expanded: &Expanded,
        outcome: &ScenarioOutcome,
    ) -> Result<ScenarioResult, RunnerError> {
        let status = match judge::judge(expanded, outcome, identity.vocabulary()) {
            Err(fault) => Status::Fault { message: fault.to_string() },
            Ok(mut judgement) => {
                if self.reasons.lifts_expectations(&judgement.scenario, identity.environment()) {
                    judgement.lift_expectations();
                }
                judgement.allow_splats(|text| {
                    let reason = self.allowed_splats.reason(text, &expanded.plan.name, identity.environment());
                    reason.map(str::to_owned)
                });
                let recorded = self.suite.recorded(&expanded.plan.name)?;
                let recorded = recorded.for_environment(identity.lineage()).map(str::to_owned);
                Status::judged(judgement, recorded)
            }
        };
        Ok(ScenarioResult {
            environment: identity.environment().clone(),
            scenario: expanded.plan.name.clone(),
            summary: expanded.summary.clone(),
            took: took(outcome),
            status,
        })
    }
}

/// Shows a result to who waits for it.
pub type ShowResult<'a> = dyn Fn(&ScenarioResult) + Sync + 'a;

/// The results of a task, and the error if some scenarios were not run.
type Ran = (Vec<Result<ScenarioResult, RunnerError>>, Option<LaunchError>);

fn ran(
    task: &EnvironmentTask<'_>,
    expansions: &[Expansion],
    mut fulfilled: Fulfilled<Result<ScenarioResult, RunnerError>>,
) -> Ran {
    let cause: Arc<str> =
        fulfilled.error.as_ref().map_or("its VM produced no outcome".to_owned(), |error| chain(error)).into();
    let identity = &task.testbed.identity;
    let result = |(&checked, expansion): (&&Checked, &Expansion)| match expansion {
        Expansion::Skipped { reason } => Ok(unjudged(identity.environment(), checked, skipped(reason))),
        Expansion::Run(expanded) => match fulfilled.read.remove(&expanded.plan.name) {
            Some(judged) => judged,
            None => Ok(unjudged(identity.environment(), checked, Status::NotRun { cause: Arc::clone(&cause) })),
        },
    };
    (task.scenarios.iter().zip(expansions).map(result).collect(), fulfilled.error)
}

/// Returns the result of a scenario that is not meant for an environment.
fn skip(task: &EnvironmentTask<'_>, checked: &Checked, expansion: &Expansion) -> Option<ScenarioResult> {
    let Expansion::Skipped { reason } = expansion else { return None };
    Some(unjudged(task.testbed.environment(), checked, skipped(reason)))
}

fn skipped(reason: &str) -> Status {
    Status::Skipped { reason: reason.to_owned() }
}

/// Returns how long a scenario took in the guest, if it finished.
fn took(outcome: &ScenarioOutcome) -> Option<Duration> {
    match outcome.end {
        ScenarioEnd::Finished { micros } => Some(Duration::from_micros(micros)),
        ScenarioEnd::Crashed { .. } | ScenarioEnd::Fault { .. } => None,
    }
}

/// Returns the result of a scenario that has no outcome.
pub fn unjudged(environment: &Environment, checked: &Checked, status: Status) -> ScenarioResult {
    ScenarioResult {
        environment: environment.clone(),
        scenario: checked.name().clone(),
        summary: checked.summary().to_owned(),
        took: None,
        status,
    }
}

/// Returns all values, or an error with all reports.
fn all<T>(results: Vec<Result<T, Report>>) -> Result<Vec<T>, RunnerError> {
    let mut reports = Vec::new();
    let values = results.into_iter().filter_map(|result| result.map_err(|report| reports.push(report)).ok()).collect();
    if reports.is_empty() { Ok(values) } else { Err(RunnerError::Scenarios(reports)) }
}
