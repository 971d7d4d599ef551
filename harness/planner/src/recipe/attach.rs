//! The program type of each attach type, and what such a program attaches to.

use harness_protocol::plan::{Call, KernelType, LinkTarget};
use harness_uapi::{resolver::NameResolver, vocabulary::Kind};

use crate::recipe::{Recipe, draft::Draft, maps, progs, struct_ops};

/// Returns the program type for an attach type (`attach_type_to_prog_type` and `bpf_prog_load_check_attach` in
/// `kernel/bpf/syscall.c`); `None` for an unknown attach type.
pub(super) fn prog_type(attach: &str) -> Option<&'static str> {
    Some(match attach {
        "cgroup_inet_ingress" | "cgroup_inet_egress" => "cgroup_skb",
        "cgroup_inet_sock_create"
        | "cgroup_inet_sock_release"
        | "cgroup_inet4_post_bind"
        | "cgroup_inet6_post_bind" => "cgroup_sock",
        "cgroup_inet4_bind"
        | "cgroup_inet6_bind"
        | "cgroup_inet4_connect"
        | "cgroup_inet6_connect"
        | "cgroup_unix_connect"
        | "cgroup_udp4_sendmsg"
        | "cgroup_udp6_sendmsg"
        | "cgroup_unix_sendmsg"
        | "cgroup_udp4_recvmsg"
        | "cgroup_udp6_recvmsg"
        | "cgroup_unix_recvmsg"
        | "cgroup_inet4_getpeername"
        | "cgroup_inet6_getpeername"
        | "cgroup_unix_getpeername"
        | "cgroup_inet4_getsockname"
        | "cgroup_inet6_getsockname"
        | "cgroup_unix_getsockname" => "cgroup_sock_addr",
        "cgroup_sock_ops" => "sock_ops",
        "cgroup_device" => "cgroup_device",
        "cgroup_sysctl" => "cgroup_sysctl",
        "cgroup_getsockopt" | "cgroup_setsockopt" => "cgroup_sockopt",
        "sk_skb_stream_parser" | "sk_skb_stream_verdict" | "sk_skb_verdict" => "sk_skb",
        "sk_msg_verdict" => "sk_msg",
        "sk_lookup" => "sk_lookup",
        "sk_reuseport_select" | "sk_reuseport_select_or_migrate" => "sk_reuseport",
        "flow_dissector" => "flow_dissector",
        "lirc_mode2" => "lirc_mode2",
        "trace_raw_tp"
        | "trace_fentry"
        | "trace_fexit"
        | "trace_fsession"
        | "modify_return"
        | "trace_iter"
        | "trace_fentry_multi"
        | "trace_fexit_multi"
        | "trace_fsession_multi" => "tracing",
        "lsm_mac" | "lsm_cgroup" => "lsm",
        "xdp" | "xdp_devmap" | "xdp_cpumap" => "xdp",
        "perf_event" => "perf_event",
        "trace_kprobe_multi" | "trace_kprobe_session" | "trace_uprobe_multi" | "trace_uprobe_session" => "kprobe",
        "tcx_ingress" | "tcx_egress" | "netkit_primary" | "netkit_peer" => "sched_cls",
        "netfilter" => "netfilter",
        "struct_ops" => "struct_ops",
        _ => return None,
    })
}

/// What programs of an attach type attach to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttachGroup {
    Nothing,
    Cgroup,
    Netns,
    Dummy,
    Netkit,
    Netfilter,
    PerfEvent,
    Kprobes,
    Uprobe,
    Functions,
    Sockmap,
    StructOps,
    Lirc,
}

/// Returns what a link of an attach type attaches to (`link_create` in `kernel/bpf/syscall.c`); `None` if there is no
/// such link.
pub(crate) fn link_group(attach: &str) -> Option<AttachGroup> {
    Some(match attach {
        "lsm_cgroup" => AttachGroup::Cgroup,
        name if name.starts_with("cgroup_") && prog_type(name).is_some() => AttachGroup::Cgroup,
        "sk_skb_stream_parser" | "sk_skb_stream_verdict" | "sk_skb_verdict" | "sk_msg_verdict" => AttachGroup::Sockmap,
        "flow_dissector" | "sk_lookup" => AttachGroup::Netns,
        "trace_raw_tp" | "trace_fentry" | "trace_fexit" | "trace_fsession" | "modify_return" | "trace_iter"
        | "lsm_mac" => AttachGroup::Nothing,
        "trace_fentry_multi" | "trace_fexit_multi" | "trace_fsession_multi" => AttachGroup::Functions,
        "xdp" | "tcx_ingress" | "tcx_egress" => AttachGroup::Dummy,
        "netkit_primary" | "netkit_peer" => AttachGroup::Netkit,
        "perf_event" => AttachGroup::PerfEvent,
        "trace_kprobe_multi" | "trace_kprobe_session" => AttachGroup::Kprobes,
        "trace_uprobe_multi" | "trace_uprobe_session" => AttachGroup::Uprobe,
        "netfilter" => AttachGroup::Netfilter,
        "struct_ops" => AttachGroup::StructOps,
        _ => return None,
    })
}

/// Whether programs of a type attach as this attach type.
pub(crate) fn is_linked_as(prog: &str, attach: &str) -> bool {
    prog_type(attach) == Some(prog) && link_group(attach).or_else(|| legacy_group(attach)).is_some()
}

/// Returns what `BPF_PROG_ATTACH` attaches a program of an attach type to (`bpf_prog_attach` in
/// `kernel/bpf/syscall.c`); `None` if it does not support the attach type.
pub(super) fn legacy_group(attach: &str) -> Option<AttachGroup> {
    match link_group(attach) {
        Some(group @ (AttachGroup::Cgroup | AttachGroup::Sockmap | AttachGroup::Netkit)) => Some(group),
        Some(AttachGroup::Dummy) if attach != "xdp" => Some(AttachGroup::Dummy),
        Some(AttachGroup::Netns) if attach == "flow_dissector" => Some(AttachGroup::Netns),
        None if attach == "lirc_mode2" => Some(AttachGroup::Lirc),
        _ => None,
    }
}

/// Returns the recipe to load a program for an attach type.
pub(super) fn load(attach: &str, resolver: &NameResolver<'_>) -> Option<Recipe> {
    let mut draft = Draft::new(resolver);
    let call = progs::load(&mut draft, prog_type(attach)?, Some(attach));
    // For a struct_ops program, the field is the index of its member.
    Some(draft.done(match call {
        Call::ProgLoad { .. } if attach == "struct_ops" => progs::load(&mut Draft::new(resolver), "struct_ops", None),
        call => call,
    }))
}

/// Returns the recipe for a link of an attach type (`BPF_LINK_CREATE`); `None` if there is none.
pub(crate) fn link(attach: &str, resolver: &NameResolver<'_>) -> Option<Recipe> {
    let group = link_group(attach)?;
    let mut draft = Draft::new(resolver);
    let attach_type = draft.number(Kind::Attach, attach);
    let prog = match group {
        AttachGroup::StructOps => struct_ops::linkable_map(&mut draft),
        _ => progs::saved(&mut draft, "prog", prog_type(attach)?, Some(attach)),
    };
    let target = target(&mut draft, group);
    Some(draft.done(Call::LinkCreate { prog, attach_type, target }))
}

/// Returns the recipe for `BPF_PROG_ATTACH` and detaching at once; `None` if the kernel does not attach it that way.
pub(crate) fn legacy(attach: &str, resolver: &NameResolver<'_>) -> Option<Recipe> {
    let group = legacy_group(attach)?;
    let mut draft = Draft::new(resolver);
    let attach_type = draft.number(Kind::Attach, attach);
    let prog = progs::saved(&mut draft, "prog", prog_type(attach)?, Some(attach));
    let target = target(&mut draft, group);
    Some(draft.done(Call::ProgAttach { prog, attach_type, target, flags: 0, stays: false }))
}

fn target(draft: &mut Draft<'_, '_>, group: AttachGroup) -> LinkTarget {
    match group {
        AttachGroup::Nothing => LinkTarget::Nothing,
        AttachGroup::Cgroup => LinkTarget::Cgroup,
        AttachGroup::Netns => LinkTarget::Netns,
        AttachGroup::Dummy => LinkTarget::Interface("dummy0".to_owned()),
        AttachGroup::Netkit => LinkTarget::Interface("netkit0".to_owned()),
        // `NFPROTO_IPV4`, `NF_INET_LOCAL_OUT`; 0 is between the priorities that the kernel reserves.
        AttachGroup::Netfilter => LinkTarget::Netfilter { pf: 2, hooknum: 3, priority: 0 },
        AttachGroup::PerfEvent => LinkTarget::PerfEvent,
        AttachGroup::Kprobes => LinkTarget::Kprobes(vec![progs::TRACED.to_owned()]),
        AttachGroup::Uprobe => LinkTarget::Uprobe,
        AttachGroup::Functions => LinkTarget::Functions(vec![KernelType::Func(progs::TRACED.to_owned())]),
        AttachGroup::Sockmap => LinkTarget::Map(maps::saved(draft, "sockmap", "sockmap")),
        AttachGroup::StructOps => LinkTarget::StructOps,
        AttachGroup::Lirc => LinkTarget::Lirc,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attach_type_with_a_target_has_a_program_type() {
        for name in
            ["lsm_cgroup", "cgroup_unix_connect", "tcx_egress", "netkit_peer", "trace_fsession_multi", "lirc_mode2"]
        {
            assert!(prog_type(name).is_some() && link_group(name).or(legacy_group(name)).is_some(), "{name}");
        }
        assert!(is_linked_as("kprobe", "trace_kprobe_multi") && !is_linked_as("sched_cls", "xdp"));
        assert_eq!((link_group("cgroup_no_such"), legacy_group("sk_lookup"), legacy_group("xdp")), (None, None, None));
    }
}
