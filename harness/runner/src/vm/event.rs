//! What a VM tells while it lives.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// An event, and when it happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimedEvent {
    /// Since the worker started.
    pub at: Duration,
    /// What happened.
    pub event: VmEvent,
}

/// What happened to a VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VmEvent {
    /// It came this far.
    Reached(Phase),
    /// A line of its console, printable and cut.
    Console(String),
    /// A line its command printed, printable and cut.
    Output(String),
    /// It is over; nothing follows.
    Ended(VmEnd),
}

/// A step on the way to the guest's command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// QEMU is being started.
    Started,
    /// The agent in the guest answers.
    AgentAnswered,
    /// The shared folders are mounted in the guest.
    SharesMounted,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Started => "QEMU started",
            Self::AgentAnswered => "agent answered",
            Self::SharesMounted => "shares mounted",
        })
    }
}

/// How a VM ended without being told to. None of them is a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VmEnd {
    /// The command in the guest ended. Its exit code is not told: `vmtest` reads a missing one as 0.
    CommandEnded,
    /// QEMU or the agent in the guest is gone: the guest panicked, rebooted or powered off, or somebody killed QEMU.
    QemuGone,
    /// `vmtest` gave up; why.
    Failed(String),
    /// The worker itself is gone; how it ended.
    WorkerGone(String),
}

impl fmt::Display for VmEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandEnded => write!(f, "the guest's command ended"),
            Self::QemuGone => write!(f, "the VM ended by itself"),
            Self::Failed(why) => write!(f, "vmtest gave up: {why}"),
            Self::WorkerGone(how) => write!(f, "the process that held the VM ended: {how}"),
        }
    }
}
