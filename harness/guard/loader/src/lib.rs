//! Loads the BPF programs of the guard, fills their maps, and reads their records.
//!
//! [`Guard::load`] makes a guard of a policy and leaves it off; [`Guard::arm`] attaches it and puts it in force.
//! [`Access`] is what a process needs to read its records: of its own guard, or of the one that is in force.

#[cfg(test)]
mod abi;
mod access;
mod error;
mod guard;
mod kernel;
mod object;
mod query;
mod reload;
mod state;

pub use access::{Access, Counter, Counters, MAPS_FILE, MOST_AT_ONCE, Malformed, Reader, Taken};
pub use error::LoadError;
pub use guard::{Guard, Options, Trial, names};
pub use kernel::{Kernel, KernelError, build_id};
pub use reload::reload;
