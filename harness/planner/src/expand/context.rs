//! What is at hand while the attempts of a case are worked out.

use harness_diagnostics::node::KeyPath;
use harness_protocol::plan::{Actor, Call};
use harness_uapi::resolver::NameResolver;

use super::{
    containers::{Containers, DEFAULT},
    label::{self, AttemptLabel},
    objects::{Object, Objects},
    problems::Problems,
};

/// What an operation comes to on one kernel.
pub(crate) struct ExpandedCall {
    pub(crate) words: AttemptLabel,
    pub(crate) call: Call,
    /// Why the kernel cannot know it.
    pub(crate) missing: Option<String>,
    /// What it gives if it succeeds.
    pub(crate) gives: Option<Object>,
}

/// What is at hand while the attempts of a case are worked out one by one.
pub(crate) struct ExpandContext<'d, 'f> {
    pub(crate) resolver: NameResolver<'d>,
    pub(crate) containers: &'d mut Containers,
    pub(crate) objects: Objects,
    /// Whose processes are gone.
    pub(crate) ended: Vec<Actor>,
    pub(crate) problems: &'d mut Problems<'f>,
}

/// Where an attempt stands and who makes it.
pub(crate) struct AttemptContext {
    pub(crate) key_path: KeyPath,
    /// `None` if there is no such container, which was told already.
    pub(crate) actor: Option<Actor>,
}

pub(crate) fn made(words: AttemptLabel, call: Call) -> ExpandedCall {
    ExpandedCall { words, call, missing: None, gives: None }
}

/// The actor's name with an article's worth of context, for messages.
pub(crate) fn describe(actor: &Actor) -> String {
    match label::actor(actor) {
        DEFAULT => "the container".to_owned(),
        name => format!("`{name}`"),
    }
}
