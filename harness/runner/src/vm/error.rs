//! Why there is no VM.

use std::{io, path::PathBuf, process::ExitStatus};

use thiserror::Error;

/// Why a VM could not be started or used.
#[derive(Debug, Error)]
pub enum VmError {
    /// A path of the specification cannot be used.
    #[error("{path} cannot be given to a VM: it {reason}")]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
    /// A file of the VM could not be written.
    #[error("cannot prepare a VM in {path}")]
    Prepare {
        /// The VM's folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The worker did not start.
    #[error("cannot start a process to hold a VM")]
    Spawn(#[source] io::Error),
    /// An interactive VM ended badly.
    #[error("the VM ended with {status}{complaints}")]
    Interactive {
        /// How the worker ended.
        status: ExitStatus,
        /// What QEMU said, on lines of its own.
        complaints: String,
    },
}
