//! Scenarios, expanded for one kernel: the plan for the guest, and descriptions of its attempts.

use harness_protocol::plan;

use crate::{
    expect::Expect,
    layout::{AttemptRole, SweepLayout},
    spec::Isolation,
};

/// A scenario, expanded for one kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expanded {
    /// What it proves, in one line.
    pub summary: String,
    /// Which other scenarios may run in the same boot.
    pub isolation: Isolation,
    /// The cases of the plan, in the same order.
    pub cases: Vec<ExpandedCase>,
    /// The table of its attempts, if it is a sweep.
    pub grid: Option<Box<SweepLayout>>,
    /// The plan for the guest.
    pub plan: plan::Scenario,
}

/// One combination of a scenario's matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpandedCase {
    /// What distinguishes it from others, such as `type=hash`; empty without a matrix.
    pub label: String,
    /// The attempts of the plan, in the same order.
    pub attempts: Vec<ExpandedAttempt>,
}

/// The description of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpandedAttempt {
    /// Its label in tables and snapshots, such as `by intruder: prog_load xdp attach=xdp, token t`.
    pub text: String,
    /// Its operation, such as `map_create`.
    pub op: &'static str,
    /// Who makes it: the name of a container, or `host`.
    pub container: String,
    /// The verdict that it must have.
    pub expect: Option<Expect>,
    /// Why this kernel does not know it, if so.
    pub missing: Option<String>,
    /// Its role in the scenario.
    pub part: AttemptRole,
}
