//! What is no command of `bpf(2)`, or one that is not made as it should be.

use super::made;
use crate::{
    check,
    expand::{
        attempts::{Desk, Made, Setting},
        words::Words,
    },
    plan::{Call, SocketDuty, TokenCommand},
    scenario::attempt::{SocketAttach, SysctlWrite, Unflagged},
};

impl Desk<'_, '_> {
    pub(super) fn sysctl_write(&mut self, op: &SysctlWrite, setting: &Setting) -> Option<Made> {
        if !check::is_setting(&op.name, &setting.place.key("name"), self.sink) {
            return None;
        }
        let words = Words::new("sysctl_write").word(&op.name).given("value", op.value);
        let value = op.value.map(|value| value.to_string());
        Some(made(words, Call::SysctlWrite { name: op.name.clone(), value }))
    }

    pub(super) fn unflagged(&self, op: &Unflagged, setting: &Setting) -> Made {
        let (word, member) = match op.command {
            TokenCommand::MapCreate => ("map_create", "map_token_fd"),
            TokenCommand::ProgLoad => ("prog_load", "prog_token_fd"),
            TokenCommand::BtfLoad => ("btf_load", "btf_token_fd"),
            TokenCommand::BtfGetFdById => ("btf_get_fd_by_id", "fd_by_id_token_fd"),
        };
        let missing = self.missing(&[], &setting.token, member);
        Made { missing, ..made(Words::new("unflagged").word(word), Call::Unflagged(op.command)) }
    }

    pub(super) fn socket_attach(&mut self, op: &SocketAttach, setting: &Setting) -> Option<Made> {
        self.prog(&op.prog, &setting.place.key("prog"))?;
        let duty = (op.duty == SocketDuty::Reuseport).then_some("reuseport");
        let words = Words::new("socket_attach").word(&op.prog).given("duty", duty);
        let words = if op.locked { words.word("locked") } else { words };
        Some(made(words, Call::SocketAttach { prog: op.prog.clone(), duty: op.duty, locked: op.locked }))
    }
}
