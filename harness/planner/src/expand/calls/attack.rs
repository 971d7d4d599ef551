//! Expands attacks on the guard, and reloads of its policy.

use harness_protocol::plan::{self, Actor, Call};
use harness_scenario::attempt::{Attack, Reload};
use sha2::{Digest as _, Sha256};

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

    pub(super) fn reload(&mut self, op: &Reload, current: &AttemptContext) -> Option<ExpandedCall> {
        if *current.actor.as_ref()? != Actor::Host {
            self.problems.advise(&current.key_path, "only root reloads a policy", "add `by = \"host\"`");
            return None;
        }
        let sum: String = Sha256::digest(&op.policy)[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        let key = op.signature;
        let signer = key.map_or("unsigned", plan::SigningKey::name);
        let reload = plan::Reload { policy: op.policy.clone(), key, file: format!("{signer}-{sum}.reload") };
        Some(made(AttemptLabel::new("reload").word(signer), Call::Reload(reload)))
    }
}
