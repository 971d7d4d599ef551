//! Counts of scenario results and of verdicts.

use std::fmt::Write;

use harness_verdict::verdict::Class;
use rayon::prelude::*;

use super::{RunStatus, ScenarioResult, Status};

/// Returns a count with its noun: `1 scenario`, `2 scenarios`.
pub fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Counts of scenario results by status, and of attempts by verdict class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Scenarios judged, over all environments.
    pub judged: usize,
    /// Scenarios skipped.
    pub skipped: usize,
    /// Scenarios that could not be judged.
    pub faults: usize,
    /// Scenarios not run.
    pub not_run: usize,
    /// Scenarios that differ from their snapshot or from what their author expects.
    pub differing: usize,
    /// Scenarios during which the kernel printed a splat that is not allowed.
    pub splats: usize,
    /// Attempts by verdict class, in the order of [`Class`].
    pub attempts: [usize; 6],
}

impl Counts {
    /// Counts these results.
    pub fn of(results: &[ScenarioResult]) -> Self {
        results.par_iter().map(Self::of_one).reduce(Self::default, Self::plus)
    }

    fn of_one(result: &ScenarioResult) -> Self {
        let mut counts = Self::default();
        match &result.status {
            Status::Skipped { .. } => counts.skipped = 1,
            Status::Fault { .. } => counts.faults = 1,
            Status::NotRun { .. } => counts.not_run = 1,
            Status::Judged { judgement, .. } => {
                counts.judged = 1;
                judgement.rows().for_each(|row| counts.attempts[row.verdict.class() as usize] += 1);
                counts.splats = usize::from(judgement.new_splats().next().is_some());
                counts.differing = usize::from(result.run_status() == RunStatus::Differs);
            }
        }
        counts
    }

    fn plus(self, other: Self) -> Self {
        Self {
            judged: self.judged + other.judged,
            skipped: self.skipped + other.skipped,
            faults: self.faults + other.faults,
            not_run: self.not_run + other.not_run,
            differing: self.differing + other.differing,
            splats: self.splats + other.splats,
            attempts: std::array::from_fn(|class| self.attempts[class] + other.attempts[class]),
        }
    }

    /// Returns the counts as one sentence.
    pub fn sentence(&self) -> String {
        let classes =
            [Class::Allowed, Class::Denied, Class::Unsupported, Class::Malformed, Class::NotMade, Class::Crashed];
        let parts: Vec<String> = classes
            .iter()
            .filter(|&&class| self.attempts[class as usize] > 0)
            .map(|&class| format!("{} {}", self.attempts[class as usize], class.as_str()))
            .collect();
        let total: usize = self.attempts.iter().sum();
        let classes = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
        let mut text = format!("{} judged, {}{classes}", counted(self.judged, "scenario"), counted(total, "attempt"));
        let rest = [
            (self.skipped, "skipped"),
            (self.differing, "not as recorded"),
            (self.splats, "with a splat"),
            (self.faults, if self.faults == 1 { "fault" } else { "faults" }),
            (self.not_run, "not run"),
        ];
        for (count, what) in rest {
            if count > 0 {
                let _ = write!(text, "; {count} {what}");
            }
        }
        text
    }
}
