//! Notices of a session's progress, and the times of its VMs.

use std::time::Duration;

use harness_protocol::{name::ScenarioName, outcome::ScenarioOutcome};

/// A notice of a session's progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice<'a> {
    /// A VM is being started.
    Booting {
        /// The VM's number, from 1.
        vm: u32,
    },
    /// The host lost a VM; another one is booted, and its scenario begins again.
    Lost {
        /// The scenario that the guest had begun, if any.
        during: Option<&'a ScenarioName>,
        /// What happened.
        how: &'a str,
    },
    /// The guest program runs.
    Booted {
        /// The time since the VM was started.
        after: Duration,
    },
    /// The guest is about to start a scenario.
    Started(&'a ScenarioName),
    /// A scenario has its outcome.
    Ended(&'a ScenarioOutcome),
}

/// When a VM reached each stage, since it was started, and its peak memory; `None` for a stage that it did not reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VmTimes {
    /// The guest agent answered `vmtest`.
    pub agent: Option<Duration>,
    /// The shared folders were mounted.
    pub mounted: Option<Duration>,
    /// The guest program's first record was read.
    pub hello: Option<Duration>,
    /// The guest announced the first scenario.
    pub first_scenario: Option<Duration>,
    /// The VM was gone.
    pub end: Duration,
    /// The peak resident memory of its QEMU, in KiB; `None` if it could not be read.
    pub peak_kib: Option<u64>,
}
