//! The state that the expansion of a case's attempts shares.

use std::collections::BTreeMap;

use harness_diagnostics::node::KeyPath;
use harness_protocol::plan::{Actor, Call, GuestCopy};
use harness_uapi::resolver::NameResolver;

use super::{
    containers::{Containers, DEFAULT},
    label::{self, AttemptLabel},
    objects::{Object, Objects},
    problems::Problems,
};

/// An operation, expanded for one kernel.
pub(crate) struct ExpandedCall {
    pub(crate) label: AttemptLabel,
    pub(crate) call: Call,
    /// Why the kernel does not know it, if so.
    pub(crate) missing: Option<String>,
    /// The object that later attempts can use if it succeeds.
    pub(crate) result: Option<Object>,
}

/// The state of a case whose attempts are expanded one after the other.
pub(crate) struct ExpandContext<'d, 'f> {
    pub(crate) resolver: NameResolver<'d>,
    pub(crate) containers: &'d mut Containers,
    pub(crate) objects: Objects,
    /// The actors whose processes have ended.
    pub(crate) ended: Vec<Actor>,
    /// The copies of the guest program that the guard knows or not.
    pub(crate) copies: &'d BTreeMap<String, GuestCopy>,
    pub(crate) problems: &'d mut Problems<'f>,
}

/// The attempt that is being expanded.
pub(crate) struct AttemptContext {
    pub(crate) key_path: KeyPath,
    /// Who makes it; `None` if there is no such container, which was reported already.
    pub(crate) actor: Option<Actor>,
    /// Whether the structure check kept all of its keys. If not, problems that depend on several of them are not
    /// reported.
    pub(crate) complete: bool,
}

pub(crate) fn made(label: AttemptLabel, call: Call) -> ExpandedCall {
    ExpandedCall { label, call, missing: None, result: None }
}

/// Returns what messages call an actor.
pub(crate) fn describe(actor: &Actor) -> String {
    match label::actor(actor) {
        DEFAULT => "the container".to_owned(),
        name => format!("`{name}`"),
    }
}
