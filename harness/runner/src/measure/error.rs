//! Why there is no measurement.

use thiserror::Error;

use crate::{launch::LaunchError, vm::VmError};

/// Why something could not be measured.
#[derive(Debug, Error)]
pub enum MeasureError {
    /// VMs cannot be had at all.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The VM did not run.
    #[error(transparent)]
    Vm(#[from] VmError),
    /// The guest program measured nothing.
    #[error("the guest program told no costs ({how}); it said: {said}")]
    NoCosts {
        /// What is wrong.
        how: String,
        /// What it printed.
        said: String,
    },
    /// `vmtest` alone did not do what it was asked.
    #[error("vmtest: {0}")]
    Vmtest(String),
}
