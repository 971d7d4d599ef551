//! What is no command of `bpf(2)`.

use super::made;
use crate::{
    check,
    expand::{
        attempts::{Desk, Made, Setting},
        words::Words,
    },
    plan::Call,
    scenario::attempt::SysctlWrite,
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
}
