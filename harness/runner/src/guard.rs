//! The guard of a run, under which all of its scenarios are.

use harness_protocol::plan::{Guard, GuardMode};
use serde::{Deserialize, Serialize};

/// The guard that all scenarios of a run are under (`--guard`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunGuard {
    /// It has no rule, records every call, and refuses only what no policy can allow, so verdicts do not change.
    Audit,
}

/// A policy without rules, which counts every call as one that it would refuse.
const AUDIT: &str = "version = 1\nmode = \"audit\"\ndefault = \"deny\"\n\n[guard]\ncount_only = []\n";

impl RunGuard {
    /// Returns its name, as options and reports show it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Audit => "audit",
        }
    }

    /// Returns the guard as a plan has it.
    pub fn plan(self) -> Guard {
        match self {
            Self::Audit => Guard { mode: Some(GuardMode::Audit), ..Guard::new(AUDIT) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guard_of_a_run_audits_and_records_everything() {
        let Guard { policy, mode, early, .. } = RunGuard::Audit.plan();
        assert_eq!((mode, early), (Some(GuardMode::Audit), false));
        assert!(policy.contains("default = \"deny\"") && policy.contains("count_only = []"), "{policy}");
    }
}
