//! Expands attacks on the guard, and reloads of its policy.

use harness_protocol::plan::{self, Actor, AttackTarget, Call};
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
        let key_path = current.key_path.key("copy");
        if op.copy.is_some() && op.way.target() != AttackTarget::Process {
            let message = format!("`{}` is not an attack on a process", op.way.as_str());
            self.problems.advise(&key_path, message, "leave `copy` out, or write another `way` such as `ptrace`");
            return None;
        }
        let copy = match &op.copy {
            Some(name) => Some(self.copy(name, &key_path)?),
            None => None,
        };
        let label = AttemptLabel::new("attack").word(op.way.as_str()).given("copy", copy.as_ref());
        Some(made(label, Call::Attack { way: op.way, copy }))
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
