//! Errors of VMs.

use std::{io, path::PathBuf, process::ExitStatus};

use thiserror::Error;

/// Why a VM could not be started or used.
#[derive(Debug, Error)]
pub enum VmError {
    /// A path of the specification cannot be used.
    #[error("{path} cannot be used for a VM: it {reason}")]
    Unusable {
        /// The path.
        path: PathBuf,
        /// The reason.
        reason: &'static str,
    },
    /// A file of the VM could not be written.
    #[error("cannot prepare a VM in {path}")]
    Prepare {
        /// The VM's folder.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The worker did not start.
    #[error("cannot start the worker process of a VM")]
    Spawn(#[source] io::Error),
    /// An interactive VM failed.
    #[error("the VM ended with {status}{complaints}")]
    Interactive {
        /// How the worker ended.
        status: ExitStatus,
        /// QEMU's errors, each on a line of its own.
        complaints: String,
    },
}
