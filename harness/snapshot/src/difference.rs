//! What differs between two kernels, the most important first.
//!
//! [`compare`] holds two judgements of one scenario against each other, attempt by attempt; [`names::differences`] does the
//! same with what two kernels' type information says; [`group`](groups) puts together what changed in the same way.

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

/// What a change is to somebody who relies on permissions, the most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// What was denied is allowed.
    Loosened,
    /// What was allowed is denied.
    Tightened,
    /// What the first kernel could not know or do, the second allows or denies.
    Supported,
    /// What the first kernel allowed or denied, the second cannot know or do.
    Unsupported,
    /// Only the second kernel is asked for it.
    Added,
    /// Only the first kernel is asked for it.
    Removed,
    /// A kernel died or hung over it.
    Crashed,
    /// On one of the two nobody asked the kernel.
    NotMade,
    /// One of the two kernels refuses it to everybody.
    Malformed,
    /// It is refused by another errno.
    Errno,
    /// It is denied for another reason.
    Cause,
    /// Something else that was answered differs.
    Detail,
    /// The mount of a container's bpffs shows other masks.
    Masks,
    /// What the kernel tells about one delegation agrees, or disagrees, in another way.
    Disagreement,
}

impl Effect {
    /// All of them, the most important first.
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

    /// What two classes of verdicts make of a change; nothing if they are equal.
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

    /// A title above what changed like this.
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
            Self::Malformed => "refused to everybody on one of the two",
            Self::Errno => "refused by another errno",
            Self::Cause => "denied for another reason",
            Self::Detail => "answered otherwise",
            Self::Masks => "other masks shown by the mount",
            Self::Disagreement => "the kernel's accounts of a delegation agree otherwise",
        }
    }
}

/// One thing that is not the same on both kernels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it is to those who rely on permissions.
    pub effect: Effect,
    /// What changed.
    pub subject: ComparedItem,
    /// What the first kernel said; `None` if it was not asked.
    pub before: Option<KernelAnswer>,
    /// What the second kernel said; `None` if it was not asked.
    pub after: Option<KernelAnswer>,
}

/// What two kernels are compared in: found again on the other by what it is, not by its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComparedItem {
    /// The combination of the scenario's matrix; empty without one, and in a sweep, where the arm tells it.
    pub case: String,
    /// What it is within that.
    pub what: ItemKind,
}

/// What can change within a case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ItemKind {
    /// An attempt.
    Attempt {
        /// It in a few words.
        text: String,
        /// Who makes it.
        container: String,
        /// Which of several that read the same, counted from 1.
        occurrence: usize,
    },
    /// A call libbpf made in an attempt that loads an object.
    Step {
        /// The attempt in a few words.
        attempt: String,
        /// The call in a few words.
        step: String,
        /// Which of several that read the same, counted from 1.
        occurrence: usize,
    },
    /// A cell of a sweep.
    Cell {
        /// The row, such as `hash`.
        row: String,
        /// The name of its arm, such as `no_token`.
        arm: String,
    },
    /// A name of a sweep's kind that is not attempted.
    Absent {
        /// The name.
        row: String,
    },
    /// A helper in a cell of a sweep of helpers.
    Helper {
        /// Its name.
        helper: String,
        /// The type of the program.
        row: String,
        /// The name of the arm.
        arm: String,
    },
    /// The mount of a container's bpffs.
    Mount {
        /// The container.
        container: ContainerName,
    },
    /// Where what was to be delegated and what the kernel tells about it differ.
    Disagreements,
}

/// What one kernel said.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelAnswer {
    /// The class of the verdict; `None` if it is none but a text.
    pub class: Option<Class>,
    /// The errno, if there was one.
    pub errno: Option<Errno>,
    /// Why it was denied, if that was found out.
    pub cause: Option<String>,
    /// What else was said.
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
            StepResult::Refused(_) | StepResult::Lost | StepResult::Untold => Self::text(result.to_string()),
        }
    }

    /// The verdict without its particulars.
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

/// Everything that differs between two judgements of one scenario, in the order of its attempts.
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

/// Names that one of two sweeps knows and cannot attempt, and the other does not know; and other reasons for that.
fn absent(before: &SweepLayout, after: &SweepLayout) -> Vec<Change> {
    let told = |grid: &SweepLayout, row: &str| {
        let orphan = grid.absent.iter().chain(&grid.orphans).find(|orphan| orphan.name == row)?;
        Some(KernelAnswer::text(format!("not attempted: {}", orphan.advice)))
    };
    let listed = |grid: &SweepLayout, row: &str| grid.rows.iter().any(|name| name == row);
    let new = after.absent.iter().chain(&after.orphans).filter(|orphan| told(before, &orphan.name).is_none());
    let all = before.absent.iter().chain(&before.orphans).chain(new).map(|orphan| &orphan.name);
    // What one of the two attempts has cells that say so.
    let unlisted = all.filter(|row| !listed(before, row) && !listed(after, row));
    unlisted
        .filter_map(|row| {
            let (was, is) = (told(before, row), told(after, row));
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

/// The cases that both have.
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
                let told = |options| Some(KernelAnswer::text(render::show_options(options)));
                changes.push(Change { effect: Effect::Masks, subject, before: told(shown), after: told(now) });
            }
        }
    }
    changes
}

fn disagreements(before: &Judgement, after: &Judgement) -> Vec<Change> {
    let differing = shared_cases(before, after).filter(|(one, other)| one.disagreements != other.disagreements);
    let told = |lines: &[String]| {
        Some(KernelAnswer::text(if lines.is_empty() { "they agree".to_owned() } else { lines.join("; ") }))
    };
    let change = |(one, other): (&harness_verdict::judgement::Case, &harness_verdict::judgement::Case)| Change {
        effect: Effect::Disagreement,
        subject: ComparedItem { case: one.label.clone(), what: ItemKind::Disagreements },
        before: told(&one.disagreements),
        after: told(&other.disagreements),
    };
    differing.map(change).collect()
}

#[cfg(test)]
mod tests;
