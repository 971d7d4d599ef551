//! Expands attempts that change mounts or end an actor.

use harness_protocol::plan::{Actor, Call, Holding};
use harness_scenario::attempt::{Remount, Umount};

use crate::expand::{
    context::{AttemptContext, ExpandContext, ExpandedCall, describe, made},
    label::AttemptLabel,
};

impl ExpandContext<'_, '_> {
    pub(crate) fn remount(&mut self, op: &Remount, current: &AttemptContext) -> Option<ExpandedCall> {
        let from = match &op.from {
            Some(name) => self.containers.actor(Some(name), &current.key_path.key("from"), self.problems)?,
            None => current.actor.clone()?,
        };
        let key_path = current.key_path.key("options");
        let mut options = Vec::new();
        for (index, option) in op.options.iter().enumerate() {
            options.push(self.mount_option(option, &key_path.index(index))?);
        }
        let label = AttemptLabel::new("remount").given("from", op.from.as_ref());
        let label = op.options.iter().fold(label, |label, option| label.word(option));
        Some(made(label, Call::Remount { from, options }))
    }

    /// Ends an actor, which can make no later attempts.
    pub(crate) fn exit(&mut self, current: &AttemptContext) -> Option<ExpandedCall> {
        let actor = current.actor.as_ref()?;
        if !current.complete {
            return None;
        }
        if *actor == Actor::Host {
            self.problems.problem(&current.key_path, "`host` cannot be ended");
            return None;
        }
        if self.containers.is_parent(actor) {
            let message = format!("{} cannot be ended before the containers inside it", describe(actor));
            self.problems.problem(&current.key_path, message);
            return None;
        }
        self.ended.push(actor.clone());
        Some(made(AttemptLabel::new("exit"), Call::Exit))
    }
}

pub(crate) fn umount(op: &Umount) -> ExpandedCall {
    let holding = match op.holding {
        Holding::Nothing => None,
        Holding::Directory => Some("directory"),
        Holding::Token => Some("token"),
    };
    made(AttemptLabel::new("umount").given("holding", holding), Call::Umount { holding: op.holding })
}
