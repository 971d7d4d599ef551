//! Expands attempts that are not commands of `bpf(2)`, or deliberately incorrect ones.

use harness_diagnostics::node::KeyPath;
use harness_protocol::plan::{Call, PerfEventSource, SocketDuty};
use harness_scenario::attempt::{PerfEventOpen, PerfQuery, SocketAttach, SocketBind, SysctlWrite, Unflagged};

use crate::expand::{
    context::{AttemptContext, ExpandContext, ExpandedCall, made},
    label::AttemptLabel,
    links,
    objects::Object,
    sysctl,
};

pub(super) fn unflagged(op: &Unflagged) -> ExpandedCall {
    made(AttemptLabel::new("unflagged").word(op.command.name()), Call::Unflagged(op.command))
}

pub(super) fn socket_bind(op: &SocketBind) -> ExpandedCall {
    made(AttemptLabel::new("socket_bind").given("port", Some(op.port)), Call::SocketBind { port: op.port })
}

impl ExpandContext<'_, '_> {
    pub(super) fn perf_event_open(&mut self, op: &PerfEventOpen, current: &AttemptContext) -> Option<ExpandedCall> {
        let Some(source) = event_source(&op.event) else {
            let message = format!("`{}` is not a perf event", op.event.escape_debug());
            self.problems.advise(&current.key_path.key("event"), message, EVENTS);
            return None;
        };
        let label = AttemptLabel::new("perf_event_open").word(&op.event);
        let label = if op.kernel { label.word("in the kernel too") } else { label };
        let call = Call::PerfEventOpen { source, kernel: op.kernel };
        Some(ExpandedCall { result: Some(Object::PerfEvent), ..made(label, call) })
    }

    /// Checks that a perf event is saved under a name.
    pub(super) fn event(&mut self, name: &str, key_path: &KeyPath) -> Option<()> {
        let is_event = |object: &Object| matches!(object, Object::PerfEvent).then_some(());
        self.objects.find(name, "a perf event", is_event, key_path, self.problems)
    }

    pub(super) fn perf_query(&mut self, op: &PerfQuery, current: &AttemptContext) -> Option<ExpandedCall> {
        if let Some(event) = &op.event {
            self.event(event, &current.key_path.key("event"))?;
        }
        let label = op.event.iter().fold(AttemptLabel::new("perf_query"), |label, event| label.word(event));
        Some(made(label, Call::PerfQuery { event: op.event.clone() }))
    }

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

const EVENTS: &str = "write `clock`, `tracepoint:SYSTEM/NAME` such as `tracepoint:syscalls/sys_enter_bpf`, `kprobe:FUNCTION` \
    or `uprobe`";

fn event_source(text: &str) -> Option<PerfEventSource> {
    match text.split_once(':') {
        None if text == "clock" => Some(PerfEventSource::Clock),
        None if text == "uprobe" => Some(PerfEventSource::Uprobe),
        Some(("kprobe", function)) if links::is_symbol(function) => Some(PerfEventSource::Kprobe(function.to_owned())),
        Some(("tracepoint", path)) => {
            let (system, name) = path.split_once('/')?;
            [system, name]
                .iter()
                .all(|part| links::is_symbol(part) && !part.starts_with('.'))
                .then(|| PerfEventSource::Tracepoint(path.to_owned()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tracepoint_leads_to_no_other_folder() {
        let tracepoint = PerfEventSource::Tracepoint("sched/sched_switch".to_owned());
        assert_eq!(event_source("tracepoint:sched/sched_switch"), Some(tracepoint));
        assert_eq!(event_source("kprobe:f"), Some(PerfEventSource::Kprobe("f".to_owned())));
        for wrong in
            ["tracepoint:../x", "tracepoint:a/..", "tracepoint:a", "tracepoint:a/b/c", "kprobe:", "uprobe:f", ""]
        {
            assert_eq!(event_source(wrong), None, "{wrong}");
        }
    }
}
