//! The machine the harness runs on: which tools it lacks, and how to install them.
//!
//! [`requirement`] is the table of what is needed and why, [`distribution`] knows the package managers, and [`install`]
//! combines the two.

pub mod distribution;
pub mod install;
mod program;
pub mod requirement;

pub use distribution::Distribution;
pub use install::{HostError, Mode, ensure};
pub use program::{find_program, is_program};
pub use requirement::{Host, Purpose, Requirement};
