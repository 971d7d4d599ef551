//! What stands between a process and the kernel besides capabilities.

use serde::{Deserialize, Serialize};

/// What a container's processes put up with once it is set up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restrictions {
    /// `PR_SET_NO_NEW_PRIVS` (`prctl(2)`).
    #[serde(default)]
    pub no_new_privs: bool,
    /// A system call filter (`seccomp(2)`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
}

impl Restrictions {
    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// A system call filter that answers some calls itself and lets all others pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// The calls that never reach the kernel.
    pub refused: Vec<Refused>,
    /// What they are answered.
    pub answer: FilterErrno,
}

/// A call that a filter answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// Which system call.
    pub call: SystemCall,
    /// Only with this first argument, for [`SystemCall::Bpf`] a number of `enum bpf_cmd`; with any if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<u32>,
}

/// The system calls a filter can refuse: those that attempts are made of, and none that an agent needs to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SystemCall {
    /// `bpf(2)`.
    Bpf,
    /// `fsopen(2)`.
    Fsopen,
    /// `fsconfig(2)`.
    Fsconfig,
    /// `fspick(2)`.
    Fspick,
    /// `open_tree(2)`.
    OpenTree,
    /// `perf_event_open(2)`.
    PerfEventOpen,
}

impl SystemCall {
    /// Every one, as scenario files write it.
    pub const ALL: [(Self, &str); 6] = [
        (Self::Bpf, "bpf"),
        (Self::Fsopen, "fsopen"),
        (Self::Fsconfig, "fsconfig"),
        (Self::Fspick, "fspick"),
        (Self::OpenTree, "open_tree"),
        (Self::PerfEventOpen, "perf_event_open"),
    ];
}

/// What a filter answers: the errnos that container managers use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum FilterErrno {
    /// As if it were not permitted.
    #[default]
    #[serde(rename = "EPERM")]
    Eperm,
    /// As if the kernel did not have it.
    #[serde(rename = "ENOSYS")]
    Enosys,
}

/// How far the kernel defends itself against root (`kernel_lockdown(7)`); never taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Lockdown {
    /// Nobody changes the running kernel.
    Integrity,
    /// Nor reads its secrets.
    Confidentiality,
}
