//! What the names of program sections mean to libbpf: its table of sections as of 1.7 (`section_defs` in `src/libbpf.c`).

use harness_uapi::{names, vocabulary::Kind};

use crate::{
    loader::{Library, Loader},
    program::{AttachWay, ExpectedAttach},
};
use AttachWay::{
    Cgroup, Device, Extension, Iterator, Lirc, Map, Netfilter, Netkit, Netlink, Netns, PerfEvent, ProbeMulti,
    RawTracepoint, Route, Run, SockMap, Socket, StructOps, Tcx, Trampoline, UserProbe,
};

/// Whether libbpf passes an attach type for a section.
#[derive(Clone, Copy)]
enum Attach {
    /// It passes none.
    No,
    /// It passes this one if it finds that the kernel accepts attach types.
    Maybe(&'static str),
    /// It always passes this one.
    Yes(&'static str),
}

use Attach::{Maybe, No, Yes};

/// A row: the section's name, ending in `+` if a target may follow after `/`; the program type; the attach type; how such
/// programs are attached, and whether libbpf attaches them automatically.
type Row = (&'static str, &'static str, Attach, AttachWay, bool);

/// The rows, in libbpf's lookup order.
const ROWS: &[Row] = &[
    ("socket", "socket_filter", No, Socket, false),
    ("sk_reuseport/migrate", "sk_reuseport", Yes("sk_reuseport_select_or_migrate"), Socket, false),
    ("sk_reuseport", "sk_reuseport", Yes("sk_reuseport_select"), Socket, false),
    ("kprobe+", "kprobe", No, PerfEvent, true),
    ("uprobe+", "kprobe", No, UserProbe, true),
    ("uprobe.s+", "kprobe", No, UserProbe, true),
    ("kretprobe+", "kprobe", No, PerfEvent, true),
    ("uretprobe+", "kprobe", No, UserProbe, true),
    ("uretprobe.s+", "kprobe", No, UserProbe, true),
    ("kprobe.multi+", "kprobe", Yes("trace_kprobe_multi"), ProbeMulti, true),
    ("kretprobe.multi+", "kprobe", Yes("trace_kprobe_multi"), ProbeMulti, true),
    ("kprobe.session+", "kprobe", Yes("trace_kprobe_session"), ProbeMulti, true),
    ("uprobe.multi+", "kprobe", Yes("trace_uprobe_multi"), ProbeMulti, true),
    ("uretprobe.multi+", "kprobe", Yes("trace_uprobe_multi"), ProbeMulti, true),
    ("uprobe.session+", "kprobe", Yes("trace_uprobe_session"), ProbeMulti, true),
    ("uprobe.multi.s+", "kprobe", Yes("trace_uprobe_multi"), ProbeMulti, true),
    ("uretprobe.multi.s+", "kprobe", Yes("trace_uprobe_multi"), ProbeMulti, true),
    ("uprobe.session.s+", "kprobe", Yes("trace_uprobe_session"), ProbeMulti, true),
    ("ksyscall+", "kprobe", No, PerfEvent, true),
    ("kretsyscall+", "kprobe", No, PerfEvent, true),
    ("usdt+", "kprobe", No, UserProbe, true),
    ("usdt.s+", "kprobe", No, UserProbe, true),
    ("tc/ingress", "sched_cls", Yes("tcx_ingress"), Tcx, false),
    ("tc/egress", "sched_cls", Yes("tcx_egress"), Tcx, false),
    ("tcx/ingress", "sched_cls", Yes("tcx_ingress"), Tcx, false),
    ("tcx/egress", "sched_cls", Yes("tcx_egress"), Tcx, false),
    ("tc", "sched_cls", No, Netlink, false),
    ("classifier", "sched_cls", No, Netlink, false),
    ("action", "sched_act", No, Netlink, false),
    ("netkit/primary", "sched_cls", Yes("netkit_primary"), Netkit, false),
    ("netkit/peer", "sched_cls", Yes("netkit_peer"), Netkit, false),
    ("tracepoint+", "tracepoint", No, PerfEvent, true),
    ("tp+", "tracepoint", No, PerfEvent, true),
    ("raw_tracepoint+", "raw_tracepoint", No, RawTracepoint, true),
    ("raw_tp+", "raw_tracepoint", No, RawTracepoint, true),
    ("raw_tracepoint.w+", "raw_tracepoint_writable", No, RawTracepoint, true),
    ("raw_tp.w+", "raw_tracepoint_writable", No, RawTracepoint, true),
    ("tp_btf+", "tracing", Yes("trace_raw_tp"), RawTracepoint, true),
    ("fentry+", "tracing", Yes("trace_fentry"), Trampoline, true),
    ("fmod_ret+", "tracing", Yes("modify_return"), Trampoline, true),
    ("fexit+", "tracing", Yes("trace_fexit"), Trampoline, true),
    ("fentry.s+", "tracing", Yes("trace_fentry"), Trampoline, true),
    ("fmod_ret.s+", "tracing", Yes("modify_return"), Trampoline, true),
    ("fexit.s+", "tracing", Yes("trace_fexit"), Trampoline, true),
    ("fsession+", "tracing", Yes("trace_fsession"), Trampoline, true),
    ("fsession.s+", "tracing", Yes("trace_fsession"), Trampoline, true),
    ("freplace+", "ext", No, Extension, true),
    ("lsm+", "lsm", Yes("lsm_mac"), Trampoline, true),
    ("lsm.s+", "lsm", Yes("lsm_mac"), Trampoline, true),
    ("lsm_cgroup+", "lsm", Yes("lsm_cgroup"), Cgroup, false),
    ("iter+", "tracing", Yes("trace_iter"), Iterator, true),
    ("iter.s+", "tracing", Yes("trace_iter"), Iterator, true),
    ("syscall", "syscall", No, Run, false),
    ("xdp.frags/devmap", "xdp", Yes("xdp_devmap"), Map, false),
    ("xdp/devmap", "xdp", Yes("xdp_devmap"), Map, false),
    ("xdp.frags/cpumap", "xdp", Yes("xdp_cpumap"), Map, false),
    ("xdp/cpumap", "xdp", Yes("xdp_cpumap"), Map, false),
    ("xdp.frags", "xdp", Yes("xdp"), Device, false),
    ("xdp", "xdp", Maybe("xdp"), Device, false),
    ("perf_event", "perf_event", No, PerfEvent, false),
    ("lwt_in", "lwt_in", No, Route, false),
    ("lwt_out", "lwt_out", No, Route, false),
    ("lwt_xmit", "lwt_xmit", No, Route, false),
    ("lwt_seg6local", "lwt_seg6local", No, Route, false),
    ("sockops", "sock_ops", Maybe("cgroup_sock_ops"), Cgroup, false),
    ("sk_skb/stream_parser", "sk_skb", Maybe("sk_skb_stream_parser"), SockMap, false),
    ("sk_skb/stream_verdict", "sk_skb", Maybe("sk_skb_stream_verdict"), SockMap, false),
    ("sk_skb/verdict", "sk_skb", Maybe("sk_skb_verdict"), SockMap, false),
    ("sk_skb", "sk_skb", No, SockMap, false),
    ("sk_msg", "sk_msg", Maybe("sk_msg_verdict"), SockMap, false),
    ("lirc_mode2", "lirc_mode2", Maybe("lirc_mode2"), Lirc, false),
    ("flow_dissector", "flow_dissector", Maybe("flow_dissector"), Netns, false),
    ("cgroup_skb/ingress", "cgroup_skb", Maybe("cgroup_inet_ingress"), Cgroup, false),
    ("cgroup_skb/egress", "cgroup_skb", Maybe("cgroup_inet_egress"), Cgroup, false),
    ("cgroup/skb", "cgroup_skb", No, Cgroup, false),
    ("cgroup/sock_create", "cgroup_sock", Yes("cgroup_inet_sock_create"), Cgroup, false),
    ("cgroup/sock_release", "cgroup_sock", Yes("cgroup_inet_sock_release"), Cgroup, false),
    ("cgroup/sock", "cgroup_sock", Maybe("cgroup_inet_sock_create"), Cgroup, false),
    ("cgroup/post_bind4", "cgroup_sock", Yes("cgroup_inet4_post_bind"), Cgroup, false),
    ("cgroup/post_bind6", "cgroup_sock", Yes("cgroup_inet6_post_bind"), Cgroup, false),
    ("cgroup/bind4", "cgroup_sock_addr", Yes("cgroup_inet4_bind"), Cgroup, false),
    ("cgroup/bind6", "cgroup_sock_addr", Yes("cgroup_inet6_bind"), Cgroup, false),
    ("cgroup/connect4", "cgroup_sock_addr", Yes("cgroup_inet4_connect"), Cgroup, false),
    ("cgroup/connect6", "cgroup_sock_addr", Yes("cgroup_inet6_connect"), Cgroup, false),
    ("cgroup/connect_unix", "cgroup_sock_addr", Yes("cgroup_unix_connect"), Cgroup, false),
    ("cgroup/sendmsg4", "cgroup_sock_addr", Yes("cgroup_udp4_sendmsg"), Cgroup, false),
    ("cgroup/sendmsg6", "cgroup_sock_addr", Yes("cgroup_udp6_sendmsg"), Cgroup, false),
    ("cgroup/sendmsg_unix", "cgroup_sock_addr", Yes("cgroup_unix_sendmsg"), Cgroup, false),
    ("cgroup/recvmsg4", "cgroup_sock_addr", Yes("cgroup_udp4_recvmsg"), Cgroup, false),
    ("cgroup/recvmsg6", "cgroup_sock_addr", Yes("cgroup_udp6_recvmsg"), Cgroup, false),
    ("cgroup/recvmsg_unix", "cgroup_sock_addr", Yes("cgroup_unix_recvmsg"), Cgroup, false),
    ("cgroup/getpeername4", "cgroup_sock_addr", Yes("cgroup_inet4_getpeername"), Cgroup, false),
    ("cgroup/getpeername6", "cgroup_sock_addr", Yes("cgroup_inet6_getpeername"), Cgroup, false),
    ("cgroup/getpeername_unix", "cgroup_sock_addr", Yes("cgroup_unix_getpeername"), Cgroup, false),
    ("cgroup/getsockname4", "cgroup_sock_addr", Yes("cgroup_inet4_getsockname"), Cgroup, false),
    ("cgroup/getsockname6", "cgroup_sock_addr", Yes("cgroup_inet6_getsockname"), Cgroup, false),
    ("cgroup/getsockname_unix", "cgroup_sock_addr", Yes("cgroup_unix_getsockname"), Cgroup, false),
    ("cgroup/sysctl", "cgroup_sysctl", Yes("cgroup_sysctl"), Cgroup, false),
    ("cgroup/getsockopt", "cgroup_sockopt", Yes("cgroup_getsockopt"), Cgroup, false),
    ("cgroup/setsockopt", "cgroup_sockopt", Yes("cgroup_setsockopt"), Cgroup, false),
    ("cgroup/dev", "cgroup_device", Maybe("cgroup_device"), Cgroup, false),
    ("struct_ops+", "struct_ops", No, StructOps, false),
    ("struct_ops.s+", "struct_ops", No, StructOps, false),
    ("sk_lookup", "sk_lookup", Yes("sk_lookup"), Netns, false),
    ("netfilter", "netfilter", Yes("netfilter"), Netfilter, false),
];

/// What a section means to libbpf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Section<'a> {
    pub(crate) prog_type: u32,
    pub(crate) attach_type: ExpectedAttach,
    pub(crate) sleepable: bool,
    pub(crate) way: AttachWay,
    pub(crate) automatic: bool,
    /// The name without its target.
    pub(crate) stem: &'static str,
    /// The target, after the first `/`.
    pub(crate) target: Option<&'a str>,
}

/// Rows that versions of libbpf before 1.MINOR do not have (`section_defs` of 1.4.0, 1.5.0, 1.6.2 and 1.7.0).
const SINCE: [(&str, u16); 5] =
    [("kprobe.session+", 5), ("uprobe.session+", 6), ("uprobe.session.s+", 6), ("fsession+", 7), ("fsession.s+", 7)];

/// Rows that cilium/ebpf does not have (`elf_sections.go`); a shorter row may still match them.
const NOT_IN_CILIUM: [&str; 11] = [
    "kprobe.session+",
    "uprobe.session+",
    "uprobe.session.s+",
    "fsession+",
    "fsession.s+",
    "sk_skb/verdict",
    "cgroup/connect_unix",
    "cgroup/sendmsg_unix",
    "cgroup/recvmsg_unix",
    "cgroup/getpeername_unix",
    "cgroup/getsockname_unix",
];

/// What a section name, without a leading `?`, means to a loader; `None` if the loader does not know it.
pub(crate) fn of(name: &str, loader: Loader) -> Option<Section<'_>> {
    let row = match loader.library {
        Library::Libbpf => {
            let is_known = |row: &&Row| {
                let since = SINCE.iter().find(|(name, _)| *name == row.0);
                since.is_none_or(|(_, minor)| (loader.version.major, loader.version.minor) >= (1, *minor))
            };
            ROWS.iter().filter(is_known).find(|row| matches(row.0, name))?
        }
        Library::CiliumEbpf => {
            let is_known = |row: &&Row| !NOT_IN_CILIUM.contains(&row.0);
            ROWS.iter().filter(is_known).find(|row| matches_by_prefix(row.0, name))?
        }
        Library::Aya => {
            let row = aya(name)?;
            ROWS.iter().find(|known| known.0.trim_end_matches('+') == row)?
        }
    };
    let stem = row.0.trim_end_matches('+');
    let number = |text| names::number(Kind::Attach, text);
    Some(Section {
        prog_type: names::number(Kind::Prog, row.1)?,
        attach_type: match row.2 {
            No => ExpectedAttach::None,
            // `SkSkb::load` of aya passes none.
            Maybe(_) if loader.library == Library::Aya && row.1 == "sk_skb" => ExpectedAttach::None,
            Maybe(text) if loader.library == Library::Libbpf => ExpectedAttach::Optional(number(text)?),
            Maybe(text) | Yes(text) => ExpectedAttach::Required(number(text)?),
        },
        sleepable: stem.ends_with(".s") || stem == "syscall",
        way: row.3,
        automatic: row.4,
        stem,
        target: name.get(stem.len() + 1..).filter(|target| row.0.ends_with('+') && !target.is_empty()),
    })
}

fn matches(row: &str, name: &str) -> bool {
    match row.strip_suffix('+') {
        Some(stem) => name.strip_prefix(stem).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        None => row == name,
    }
}

/// As cilium/ebpf compares: a row without `+` is a prefix (`matchSectionName` in `elf_reader.go`).
fn matches_by_prefix(row: &str, name: &str) -> bool {
    if row.ends_with('+') { matches(row, name) } else { name.starts_with(row) }
}

/// The row that a section name means to aya (`ProgramSection::from_str` in `src/obj.rs` of `aya-obj` 0.6): the first part,
/// or the first two where both count.
fn aya(name: &str) -> Option<&str> {
    let mut parts = name.split('/');
    let (first, second) = (parts.next()?, parts.next());
    let both = || name.get(..first.len() + 1 + second?.len());
    match (first, second) {
        (
            "kprobe" | "kretprobe" | "uprobe" | "uprobe.s" | "uprobe.multi" | "uprobe.multi.s" | "uretprobe"
            | "uretprobe.s" | "uretprobe.multi" | "uretprobe.multi.s" | "tp_btf" | "tracepoint" | "tp" | "socket"
            | "sk_msg" | "sockops" | "classifier" | "lirc_mode2" | "perf_event" | "raw_tp" | "raw_tracepoint" | "lsm"
            | "lsm.s" | "lsm_cgroup" | "fentry" | "fentry.s" | "fexit" | "fexit.s" | "flow_dissector" | "freplace"
            | "sk_lookup" | "iter" | "iter.s",
            _,
        )
        | ("xdp" | "xdp.frags" | "sk_reuseport", None) => Some(first),
        ("xdp" | "xdp.frags", Some("cpumap" | "devmap"))
        | ("sk_reuseport", Some("migrate"))
        | ("sk_skb", Some("stream_parser" | "stream_verdict"))
        | ("cgroup_skb", Some("ingress" | "egress"))
        | (
            "cgroup",
            Some(
                "skb" | "sysctl" | "dev" | "getsockopt" | "setsockopt" | "sock" | "post_bind4" | "post_bind6"
                | "sock_create" | "sock_release" | "bind4" | "bind6" | "connect4" | "connect6" | "getpeername4"
                | "getpeername6" | "getsockname4" | "getsockname6" | "sendmsg4" | "sendmsg6" | "recvmsg4" | "recvmsg6",
            ),
        ) => both(),
        _ => None,
    }
}

/// The names of all sections that libbpf 1.7 knows; `+` at the end means that a target may follow.
pub fn known_sections() -> impl std::iter::Iterator<Item = &'static str> {
    ROWS.iter().map(|row| row.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> Option<Section<'_>> {
        super::of(name, Loader::LIBBPF)
    }

    fn by(name: &str, loader: &str) -> Option<(u32, ExpectedAttach)> {
        super::of(name, loader.parse().unwrap()).map(|found| (found.prog_type, found.attach_type))
    }

    #[test]
    fn every_row_has_known_types() {
        for row in ROWS {
            assert!(of(row.0.trim_end_matches('+')).is_some(), "{}", row.0);
        }
        assert_eq!(ROWS.len(), 105);
    }

    #[test]
    fn sections_have_targets_where_libbpf_accepts_them() {
        let probe = of("kprobe/do_unlinkat").unwrap();
        assert_eq!((probe.target, probe.stem, probe.automatic), (Some("do_unlinkat"), "kprobe", true));
        assert_eq!(of("fentry.s/a/b").map(|found| (found.target, found.sleepable)), Some((Some("a/b"), true)));
        assert_eq!(of("xdp").unwrap().attach_type, ExpectedAttach::Optional(37));
        assert_eq!(of("xdp.frags").unwrap().attach_type, ExpectedAttach::Required(37));
        assert_eq!(of("tc").unwrap().target, None);
        for unknown in ["xdp/mine", "kprobes", "tc/mine", "filter", "", "kprobe.multi2/x", "cgroup/skbx"] {
            assert_eq!(of(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn versions_of_libbpf_know_different_sections() {
        for (name, first) in [("kprobe.session/x", 5), ("uprobe.session/x", 6), ("fsession/x", 7)] {
            assert_eq!(by(name, &format!("libbpf-1.{}", first - 1)), None, "{name}");
            assert_eq!(by(name, &format!("libbpf-1.{first}")), by(name, "libbpf"), "{name}");
        }
    }

    #[test]
    fn cilium_ebpf_takes_prefixes_and_passes_every_attach_type() {
        let number = |name| names::number(Kind::Attach, name).unwrap();
        let of = |name| by(name, "cilium-ebpf");
        assert_eq!(of("xdp/foo"), Some((6, ExpectedAttach::Required(number("xdp")))));
        assert_eq!(of("sockops"), Some((13, ExpectedAttach::Required(number("cgroup_sock_ops")))));
        assert_eq!(of("classifier/ingress").map(|found| found.0), Some(3));
        assert_eq!(of("socket/garbage").map(|found| found.1), Some(ExpectedAttach::None));
        assert_eq!(of("sk_lookup/x"), of("sk_lookup"));
        assert_eq!(of("perf_event/x").map(|found| found.0), Some(7));
        // A row with a target is not a prefix; what it does not have, a shorter row may take.
        assert_eq!(of("kprobes"), None);
        assert_eq!(of("sk_skb/verdict"), of("sk_skb"));
        assert_eq!(by("classifier/ingress", "libbpf"), None);
    }

    #[test]
    fn aya_takes_the_first_part_of_a_name() {
        let number = |name| names::number(Kind::Attach, name).unwrap();
        let of = |name| by(name, "aya");
        assert_eq!(of("xdp"), Some((6, ExpectedAttach::Required(number("xdp")))));
        assert_eq!(of("xdp/devmap"), Some((6, ExpectedAttach::Required(number("xdp_devmap")))));
        assert_eq!(of("sk_skb/stream_parser/mine").map(|found| found.1), Some(ExpectedAttach::None));
        assert_eq!(of("classifier/mine").map(|found| found.0), Some(3));
        assert_eq!(of("cgroup/sock").map(|found| found.1), by("cgroup/sock_create", "libbpf").map(|found| found.1));
        for unknown in ["xdp/mine", "tc", "tcx/ingress", "sk_skb", "struct_ops/x", "?xdp", "ksyscall/x", "usdt", ""] {
            assert_eq!(of(unknown), None, "{unknown}");
        }
    }
}
