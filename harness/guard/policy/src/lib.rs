//! The policy of the guard: its file, its check, the decision it makes, and the bytes that the BPF programs read.
//!
//! [`parse()`] reads a file, [`Policy::compile`] turns it into what the maps of `harness/guard/bpf/abi.h` hold, and
//! [`decide`] answers as the BPF programs must: it is the policy's meaning.

mod asked;
pub mod bits;
mod compile;
mod danger;
mod decision;
mod file;
mod finding;
pub mod group;
mod image;
pub mod layout;
mod learn;
mod list;
mod name;
mod parse;
mod policy;
mod quantity;
mod schema;

pub use asked::Asked;
pub use compile::{Compiled, Named};
pub use danger::{Danger, is_guarded};
pub use decision::{
    Call, Caller, Decision, Event, Hard, Hook, Names, Program, Ring, Target, UsedMap, decide, map_bytes,
};
pub use file::{Identity, Mode, OnFailure, Otherwise, Reload, Signed, TokenNeed, Unrecorded, Userns};
pub use finding::{Finding, FindingKind, findings, not_on_kernel};
pub use image::{Image, ImageError};
pub use learn::{Learner, Origin, User};
pub use name::Family;
pub use parse::parse;
pub use policy::{Action, Cgroup, Guard, Loader, Policy, Profile, Rule, WrittenName};
pub use quantity::{duration, shown_size, size};
pub use schema::policy_schema;
