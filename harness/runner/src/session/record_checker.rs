//! Validates the guest's records against the plan, and assembles each scenario's outcome.

use harness_protocol::{
    name::{ContainerName, ScenarioName},
    outcome::{self, AttemptFact, Cause, ContainerFact, Event, ScenarioEnd, ScenarioOutcome, Splat, UnitFact},
    plan::{FORMAT, Plan, Scenario},
};
use thiserror::Error;

use super::{record::Damage, splats};

/// A violation of the protocol: records that do not fit the plan.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ProtocolViolation {
    /// The record is malformed.
    #[error("{0}")]
    Damaged(#[from] Damage),
    /// A record is out of order.
    #[error("unexpected `{found}` record; expected {expected}")]
    Order {
        /// The expected record.
        expected: String,
        /// The kind of the actual record.
        found: &'static str,
    },
    /// The guest is another program, or runs on another kernel.
    #[error("the guest program's {what} is {found}, not {expected}")]
    Stranger {
        /// What differs.
        what: &'static str,
        /// The expected value.
        expected: String,
        /// The actual value.
        found: String,
    },
    /// A scenario ended before all attempts were made.
    #[error("the scenario ended after {answered} of {attempts} attempts without a fault")]
    Unfinished {
        /// The number of answered attempts.
        answered: usize,
        /// The number of attempts in the plan.
        attempts: usize,
    },
    /// The guest reports a wrong number of scenarios.
    #[error("the guest reports {found} scenarios, but the plan has {expected}")]
    Count {
        /// The number of scenarios in the plan.
        expected: usize,
        /// The number that the guest reports.
        found: u32,
    },
}

/// The effect of a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The guest introduced itself.
    Hello,
    /// A scenario was announced.
    Started { name: ScenarioName, deadline_ms: u64 },
    /// A record within a scenario.
    Within,
    /// A scenario is complete, but for the splats on the console.
    Ended(ScenarioName),
    /// The guest refuses to begin.
    Refused(String),
    /// The guest cannot continue with the running scenario, nor with any other.
    GaveUp(String),
    /// The plan is complete.
    Complete,
}

/// Checks the records of a plan that one VM carries out.
#[derive(Debug)]
pub(super) struct RecordChecker<'a> {
    plan: &'a Plan,
    outcomes: Vec<ScenarioOutcome>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Before the first record.
    Silent,
    /// Between scenarios.
    Idle,
    /// In the scenario after those with an outcome.
    Running(Progress),
    /// After the last record.
    Complete,
}

/// The records of the running scenario.
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

    /// Returns whether the guest marks its console.
    pub(super) fn marks_console(&self) -> bool {
        self.plan.marks_console
    }

    /// Returns whether any scenario has an outcome.
    pub(super) fn has_outcomes(&self) -> bool {
        !self.outcomes.is_empty()
    }

    /// Returns whether any scenario was announced.
    pub(super) fn has_begun(&self) -> bool {
        self.has_outcomes() || matches!(self.state, State::Running(_))
    }

    /// Returns the outcomes, in the order of the plan.
    pub(super) fn into_outcomes(self) -> Vec<ScenarioOutcome> {
        self.outcomes
    }

    /// Returns the number of scenarios with an outcome.
    pub(super) fn completed(&self) -> usize {
        self.outcomes.len()
    }

    /// Returns the scenarios of the plan after the one with this index.
    pub(super) fn after(&self, index: usize) -> &'a [Scenario] {
        self.plan.scenarios.get(index + 1..).unwrap_or_default()
    }

    /// Returns whether the kernel became tainted during the scenario of the outcome with this index, before its splats are added.
    pub(super) fn is_tainted(&self, index: usize) -> bool {
        self.outcomes.get(index).is_some_and(|outcome| !outcome.splats.is_empty())
    }

    /// Adds the splats that the console shows to the outcome with this index, and returns it. They take the place of the one
    /// that only stands for taint flags, if they explain those.
    pub(super) fn add_splats(
        &mut self,
        index: usize,
        shown: Vec<Splat>,
        explain_taint: bool,
    ) -> Option<&ScenarioOutcome> {
        let outcome = self.outcomes.get_mut(index)?;
        if explain_taint {
            outcome.splats.clear();
        }
        outcome.splats.extend(shown);
        Some(outcome)
    }

    /// Forgets all but the first scenarios with an outcome, and the running one: they begin again in another VM.
    pub(super) fn keep(&mut self, count: usize) {
        self.outcomes.truncate(count);
        self.state = State::Idle;
    }

    /// Charges a fault to the first scenario without an outcome, whether or not it runs.
    pub(super) fn condemn(&mut self, message: String) {
        if let Some(scenario) = self.current().map(|scenario| scenario.name.clone()) {
            self.complete(scenario, Progress::default(), ScenarioEnd::Fault { message }, Vec::new());
        }
    }

    /// Returns the name of the first scenario without an outcome.
    pub(super) fn next(&self) -> Option<&ScenarioName> {
        self.current().map(|scenario| &scenario.name)
    }

    /// Returns the name of the running scenario.
    pub(super) fn running(&self) -> Option<&ScenarioName> {
        let is_running = matches!(self.state, State::Running(_));
        self.current().filter(|_| is_running).map(|scenario| &scenario.name)
    }

    /// Charges a crash to the running scenario, and returns whether there is one.
    pub(super) fn crash(&mut self, how: String, console: Vec<String>) -> bool {
        self.charge(ScenarioEnd::Crashed { how, console })
    }

    /// Charges a fault to the running scenario, and returns whether there is one.
    pub(super) fn fault(&mut self, message: String) -> bool {
        self.charge(ScenarioEnd::Fault { message })
    }

    fn charge(&mut self, end: ScenarioEnd) -> bool {
        let Some(scenario) = self.current().map(|scenario| scenario.name.clone()) else { return false };
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Running(progress) => {
                self.complete(scenario, progress, end, Vec::new());
                true
            }
            other => {
                self.state = other;
                false
            }
        }
    }

    fn complete(&mut self, scenario: ScenarioName, progress: Progress, end: ScenarioEnd, splats: Vec<Splat>) {
        let Progress { containers, attempts, units } = progress;
        self.outcomes.push(ScenarioOutcome { scenario, containers, attempts, units, splats, end });
    }

    /// Returns the running or next scenario.
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
            State::Silent => "a `hello` record".to_owned(),
            State::Idle => next(),
            State::Running(progress) => {
                self.current().map(|scenario| expectation(scenario, progress)).unwrap_or_default()
            }
            State::Complete => "no further record".to_owned(),
        };
        ProtocolViolation::Order { expected, found: kind(event) }
    }

    fn hello(&mut self, format: u32, release: &str) -> Result<Step, ProtocolViolation> {
        let mismatch = |what, expected: &str, found: &str| {
            Err(ProtocolViolation::Stranger { what, expected: expected.to_owned(), found: found.to_owned() })
        };
        match &self.plan.kernel.release {
            _ if format != FORMAT => mismatch("format", &FORMAT.to_string(), &format.to_string()),
            Some(expected) if expected != release => mismatch("kernel", expected, release),
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
                progress.attempts.push(AttemptFact {
                    case,
                    attempt,
                    answer,
                    root,
                    container,
                    cause: None,
                    guard: Vec::new(),
                });
                Ok(Step::Within)
            }
            Event::Guard { case, attempt, records } if progress.was_last(case, attempt) => {
                progress.attempts.last_mut().into_iter().for_each(|fact| fact.guard.extend_from_slice(&records));
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
            Event::ScenarioEnd { scenario: name, leftovers, fault, micros, tainted } if name == scenario.name => {
                let splats = splats::of_taint(tainted).into_iter().collect();
                return self.finish(scenario, progress, end_of(leftovers, fault, micros), splats);
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
        end: ScenarioEnd,
        splats: Vec<Splat>,
    ) -> Result<Step, ProtocolViolation> {
        let (answered, attempts) = (progress.attempts.len(), attempts_of(scenario));
        if matches!(end, ScenarioEnd::Finished { .. }) && answered < attempts {
            self.state = State::Running(progress);
            return Err(ProtocolViolation::Unfinished { answered, attempts });
        }
        self.complete(scenario.name.clone(), progress, end, splats);
        Ok(Step::Ended(scenario.name.clone()))
    }
}

fn end_of(leftovers: Vec<String>, fault: Option<String>, micros: u64) -> ScenarioEnd {
    match fault {
        Some(message) => ScenarioEnd::Fault { message },
        None if leftovers.is_empty() => ScenarioEnd::Finished { micros },
        None => ScenarioEnd::Fault { message: format!("not cleaned up: {}", leftovers.join(", ")) },
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
        Event::Guard { .. } => "guard",
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
    /// Returns the container whose record must come next, if it is a container's turn.
    ///
    /// A case's containers come before its first attempt.
    fn next_container<'s>(&self, scenario: &'s Scenario) -> Option<(u32, &'s ContainerName)> {
        let (case, attempt) = self.position(scenario)?;
        let before: usize = scenario.cases[..case].iter().map(|case| case.containers.len()).sum();
        let recorded = self.containers.len().checked_sub(before)?;
        let container = scenario.cases[case].containers.get(recorded).filter(|_| attempt == 0)?;
        Some((u32::try_from(case).ok()?, &container.name))
    }

    /// Returns the attempt whose record must come next, if it is an attempt's turn.
    fn next_attempt(&self, scenario: &Scenario) -> Option<(u32, u32)> {
        if self.next_container(scenario).is_some() {
            return None;
        }
        let (case, attempt) = self.position(scenario)?;
        Some((u32::try_from(case).ok()?, u32::try_from(attempt).ok()?))
    }

    /// Returns whether the latest attempt is this one.
    fn was_last(&self, case: u32, attempt: u32) -> bool {
        self.attempts.last().is_some_and(|last| (last.case, last.attempt) == (case, attempt))
    }

    /// Returns whether an attempt of the latest case was denied and has no cause yet.
    fn awaits_cause(&self, case: u32, attempt: u32) -> bool {
        let is_last = self.attempts.last().is_some_and(|last| last.case == case);
        let explicable = |fact: &AttemptFact| {
            let denied = outcome::is_denial(&fact.answer, &fact.root, &fact.container);
            fact.attempt == attempt && fact.case == case && denied && fact.cause.is_none()
        };
        is_last && self.attempts.iter().rev().take_while(|fact| fact.case == case).any(explicable)
    }

    /// Returns whether a container is a unit whose final record may come now: all attempts of its case were made, and
    /// it was not recorded yet.
    fn awaits_unit(&self, scenario: &Scenario, unit: &UnitFact) -> bool {
        let is_same = |other: &UnitFact| (other.case, &other.container) == (unit.case, &unit.container);
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

    /// Returns the case and the index of the first attempt without an answer.
    fn position(&self, scenario: &Scenario) -> Option<(usize, usize)> {
        let mut answered = self.attempts.len();
        scenario.cases.iter().enumerate().find_map(|(case, contents)| {
            let count = contents.attempts.len();
            if answered < count {
                return Some((case, answered));
            }
            answered -= count;
            None
        })
    }
}
