//! Expands attacks on the guard.

use harness_protocol::plan::{Actor, Call};
use harness_scenario::attempt::Attack;

use crate::expand::{
    context::{AttemptContext, ExpandContext, ExpandedCall, made},
    label::AttemptLabel,
};

impl ExpandContext<'_, '_> {
    pub(super) fn attack(&mut self, op: &Attack, current: &AttemptContext) -> Option<ExpandedCall> {
        if *current.actor.as_ref()? != Actor::Host {
            self.problems.advise(&current.key_path, "only root attacks the guard", "add `by = \"host\"`");
            return None;
        }
        Some(made(AttemptLabel::new("attack").word(op.way.as_str()), Call::Attack(op.way)))
    }
}
