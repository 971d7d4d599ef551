//! Builds a recipe: resolves names to one kernel's numbers, and notes what the kernel lacks.

use harness_protocol::plan::Call;
use harness_uapi::{resolver::NameResolver, vocabulary::Kind};

use crate::recipe::{Recipe, Step};

/// A recipe that is being built.
pub(super) struct Draft<'d, 'l> {
    pub(super) resolver: &'d NameResolver<'l>,
    setup: Vec<Step>,
    missing: Option<String>,
}

impl<'d, 'l> Draft<'d, 'l> {
    pub(super) fn new(resolver: &'d NameResolver<'l>) -> Self {
        Self { resolver, setup: Vec::new(), missing: None }
    }

    /// Returns the number of a name; 0 if the kernel has no such name, which is noted.
    pub(super) fn number(&mut self, kind: Kind, name: &str) -> u32 {
        let (number, missing) = match self.resolver.find(kind, name) {
            Ok(found) => (found.number, found.missing),
            Err(unknown) => (0, Some(unknown.to_string())),
        };
        self.missing = self.missing.take().or(missing);
        number
    }

    /// Notes why the kernel does not know the call, if so.
    pub(super) fn lacks(&mut self, missing: Option<String>) {
        self.missing = self.missing.take().or(missing);
    }

    /// Adds a step that creates an object; returns the name under which it is saved.
    pub(super) fn save(&mut self, name: &str, call: Call) -> String {
        self.setup.push(Step { call, save: Some(name.to_owned()), local: false });
        name.to_owned()
    }

    /// Adds a step without a result.
    pub(super) fn then(&mut self, call: Call) {
        self.setup.push(Step { call, save: None, local: false });
    }

    /// Adds a step by the actor of the call.
    pub(super) fn local(&mut self, call: Call) {
        self.setup.push(Step { call, save: None, local: true });
    }

    /// Finishes the recipe of a call that can be repeated.
    pub(super) fn done(self, call: Call) -> Recipe {
        Recipe { setup: self.setup, call, uses_up: false, missing: self.missing }
    }

    /// Finishes the recipe of a call that uses up its objects.
    pub(super) fn used_up_by(self, call: Call) -> Recipe {
        Recipe { uses_up: true, ..self.done(call) }
    }
}
