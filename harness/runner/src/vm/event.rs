//! Events of a VM.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// An event, and when it happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimedEvent {
    /// The time since the worker started.
    pub at: Duration,
    /// The event.
    pub event: VmEvent,
}

/// An event of a VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VmEvent {
    /// It reached a phase.
    Reached(Phase),
    /// A line of its console, made printable and truncated.
    Console(String),
    /// The guest wrote lines so fast that this many were dropped here.
    LinesDropped(u64),
    /// A line of its command's output, made printable and truncated.
    Output(String),
    /// It ended; no event follows.
    Ended(VmEnd),
}

/// A phase before the guest's command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// QEMU is being started.
    Started,
    /// The guest agent answers.
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

/// How a VM ended by itself. None of these is a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VmEnd {
    /// The command in the guest ended. Its exit code is not included: `vmtest` reads a missing one as 0.
    CommandEnded,
    /// QEMU or the guest agent is gone: the guest panicked, rebooted or powered off, or something killed QEMU. Contains how QEMU
    /// ended, if that is known.
    QemuGone(Option<QemuExit>),
    /// `vmtest` gave up, with the reason.
    Failed(String),
    /// The worker ended, with its status.
    WorkerGone(String),
}

/// How the process of QEMU ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QemuExit {
    /// It exited with this code: 0 if its guest shut down or, with `-no-reboot`, was reset, as after a panic (`main` in QEMU's
    /// system/main.c, `qemu_system_reset_request` in system/runstate.c).
    Code(i32),
    /// This signal killed it.
    Signal(i32),
}

impl QemuExit {
    /// How QEMU ends if its guest ends the VM.
    pub const BY_GUEST: Self = Self::Code(0);
}

impl fmt::Display for QemuExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(0) => write!(f, "the guest shut down or reset the VM"),
            Self::Code(code) => write!(f, "QEMU exited with code {code}"),
            Self::Signal(signal) => write!(f, "QEMU was killed by signal {signal}"),
        }
    }
}

impl fmt::Display for VmEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandEnded => write!(f, "the guest's command ended"),
            Self::QemuGone(Some(exit)) => exit.fmt(f),
            Self::QemuGone(None) => write!(f, "QEMU is gone"),
            Self::Failed(why) => write!(f, "vmtest gave up: {why}"),
            Self::WorkerGone(how) => write!(f, "the VM's worker process ended: {how}"),
        }
    }
}
