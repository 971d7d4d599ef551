//! Judges delegation configurations without a kernel at hand: what is wrong with one, on which kernels, why, and what would
//! mend it.
//!
//! A [`subject::Workload`] is a configuration with the kernels it is meant for and the objects that are to load under it;
//! [`judge`] gives its [`finding::Finding`]s, [`fix`] applies what mends them, [`report`] tells them to people and programs.
//! What the kernel asks for is `harness_uapi::permission`'s to say.

pub mod code;
pub mod finding;
pub mod fix;
pub mod input;
pub mod reference;
pub mod report;
mod rules;
pub mod trial;

pub use rules::{does_not_run, judge};
