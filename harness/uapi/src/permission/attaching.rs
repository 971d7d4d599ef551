//! Requirements for attaching, and for commands that honour no token.

use crate::{
    names,
    permission::{Capability, FIRST_RELEASE, PerfEvent, Reason, Requirement, command as honours_token},
    release::Release,
    vocabulary::Kind,
};

/// The first release whose `BPF_BTF_GET_FD_BY_ID` accepts a token.
const TYPES_BY_TOKEN: Release = Release { major: 6, minor: 15 };

pub(super) fn btf_get_fd_by_id(needed: &mut Requirement, release: Release) {
    let source = "bpf_btf_get_fd_by_id in kernel/bpf/syscall.c";
    if release < TYPES_BY_TOKEN {
        needed.initial(Capability::SysAdmin, Reason::Command, source);
        return;
    }
    honours_token(needed, "btf_get_fd_by_id", TYPES_BY_TOKEN);
    needed.capability(Capability::SysAdmin, Reason::Command, source);
}

/// `bpf_prog_attach_check_attach_type` in `kernel/bpf/syscall.c`: checks only programs that see the packets of cgroups,
/// against the token they were loaded with. For any other program, holding its fd and the target's is enough.
pub(super) fn attach(needed: &mut Requirement, prog_type: u32) {
    if names::name(Kind::Prog, prog_type) == Some("cgroup_skb") {
        needed.since = Some(FIRST_RELEASE);
        let source = "bpf_prog_attach_check_attach_type in kernel/bpf/syscall.c";
        needed.capability(Capability::NetAdmin, Reason::ProgType(prog_type), source);
    }
}

/// Probes and tracepoints see other users' processes. An event that counts in the kernel requires the capability unless
/// `kernel.perf_event_paranoid` is 1 or less (`perf_allow_kernel` in `kernel/events/core.c`).
pub(super) fn perf_event_open(needed: &mut Requirement, event: PerfEvent) {
    let (capability, source) = match event {
        PerfEvent::Kernel => (Capability::Perfmon, "perf_event_open in kernel/events/core.c"),
        PerfEvent::UserProbe => (Capability::SysAdmin, "perf_uprobe_event_init in kernel/events/core.c"),
    };
    needed.initial(capability, Reason::Command, source);
}

/// Any command that honours no token.
pub(super) fn command(needed: &mut Requirement, cmd: u32) {
    let source = "kernel/bpf/syscall.c";
    match names::name(Kind::Cmd, cmd).unwrap_or_default() {
        "prog_get_next_id" | "map_get_next_id" | "btf_get_next_id" | "link_get_next_id" | "prog_get_fd_by_id"
        | "map_get_fd_by_id" | "link_get_fd_by_id" | "task_fd_query" | "enable_stats" => {
            needed.initial(Capability::SysAdmin, Reason::Command, source);
        }
        "prog_query" => needed.initial(Capability::NetAdmin, Reason::Command, source),
        _ => {}
    }
}
