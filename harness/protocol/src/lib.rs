//! What crosses into the VM: the plan that the guest program carries out, the outcomes it records, and their names.
//!
//! The only crate of ours that the guest program links: its key hashes this crate, and nothing above it.

pub mod blob;
pub mod errno;
pub mod mount_option;
pub mod name;
pub mod outcome;
pub mod plan;
