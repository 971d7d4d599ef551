//! Runs scenarios on kernels and says what came of them.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use harness_builder::project::Project;
use harness_diagnostics::report::Report;
use harness_planner::{checked::Checked, expand::Expansion};
use harness_protocol::{
    name::{Environment, ScenarioName},
    outcome::{ScenarioEnd, ScenarioOutcome},
};
use harness_scenario::expanded::Expanded;
use harness_snapshot::reasons::{Complaint, Reasons};
use harness_uapi::vocabulary::{KnownNames, KnownNamesError};
use harness_verdict::judge;
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

/// Why scenarios could not be run at all.
#[derive(Debug, Error)]
pub enum RunnerError {
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

/// What one ground is to do in a run.
#[derive(Clone, Debug)]
pub struct EnvironmentTask<'a> {
    /// The ground, built.
    pub testbed: &'a Testbed<'a>,
    /// The scenarios that are for it.
    pub scenarios: Vec<&'a Checked>,
}

/// The scenarios of a folder, and the names they may use.
#[derive(Debug)]
pub struct Runner {
    suite: Suite,
    known: KnownNames,
    reasons: Reasons,
}

impl Runner {
    /// The scenarios of this folder, which need not be the project's own.
    ///
    /// # Errors
    /// [`RunnerError`] if the folder or the vocabularies cannot be read, or if the reasons for which kernels differ are wrong.
    pub fn open(project: &Project, scenarios: &Path) -> Result<Self, RunnerError> {
        let folder = project.kernels().join("vocabulary");
        let files = project.vocabularies().map_err(|source| RunnerError::Vocabularies { folder, source })?;
        let known = KnownNames::from_json(files.iter().map(|(kernel, text)| (kernel.as_str(), text.as_str())))?;
        let suite = Suite::find(scenarios)?;
        let reasons = suite.reasons()?.map_err(|report| RunnerError::Scenarios(vec![report]))?;
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

    /// Snapshots of kernels' and images' own that nobody has given a reason for, and reasons that apply no more, as far as these
    /// scenarios are concerned.
    ///
    /// # Errors
    /// [`RunnerError::Suite`] if a folder cannot be read.
    pub fn reason_complaints<'a>(
        &self,
        scenarios: impl IntoIterator<Item = &'a ScenarioName>,
    ) -> Result<Vec<Complaint>, RunnerError> {
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
    /// [`RunnerError::Scenarios`] with everything wrong with any of them.
    pub fn check<'a>(&self, names: impl IntoIterator<Item = &'a ScenarioName>) -> Result<Vec<Checked>, RunnerError> {
        let read: Result<Vec<_>, _> = names.into_iter().map(|name| self.suite.check(name, &self.known)).collect();
        all(read?)
    }

    /// What came of these scenarios on a ground: runs those whose outcome the store does not know.
    ///
    /// # Errors
    /// [`RunnerError`] if a scenario asks for what this kernel does not know, or if no VM can be had.
    pub fn results(&self, testbed: &Testbed<'_>, checked: &[Checked]) -> Result<Vec<ScenarioResult>, RunnerError> {
        let task = EnvironmentTask { testbed, scenarios: checked.iter().collect() };
        let (results, error) = self.run(std::slice::from_ref(&task))?.remove(0);
        error.map_or_else(|| results.into_iter().collect(), |error| Err(error.into()))
    }

    /// What came of each task, all in one fleet of VMs. What a ground that cannot be used was to do is
    /// [`ScenarioState::NotRun`].
    ///
    /// # Errors
    /// [`RunnerError`] if a scenario asks for what a kernel does not know, or if no ground can have a VM.
    pub fn results_of(&self, tasks: &[EnvironmentTask<'_>]) -> Result<Vec<ScenarioResult>, RunnerError> {
        self.run(tasks)?.into_iter().flat_map(|(results, _)| results).collect()
    }

    /// What came of these scenarios on a ground, if the store knows that.
    ///
    /// # Errors
    /// [`RunnerError`] if a scenario asks for what this kernel does not know.
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
                Expansion::Run(expanded) => {
                    let judged = self.judge(identity, expanded, &testbed.load(expanded)?);
                    Some(judged.map(|judged| judged.of(identity, checked)))
                }
            }
        };
        checked.iter().zip(&expansions).map(known).collect::<Option<Result<_, _>>>().transpose()
    }

    /// What a store knows of these scenarios, of whichever run, where neither kernel nor guest program need be built. What
    /// it does not know is [`ScenarioState::NotRun`].
    ///
    /// # Errors
    /// [`RunnerError`] if a snapshot cannot be read.
    pub fn stored_results(
        &self,
        store: &Store,
        identity: &Identity,
        checked: &[&Checked],
    ) -> Result<Vec<ScenarioResult>, RunnerError> {
        let unknown: Arc<str> =
            format!("the store has no outcome of it on {} with these artefacts", identity.release()).into();
        let result = |&checked: &&Checked| {
            let status = match identity.expand(checked, self.suite.path(checked.name())) {
                Err(report) => Status::NotRun { cause: report.to_string().into() },
                Ok(Expansion::Skipped { reason }) => Status::Skipped { reason },
                Ok(Expansion::Run(expanded)) => match store.look_up(&Key::of(&identity.artefacts, &expanded.plan)) {
                    Some(stored) => return Ok(self.judge(identity, &expanded, &stored.outcome)?.of(identity, checked)),
                    None => Status::NotRun { cause: Arc::clone(&unknown) },
                },
            };
            Ok(unjudged(identity.environment(), checked, status))
        };
        checked.iter().map(result).collect()
    }

    /// How long each of these scenarios took on a kernel; `None` for one that did not end there, as far as the store knows.
    ///
    /// # Errors
    /// [`RunnerError`] if a scenario asks for what this kernel does not know.
    pub fn times(&self, testbed: &Testbed<'_>, checked: &[Checked]) -> Result<Vec<Option<Duration>>, RunnerError> {
        let time = |expansion: &Expansion| {
            let Expansion::Run(expanded) = expansion else { return None };
            took(&testbed.load(expanded)?)
        };
        Ok(self.expand_all(testbed, &checked.iter().collect::<Vec<_>>())?.iter().map(time).collect())
    }

    fn expand_all(&self, testbed: &Testbed<'_>, checked: &[&Checked]) -> Result<Vec<Expansion>, RunnerError> {
        all(checked.iter().map(|checked| testbed.expand(checked, self.suite.path(checked.name()))).collect())
    }

    /// Runs what is not known yet of each task: a finding a scenario, and why not all were run, if so.
    fn run(&self, tasks: &[EnvironmentTask<'_>]) -> Result<Vec<Ran>, RunnerError> {
        let expand = |task: &EnvironmentTask<'_>| self.expand_all(task.testbed, &task.scenarios);
        let expansions: Vec<Vec<Expansion>> = tasks.iter().map(expand).collect::<Result<_, _>>()?;
        let Some(resources) = tasks.first().map(|task| task.testbed.resources) else { return Ok(Vec::new()) };
        let each = || tasks.iter().zip(&expansions);
        let orders: Vec<RunRequest<'_, _>> =
            each().map(|(task, expansions)| self.order(task.testbed, expansions)).collect();
        let fulfilled = resources.fleet.fulfil(resources, &orders)?;
        Ok(each().zip(fulfilled).map(|((task, expansions), fulfilled)| ran(task, expansions, fulfilled)).collect())
    }

    /// Has each outcome judged when it is there.
    fn order<'a>(
        &'a self,
        testbed: &'a Testbed<'a>,
        expansions: &'a [Expansion],
    ) -> RunRequest<'a, Result<JudgedScenario, RunnerError>> {
        let to_run = |expansion: &'a Expansion| match expansion {
            Expansion::Run(expanded) => Some(&**expanded),
            Expansion::Skipped { .. } => None,
        };
        let read = |expanded: &Expanded, outcome: &ScenarioOutcome| {
            let judged = self.judge(&testbed.identity, expanded, outcome);
            let differs = judged.as_ref().is_ok_and(|judged| judged.status.outcome() == RunStatus::Differs);
            (judged, differs)
        };
        RunRequest { testbed, wanted: expansions.iter().filter_map(to_run).collect(), read: Box::new(read) }
    }

    fn judge(
        &self,
        identity: &Identity,
        expanded: &Expanded,
        outcome: &ScenarioOutcome,
    ) -> Result<JudgedScenario, RunnerError> {
        let status = match judge::judge(expanded, outcome, identity.vocabulary()) {
            Err(fault) => Status::Fault { message: fault.to_string() },
            Ok(mut judgement) => {
                if self.reasons.lifts_expectations(&judgement.scenario, identity.environment()) {
                    judgement.lift_expectations();
                }
                let recorded = self.suite.recorded(&expanded.plan.name)?;
                let recorded = recorded.for_environment(identity.lineage()).map(str::to_owned);
                Status::Judged { judgement, recorded }
            }
        };
        Ok(JudgedScenario { status, took: took(outcome) })
    }
}

/// What came of a scenario that was run.
struct JudgedScenario {
    status: Status,
    took: Option<Duration>,
}

impl JudgedScenario {
    fn of(self, identity: &Identity, checked: &Checked) -> ScenarioResult {
        ScenarioResult { took: self.took, ..unjudged(identity.environment(), checked, self.status) }
    }
}

/// What came of each scenario of a task, and why some were not run.
type Ran = (Vec<Result<ScenarioResult, RunnerError>>, Option<LaunchError>);

fn ran(
    task: &EnvironmentTask<'_>,
    expansions: &[Expansion],
    mut fulfilled: Fulfilled<Result<JudgedScenario, RunnerError>>,
) -> Ran {
    let cause: Arc<str> =
        fulfilled.error.as_ref().map_or("its VM did not answer".to_owned(), |error| chain(error)).into();
    let identity = &task.testbed.identity;
    let result = |(&checked, expansion): (&&Checked, &Expansion)| match expansion {
        Expansion::Skipped { reason } => Ok(unjudged(identity.environment(), checked, skipped(reason))),
        Expansion::Run(expanded) => match fulfilled.read.remove(&expanded.plan.name) {
            Some(judged) => Ok(judged?.of(identity, checked)),
            None => Ok(unjudged(identity.environment(), checked, Status::NotRun { cause: Arc::clone(&cause) })),
        },
    };
    (task.scenarios.iter().zip(expansions).map(result).collect(), fulfilled.error)
}

fn skipped(reason: &str) -> Status {
    Status::Skipped { reason: reason.to_owned() }
}

/// How long a scenario took in the guest, if it ended there.
fn took(outcome: &ScenarioOutcome) -> Option<Duration> {
    match outcome.end {
        ScenarioEnd::Finished { micros } => Some(Duration::from_micros(micros)),
        ScenarioEnd::Crashed { .. } | ScenarioEnd::Fault { .. } => None,
    }
}

/// What is said of a scenario on a ground that gave no outcome.
pub fn unjudged(environment: &Environment, checked: &Checked, status: Status) -> ScenarioResult {
    ScenarioResult {
        environment: environment.clone(),
        scenario: checked.name().clone(),
        summary: checked.summary().to_owned(),
        took: None,
        status,
    }
}

/// An error with its sources, in one line of its own before what follows it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let said = inner.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = inner.source();
    }
    text
}

/// All values, or else all reports.
fn all<T>(results: Vec<Result<T, Report>>) -> Result<Vec<T>, RunnerError> {
    let mut reports = Vec::new();
    let values = results.into_iter().filter_map(|result| result.map_err(|report| reports.push(report)).ok()).collect();
    if reports.is_empty() { Ok(values) } else { Err(RunnerError::Scenarios(reports)) }
}
