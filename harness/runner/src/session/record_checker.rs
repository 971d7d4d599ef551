//! What a guest has told, held against the plan: each scenario's outcome, or the lie.

use harness_protocol::{
    name::{ContainerName, ScenarioName},
    outcome::{self, AttemptFact, Cause, ContainerFact, Event, ScenarioEnd, ScenarioOutcome, UnitFact},
    plan::{FORMAT, Plan, Scenario},
};
use thiserror::Error;

use super::record::Damage;

/// What a guest cannot have done, given the plan.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ProtocolViolation {
    /// The record is damaged.
    #[error("{0}")]
    Damaged(#[from] Damage),
    /// It did not introduce itself first, or did so again.
    #[error("a `{found}` record where {expected} should follow")]
    Order {
        /// What could follow.
        expected: String,
        /// What follows.
        found: &'static str,
    },
    /// It is another program, or runs on another kernel.
    #[error("the guest program {what} is {found}, not {expected}")]
    Stranger {
        /// What about it.
        what: &'static str,
        /// What was asked for.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A scenario ended before everything in it was attempted.
    #[error("the scenario ended after {answered} of {attempts} attempts without a reason")]
    Unfinished {
        /// Attempts answered.
        answered: usize,
        /// Attempts in the plan.
        attempts: usize,
    },
    /// It counted its scenarios wrong.
    #[error("the guest counts {found} scenarios where {expected} were asked for")]
    Count {
        /// Scenarios in the plan.
        expected: usize,
        /// What it says.
        found: u32,
    },
}

/// What a record changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The guest introduced itself.
    Hello,
    /// A scenario was announced.
    Started { name: ScenarioName, deadline_ms: u64 },
    /// Something within a scenario.
    Within,
    /// A scenario has its outcome.
    Ended(ScenarioOutcome),
    /// The guest must not begin.
    Refused(String),
    /// The guest cannot go on with the scenario that runs, nor with any other.
    GaveUp(String),
    /// Everything is done.
    Complete,
}

/// A plan being carried out in one VM.
#[derive(Debug)]
pub(super) struct RecordChecker<'a> {
    plan: &'a Plan,
    outcomes: Vec<ScenarioOutcome>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nothing was told yet.
    Silent,
    /// Between scenarios.
    Idle,
    /// In the scenario that follows those with an outcome.
    Running(Progress),
    /// After the last record.
    Complete,
}

/// What is told of the scenario that runs.
#[derive(Debug, Default)]
struct Progress {
    containers: Vec<ContainerFact>,
    attempts: Vec<AttemptFact>,
    units: Vec<UnitFact>,
}

impl<'a> RecordChecker<'a> {
    pub(super) fn new(plan: &'a Plan) -> Self {
        Self { plan, outcomes: Vec::new(), state: State::Silent }
    }

    /// Whether any scenario has its outcome.
    pub(super) fn has_outcomes(&self) -> bool {
        !self.outcomes.is_empty()
    }

    /// Whether any scenario was announced.
    pub(super) fn has_begun(&self) -> bool {
        self.has_outcomes() || matches!(self.state, State::Running(_))
    }

    /// The outcomes, in the order of the plan.
    pub(super) fn into_outcomes(self) -> Vec<ScenarioOutcome> {
        self.outcomes
    }

    /// Charges a crash to the scenario that runs, if one does.
    pub(super) fn crash(&mut self, how: String, console: Vec<String>) -> Option<ScenarioOutcome> {
        self.charge(ScenarioEnd::Crashed { how, console })
    }

    /// Charges a fault to the scenario that runs, if one does.
    pub(super) fn fault(&mut self, message: String) -> Option<ScenarioOutcome> {
        self.charge(ScenarioEnd::Fault { message })
    }

    fn charge(&mut self, end: ScenarioEnd) -> Option<ScenarioOutcome> {
        let scenario = self.current()?.name.clone();
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Running(progress) => Some(self.seal(scenario, progress, end)),
            other => {
                self.state = other;
                None
            }
        }
    }

    fn seal(&mut self, scenario: ScenarioName, progress: Progress, end: ScenarioEnd) -> ScenarioOutcome {
        let Progress { containers, attempts, units } = progress;
        let outcome = ScenarioOutcome { scenario, containers, attempts, units, end };
        self.outcomes.push(outcome.clone());
        outcome
    }

    /// The scenario that runs or comes next.
    fn current(&self) -> Option<&'a Scenario> {
        self.plan.scenarios.get(self.outcomes.len())
    }

    /// Takes the next record.
    pub(super) fn apply(&mut self, event: Event) -> Result<Step, ProtocolViolation> {
        let state = std::mem::replace(&mut self.state, State::Idle);
        match (state, event) {
            (State::Silent | State::Idle, Event::Fault { message }) => Ok(Step::Refused(message)),
            (State::Running(progress), Event::Fault { message }) => {
                self.state = State::Running(progress);
                Ok(Step::GaveUp(message))
            }
            (State::Silent, Event::Hello { format, release }) => self.hello(format, &release),
            (State::Idle, Event::ScenarioStart { scenario }) => self.start(scenario),
            (State::Idle, Event::End { scenarios }) => self.end(scenarios),
            (State::Running(progress), event) => self.within(progress, event),
            (state, event) => {
                self.state = state;
                Err(self.out_of_order(&event))
            }
        }
    }

    fn out_of_order(&self, event: &Event) -> ProtocolViolation {
        let next = || self.current().map_or("the end".to_owned(), |next| format!("the start of `{}`", next.name));
        let expected = match &self.state {
            State::Silent => "the guest's introduction".to_owned(),
            State::Idle => next(),
            State::Running(progress) => {
                self.current().map(|scenario| expectation(scenario, progress)).unwrap_or_default()
            }
            State::Complete => "nothing".to_owned(),
        };
        ProtocolViolation::Order { expected, found: kind(event) }
    }

    fn hello(&mut self, format: u32, release: &str) -> Result<Step, ProtocolViolation> {
        let stranger = |what, expected: &str, found: &str| {
            Err(ProtocolViolation::Stranger { what, expected: expected.to_owned(), found: found.to_owned() })
        };
        match &self.plan.kernel.release {
            _ if format != FORMAT => stranger("format", &FORMAT.to_string(), &format.to_string()),
            Some(expected) if expected != release => stranger("kernel", expected, release),
            _ => Ok(Step::Hello),
        }
    }

    fn start(&mut self, name: ScenarioName) -> Result<Step, ProtocolViolation> {
        match self.current() {
            Some(next) if next.name == name => {
                self.state = State::Running(Progress::default());
                Ok(Step::Started { name, deadline_ms: next.deadline_ms })
            }
            _ => Err(self.out_of_order(&Event::ScenarioStart { scenario: name })),
        }
    }

    fn end(&mut self, scenarios: u32) -> Result<Step, ProtocolViolation> {
        if self.current().is_some() {
            return Err(self.out_of_order(&Event::End { scenarios }));
        }
        let expected = self.plan.scenarios.len();
        if usize::try_from(scenarios) != Ok(expected) {
            return Err(ProtocolViolation::Count { expected, found: scenarios });
        }
        self.state = State::Complete;
        Ok(Step::Complete)
    }

    fn within(&mut self, mut progress: Progress, event: Event) -> Result<Step, ProtocolViolation> {
        let Some(scenario) = self.current() else { return Err(self.out_of_order(&event)) };
        let step = match event {
            Event::Container { case, container, mounted, token, no_token }
                if progress.next_container(scenario) == Some((case, &container)) =>
            {
                progress.containers.push(ContainerFact { case, container, mounted, token, no_token });
                Ok(Step::Within)
            }
            Event::Attempt { case, attempt, answer, root, container }
                if progress.next_attempt(scenario) == Some((case, attempt)) =>
            {
                progress.attempts.push(AttemptFact { case, attempt, answer, root, container, cause: None });
                Ok(Step::Within)
            }
            Event::Cause { case, attempt, cause } if progress.awaits_cause(case, attempt) => {
                progress.explain(case, attempt, cause);
                Ok(Step::Within)
            }
            Event::Unit(fact) if progress.awaits_unit(scenario, &fact) => {
                progress.units.push(fact);
                Ok(Step::Within)
            }
            Event::ScenarioEnd { scenario: name, leftovers, fault, micros } if name == scenario.name => {
                return self.finish(scenario, progress, leftovers, fault, micros);
            }
            event => Err(ProtocolViolation::Order { expected: expectation(scenario, &progress), found: kind(&event) }),
        };
        self.state = State::Running(progress);
        step
    }

    fn finish(
        &mut self,
        scenario: &Scenario,
        progress: Progress,
        leftovers: Vec<String>,
        fault: Option<String>,
        micros: u64,
    ) -> Result<Step, ProtocolViolation> {
        let (answered, attempts) = (progress.attempts.len(), attempts_of(scenario));
        let end = match fault {
            Some(message) => ScenarioEnd::Fault { message },
            None if !leftovers.is_empty() => {
                ScenarioEnd::Fault { message: format!("it left behind: {}", leftovers.join(", ")) }
            }
            None if answered < attempts => {
                self.state = State::Running(progress);
                return Err(ProtocolViolation::Unfinished { answered, attempts });
            }
            None => ScenarioEnd::Finished { micros },
        };
        Ok(Step::Ended(self.seal(scenario.name.clone(), progress, end)))
    }
}

fn attempts_of(scenario: &Scenario) -> usize {
    scenario.cases.iter().map(|case| case.attempts.len()).sum()
}

fn kind(event: &Event) -> &'static str {
    match event {
        Event::Hello { .. } => "hello",
        Event::Fault { .. } => "fault",
        Event::ScenarioStart { .. } => "scenario_start",
        Event::Container { .. } => "container",
        Event::Unit(_) => "unit",
        Event::Attempt { .. } => "attempt",
        Event::Cause { .. } => "cause",
        Event::ScenarioEnd { .. } => "scenario_end",
        Event::End { .. } => "end",
    }
}

fn expectation(scenario: &Scenario, progress: &Progress) -> String {
    if let Some((case, container)) = progress.next_container(scenario) {
        return format!("container `{container}` of case {case} of `{}`", scenario.name);
    }
    match progress.next_attempt(scenario) {
        Some((case, attempt)) => format!("attempt {attempt} of case {case} of `{}`", scenario.name),
        None => format!("the end of `{}`", scenario.name),
    }
}

impl Progress {
    /// The container that has to be told next, if it is a container's turn.
    ///
    /// A case's containers are told before its first attempt.
    fn next_container<'s>(&self, scenario: &'s Scenario) -> Option<(u32, &'s ContainerName)> {
        let (case, attempt) = self.position(scenario)?;
        let before: usize = scenario.cases[..case].iter().map(|case| case.containers.len()).sum();
        let told = self.containers.len().checked_sub(before)?;
        let container = scenario.cases[case].containers.get(told).filter(|_| attempt == 0)?;
        Some((u32::try_from(case).ok()?, &container.name))
    }

    /// The attempt that has to be told next, if it is an attempt's turn.
    fn next_attempt(&self, scenario: &Scenario) -> Option<(u32, u32)> {
        if self.next_container(scenario).is_some() {
            return None;
        }
        let (case, attempt) = self.position(scenario)?;
        Some((u32::try_from(case).ok()?, u32::try_from(attempt).ok()?))
    }

    /// Whether an attempt of the last case that was told of failed although a control succeeded, and nobody said why.
    fn awaits_cause(&self, case: u32, attempt: u32) -> bool {
        let is_last = self.attempts.last().is_some_and(|last| last.case == case);
        let explicable = |fact: &AttemptFact| {
            let denied = outcome::is_denial(&fact.answer, &fact.root, &fact.container);
            fact.attempt == attempt && fact.case == case && denied && fact.cause.is_none()
        };
        is_last && self.attempts.iter().rev().take_while(|fact| fact.case == case).any(explicable)
    }

    /// Whether a container is a unit whose end can be told: all attempts of its case are, and it was not told yet.
    fn awaits_unit(&self, scenario: &Scenario, unit: &UnitFact) -> bool {
        let is_same = |told: &UnitFact| (told.case, &told.container) == (unit.case, &unit.container);
        let case = scenario.cases.get(unit.case as usize);
        let planned = case.and_then(|case| case.containers.iter().find(|plan| plan.name == unit.container));
        let is_last = self.attempts.last().is_some_and(|last| last.case == unit.case);
        let is_over = self.position(scenario).is_none_or(|(case, _)| case > unit.case as usize);
        planned.is_some_and(|plan| plan.unit.is_some()) && is_last && is_over && !self.units.iter().any(is_same)
    }

    fn explain(&mut self, case: u32, attempt: u32, cause: Cause) {
        let found = self.attempts.iter_mut().rev().find(|fact| (fact.case, fact.attempt) == (case, attempt));
        if let Some(fact) = found {
            fact.cause = Some(cause);
        }
    }

    /// Case and index in it of the first attempt that has no answer.
    fn position(&self, scenario: &Scenario) -> Option<(usize, usize)> {
        let mut answered = self.attempts.len();
        scenario.cases.iter().enumerate().find_map(|(case, contents)| {
            let here = contents.attempts.len();
            if answered < here {
                return Some((case, answered));
            }
            answered -= here;
            None
        })
    }
}
