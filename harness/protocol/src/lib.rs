//! What crosses into the VM: the plan that the guest program carries out, the outcomes that it records, and their
//! names.
//!
//! It is the only crate of ours that the guest program links, and so the only one that its cache key hashes.

pub mod blob;
pub mod errno;
pub mod mount_option;
pub mod name;
pub mod outcome;
pub mod plan;
