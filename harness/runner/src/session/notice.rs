//! What a session tells while it runs, and what its VMs took.

use std::time::Duration;

use harness_protocol::{name::ScenarioName, outcome::ScenarioOutcome};

/// How far a session is, for whoever watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice<'a> {
    /// A VM is being started, the first one or a further one.
    Booting {
        /// Counts from 1.
        vm: u32,
    },
    /// A VM died before its guest began, for no reason the guest gave; another one is booted.
    Stillborn {
        /// What happened.
        how: &'a str,
    },
    /// The guest program runs.
    Booted {
        /// Since the VM was started.
        after: Duration,
    },
    /// The guest is about to start a scenario.
    Started(&'a ScenarioName),
    /// A scenario has its outcome.
    Ended(&'a ScenarioOutcome),
}

/// When a VM reached what, since it was started, and what memory it took; what was not reached is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VmTimes {
    /// The agent in the guest answered `vmtest`.
    pub agent: Option<Duration>,
    /// The shared folders were mounted.
    pub mounted: Option<Duration>,
    /// The guest program's first record was read.
    pub hello: Option<Duration>,
    /// The first scenario was announced.
    pub first_scenario: Option<Duration>,
    /// The VM was gone.
    pub end: Duration,
    /// The most memory its QEMU had resident, in KiB; `None` if that could not be read.
    pub peak_kib: Option<u64>,
}
