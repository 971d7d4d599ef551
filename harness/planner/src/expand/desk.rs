//! What is at hand while the attempts of a case are worked out.

use harness_diagnostics::node::Place;
use harness_protocol::plan::{Actor, Call};
use harness_uapi::resolver::Lexicon;

use super::{
    objects::{Object, Objects},
    roster::{DEFAULT, Roster},
    sink::Sink,
    words::{self, Words},
};

/// What an operation comes to on one kernel.
pub(crate) struct Made {
    pub(crate) words: Words,
    pub(crate) call: Call,
    /// Why the kernel cannot know it.
    pub(crate) missing: Option<String>,
    /// What it gives if it succeeds.
    pub(crate) gives: Option<Object>,
}

/// What is at hand while the attempts of a case are worked out one by one.
pub(crate) struct Desk<'d, 'f> {
    pub(crate) lexicon: Lexicon<'d>,
    pub(crate) roster: &'d mut Roster,
    pub(crate) objects: Objects,
    /// Whose processes are gone.
    pub(crate) ended: Vec<Actor>,
    pub(crate) sink: &'d mut Sink<'f>,
}

/// Where an attempt stands and who makes it.
pub(crate) struct Setting {
    pub(crate) place: Place,
    /// `None` if there is no such container, which was told already.
    pub(crate) actor: Option<Actor>,
}

pub(crate) fn made(words: Words, call: Call) -> Made {
    Made { words, call, missing: None, gives: None }
}

/// The actor's name with an article's worth of context, for messages.
pub(crate) fn describe(actor: &Actor) -> String {
    match words::actor(actor) {
        DEFAULT => "the container".to_owned(),
        name => format!("`{name}`"),
    }
}
