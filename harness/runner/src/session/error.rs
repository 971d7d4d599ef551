//! Why a session came to nothing.

use std::{io, path::PathBuf};

use harness_protocol::plan::FORMAT;
use thiserror::Error;

use super::record_checker::ProtocolViolation;
use crate::vm::VmError;

/// Why a plan could not be carried out. No outcome follows from it.
#[derive(Debug, Error)]
pub enum SessionError {
    /// A folder or file of the session.
    #[error("cannot prepare a VM's folder {}", path.display())]
    Prepare {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The VM could not be started.
    #[error(transparent)]
    Vm(#[from] VmError),
    /// The guest came to no scenario at all.
    #[error(
        "the guest started no scenario: {how}; `{} shell` boots such a VM for a look{}",
        harness_program::NAME,
        excerpt(console)
    )]
    NothingStarted {
        /// What happened instead.
        how: String,
        /// The last lines of the console.
        console: Vec<String>,
    },
    /// The guest says that it must not go on.
    #[error("the guest refuses the plan: {0}")]
    Refused(String),
    /// The record is wrong outside of any scenario.
    #[error("the guest's record cannot be trusted: {0}")]
    Untrusted(ProtocolViolation),
    /// The plan is for another guest program.
    #[error("the plan has format {0}, this program knows {FORMAT}")]
    Format(u32),
}

/// The end of a console, as it appears in a message.
fn excerpt(console: &[String]) -> String {
    let last = &console[console.len().saturating_sub(20)..];
    let lines: String = last.iter().map(|line| format!("\n  | {line}")).collect();
    if lines.is_empty() { String::new() } else { format!("\nthe console's last lines:{lines}") }
}
