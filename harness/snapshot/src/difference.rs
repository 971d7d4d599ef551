//! The differences between two kernels, the most important first.
//!
//! [`compare`] compares two judgements of one scenario, attempt by attempt; [`names::differences`] compares the names in two
//! kernels' BTF; [`groups`] combines changes of the same kind.

mod attempts;
pub mod groups;
mod helpers;
pub mod names;

use std::fmt;

use harness_protocol::{errno::Errno, name::ContainerName};
use harness_scenario::layout::SweepLayout;
use harness_verdict::{
    judgement::{Judgement, Row},
    object::StepResult,
    reason::Reason,
    verdict::{Class, Verdict},
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::render;

/// What a change means to somebody who relies on permissions, the most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It was denied, and is allowed now.
    Loosened,
    /// It was allowed, and is denied now.
    Tightened,
    /// The first kernel does not support it; the second allows or denies it.
    Supported,
    /// The first kernel allows or denies it; the second does not support it.
    Unsupported,
    /// It is attempted on the second kernel only.
    Added,
    /// It is attempted on the first kernel only.
    Removed,
    /// One of the two kernels died or hung.
    Crashed,
    /// The call was not made on one of the two kernels.
    NotMade,
    /// One of the two kernels refuses it whatever the permissions.
    Malformed,
    /// The errno differs.
    Errno,
    /// The cause of the denial differs.
    Cause,
    /// Another part of the answer differs.
    Detail,
    /// A container's bpffs mount shows other masks.
    Masks,
    /// The kernel's reports of one delegation are consistent or inconsistent in another way.
    Disagreement,
}

impl Effect {
    /// All effects, the most important first.
    pub const ALL: [Self; 14] = [
        Self::Loosened,
        Self::Tightened,
        Self::Supported,
        Self::Unsupported,
        Self::Added,
        Self::Removed,
        Self::Crashed,
        Self::NotMade,
        Self::Malformed,
        Self::Errno,
        Self::Cause,
        Self::Detail,
        Self::Masks,
        Self::Disagreement,
    ];

    /// The effect of a change from one class of verdict to another; `None` if they are equal.
    pub(crate) const fn of(before: Class, after: Class) -> Option<Self> {
        use Class::{Allowed, Crashed, Denied, Malformed, NotMade, Unsupported};
        match (before, after) {
            (Allowed, Allowed)
            | (Denied, Denied)
            | (Unsupported, Unsupported)
            | (Malformed, Malformed)
            | (NotMade, NotMade)
            | (Crashed, Crashed) => None,
            (Crashed, _) | (_, Crashed) => Some(Self::Crashed),
            (NotMade, _) | (_, NotMade) => Some(Self::NotMade),
            (Malformed, _) | (_, Malformed) => Some(Self::Malformed),
            (Unsupported, _) => Some(Self::Supported),
            (_, Unsupported) => Some(Self::Unsupported),
            (Denied, Allowed) => Some(Self::Loosened),
            (Allowed, Denied) => Some(Self::Tightened),
        }
    }

    /// The heading of changes with this effect.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Loosened => "loosened: denied, now allowed",
            Self::Tightened => "tightened: allowed, now denied",
            Self::Supported => "newly supported",
            Self::Unsupported => "no longer supported",
            Self::Added => "attempted on the second kernel only",
            Self::Removed => "attempted on the first kernel only",
            Self::Crashed => "the kernel died or hung",
            Self::NotMade => "not attempted on one of the two",
            Self::Malformed => "malformed on one of the two",
            Self::Errno => "refused with another errno",
            Self::Cause => "denied for another reason",
            Self::Detail => "answered differently",
            Self::Masks => "the mount shows other masks",
            Self::Disagreement => "the kernel's reports of a delegation disagree differently",
        }
    }
}

/// A difference between the two kernels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it means to those who rely on permissions.
    pub effect: Effect,
    /// What changed.
    pub subject: ComparedItem,
    /// The first kernel's answer; `None` if it was not asked.
    pub before: Option<KernelAnswer>,
    /// The second kernel's answer; `None` if it was not asked.
    pub after: Option<KernelAnswer>,
}

/// What is compared. It is matched between kernels by what it is, not by its position.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComparedItem {
    /// The combination of the scenario's matrix; empty without a matrix, and in a sweep, where the arm gives it.
    pub case: String,
    /// The item within the case.
    pub what: ItemKind,
}

/// What can change within a case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ItemKind {
    /// An attempt.
    Attempt {
        /// A short description.
        text: String,
        /// Who makes it.
        container: String,
        /// Its number among items with the same text, from 1.
        occurrence: usize,
    },
    /// A call that libbpf made in an attempt that loads an object.
    Step {
        /// A short description of the attempt.
        attempt: String,
        /// A short description of the call.
        step: String,
        /// Its number among items with the same text, from 1.
        occurrence: usize,
    },
    /// A cell of a sweep.
    Cell {
        /// The row, such as `hash`.
        row: String,
        /// The name of the arm, such as `no_token`.
        arm: String,
    },
    /// A name that a sweep does not attempt.
    Absent {
        /// The name.
        row: String,
    },
    /// A helper in a cell of a sweep of helpers.
    Helper {
        /// Its name.
        helper: String,
        /// The program type.
        row: String,
        /// The name of the arm.
        arm: String,
    },
    /// The mount of a container's bpffs.
    Mount {
        /// The container.
        container: ContainerName,
    },
    /// The inconsistencies between a requested delegation and the kernel's reports of it.
    Disagreements,
}

/// A kernel's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelAnswer {
    /// The class of the verdict; `None` if the answer is only a text.
    pub class: Option<Class>,
    /// The errno, if there is one.
    pub errno: Option<Errno>,
    /// The cause of the denial, if it was found.
    pub cause: Option<String>,
    /// Further details.
    pub detail: Option<String>,
}

impl KernelAnswer {
    fn of(row: &Row) -> Self {
        let detail = match &row.verdict {
            Verdict::Allowed { detail } => detail.clone(),
            Verdict::Unsupported { reason, .. } => Some(reason.clone()),
            Verdict::Denied(refusal) | Verdict::Malformed(refusal) => refusal.step.clone(),
            Verdict::NotMade { why } => Some(why.clone()),
            Verdict::Crashed => None,
        };
        let cause = row.cause.as_ref().map(Reason::to_string);
        Self { class: Some(row.verdict.class()), errno: row.verdict.errno(), cause, detail }
    }

    fn class(class: Class) -> Self {
        Self { class: Some(class), ..Self::default() }
    }

    fn text(text: impl Into<String>) -> Self {
        Self { detail: Some(text.into()), ..Self::default() }
    }

    fn step(result: StepResult) -> Self {
        match result {
            StepResult::Allowed => Self::class(Class::Allowed),
            StepResult::Denied(errno) => Self { errno: Some(errno), ..Self::class(Class::Denied) },
            StepResult::Refused(_) | StepResult::Lost | StepResult::Omitted => Self::text(result.to_string()),
        }
    }

    /// The verdict without cause and details.
    pub fn brief(&self) -> Self {
        Self { class: self.class, errno: self.errno, ..Self::default() }
    }
}

impl fmt::Display for KernelAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let detail = self.detail.as_deref().map(|detail| detail.replace(|c: char| c.is_control(), " "));
        let Some(class) = self.class else { return write!(f, "{}", detail.unwrap_or_default()) };
        write!(f, "{}", class.as_str())?;
        self.errno.iter().try_for_each(|errno| write!(f, " {errno}"))?;
        let link = if matches!(class, Class::Denied | Class::Malformed) { " by" } else { ":" };
        detail.iter().try_for_each(|detail| write!(f, "{link} {detail}"))?;
        self.cause.iter().try_for_each(|cause| write!(f, " ({cause})"))
    }
}

/// All differences between two judgements of one scenario, in the order of its attempts.
pub fn compare(before: &Judgement, after: &Judgement) -> Vec<Change> {
    let mut changes = attempts::compare(before, after);
    if let (Some(one), Some(other)) = (&before.grid, &after.grid) {
        changes.extend(absent(one, other));
        changes.extend(helpers::compare(before, after));
    }
    changes.extend(mounts(before, after));
    changes.extend(disagreements(before, after));
    changes
}

/// Names that one sweep knows but cannot attempt and the other does not know, and names with different reasons for that.
fn absent(before: &SweepLayout, after: &SweepLayout) -> Vec<Change> {
    let reason = |grid: &SweepLayout, row: &str| {
        let orphan = grid.absent.iter().chain(&grid.orphans).find(|orphan| orphan.name == row)?;
        Some(KernelAnswer::text(format!("not attempted: {}", orphan.advice)))
    };
    let listed = |grid: &SweepLayout, row: &str| grid.rows.iter().any(|name| name == row);
    let new = after.absent.iter().chain(&after.orphans).filter(|orphan| reason(before, &orphan.name).is_none());
    let all = before.absent.iter().chain(&before.orphans).chain(new).map(|orphan| &orphan.name);
    // A name that either sweep attempts has cells, which show the difference.
    let unlisted = all.filter(|row| !listed(before, row) && !listed(after, row));
    unlisted
        .filter_map(|row| {
            let (was, is) = (reason(before, row), reason(after, row));
            let effect = match (&was, &is) {
                (None, _) => Effect::Added,
                (_, None) => Effect::Removed,
                (one, other) => (one != other).then_some(Effect::Detail)?,
            };
            let subject = ComparedItem { case: String::new(), what: ItemKind::Absent { row: row.clone() } };
            Some(Change { effect, subject, before: was, after: is })
        })
        .collect()
}

/// The cases that both judgements have.
fn shared_cases<'a>(
    before: &'a Judgement,
    after: &'a Judgement,
) -> impl Iterator<Item = (&'a harness_verdict::judgement::Case, &'a harness_verdict::judgement::Case)> {
    before.cases.iter().filter_map(|one| Some((one, after.cases.iter().find(|other| other.label == one.label)?)))
}

fn mounts(before: &Judgement, after: &Judgement) -> Vec<Change> {
    let mut changes = Vec::new();
    for (one, other) in shared_cases(before, after) {
        for (container, shown) in &one.mounted {
            let Some((_, now)) = other.mounted.iter().find(|(name, _)| name == container) else { continue };
            if shown != now {
                let subject =
                    ComparedItem { case: one.label.clone(), what: ItemKind::Mount { container: container.clone() } };
                let answer = |options| Some(KernelAnswer::text(render::show_options(options)));
                changes.push(Change { effect: Effect::Masks, subject, before: answer(shown), after: answer(now) });
            }
        }
    }
    changes
}

fn disagreements(before: &Judgement, after: &Judgement) -> Vec<Change> {
    let differing = shared_cases(before, after).filter(|(one, other)| one.disagreements != other.disagreements);
    let answer = |lines: &[String]| {
        Some(KernelAnswer::text(if lines.is_empty() { "they agree".to_owned() } else { lines.join("; ") }))
    };
    let change = |(one, other): (&harness_verdict::judgement::Case, &harness_verdict::judgement::Case)| Change {
        effect: Effect::Disagreement,
        subject: ComparedItem { case: one.label.clone(), what: ItemKind::Disagreements },
        before: answer(&one.disagreements),
        after: answer(&other.disagreements),
    };
    differing.map(change).collect()
}

#[cfg(test)]
mod tests;
