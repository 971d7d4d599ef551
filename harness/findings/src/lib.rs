//! Checks delegation configurations without a running kernel: what is wrong, on which kernels, why, and how to fix it.
//!
//! An [`input::CheckInput`] is a configuration with the kernels it is for and the objects and programs to load under it. [`check`]
//! returns its [`finding::Finding`]s, [`fix`] applies their fixes, [`report`] formats them for people and programs. The
//! kernel's permission checks are in `harness_uapi::permission`.

pub mod code;
pub mod finding;
pub mod first_versions;
pub mod fix;
pub mod grants;
pub mod guard;
pub mod input;
pub mod program;
pub mod reference;
pub mod report;
mod rules;
mod suppressions;
pub mod trial;

pub use rules::{check, does_not_run};
