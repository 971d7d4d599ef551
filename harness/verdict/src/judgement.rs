//! A whole scenario judged, as rows for tables and snapshots.

use harness_protocol::{
    errno::Errno,
    mount_option::MountOption,
    name::{ContainerName, ScenarioName},
    outcome::UnitFact,
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

/// One scenario on one kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Which scenario.
    pub scenario: ScenarioName,
    /// One for each combination of its matrix.
    pub cases: Vec<Case>,
    /// How its attempts are laid out, if it is a sweep.
    pub grid: Option<Box<SweepLayout>>,
    /// Which helpers were granted, if it is a sweep of helpers.
    pub helpers: Option<GrantedHelpers>,
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
    pub part: AttemptRole,
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
        doubt: NoVerdict,
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
            Some(expect) => Class::from(expect) == self.verdict.class(),
            None => !matches!(self.verdict.class(), Class::Malformed | Class::Crashed),
        }
    }

    fn problem(&self) -> Option<String> {
        if self.matches() {
            return None;
        }
        Some(match (self.expect, &self.verdict) {
            (_, Verdict::Crashed) => "the VM died or hung before it was answered".to_owned(),
            (Some(expect), verdict) => format!("expected {}, got {verdict}", Class::from(expect).as_str()),
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
            (Some(grid), AttemptRole::Cell { row, column }) => {
                format!("{}, {}", grid.rows[row], grid.columns[column].name)
            }
            (_, AttemptRole::Preparation) => format!("preparation {}", at + 1),
            _ => format!("attempt {}", at + 1),
        };
        format!("{label}{place} ({})", row.text)
    }

    /// All attempts that verdicts are told of, in order: those that only prepare a sweep are none.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.cases.iter().flat_map(|case| &case.rows).filter(|row| row.part != AttemptRole::Preparation)
    }
}
