//! Expands attempts that are not commands of `bpf(2)`, or deliberately incorrect ones.

use harness_protocol::plan::{Call, SocketDuty};
use harness_scenario::attempt::{SocketAttach, SysctlWrite, Unflagged};

use crate::expand::{
    context::{AttemptContext, ExpandContext, ExpandedCall, made},
    label::AttemptLabel,
    sysctl,
};

pub(super) fn unflagged(op: &Unflagged) -> ExpandedCall {
    made(AttemptLabel::new("unflagged").word(op.command.name()), Call::Unflagged(op.command))
}

impl ExpandContext<'_, '_> {
    pub(super) fn sysctl_write(&mut self, op: &SysctlWrite, current: &AttemptContext) -> Option<ExpandedCall> {
        if !sysctl::is_setting(&op.name, &current.key_path.key("name"), self.problems) {
            return None;
        }
        let label = AttemptLabel::new("sysctl_write").word(&op.name).given("value", op.value);
        let value = op.value.map(|value| value.to_string());
        Some(made(label, Call::SysctlWrite { name: op.name.clone(), value }))
    }

    pub(super) fn socket_attach(&mut self, op: &SocketAttach, current: &AttemptContext) -> Option<ExpandedCall> {
        self.prog(&op.prog, &current.key_path.key("prog"))?;
        let duty = (op.duty == SocketDuty::Reuseport).then_some("reuseport");
        let label = AttemptLabel::new("socket_attach").word(&op.prog).given("duty", duty);
        let label = if op.locked { label.word("locked") } else { label };
        Some(made(label, Call::SocketAttach { prog: op.prog.clone(), duty: op.duty, locked: op.locked }))
    }
}
