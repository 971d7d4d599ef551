//! Mounts changed, and processes ended, in the middle of a case.

use harness_protocol::plan::{Actor, Call, Holding};
use harness_scenario::attempt::{Remount, Umount};

use crate::expand::{
    desk::{Desk, Made, Setting, describe, made},
    words::Words,
};

impl Desk<'_, '_> {
    pub(crate) fn remount(&mut self, op: &Remount, setting: &Setting) -> Option<Made> {
        let from = match &op.from {
            Some(name) => self.roster.actor(Some(name), &setting.place.key("from"), self.sink)?,
            None => setting.actor.clone()?,
        };
        let place = setting.place.key("options");
        let mut options = Vec::new();
        for (index, option) in op.options.iter().enumerate() {
            options.push(self.mount_option(option, &place.index(index))?);
        }
        let words = Words::new("remount").given("from", op.from.as_ref());
        let words = op.options.iter().fold(words, |words, option| words.word(option));
        Some(made(words, Call::Remount { from, options }))
    }

    /// Ends an actor, which then has no part in what follows.
    pub(crate) fn exit(&mut self, setting: &Setting) -> Option<Made> {
        let actor = setting.actor.as_ref()?;
        if *actor == Actor::Host {
            self.sink.problem(&setting.place, "`host` cannot be ended: it stands for whoever runs the machine");
            return None;
        }
        if self.roster.is_parent(actor) {
            let message = format!("{} cannot be ended before the containers inside it", describe(actor));
            self.sink.problem(&setting.place, message);
            return None;
        }
        self.ended.push(actor.clone());
        Some(made(Words::new("exit"), Call::Exit))
    }
}

pub(crate) fn umount(op: &Umount) -> Made {
    let holding = match op.holding {
        Holding::Nothing => None,
        Holding::Directory => Some("directory"),
        Holding::Token => Some("token"),
    };
    made(Words::new("umount").given("holding", holding), Call::Umount { holding: op.holding })
}
