//! The machine the harness runs on: which tools it lacks, and how they get there.
//!
//! [`requirement`] is the table of what is needed and what for, [`distribution`] knows the package managers, [`install`]
//! brings the two together.

pub mod distribution;
pub mod install;
pub mod requirement;

pub use distribution::Distribution;
pub use install::{HostError, Mode, ensure};
pub use requirement::{Host, Purpose, Requirement};
