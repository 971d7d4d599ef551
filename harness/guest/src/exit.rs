//! The exit codes that `--help` documents.

use std::{fmt::Display, process::ExitCode};

/// Exit code for wrong usage.
const USAGE: u8 = 2;

/// Exit code for a fault of the harness or the VM.
pub(crate) const FAULT: u8 = 3;

/// Reports wrong arguments.
pub(crate) fn usage(what: &str) -> ExitCode {
    eprintln!("bpf-token-guest: {what}; see --help");
    ExitCode::from(USAGE)
}

/// Reports why the program cannot go on.
pub(crate) fn fault(why: impl Display) -> ExitCode {
    eprintln!("bpf-token-guest: {why}");
    ExitCode::from(FAULT)
}
