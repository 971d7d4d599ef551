//! Recipes for each program type.

use harness_protocol::{
    blob,
    plan::{Body, Call, KernelType, ProgTarget, ProgTypes},
};
use harness_uapi::{resolver::NameResolver, vocabulary::Kind};

use crate::recipe::{Recipe, draft::Draft, flags};

/// The arguments of `BPF_PROG_LOAD` for a program that returns a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProgArguments {
    /// The expected attach type, or `None` for number 0.
    pub(crate) attach: Option<&'static str>,
    /// Flags by name; see [`super::PROG_FLAGS`].
    pub(crate) flags: &'static [&'static str],
    /// The attach type of a link, if it is not the expected attach type of the load.
    pub(crate) link_attach: Option<&'static str>,
}

impl ProgArguments {
    /// What most types accept, and perhaps a type that is newer than these tables.
    pub(crate) const PLAIN: Self = Self { attach: None, flags: &[], link_attach: None };
}

const PLAIN: ProgArguments = ProgArguments::PLAIN;

/// Returns the arguments for a program type, by the kernel's name (`bpf_prog_load_check_attach` in
/// `kernel/bpf/syscall.c`); `None` for an unknown type.
pub(crate) fn arguments(name: &str) -> Option<ProgArguments> {
    let loaded_for = |attach| ProgArguments { attach: Some(attach), ..PLAIN };
    let linked_as = |attach| ProgArguments { link_attach: Some(attach), ..PLAIN };
    Some(match name {
        "socket_filter"
        | "sched_act"
        | "lwt_in"
        | "lwt_out"
        | "lwt_xmit"
        | "lwt_seg6local"
        | "raw_tracepoint"
        | "raw_tracepoint_writable"
        | "cgroup_skb"
        | "ext" => PLAIN,
        // The kernel also accepts 0 for these, and takes it for the same attach type.
        "cgroup_sock" => loaded_for("cgroup_inet_sock_create"),
        "sk_reuseport" => loaded_for("sk_reuseport_select"),
        "cgroup_sock_addr" => loaded_for("cgroup_inet4_connect"),
        "cgroup_sockopt" => loaded_for("cgroup_getsockopt"),
        "sk_lookup" => loaded_for("sk_lookup"),
        "netfilter" => loaded_for("netfilter"),
        "tracing" => loaded_for("trace_fentry"),
        "lsm" => loaded_for("lsm_mac"),
        "syscall" => ProgArguments { flags: &["sleepable"], ..PLAIN },
        "xdp" => linked_as("xdp"),
        "sched_cls" => linked_as("tcx_ingress"),
        "cgroup_device" => linked_as("cgroup_device"),
        "cgroup_sysctl" => linked_as("cgroup_sysctl"),
        "sock_ops" => linked_as("cgroup_sock_ops"),
        "sk_skb" => linked_as("sk_skb_stream_verdict"),
        "sk_msg" => linked_as("sk_msg_verdict"),
        "flow_dissector" => linked_as("flow_dissector"),
        "lirc_mode2" => linked_as("lirc_mode2"),
        "kprobe" | "tracepoint" | "perf_event" => linked_as("perf_event"),
        "struct_ops" => linked_as("struct_ops"),
        _ => return None,
    })
}

/// Returns the kernel function or structure that a program is written for, if its type needs one; for a tracing or LSM
/// program it depends on the attach type. The kernel calls these functions only in its own tests
/// (`net/bpf/test_run.c`). The LSM hook refuses nothing, because the program returns 0.
pub(crate) fn target(name: &str, attach: Option<&str>) -> ProgTarget {
    let func = |name: &str| ProgTarget::Kernel(KernelType::Func(name.to_owned()));
    match (name, attach) {
        ("struct_ops", _) => ProgTarget::Kernel(KernelType::Struct("bpf_dummy_ops".to_owned())),
        ("lsm", _) => func("bpf_lsm_file_open"),
        ("tracing", Some("trace_raw_tp")) => ProgTarget::Kernel(KernelType::Typedef("btf_trace_sys_enter".to_owned())),
        ("tracing", Some("trace_iter")) => func("bpf_iter_task"),
        ("tracing", Some("modify_return")) => func("bpf_modify_return_test"),
        // These get their functions when they are attached.
        ("tracing", Some(multi)) if multi.ends_with("_multi") => ProgTarget::None,
        ("tracing", _) => func(TRACED),
        _ => ProgTarget::None,
    }
}

/// A kernel function to trace (`net/bpf/test_run.c`).
pub(super) const TRACED: &str = "bpf_fentry_test1";

/// Returns what a program returns. Most types may return anything, some attach types only 1 (`check_return_code` in
/// `kernel/bpf/verifier.c`). For all programs of cgroups, sockets and netfilter, 1 also means that they refuse and drop
/// nothing while they are attached.
pub(crate) fn returns(attach: Option<&str>) -> i32 {
    let lets_pass = |name: &str| {
        name.starts_with("cgroup_")
            || matches!(name, "lsm_cgroup" | "netfilter" | "sk_lookup")
            || name.starts_with("sk_")
    };
    i32::from(attach.is_some_and(lets_pass))
}

/// Whether a program type replaces a function of another program.
pub(crate) fn replaces(name: &str) -> bool {
    name == "ext"
}

/// Returns the recipe to load a program of this type.
pub(super) fn recipe(name: &str, resolver: &NameResolver<'_>) -> Option<Recipe> {
    let arguments = arguments(name)?;
    let mut draft = Draft::new(resolver);
    let call = match replaces(name) {
        true => replacement(&mut draft),
        false => load(&mut draft, name, arguments.attach),
    };
    Some(draft.done(call))
}

/// Returns the call that loads a program of this type for this attach type.
pub(super) fn load(draft: &mut Draft<'_, '_>, name: &str, attach: Option<&str>) -> Call {
    Call::ProgLoad {
        prog_type: draft.number(Kind::Prog, name),
        expected_attach_type: attach.map_or(0, |attach| draft.number(Kind::Attach, attach)),
        prog_flags: flags::bits(&flags::PROG_FLAGS, arguments(name).unwrap_or(PLAIN).flags),
        body: Body::Returns(returns(attach)),
        license: "GPL".to_owned(),
        target: target(name, attach),
        types: None,
        maps: Vec::new(),
        signature: None,
    }
}

/// Saves a program.
pub(super) fn saved(draft: &mut Draft<'_, '_>, save: &str, name: &str, attach: Option<&str>) -> String {
    let call = load(draft, name, attach);
    draft.save(save, call)
}

/// Returns the call that replaces an XDP program. Both have BTF, which the kernel compares (`btf_check_type_match` in
/// `kernel/bpf/btf.c`).
fn replacement(draft: &mut Draft<'_, '_>) -> Call {
    let btf = draft.save("types", Call::BtfLoad);
    let typed = |call: Call, target: Option<ProgTarget>| with_types(call, entry_types(&btf), target);
    let original = typed(load(draft, "xdp", None), None);
    let prog = draft.save("original", original);
    typed(load(draft, "ext", None), Some(ProgTarget::Program { prog, function: blob::ENTRY }))
}

/// Returns the types of a program with one function.
fn entry_types(btf: &str) -> ProgTypes {
    ProgTypes { btf: btf.to_owned(), functions: vec![(0, blob::ENTRY)] }
}

fn with_types(mut call: Call, own: ProgTypes, replaced: Option<ProgTarget>) -> Call {
    if let Call::ProgLoad { types, target, .. } = &mut call {
        *types = Some(own);
        *target = replaced.unwrap_or_default();
    }
    call
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_exists() {
        assert_eq!(flags::bits(&flags::PROG_FLAGS, arguments("syscall").unwrap().flags), 1 << 4);
    }

    #[test]
    fn programs_that_could_drop_packets_accept_them() {
        assert_eq!(["netfilter", "cgroup_inet_egress", "trace_fentry"].map(|attach| returns(Some(attach))), [1, 1, 0]);
        assert_eq!(returns(None), 0);
    }
}
