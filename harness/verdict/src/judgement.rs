//! The judgement of a scenario, as rows for tables and snapshots.

use harness_protocol::{
    errno::Errno,
    mount_option::MountOption,
    name::{ContainerName, ScenarioName},
    outcome::{Splat, UnitFact},
};
use harness_scenario::{
    expect::Expect,
    layout::{AttemptRole, SweepLayout},
};
use thiserror::Error;

use crate::{
    granted::GrantedHelpers,
    object::Step,
    reason::Reason,
    verdict::{Class, NoVerdict, Verdict},
};

/// The verdicts of one scenario in one environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The scenario's name.
    pub scenario: ScenarioName,
    /// The cases, one for each combination of its matrix.
    pub cases: Vec<Case>,
    /// The layout of its attempts, if it is a sweep.
    pub grid: Option<Box<SweepLayout>>,
    /// The helpers granted, if it is a sweep over helpers.
    pub helpers: Option<GrantedHelpers>,
    /// How the VM died or hung, if it did, and the last lines of its console.
    pub crash: Option<Crash>,
    /// The splats that the kernel printed meanwhile.
    pub splats: Vec<JudgedSplat>,
}

/// One combination of a scenario's matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The combination, such as `type=hash`; empty without a matrix.
    pub label: String,
    /// What the bpffs of each container delegates, as its mount shows it.
    pub mounted: Vec<(ContainerName, Vec<MountOption>)>,
    /// Differences between what a container should have been delegated and what the kernel reports.
    pub disagreements: Vec<String>,
    /// The final state of each container that was a systemd unit.
    pub units: Vec<UnitFact>,
    /// The masks in the `fdinfo` of each such container's token, or why it has no token.
    pub tokens: Vec<(ContainerName, Result<[String; 4], Errno>)>,
    /// The attempts in order.
    pub rows: Vec<Row>,
}

/// One attempt and its verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// A short description of the attempt.
    pub text: String,
    /// Its operation, such as `map_create`.
    pub op: String,
    /// The actor.
    pub container: String,
    /// The verdict that the scenario expects.
    pub expect: Option<Expect>,
    /// The verdict.
    pub verdict: Verdict,
    /// Why it was denied, if the guest found that out.
    pub cause: Option<Reason>,
    /// Its role in the scenario.
    pub part: AttemptRole,
    /// If libbpf loaded an object: its calls, and the features it lost.
    pub steps: Vec<Step>,
    /// What the guard recorded of it: each answer once, in words.
    pub guard: Vec<String>,
}

/// A splat, and whether it is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgedSplat {
    /// The splat.
    pub splat: Splat,
    /// Why it is allowed, if it is.
    pub allowed: Option<String>,
}

/// How a VM crashed.
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
    /// An answer is not enough for a verdict.
    #[error("attempt {attempt} ({text}): {doubt}")]
    Doubt {
        /// Counted from 1 within its case.
        attempt: usize,
        /// A short description of the attempt.
        text: String,
        /// Why.
        doubt: NoVerdict,
    },
    /// The outcome does not answer exactly the attempts of the plan.
    #[error("the guest's record does not match the plan: {0}")]
    Record(String),
}

/// Something about a judgement that fails the test, whatever its snapshot says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The part it is about, such as `attempt 2 (map_create hash)`.
    pub subject: String,
    /// What is wrong with it.
    pub what: String,
}

impl Row {
    /// Whether the verdict has the expected class. Without an expectation: whether the verdict is one that needs none.
    pub fn matches(&self) -> bool {
        match self.expect {
            Some(expect) => Class::from(expect) == self.verdict.class(),
            None => !matches!(self.verdict.class(), Class::Malformed | Class::Crashed),
        }
    }

    fn problem(&self) -> Option<String> {
        if self.matches() {
            return None;
        }
        Some(match (self.expect, &self.verdict) {
            (_, Verdict::Crashed) => "the VM died or hung before the kernel answered".to_owned(),
            (Some(expect), verdict) => format!("expected {}, got {verdict}", Class::from(expect).as_str()),
            (None, verdict) => format!(
                "{verdict}: no control succeeds either, so the call itself is wrong; if that is intended, write `expect = \"malformed\"`"
            ),
        })
    }
}

impl Judgement {
    /// Returns everything that fails the test.
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

    /// Returns the splats that are not allowed.
    pub fn new_splats(&self) -> impl Iterator<Item = &Splat> {
        self.splats.iter().filter(|judged| judged.allowed.is_none()).map(|judged| &judged.splat)
    }

    /// Returns whether nothing fails the test, whatever the snapshot says: no crash, no splat that is not allowed, no problem.
    pub fn is_sound(&self) -> bool {
        self.crash.is_none() && self.new_splats().next().is_none() && self.problems().is_empty()
    }

    /// Allows the splats for which `reason` returns why.
    pub fn allow_splats(&mut self, reason: impl Fn(&str) -> Option<String>) {
        for judged in &mut self.splats {
            judged.allowed = reason(&judged.splat.text);
        }
    }

    /// Drops expectations that do not hold, for a kernel that the scenario was not written for: only that kernel's snapshot
    /// says what its verdicts should be, including calls that it refuses to everybody. An attempt without an answer stays a
    /// problem.
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
            (Some(grid), AttemptRole::Cell { row, column }) => {
                format!("{}, {}", grid.rows[row], grid.columns[column].name)
            }
            (_, AttemptRole::Preparation) => format!("preparation {}", at + 1),
            _ => format!("attempt {}", at + 1),
        };
        format!("{label}{place} ({})", row.text)
    }

    /// Returns the attempts whose verdicts are reported, in order; attempts that only prepare a sweep are left out.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.cases.iter().flat_map(|case| &case.rows).filter(|row| row.part != AttemptRole::Preparation)
    }
}
