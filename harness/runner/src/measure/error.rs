//! Errors of measurements.

use thiserror::Error;

use crate::{launch::LaunchError, vm::VmError};

/// Why something could not be measured.
#[derive(Debug, Error)]
pub enum MeasureError {
    /// VMs cannot be run.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The VM did not run.
    #[error(transparent)]
    Vm(#[from] VmError),
    /// The guest program did not report costs.
    #[error("the guest program reported no costs ({how}); it printed: {output}")]
    NoCosts {
        /// What went wrong.
        how: String,
        /// What it printed.
        output: String,
    },
    /// The kernel's own test of tokens named no subtest.
    #[error("test_progs -t token told of no subtest; it printed: {output}")]
    NoSubtests {
        /// What it printed.
        output: String,
    },
    /// A program was not measured.
    #[error("`{program}` was not measured ({how}); it printed: {output}")]
    NoTime {
        /// Its command.
        program: String,
        /// How the VM ended.
        how: String,
        /// What was printed.
        output: String,
    },
    /// The guard's program is missing.
    #[error("the guard's program is not built")]
    NoGuard,
    /// `vmtest` alone failed.
    #[error("vmtest: {0}")]
    Vmtest(String),
}
