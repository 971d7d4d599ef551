//! A whole scenario judged: what it asked beside what its outcome says, as rows for tables and snapshots.

mod helpers;
mod masks;
pub(crate) mod object;
mod reason;

use thiserror::Error;

use crate::{
    delegation::MountOption,
    errno::Errno,
    expand::{Expanded, ExpandedAttempt},
    grid::{Grid, Part},
    name::{ContainerName, ScenarioName},
    outcome::{AttemptFact, ContainerFact, ScenarioEnd, ScenarioOutcome, UnitFact},
    plan,
    verdict::{self, Class, Doubt, Expect, Verdict},
    vocabulary::Vocabulary,
};
pub use object::{Step, StepResult};
pub use reason::Reason;

/// One scenario on one kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Which scenario.
    pub scenario: ScenarioName,
    /// One for each combination of its matrix.
    pub cases: Vec<Case>,
    /// How its attempts are laid out, if it is a sweep.
    pub grid: Option<Box<Grid>>,
    /// If the VM died or hung: how, and the console's last lines.
    pub crash: Option<Crash>,
}

/// One combination of a scenario's matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The combination, such as `type=hash`; empty without a matrix.
    pub label: String,
    /// What each container's bpffs really delegates.
    pub mounted: Vec<(ContainerName, Vec<MountOption>)>,
    /// Where what a container was to be delegated and what the kernel tells about it differ.
    pub disagreements: Vec<String>,
    /// The containers that were units of systemd, at their end.
    pub units: Vec<UnitFact>,
    /// What the token of each such container holds, by its `fdinfo`, or why it has none.
    pub tokens: Vec<(ContainerName, Result<[String; 4], Errno>)>,
    /// The attempts in order.
    pub rows: Vec<Row>,
}

/// One attempt and its verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The attempt in a few words.
    pub text: String,
    /// Its operation, such as `map_create`.
    pub op: String,
    /// Who made it.
    pub container: String,
    /// What its author wants it to be.
    pub expect: Option<Expect>,
    /// What it was.
    pub verdict: Verdict,
    /// If it was denied and that was found out: why.
    pub cause: Option<Reason>,
    /// What it is to its scenario.
    pub part: Part,
    /// The calls it consists of, if libbpf loaded an object, and what that lost.
    pub steps: Vec<Step>,
}

/// What is known of a dead VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// Whether it died or hung, and after how long.
    pub how: String,
    /// The last lines of its console.
    pub console: Vec<String>,
}

/// Why a scenario cannot be judged: a fault of the scenario, the harness or the guest.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Fault {
    /// The guest could not carry it out.
    #[error("{0}")]
    Guest(String),
    /// An answer proves nothing.
    #[error("attempt {attempt} ({text}): {doubt}")]
    Doubt {
        /// Counted from 1 within its case.
        attempt: usize,
        /// The attempt in a few words.
        text: String,
        /// Why.
        doubt: Doubt,
    },
    /// The outcome does not answer exactly the attempts that were asked.
    #[error("the guest's record does not fit the plan: {0}")]
    Record(String),
}

/// Something about a judgement that fails its trial, whatever its snapshot says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What it is about, such as `attempt 2 (map_create hash)`.
    pub subject: String,
    /// What is wrong with it.
    pub what: String,
}

impl Row {
    /// Whether the verdict is of the class its author wants; true if none is asked for and the verdict is one that may
    /// stand without being asked for.
    pub fn matches(&self) -> bool {
        match self.expect {
            Some(expect) => expect.class() == self.verdict.class(),
            None => !matches!(self.verdict.class(), Class::Malformed | Class::Crashed),
        }
    }

    fn problem(&self) -> Option<String> {
        if self.matches() {
            return None;
        }
        Some(match (self.expect, &self.verdict) {
            (_, Verdict::Crashed) => "the VM died or hung before it was answered".to_owned(),
            (Some(expect), verdict) => format!("expected {}, got {verdict}", expect.class().as_str()),
            (None, verdict) => format!(
                "{verdict}: no control succeeds, so the call itself is wrong; if it is meant to be, write `expect = \"malformed\"`"
            ),
        })
    }
}

impl Judgement {
    /// All that fails the trial.
    pub fn problems(&self) -> Vec<Problem> {
        let of_case = |case: &'_ Case| -> Vec<Problem> {
            let numbered = case.rows.iter().enumerate();
            numbered
                .filter_map(|(at, row)| Some(Problem { subject: self.subject(case, at, row), what: row.problem()? }))
                .collect()
        };
        let orphans = self.grid.iter().flat_map(|grid| &grid.orphans);
        let orphans = orphans.map(|o| Problem { subject: format!("`{}`", o.name), what: o.advice.clone() });
        self.cases.iter().flat_map(of_case).chain(orphans).collect()
    }

    /// Takes back what its author wants attempts to be where they are something else, for a kernel it is not meant for: that
    /// kernel's snapshot alone says what they are, also where it refuses a call to everybody. An attempt that was not
    /// answered stays a problem.
    pub fn lift_expectations(&mut self) {
        for row in self.cases.iter_mut().flat_map(|case| &mut case.rows).filter(|row| !row.matches()) {
            row.expect = match row.verdict.class() {
                Class::Crashed => row.expect,
                Class::Malformed => Some(Expect::Malformed),
                Class::Allowed | Class::Denied | Class::Unsupported | Class::NotMade => None,
            };
        }
    }

    fn subject(&self, case: &Case, at: usize, row: &Row) -> String {
        let label = if case.label.is_empty() { String::new() } else { format!("[{}] ", case.label) };
        let place = match (&self.grid, row.part) {
            (Some(grid), Part::Cell { row, column }) => format!("{}, {}", grid.rows[row], grid.columns[column].name),
            (_, Part::Preparation) => format!("preparation {}", at + 1),
            _ => format!("attempt {}", at + 1),
        };
        format!("{label}{place} ({})", row.text)
    }

    /// All attempts that verdicts are told of, in order: those that only prepare a sweep are none.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.cases.iter().flat_map(|case| &case.rows).filter(|row| row.part != Part::Preparation)
    }
}

/// Judges what a VM answered by what it was asked, in the words of its kernel.
///
/// # Errors
/// [`Fault`] if the scenario could not be carried out or the outcome does not fit it.
pub fn judge(expanded: &Expanded, outcome: &ScenarioOutcome, vocabulary: &Vocabulary) -> Result<Judgement, Fault> {
    let crash = match &outcome.end {
        ScenarioEnd::Fault { message } => return Err(Fault::Guest(message.clone())),
        ScenarioEnd::Finished { .. } => None,
        ScenarioEnd::Crashed { how, console } => Some(Crash { how: how.clone(), console: console.clone() }),
    };
    if outcome.scenario != expanded.plan.name {
        return Err(Fault::Record(format!("it speaks of {} instead of {}", outcome.scenario, expanded.plan.name)));
    }
    let mut facts = outcome.attempts.iter();
    let mut cases = Vec::with_capacity(expanded.cases.len());
    for (index, case) in expanded.cases.iter().enumerate() {
        let rows = case.attempts.iter().enumerate().map(|(attempt, asked)| match facts.next() {
            Some(fact) => judge_attempt(index, attempt, asked, fact, vocabulary),
            None if crash.is_some() => Ok(row(asked, Verdict::Crashed, None, Vec::new())),
            None => Err(Fault::Record(format!("attempt {} ({}) has no answer", attempt + 1, asked.text))),
        });
        cases.push(Case {
            label: case.label.clone(),
            mounted: mounted(outcome, index),
            units: outcome.units.iter().filter(|fact| fact.case as usize == index).cloned().collect(),
            tokens: tokens(expanded, outcome, index),
            disagreements: disagreements(expanded, outcome, index, vocabulary),
            rows: rows.collect::<Result<_, _>>()?,
        });
    }
    if facts.next().is_some() {
        return Err(Fault::Record("it answers more attempts than were asked".to_owned()));
    }
    let mut grid = expanded.grid.clone();
    helpers::tell(&mut cases, grid.as_deref_mut(), expanded, outcome, vocabulary);
    Ok(Judgement { scenario: expanded.plan.name.clone(), cases, grid, crash })
}

fn judge_attempt(
    case: usize,
    attempt: usize,
    asked: &ExpandedAttempt,
    fact: &AttemptFact,
    vocabulary: &Vocabulary,
) -> Result<Row, Fault> {
    if (fact.case as usize, fact.attempt as usize) != (case, attempt) {
        let (c, a) = (fact.case, fact.attempt);
        return Err(Fault::Record(format!("attempt {attempt} of case {case} is answered as attempt {a} of case {c}")));
    }
    let verdict = verdict::judge(&fact.answer, &fact.root, &fact.container, asked.missing.as_deref())
        .map_err(|doubt| Fault::Doubt { attempt: attempt + 1, text: asked.text.clone(), doubt })?;
    let denied = verdict.class() == Class::Denied;
    let cause = fact.cause.as_ref().filter(|_| denied).map(|cause| Reason::of(cause, vocabulary));
    Ok(row(asked, verdict, cause, object::steps(fact)))
}

fn row(asked: &ExpandedAttempt, verdict: Verdict, cause: Option<Reason>, steps: Vec<Step>) -> Row {
    Row {
        text: asked.text.clone(),
        op: asked.op.to_string(),
        container: asked.container.clone(),
        expect: asked.expect,
        verdict,
        cause,
        part: asked.part,
        steps,
    }
}

fn mounted(outcome: &ScenarioOutcome, case: usize) -> Vec<(ContainerName, Vec<MountOption>)> {
    let of_case = outcome.containers.iter().filter(|fact| fact.case as usize == case);
    of_case.map(|fact| (fact.container.clone(), fact.mounted.clone())).collect()
}

/// The tokens of the containers of a case that are units of systemd.
fn tokens(
    expanded: &Expanded,
    outcome: &ScenarioOutcome,
    case: usize,
) -> Vec<(ContainerName, Result<[String; 4], Errno>)> {
    let units = expanded.plan.cases.get(case).into_iter().flat_map(|case| &case.containers);
    let units: Vec<&ContainerName> = units.filter(|plan| plan.unit.is_some()).map(|plan| &plan.name).collect();
    let of_case = outcome.containers.iter().filter(|fact| fact.case as usize == case);
    let of_units = of_case.filter(|fact| units.contains(&&fact.container));
    let token = |fact: &ContainerFact| match (&fact.token, fact.no_token) {
        (Some(token), _) => Some((fact.container.clone(), Ok(token.fdinfo.clone()))),
        (None, errno) => errno.map(|errno| (fact.container.clone(), Err(errno))),
    };
    of_units.filter_map(token).collect()
}

/// What each container of a case was to be delegated, held against what the kernel told.
fn disagreements(expanded: &Expanded, outcome: &ScenarioOutcome, case: usize, vocabulary: &Vocabulary) -> Vec<String> {
    let planned: &[plan::Container] = expanded.plan.cases.get(case).map_or(&[], |case| &case.containers);
    let of_case = outcome.containers.iter().filter(|fact| fact.case as usize == case);
    let of_container = of_case.filter_map(|fact| {
        let asked = planned.iter().find(|container| container.name == fact.container)?;
        // What a unit asks for is systemd's to read: the mount alone says what came of it.
        Some(match asked.unit {
            Some(_) => masks::disagreements_within(fact, vocabulary),
            None => masks::disagreements(&asked.options, fact, vocabulary),
        })
    });
    of_container.flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        expand::ExpandedCase,
        outcome::{Answer, Control},
        plan,
        scenario::Isolation,
    };

    fn asked(text: &str, expect: Option<Expect>) -> ExpandedAttempt {
        let (text, container) = (text.to_owned(), "container".to_owned());
        ExpandedAttempt { text, op: "map_create", container, expect, missing: None, part: Part::Line }
    }

    /// A scenario with these attempts in each of two cases.
    fn expanded(attempts: &[ExpandedAttempt]) -> Expanded {
        let case = |label: &str| ExpandedCase { label: label.to_owned(), attempts: attempts.to_vec() };
        let (sysctls, lsm, cases) = Default::default();
        Expanded {
            summary: "Says so".to_owned(),
            isolation: Isolation::Shared,
            cases: vec![case("x=1"), case("x=2")],
            grid: None,
            plan: plan::Scenario {
                name: "a/b".parse().unwrap(),
                deadline_ms: 1,
                sysctls,
                lsm,
                lockdown: None,
                own_vm: false,
                cases,
            },
        }
    }

    fn fact(case: u32, attempt: u32, answer: Answer) -> AttemptFact {
        let control = || Control::Made(Answer::Ok { detail: None });
        AttemptFact { case, attempt, answer, root: control(), container: control(), cause: None }
    }

    fn ok() -> Answer {
        Answer::Ok { detail: None }
    }

    fn eperm() -> Answer {
        Answer::Err { errno: Errno::EPERM, step: None }
    }

    fn outcome(attempts: Vec<AttemptFact>, end: ScenarioEnd) -> ScenarioOutcome {
        let options = vec![MountOption { key: "delegate_cmds".into(), value: "any".into() }];
        let containers = vec![ContainerFact {
            case: 1,
            container: "container".parse().unwrap(),
            mounted: options,
            token: None,
            no_token: None,
        }];
        ScenarioOutcome { scenario: "a/b".parse().unwrap(), containers, attempts, units: vec![], end }
    }

    fn judged(expanded: &Expanded, outcome: &ScenarioOutcome) -> Result<Judgement, Fault> {
        let vocabulary = serde_json::from_str(include_str!("../../../kernels/vocabulary/7.3.json")).unwrap();
        judge(expanded, outcome, &vocabulary)
    }

    const FINISHED: ScenarioEnd = ScenarioEnd::Finished { micros: 1 };

    #[test]
    fn every_attempt_gets_its_verdict() {
        let asked = expanded(&[asked("one", Some(Expect::Allowed)), asked("two", Some(Expect::Allowed))]);
        let facts = vec![fact(0, 0, ok()), fact(0, 1, eperm()), fact(1, 0, ok()), fact(1, 1, ok())];
        let judgement = judged(&asked, &outcome(facts, FINISHED)).unwrap();
        let verdicts: Vec<String> = judgement.rows().map(|row| row.verdict.to_string()).collect();
        assert_eq!(verdicts, ["allowed", "denied EPERM", "allowed", "allowed"]);
        let (subject, what) = ("[x=1] attempt 2 (two)".to_owned(), "expected allowed, got denied EPERM".to_owned());
        assert_eq!(judgement.problems(), [Problem { subject, what }]);
        assert_eq!(
            crate::snapshot::render(&judgement),
            "[x=1]\n1  one  allowed\n2  two  denied EPERM\n\n[x=2]\ncontainer's bpffs shows cmds=any\n1  one  allowed\n2  two  allowed\n"
        );
    }

    #[test]
    fn what_is_not_meant_for_a_kernel_is_no_problem_there_unless_it_was_not_answered() {
        let control = Control::Made(Answer::Err { errno: Errno::EINVAL, step: None });
        let malformed = AttemptFact { root: control.clone(), container: control, ..fact(0, 1, eperm()) };
        let asked = expanded(&[asked("one", Some(Expect::Denied)), asked("two", Some(Expect::Allowed))]);
        let end = ScenarioEnd::Crashed { how: "the VM died".into(), console: vec![] };
        let facts = vec![fact(0, 0, ok()), malformed, fact(1, 0, eperm())];
        let mut judgement = judged(&asked, &outcome(facts, end)).unwrap();
        assert_eq!(judgement.problems().len(), 3);
        judgement.lift_expectations();
        let problems = judgement.problems();
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].subject, "[x=2] attempt 2 (two)");
        assert_eq!(judgement.cases[1].rows[0].expect, Some(Expect::Denied), "what holds is still told");
    }

    #[test]
    fn what_a_dead_vm_did_not_answer_is_crashed() {
        let asked = expanded(&[asked("one", None)]);
        let end = ScenarioEnd::Crashed { how: "the VM died".into(), console: vec!["panic".into()] };
        let judgement = judged(&asked, &outcome(vec![fact(0, 0, ok())], end)).unwrap();
        let classes: Vec<Class> = judgement.rows().map(|row| row.verdict.class()).collect();
        assert_eq!(classes, [Class::Allowed, Class::Crashed]);
        assert_eq!(judgement.problems().len(), 1);
        assert_eq!(judgement.crash.unwrap().console, ["panic"]);
    }

    #[test]
    fn a_record_that_does_not_fit_is_a_fault() {
        let asked = expanded(&[asked("one", None)]);
        let fit = || vec![fact(0, 0, ok()), fact(1, 0, ok())];
        judged(&asked, &outcome(fit(), FINISHED)).unwrap();
        let mut records = [fit(), fit(), fit()];
        records[0].pop();
        records[1].push(fact(1, 1, ok()));
        records[2].swap(0, 1);
        for facts in records {
            assert!(matches!(judged(&asked, &outcome(facts, FINISHED)), Err(Fault::Record(_))));
        }
        let other = ScenarioOutcome { scenario: "a/c".parse().unwrap(), ..outcome(fit(), FINISHED) };
        assert!(matches!(judged(&asked, &other), Err(Fault::Record(_))));
    }

    #[test]
    fn a_fault_of_the_guest_is_no_verdict() {
        let end = ScenarioEnd::Fault { message: "left a mount".into() };
        assert_eq!(judged(&expanded(&[]), &outcome(vec![], end)), Err(Fault::Guest("left a mount".into())));
    }
}
