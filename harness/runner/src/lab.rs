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
    name::{Ground, ScenarioName},
    outcome::{ScenarioEnd, ScenarioOutcome},
};
use harness_scenario::expanded::Expanded;
use harness_snapshot::reasons::{Complaint, Reasons};
use harness_uapi::vocabulary::{KnownNames, KnownNamesError};
use harness_verdict::judge;
use thiserror::Error;

use crate::{
    fleet::{Fulfilled, Order},
    identity::Identity,
    launch::LaunchError,
    report::{Finding, Outcome, Standing},
    store::{Key, Store},
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

/// What one ground is to do in a run.
#[derive(Clone, Debug)]
pub struct Task<'a> {
    /// The ground, built.
    pub testbed: &'a Testbed<'a>,
    /// The scenarios that are for it.
    pub scenarios: Vec<&'a Checked>,
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

    /// Snapshots of kernels' and images' own that nobody has given a reason for, and reasons that apply no more, as far as these
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

    /// What came of these scenarios on a ground: runs those whose outcome the store does not know.
    ///
    /// # Errors
    /// [`LabError`] if a scenario asks for what this kernel does not know, or if no VM can be had.
    pub fn findings(&self, testbed: &Testbed<'_>, checked: &[Checked]) -> Result<Vec<Finding>, LabError> {
        let task = Task { testbed, scenarios: checked.iter().collect() };
        let (findings, error) = self.run(std::slice::from_ref(&task))?.remove(0);
        error.map_or_else(|| findings.into_iter().collect(), |error| Err(error.into()))
    }

    /// What came of each task, all in one fleet of VMs. What a ground that cannot be used was to do is
    /// [`Standing::NotRun`].
    ///
    /// # Errors
    /// [`LabError`] if a scenario asks for what a kernel does not know, or if no ground can have a VM.
    pub fn findings_of(&self, tasks: &[Task<'_>]) -> Result<Vec<Finding>, LabError> {
        self.run(tasks)?.into_iter().flat_map(|(findings, _)| findings).collect()
    }

    /// What came of these scenarios on a ground, if the store knows that.
    ///
    /// # Errors
    /// [`LabError`] if a scenario asks for what this kernel does not know.
    pub fn known_findings(&self, testbed: &Testbed<'_>, checked: &[Checked]) -> Result<Option<Vec<Finding>>, LabError> {
        let expansions = self.expand_all(testbed, &checked.iter().collect::<Vec<_>>())?;
        let known = |(checked, expansion): (&Checked, &Expansion)| {
            let identity = &testbed.identity;
            match expansion {
                Expansion::Skipped { reason } => Some(Ok(unjudged(identity.ground(), checked, skipped(reason)))),
                Expansion::Run(expanded) => {
                    let judged = self.judge(identity, expanded, &testbed.load(expanded)?);
                    Some(judged.map(|judged| judged.of(identity, checked)))
                }
            }
        };
        checked.iter().zip(&expansions).map(known).collect::<Option<Result<_, _>>>().transpose()
    }

    /// What a store knows of these scenarios, of whichever run, where neither kernel nor guest program need be built. What
    /// it does not know is [`Standing::NotRun`].
    ///
    /// # Errors
    /// [`LabError`] if a snapshot cannot be read.
    pub fn stored_findings(
        &self,
        store: &Store,
        identity: &Identity,
        checked: &[&Checked],
    ) -> Result<Vec<Finding>, LabError> {
        let unknown: Arc<str> =
            format!("the store has no outcome of it on {} with these artefacts", identity.release()).into();
        let finding = |&checked: &&Checked| {
            let standing = match identity.expand(checked, self.suite.path(checked.name())) {
                Err(report) => Standing::NotRun { cause: report.to_string().into() },
                Ok(Expansion::Skipped { reason }) => Standing::Skipped { reason },
                Ok(Expansion::Run(expanded)) => match store.look_up(&Key::of(&identity.artefacts, &expanded.plan)) {
                    Some(stored) => return Ok(self.judge(identity, &expanded, &stored.outcome)?.of(identity, checked)),
                    None => Standing::NotRun { cause: Arc::clone(&unknown) },
                },
            };
            Ok(unjudged(identity.ground(), checked, standing))
        };
        checked.iter().map(finding).collect()
    }

    /// How long each of these scenarios took on a kernel; `None` for one that did not end there, as far as the store knows.
    ///
    /// # Errors
    /// [`LabError`] if a scenario asks for what this kernel does not know.
    pub fn times(&self, testbed: &Testbed<'_>, checked: &[Checked]) -> Result<Vec<Option<Duration>>, LabError> {
        let time = |expansion: &Expansion| {
            let Expansion::Run(expanded) = expansion else { return None };
            took(&testbed.load(expanded)?)
        };
        Ok(self.expand_all(testbed, &checked.iter().collect::<Vec<_>>())?.iter().map(time).collect())
    }

    fn expand_all(&self, testbed: &Testbed<'_>, checked: &[&Checked]) -> Result<Vec<Expansion>, LabError> {
        all(checked.iter().map(|checked| testbed.expand(checked, self.suite.path(checked.name()))).collect())
    }

    /// Runs what is not known yet of each task: a finding a scenario, and why not all were run, if so.
    fn run(&self, tasks: &[Task<'_>]) -> Result<Vec<Ran>, LabError> {
        let expand = |task: &Task<'_>| self.expand_all(task.testbed, &task.scenarios);
        let expansions: Vec<Vec<Expansion>> = tasks.iter().map(expand).collect::<Result<_, _>>()?;
        let Some(supplies) = tasks.first().map(|task| task.testbed.supplies) else { return Ok(Vec::new()) };
        let each = || tasks.iter().zip(&expansions);
        let orders: Vec<Order<'_, _>> = each().map(|(task, expansions)| self.order(task.testbed, expansions)).collect();
        let fulfilled = supplies.fleet.fulfil(supplies, &orders)?;
        Ok(each().zip(fulfilled).map(|((task, expansions), fulfilled)| ran(task, expansions, fulfilled)).collect())
    }

    /// Has each outcome judged when it is there.
    fn order<'a>(
        &'a self,
        testbed: &'a Testbed<'a>,
        expansions: &'a [Expansion],
    ) -> Order<'a, Result<Judged, LabError>> {
        let to_run = |expansion: &'a Expansion| match expansion {
            Expansion::Run(expanded) => Some(&**expanded),
            Expansion::Skipped { .. } => None,
        };
        let read = |expanded: &Expanded, outcome: &ScenarioOutcome| {
            let judged = self.judge(&testbed.identity, expanded, outcome);
            let differs = judged.as_ref().is_ok_and(|judged| judged.standing.outcome() == Outcome::Differs);
            (judged, differs)
        };
        Order { testbed, wanted: expansions.iter().filter_map(to_run).collect(), read: Box::new(read) }
    }

    fn judge(&self, identity: &Identity, expanded: &Expanded, outcome: &ScenarioOutcome) -> Result<Judged, LabError> {
        let standing = match judge::judge(expanded, outcome, identity.vocabulary()) {
            Err(fault) => Standing::Fault { message: fault.to_string() },
            Ok(mut judgement) => {
                if self.reasons.lifts_expectations(&judgement.scenario, identity.ground()) {
                    judgement.lift_expectations();
                }
                let recorded = self.suite.recorded(&expanded.plan.name)?;
                let recorded = recorded.for_ground(identity.lineage()).map(str::to_owned);
                Standing::Judged { judgement, recorded }
            }
        };
        Ok(Judged { standing, took: took(outcome) })
    }
}

/// What came of a scenario that was run.
struct Judged {
    standing: Standing,
    took: Option<Duration>,
}

impl Judged {
    fn of(self, identity: &Identity, checked: &Checked) -> Finding {
        Finding { took: self.took, ..unjudged(identity.ground(), checked, self.standing) }
    }
}

/// What came of each scenario of a task, and why some were not run.
type Ran = (Vec<Result<Finding, LabError>>, Option<LaunchError>);

fn ran(task: &Task<'_>, expansions: &[Expansion], mut fulfilled: Fulfilled<Result<Judged, LabError>>) -> Ran {
    let cause: Arc<str> =
        fulfilled.error.as_ref().map_or("its VM did not answer".to_owned(), |error| chain(error)).into();
    let identity = &task.testbed.identity;
    let finding = |(&checked, expansion): (&&Checked, &Expansion)| match expansion {
        Expansion::Skipped { reason } => Ok(unjudged(identity.ground(), checked, skipped(reason))),
        Expansion::Run(expanded) => match fulfilled.read.remove(&expanded.plan.name) {
            Some(judged) => Ok(judged?.of(identity, checked)),
            None => Ok(unjudged(identity.ground(), checked, Standing::NotRun { cause: Arc::clone(&cause) })),
        },
    };
    (task.scenarios.iter().zip(expansions).map(finding).collect(), fulfilled.error)
}

fn skipped(reason: &str) -> Standing {
    Standing::Skipped { reason: reason.to_owned() }
}

/// How long a scenario took in the guest, if it ended there.
fn took(outcome: &ScenarioOutcome) -> Option<Duration> {
    match outcome.end {
        ScenarioEnd::Finished { micros } => Some(Duration::from_micros(micros)),
        ScenarioEnd::Crashed { .. } | ScenarioEnd::Fault { .. } => None,
    }
}

/// What is said of a scenario on a ground that gave no outcome.
pub fn unjudged(ground: &Ground, checked: &Checked, standing: Standing) -> Finding {
    Finding {
        ground: ground.clone(),
        scenario: checked.name().clone(),
        summary: checked.summary().to_owned(),
        took: None,
        standing,
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
fn all<T>(results: Vec<Result<T, Report>>) -> Result<Vec<T>, LabError> {
    let mut reports = Vec::new();
    let values = results.into_iter().filter_map(|result| result.map_err(|report| reports.push(report)).ok()).collect();
    if reports.is_empty() { Ok(values) } else { Err(LabError::Scenarios(reports)) }
}
