//! The answer to running a program: how it ended, and the calls of `bpf(2)` and `perf_event_open(2)` that it made.

use serde::{Deserialize, Serialize};

use super::object::{ObjectAnswer, ObjectStep};
use crate::plan::TokenCommand;

/// The most output of a program that is kept, in bytes: the end of it.
pub const MOST_OUTPUT: usize = 4096;

/// The answer to running a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecAnswer {
    /// How it ended.
    pub end: ExecEnd,
    /// How long it ran, in milliseconds.
    #[serde(default)]
    pub took_ms: u64,
    /// Its calls, in the order in which they returned; neither `failure` nor `features` is used.
    pub calls: ObjectAnswer,
    /// For how many calls a token was handed over.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub injected: u32,
    /// What a token has to allow for its calls, each once, at most [`MOST_ASKED`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<Asked>,
    /// Where it made its calls, if that was to be recorded: each place once, as the function and those that called it, innermost
    /// first; at most [`MOST_SITES`] of at most [`MOST_FRAMES`] functions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sites: Vec<Vec<Frame>>,
    /// The end of what it wrote to its standard output and standard error, at most [`MOST_OUTPUT`] bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The most places that are noted.
pub const MOST_SITES: usize = 48;

/// The most functions of a place that are noted.
pub const MOST_FRAMES: usize = 5;

/// A function of a traced program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frame {
    /// The name of the program's or library's file, without its folder.
    pub file: String,
    /// The function's name, if the file has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// The address within the file, as `addr2line` takes it.
    pub address: u64,
}

impl std::fmt::Display for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.function {
            Some(function) => write!(f, "{function} in {}", self.file),
            None => write!(f, "{:#x} in {}", self.address, self.file),
        }
    }
}

/// The most different things that are noted of what a token has to allow.
pub const MOST_ASKED: usize = 256;

/// What a token has to allow for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The command.
    pub command: TokenCommand,
    /// The type of the map or program; 0 for BTF.
    #[serde(rename = "type", default)]
    pub kind: u32,
    /// The expected attach type of a program.
    #[serde(default)]
    pub attach: u32,
}

impl ExecAnswer {
    /// Returns where a call of it was made, innermost function first; empty if that was not recorded.
    pub fn site(&self, step: &ObjectStep) -> &[Frame] {
        let site = step.site.and_then(|site| self.sites.get(usize::try_from(site).ok()?));
        site.map(Vec::as_slice).unwrap_or_default()
    }
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ExecEnd {
    /// It exited with this status.
    Exited(i32),
    /// A signal killed it.
    Killed(i32),
    /// It printed the text that was waited for, and was ended.
    Printed,
    /// It had not ended when its time was over, and was ended.
    OutOfTime,
}

impl ExecEnd {
    /// Returns whether it did what it was run for.
    pub const fn is_success(&self) -> bool {
        matches!(self, Self::Exited(0) | Self::Printed)
    }
}

impl std::fmt::Display for ExecEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "exited with {status}"),
            Self::Killed(signal) => write!(f, "was killed by signal {signal}"),
            Self::Printed => write!(f, "printed what was waited for"),
            Self::OutOfTime => write!(f, "did not end in time"),
        }
    }
}
