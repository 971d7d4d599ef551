//! The guard of a scenario: BPF programs that record every `bpf(2)` call and decide by a policy.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The file name of the guard's program in the run folder, if any scenario needs it.
pub const GUARD_PROGRAM: &str = "bpf-guard";

/// The folder in the VM that has the copies of the guest program.
pub const COPIES: &str = "/run/copies";

/// A digest in a policy that stands for that of the guest program, which differs from build to build: the one of fs-verity if a
/// copy has fs-verity, otherwise its SHA-256.
pub const DIGEST_OF_COPIES: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

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
    /// Copies of the guest program below [`COPIES`], made before it is loaded, for attempts to execute.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub copies: BTreeMap<String, GuestCopy>,
}

impl Guard {
    /// Makes a guard with the text of a policy, in the policy's own mode, that is switched off for controls and read all the time.
    pub fn new(policy: impl Into<String>) -> Self {
        Self {
            policy: policy.into(),
            mode: None,
            early: false,
            pinned: false,
            reader: Reader::default(),
            copies: BTreeMap::new(),
        }
    }
}

/// A copy of the guest program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum GuestCopy {
    /// The same bytes.
    Same,
    /// One byte more.
    Longer,
    /// The same bytes until the guard is in force; then one byte more is written to the file.
    Written,
    /// The same bytes, and once the guard is in force, a file with the same bytes takes its place.
    Replaced,
    /// The same bytes with fs-verity, on a file system that has it.
    Verity,
}

/// A step of an actor's process towards the one that makes an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// `execve(2)` of a copy of the guest program.
    Exec(String),
    /// `fork(2)`: the child goes on.
    Fork,
    /// `fork(2)`: the child goes on, traced by its parent (`PTRACE_TRACEME`) until it has executed something.
    Traced,
}

impl Step {
    /// The names of steps that execute nothing.
    pub const OTHERS: [&str; 2] = ["fork", "traced"];

    /// Returns the step with a name.
    pub fn named(name: &str) -> Self {
        match name {
            "fork" => Self::Fork,
            "traced" => Self::Traced,
            name => Self::Exec(name.to_owned()),
        }
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Exec(name) => name,
            Self::Fork => "fork",
            Self::Traced => "traced",
        }
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
