//! A finding in one word.

use super::{RunStatus, ScenarioResult, Status};

/// What came of a scenario on a kernel in one word, the gravest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mark {
    /// The scenario is not for this kernel.
    Skipped,
    /// As recorded and as its author expects.
    AsRecorded,
    /// Not as recorded, or not as its author expects.
    Differs,
    /// The VM died or hung during it.
    Crashed,
    /// It was not run.
    NotRun,
    /// It could not be judged.
    Fault,
}

impl Mark {
    /// Every mark in its order.
    pub const ALL: [Self; 6] =
        [Self::Skipped, Self::AsRecorded, Self::Differs, Self::Crashed, Self::NotRun, Self::Fault];

    /// The mark of a finding.
    pub fn of(result: &ScenarioResult) -> Self {
        match (&result.status, result.outcome()) {
            (Status::Skipped { .. }, _) => Self::Skipped,
            (Status::NotRun { .. }, _) => Self::NotRun,
            (Status::Fault { .. }, _) => Self::Fault,
            (Status::Judged { judgement, .. }, _) if judgement.crash.is_some() => Self::Crashed,
            (Status::Judged { .. }, RunStatus::AsRecorded) => Self::AsRecorded,
            (Status::Judged { .. }, RunStatus::Differs | RunStatus::Fault) => Self::Differs,
        }
    }

    /// The words for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::AsRecorded => "as recorded",
            Self::Differs => "differs",
            Self::Crashed => "crashed",
            Self::NotRun => "not run",
            Self::Fault => "fault",
        }
    }

    /// Whether somebody has to look at it.
    pub const fn is_bad(self) -> bool {
        matches!(self, Self::Differs | Self::Crashed | Self::NotRun | Self::Fault)
    }
}
