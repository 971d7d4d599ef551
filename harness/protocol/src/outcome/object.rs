//! What became of a BPF object that libbpf loaded: each `bpf(2)` call it made, and what it believed of the kernel.

use serde::{Deserialize, Serialize};

use crate::errno::Errno;

/// The most steps told of one load; three answers of so many fit a line of the record.
pub const MOST_STEPS: usize = 240;

/// The most characters of a name in a step: names of functions end nowhere.
pub const LONGEST_NAME: usize = 64;

/// What became of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectAnswer {
    /// What libbpf gave up at; nothing if the object was loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<ObjectFailure>,
    /// The calls of `bpf(2)`, in their order, at most [`MOST_STEPS`] of them.
    pub steps: Vec<ObjectStep>,
    /// How many more calls were made.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub untold: u32,
    /// What libbpf asked itself about the kernel, and its own answers, in the order of first asking.
    pub features: Vec<Feature>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What libbpf gave up at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectFailure {
    /// The part of the work, such as `load`.
    pub stage: String,
    /// The errno libbpf returned, which need not be the kernel's.
    pub errno: Errno,
}

/// Calls of `bpf(2)`, or of `perf_event_open(2)` where something is attached, with the same meaning and the same answer, one
/// directly after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectStep {
    /// The command, as the kernel names it in lower case, such as `map_create`; `perf_event_open`; or `attach` where libbpf
    /// failed to attach something without being refused a call, such as for want of a file.
    pub cmd: String,
    /// What it is about in a few words: type and name.
    pub about: String,
    /// Whose it is.
    pub purpose: Purpose,
    /// Whether a token was handed over.
    pub token: bool,
    /// How the kernel refused it; nothing if it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<Errno>,
    /// How often it was made: libbpf repeats a refused load to get the verifier's log.
    pub times: u32,
}

/// Whose a call is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Purpose {
    /// The object's: one of its maps, programs, or its types.
    Object,
    /// The object's: one of its programs or structures is attached.
    Attachment,
    /// libbpf's, to find out whether the kernel has a feature.
    Probe(String),
    /// libbpf's, for the work around the object, such as making the token.
    Work,
}

/// One thing libbpf asked itself about the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// What, in the words of libbpf's own table.
    pub name: String,
    /// Whether it was asked for the object, with its token if it has one; for any caller, without a token, otherwise.
    pub by_object: bool,
    /// What libbpf took the answer to be.
    pub supported: bool,
}
