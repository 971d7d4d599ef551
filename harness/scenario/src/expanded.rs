//! What a scenario comes to on one kernel: the plan for the guest, and what is said about each of its attempts.

use harness_protocol::plan;

use crate::{
    expect::Expect,
    layout::{AttemptRole, SweepLayout},
    spec::Isolation,
};

/// A scenario for one kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expanded {
    /// What it proves.
    pub summary: String,
    /// Which other scenarios may run in the same boot.
    pub isolation: Isolation,
    /// One for each case of the plan, in the same order.
    pub cases: Vec<ExpandedCase>,
    /// How the attempts are laid out, if it is a sweep.
    pub grid: Option<Box<SweepLayout>>,
    /// What the guest is asked.
    pub plan: plan::Scenario,
}

/// One combination of a scenario's matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpandedCase {
    /// What tells it from others, such as `type=hash`; empty without a matrix.
    pub label: String,
    /// One for each attempt of the plan, in the same order.
    pub attempts: Vec<ExpandedAttempt>,
}

/// What is said about an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpandedAttempt {
    /// In a few words, for tables and snapshots: `by intruder: prog_load xdp attach=xdp, token t`.
    pub text: String,
    /// Its operation, such as `map_create`.
    pub op: &'static str,
    /// Who makes it: the name of a container, or `host`.
    pub container: String,
    /// What it must give.
    pub expect: Option<Expect>,
    /// Why this kernel cannot know it, if so.
    pub missing: Option<String>,
    /// What it is to its scenario.
    pub part: AttemptRole,
}
