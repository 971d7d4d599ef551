//! What restricts a process other than missing capabilities.

use serde::{Deserialize, Serialize};

/// The restrictions of a container's processes after setup.
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
    /// Returns whether there is none.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// A system call filter, which answers some calls itself and lets all others pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// The calls that never reach the kernel.
    pub refused: Vec<Refused>,
    /// Its answer to them.
    pub answer: FilterErrno,
}

/// A call that a filter answers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// The system call.
    pub call: SystemCall,
    /// The first argument it applies to, for [`SystemCall::Bpf`] a number of `enum bpf_cmd`; `None` for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<u32>,
}

/// The system calls that a filter can refuse: those that attempts consist of, but none that an executor needs to reply.
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
    /// All of them, with their names in scenario files.
    pub const ALL: [(Self, &str); 6] = [
        (Self::Bpf, "bpf"),
        (Self::Fsopen, "fsopen"),
        (Self::Fsconfig, "fsconfig"),
        (Self::Fspick, "fspick"),
        (Self::OpenTree, "open_tree"),
        (Self::PerfEventOpen, "perf_event_open"),
    ];
}

/// A filter's answer: the errnos that container managers use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum FilterErrno {
    /// Not permitted.
    #[default]
    #[serde(rename = "EPERM")]
    Eperm,
    /// Not implemented.
    #[serde(rename = "ENOSYS")]
    Enosys,
}

/// How far the kernel protects itself from root (`kernel_lockdown(7)`); cannot be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Lockdown {
    /// Nobody changes the running kernel.
    Integrity,
    /// Nobody reads its secrets either.
    Confidentiality,
}
