//! The status of a scenario result in one word.

use super::{RunStatus, ScenarioResult, Status};

/// The status of a scenario result in one word, the most serious last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mark {
    /// The scenario is not meant for this environment.
    Skipped,
    /// The verdicts are as recorded and as the author expects.
    AsRecorded,
    /// A verdict is not as recorded, or not as the author expects.
    Differs,
    /// The kernel printed a splat that is not allowed during the scenario.
    Splat,
    /// The VM died or hung during the scenario.
    Crashed,
    /// The scenario was not run.
    NotRun,
    /// The scenario could not be judged.
    Fault,
}

impl Mark {
    /// Every mark, in ascending order.
    pub const ALL: [Self; 7] =
        [Self::Skipped, Self::AsRecorded, Self::Differs, Self::Splat, Self::Crashed, Self::NotRun, Self::Fault];

    /// Returns the mark of a scenario result.
    pub fn of(result: &ScenarioResult) -> Self {
        match (&result.status, result.run_status()) {
            (Status::Skipped { .. }, _) => Self::Skipped,
            (Status::NotRun { .. }, _) => Self::NotRun,
            (Status::Fault { .. }, _) => Self::Fault,
            (Status::Judged { judgement, .. }, _) if judgement.crash.is_some() => Self::Crashed,
            (Status::Judged { judgement, .. }, _) if judgement.new_splats().next().is_some() => Self::Splat,
            (Status::Judged { .. }, RunStatus::AsRecorded) => Self::AsRecorded,
            (Status::Judged { .. }, RunStatus::Differs | RunStatus::Fault) => Self::Differs,
        }
    }

    /// Returns the word or words for the mark.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::AsRecorded => "as recorded",
            Self::Differs => "differs",
            Self::Splat => "splat",
            Self::Crashed => "crashed",
            Self::NotRun => "not run",
            Self::Fault => "fault",
        }
    }

    /// Returns how many results have the mark, in words.
    pub fn counted(self, count: usize) -> String {
        let words = match self {
            Self::Differs if count != 1 => "differ",
            Self::Splat => "with a splat",
            Self::Fault if count != 1 => "faults",
            mark => mark.as_str(),
        };
        format!("{count} {words}")
    }

    /// Returns a character for the mark; those that need a look share one.
    pub const fn sign(self) -> char {
        match self {
            Self::Skipped => '-',
            Self::AsRecorded => '✓',
            Self::NotRun => '?',
            Self::Differs | Self::Splat | Self::Crashed | Self::Fault => '✗',
        }
    }

    /// Returns whether a person has to look at the result.
    pub const fn is_bad(self) -> bool {
        matches!(self, Self::Differs | Self::Splat | Self::Crashed | Self::NotRun | Self::Fault)
    }
}
