//! The guard of a scenario: BPF programs that record every `bpf(2)` call and decide by a policy.

use serde::{Deserialize, Serialize};

/// The file name of the guard's program in the run folder, if any scenario needs it.
pub const GUARD_PROGRAM: &str = "bpf-guard";

/// The guard that is in force while attempts are made, but not while their controls are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guard {
    /// The text of its policy.
    pub policy: String,
    /// The mode, in place of the policy's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<GuardMode>,
    /// Whether it is in force since the initramfs. Then nothing switches it off, so it is in force for controls too.
    #[serde(default, skip_serializing_if = "is_false")]
    pub early: bool,
    /// Whether it is started in the running system, yet pinned as an early one. Nothing switches it off either.
    #[serde(default, skip_serializing_if = "is_false")]
    pub pinned: bool,
    /// What its reader does while attempts are made.
    #[serde(default, skip_serializing_if = "Reader::is_reading")]
    pub reader: Reader,
}

impl Guard {
    /// Makes a guard with the text of a policy, in the policy's own mode, that is switched off for controls and read all the time.
    pub fn new(policy: impl Into<String>) -> Self {
        Self { policy: policy.into(), mode: None, early: false, pinned: false, reader: Reader::default() }
    }
}

/// What the process that reads the guard's records does while attempts are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Reader {
    /// It reads.
    #[default]
    Reads,
    /// It was stopped (`SIGSTOP`) two seconds before the attempt, and goes on after it.
    Stopped,
    /// It was stopped, and then the ring of calls that are not denied was filled.
    Full,
}

impl Reader {
    /// Returns whether it reads.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    fn is_reading(&self) -> bool {
        *self == Self::Reads
    }
}

/// What the guard does with a call that its policy refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum GuardMode {
    /// It records the refusal, and the call goes on.
    Audit,
    /// The call fails with `EPERM`.
    Enforce,
}

impl GuardMode {
    /// Returns its name in policies and scenario files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Enforce => "enforce",
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}
