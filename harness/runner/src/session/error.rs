//! Errors of sessions.

use std::{io, path::PathBuf};

use harness_protocol::plan::FORMAT;
use thiserror::Error;

use super::record_checker::ProtocolViolation;
use crate::vm::VmError;

/// Why a plan could not be carried out. No outcome follows from it.
#[derive(Debug, Error)]
pub enum SessionError {
    /// A folder or file of the session cannot be created.
    #[error("cannot prepare the VM folder {}", path.display())]
    Prepare {
        /// The path.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The VM could not be started.
    #[error(transparent)]
    Vm(#[from] VmError),
    /// The guest started no scenario.
    #[error(
        "the guest started no scenario: {how}; run `{} shell` to inspect such a VM{}",
        harness_program::NAME,
        excerpt(console)
    )]
    NothingStarted {
        /// What happened instead.
        how: String,
        /// The last lines of the console.
        console: Vec<String>,
    },
    /// A guest took more of the host than it may before it ran a scenario.
    #[error("{0}; no scenario was running")]
    Exceeded(String),
    /// The guest refuses to carry out the plan.
    #[error("the guest refuses the plan: {0}")]
    Refused(String),
    /// The record is invalid outside of any scenario.
    #[error("invalid guest record: {0}")]
    Untrusted(ProtocolViolation),
    /// The plan is for another version of the guest program.
    #[error("the plan has format {0}, but this program supports only format {FORMAT}")]
    Format(u32),
}

/// Formats the end of a console for a message.
fn excerpt(console: &[String]) -> String {
    let last = &console[console.len().saturating_sub(20)..];
    let lines: String = last.iter().map(|line| format!("\n  | {line}")).collect();
    if lines.is_empty() { String::new() } else { format!("\nthe console's last lines:{lines}") }
}
