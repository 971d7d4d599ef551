//! The record of the guard: its layout, its lines of JSON, and the chain that shows whether a log is whole.
//!
//! [`Record`] is what the BPF programs write into a ring; [`Line`] is the same with names, for people and for programs;
//! [`Logged`] is a line of a log, which [`Chain`] binds to all lines before it, and [`verify()`] checks.

#![deny(missing_docs)]

mod anchor;
mod chain;
mod layout;
mod line;
mod names;
mod verify;

pub use anchor::{Anchor, Anchors};
#[cfg(feature = "schemars")]
pub use chain::schema;
pub use chain::{
    Chain, Counters, End, EndReason, Gap, GapReason, Head, KernelCounters, LONGEST_LINE, Logged, Previous, Start,
    VERSION,
};
pub use layout::{
    Field, HAS_TOKEN, Hook, Invalid, KEYRINGS, LISTED, MAP_FIELDS, MapPart, OF_GUARD, OF_KERNEL, PROGRAM_FIELDS,
    ProgramPart, RECORD_FIELDS, RECORD_SIZE, Reason, Record, Verdict,
};
pub use line::{Executable, Line, Map, Named, Program, Signature, Time, What, Who};
pub use names::{Kind, Names, NoNames};
pub use verify::{Finding, Place, State, Verified, Verifier, Wrong, verify, verify_each};
