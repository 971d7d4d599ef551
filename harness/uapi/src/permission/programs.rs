//! Requirements of programs, by type, attach type and what they do.

use std::collections::BTreeSet;

use crate::{
    names,
    permission::{Capability, FIRST_RELEASE, Reason, Requirement, Use, command, helpers},
    release::Release,
    vocabulary::Kind,
};

const LOAD: &str = "bpf_prog_load in kernel/bpf/syscall.c";
const VERIFIER: &str = "kernel/bpf/verifier.c";

pub(super) fn prog_load(
    needed: &mut Requirement,
    prog_type: u32,
    expected_attach_type: u32,
    uses: &BTreeSet<Use>,
    release: Release,
) {
    command(needed, "prog_load", FIRST_RELEASE);
    let of_type = Reason::ProgType(prog_type);
    let attach = checked_attach_type(prog_type, expected_attach_type);
    let source = "bpf_token_allow_prog_type in kernel/bpf/token.c";
    needed.bit(Kind::Prog, prog_type, of_type, source);
    needed.bit(Kind::Attach, attach, Reason::AttachType(attach), source);
    needed.capability(Capability::Bpf, Reason::Closed, LOAD);
    let name = names::name(Kind::Prog, prog_type).unwrap_or_default();
    needed.only_if_closed = is_free(name);
    if !needed.only_if_closed {
        needed.capability(Capability::Bpf, of_type, LOAD);
    }
    if needs_net_admin(name) {
        needed.capability(Capability::NetAdmin, of_type, "is_net_admin_prog_type in kernel/bpf/syscall.c");
    }
    if needs_perfmon(name) {
        needed.capability(Capability::Perfmon, of_type, "is_perfmon_prog_type in kernel/bpf/syscall.c");
    }
    for one in uses {
        with_use(needed, *one, name, release);
    }
}

/// The attach type whose bit the kernel checks: for two program types it fills one in if the loader names none
/// (`bpf_prog_load_fixup_attach_type` in `kernel/bpf/syscall.c`).
pub fn checked_attach_type(prog_type: u32, expected: u32) -> u32 {
    let filled = match (expected, names::name(Kind::Prog, prog_type)) {
        (0, Some("cgroup_sock")) => "cgroup_inet_sock_create",
        (0, Some("sk_reuseport")) => "sk_reuseport_select",
        _ => return expected,
    };
    names::number(Kind::Attach, filled).unwrap_or(expected)
}

/// The types that unprivileged users may load where `bpf(2)` is open to them (`bpf_prog_load`).
fn is_free(name: &str) -> bool {
    matches!(name, "socket_filter" | "cgroup_skb")
}

/// `is_net_admin_prog_type`.
fn needs_net_admin(name: &str) -> bool {
    matches!(
        name,
        "sched_cls"
            | "sched_act"
            | "xdp"
            | "lwt_in"
            | "lwt_out"
            | "lwt_xmit"
            | "lwt_seg6local"
            | "sk_skb"
            | "sk_msg"
            | "flow_dissector"
            | "cgroup_device"
            | "cgroup_sock"
            | "cgroup_sock_addr"
            | "cgroup_sockopt"
            | "cgroup_sysctl"
            | "sock_ops"
            | "ext"
            | "netfilter"
    )
}

/// `is_perfmon_prog_type`.
fn needs_perfmon(name: &str) -> bool {
    matches!(
        name,
        "kprobe"
            | "tracepoint"
            | "perf_event"
            | "raw_tracepoint"
            | "raw_tracepoint_writable"
            | "tracing"
            | "lsm"
            | "struct_ops"
            | "ext"
    )
}

fn with_use(needed: &mut Requirement, what: Use, prog_type: &str, release: Release) {
    let reason = Reason::Use(what);
    match what {
        Use::Helper(number) => {
            if let Some(required) = helpers::required_capability(names::helper(number).as_ref(), prog_type, release) {
                needed.only_if_closed = false;
                match required.initial {
                    true => needed.initial(required.capability, reason, required.source),
                    false => needed.capability(required.capability, reason, required.source),
                }
            }
        }
        Use::Functions => needed.capability(Capability::Bpf, reason, VERIFIER),
        Use::Arena => {
            needed.capability(Capability::Bpf, reason, VERIFIER);
            needed.capability(Capability::Perfmon, reason, VERIFIER);
        }
        Use::PacketOfCgroup => {
            needed.capability(Capability::Bpf, reason, "cg_skb_is_valid_access in net/core/filter.c");
        }
        Use::Destruction => needed.initial(Capability::SysBoot, reason, VERIFIER),
    }
    needed.only_if_closed &= matches!(what, Use::Helper(_));
}
