//! The answer to loading a BPF object with libbpf: each `bpf(2)` call that libbpf made, and what it assumed about the
//! kernel.

use serde::{Deserialize, Serialize};

use crate::errno::Errno;

/// The most steps recorded of one load: three answers with as many fit a line of the record.
pub const MOST_STEPS: usize = 240;

/// The longest name in a step, in characters: names of functions have no limit of their own.
pub const LONGEST_NAME: usize = 64;

/// The answer to loading an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectAnswer {
    /// Where libbpf gave up; `None` if it loaded the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<ObjectFailure>,
    /// The `bpf(2)` calls in order, at most [`MOST_STEPS`].
    pub steps: Vec<ObjectStep>,
    /// How many more calls were made.
    #[serde(rename = "untold", default, skip_serializing_if = "is_zero")]
    pub omitted: u32,
    /// What libbpf asked itself about the kernel, with its own answers, in the order first asked.
    pub features: Vec<Feature>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Where libbpf gave up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectFailure {
    /// The stage of the work, such as `load`.
    pub stage: String,
    /// The errno that libbpf returned, which need not be the kernel's.
    pub errno: Errno,
}

/// Consecutive calls of `bpf(2)` with the same meaning and answer; or of `perf_event_open(2)`, where something is
/// attached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectStep {
    /// The command as the kernel names it, in lower case, such as `map_create`; or `perf_event_open`; or `attach` if
    /// libbpf failed to attach something without a refused call, such as for a missing file.
    pub cmd: String,
    /// The type and name of what it concerns.
    pub about: String,
    /// What it is for.
    pub purpose: Purpose,
    /// Whether a token was handed over.
    pub token: bool,
    /// How the kernel refused it; `None` if it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<Errno>,
    /// How often it was made: libbpf repeats a refused load to get the verifier's log.
    pub times: u32,
    /// Why the verifier refused a program, if its log was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verifier: Option<VerifierMessage>,
    /// Where a program made the call first: an index into [`super::ExecAnswer::sites`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<u32>,
}

/// Why the verifier refused a program: the end of its log, which is text for people and differs from release to release
/// (`kernel/bpf/log.c`, `verbose` in `kernel/bpf/verifier.c`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifierMessage {
    /// The instruction that it looked at last, by its number and as the log shows it, such as `4: (85) call bpf_probe_read#4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instruction: Option<String>,
    /// The line of the source that this is part of, if the program has line information.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What it says then, in at most [`LONGEST_REASON`] bytes.
    pub reason: String,
}

impl std::fmt::Display for VerifierMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the verifier: {}", self.reason)?;
        match (&self.instruction, &self.source) {
            (Some(instruction), Some(source)) => write!(f, " (at {instruction}; {source})"),
            (Some(instruction), None) => write!(f, " (at {instruction})"),
            (None, _) => Ok(()),
        }
    }
}

/// The longest of the texts of a [`VerifierMessage`], in bytes.
pub const LONGEST_REASON: usize = 256;

/// The most messages of the verifier that an answer has.
pub const MOST_MESSAGES: usize = 16;

/// What a call is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Purpose {
    /// One of the object's maps or programs, or its types.
    Object,
    /// Attaching one of the object's programs or structures.
    Attachment,
    /// Probing whether the kernel has this feature.
    Probe(String),
    /// libbpf's work around the object, such as making the token.
    #[default]
    Work,
}

/// One thing that libbpf asked itself about the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// The feature, as in libbpf's own table.
    pub name: String,
    /// Whether it was asked for the object, with its token if it has one; otherwise without a token, for any caller.
    pub by_object: bool,
    /// What libbpf took the answer to be.
    pub supported: bool,
}
