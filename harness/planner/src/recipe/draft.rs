//! A recipe while it is written: names become one kernel's numbers, and what the kernel lacks is noted.

use harness_protocol::plan::Call;
use harness_uapi::{resolver::NameResolver, vocabulary::Kind};

use crate::recipe::{Recipe, Step};

/// A recipe that is being written.
pub(super) struct Draft<'d, 'l> {
    pub(super) resolver: &'d NameResolver<'l>,
    setup: Vec<Step>,
    missing: Option<String>,
}

impl<'d, 'l> Draft<'d, 'l> {
    pub(super) fn new(resolver: &'d NameResolver<'l>) -> Self {
        Self { resolver, setup: Vec::new(), missing: None }
    }

    /// The number of a name; 0 and a note if the kernel has no such name.
    pub(super) fn number(&mut self, kind: Kind, name: &str) -> u32 {
        let (number, missing) = match self.resolver.find(kind, name) {
            Ok(found) => (found.number, found.missing),
            Err(unknown) => (0, Some(unknown.to_string())),
        };
        self.missing = self.missing.take().or(missing);
        number
    }

    /// Notes why the kernel cannot know it, if it cannot.
    pub(super) fn lacks(&mut self, missing: Option<String>) {
        self.missing = self.missing.take().or(missing);
    }

    /// Has an object made first; returns the name it is saved under.
    pub(super) fn save(&mut self, name: &str, call: Call) -> String {
        self.setup.push(Step { call, save: Some(name.to_owned()), local: false });
        name.to_owned()
    }

    /// Has something done to what was made.
    pub(super) fn then(&mut self, call: Call) {
        self.setup.push(Step { call, save: None, local: false });
    }

    /// Has something done by the one who makes the call.
    pub(super) fn local(&mut self, call: Call) {
        self.setup.push(Step { call, save: None, local: true });
    }

    /// The recipe of a call that can be repeated.
    pub(super) fn done(self, call: Call) -> Recipe {
        Recipe { setup: self.setup, call, uses_up: false, missing: self.missing }
    }

    /// The recipe of a call that uses up what was made for it.
    pub(super) fn used_up_by(self, call: Call) -> Recipe {
        Recipe { uses_up: true, ..self.done(call) }
    }
}
