//! Capabilities that calls of helpers require.
//!
//! Tracing programs get most helpers by their type, whose capabilities include those required here; all others get them
//! from `bpf_base_func_proto` (`kernel/bpf/helpers.c`) and `bpf_sk_base_func_proto` (`net/core/filter.c`).

use crate::{permission::Capability, release::Release};

/// The capability that a helper requires.
pub(super) struct HelperCapability {
    pub(super) capability: Capability,
    /// Whether it is required in the initial user namespace, where no token counts.
    pub(super) initial: bool,
    pub(super) source: &'static str,
}

const BASE: &str = "bpf_base_func_proto in kernel/bpf/helpers.c";
const SOCKETS: &str = "bpf_sk_base_func_proto in net/core/filter.c";
const TRACING: &str = "bpf_tracing_func_proto in kernel/trace/bpf_trace.c";
const SYSCALL: &str = "syscall_prog_func_proto in kernel/bpf/syscall.c";

/// The first release that checks for `probe_write_user` in the token's namespace, and no longer in the initial one.
const WRITES_BY_TOKEN: Release = Release { major: 6, minor: 14 };

/// The first release known to check all tracing helpers against one list of capabilities, whatever the program's type.
const ONE_LIST: Release = Release { major: 6, minor: 16 };

/// The capability that the kernel requires before a program of this type may call a helper, if any.
pub(super) fn required_capability(helper: &str, prog_type: &str, release: Release) -> Option<HelperCapability> {
    let by_token = |capability, source| Some(HelperCapability { capability, initial: false, source });
    if helper == "probe_write_user" {
        let initial = release < WRITES_BY_TOKEN;
        return Some(HelperCapability { capability: Capability::SysAdmin, initial, source: TRACING });
    }
    match prog_type {
        "syscall" if helper == "sys_bpf" => by_token(Capability::Perfmon, SYSCALL),
        // Before that, syscall programs could call them all without a check.
        "syscall" if release < ONE_LIST => None,
        _ if is_for_perfmon(helper) => by_token(Capability::Perfmon, BASE),
        _ if release >= ONE_LIST && is_for_perfmon_since_one_list(helper) => by_token(Capability::Perfmon, BASE),
        // Syscall programs get these as tracing programs do (`tracing_prog_func_proto`).
        "syscall" if is_of_sockets(helper) => None,
        _ if is_of_sockets(helper) => by_token(Capability::Perfmon, SOCKETS),
        _ if is_for_bpf(helper) => by_token(Capability::Bpf, BASE),
        _ if release >= ONE_LIST && helper == "get_cgroup_classid" => by_token(Capability::Bpf, BASE),
        _ => None,
    }
}

/// The helpers that require `CAP_BPF`, as of the first release with tokens.
fn is_for_bpf(helper: &str) -> bool {
    matches!(
        helper,
        "spin_lock"
            | "spin_unlock"
            | "jiffies64"
            | "per_cpu_ptr"
            | "this_cpu_ptr"
            | "timer_init"
            | "timer_set_callback"
            | "timer_start"
            | "timer_cancel"
            | "kptr_xchg"
            | "for_each_map_elem"
            | "loop"
            | "user_ringbuf_drain"
            | "ringbuf_reserve_dynptr"
            | "ringbuf_submit_dynptr"
            | "ringbuf_discard_dynptr"
            | "dynptr_from_mem"
            | "dynptr_read"
            | "dynptr_write"
            | "dynptr_data"
            | "cgrp_storage_get"
            | "cgrp_storage_delete"
            | "get_current_cgroup_id"
            | "get_current_ancestor_cgroup_id"
            | "current_task_under_cgroup"
            | "task_storage_get"
            | "task_storage_delete"
    )
}

/// The helpers that require `CAP_PERFMON`, as of the first release with tokens.
fn is_for_perfmon(helper: &str) -> bool {
    matches!(
        helper,
        "trace_printk"
            | "get_current_task"
            | "get_current_task_btf"
            | "probe_read_user"
            | "probe_read_kernel"
            | "probe_read_user_str"
            | "probe_read_kernel_str"
            | "snprintf_btf"
            | "snprintf"
            | "task_pt_regs"
            | "trace_vprintk"
    )
}

/// The helpers that depended only on the program's type before, and require `CAP_PERFMON` since there is one list.
fn is_for_perfmon_since_one_list(helper: &str) -> bool {
    matches!(
        helper,
        "get_current_comm"
            | "copy_from_user"
            | "copy_from_user_task"
            | "perf_event_read_value"
            | "perf_event_read"
            | "send_signal"
            | "send_signal_thread"
            | "get_task_stack"
            | "get_branch_snapshot"
            | "find_vma"
    )
}

/// The helpers that cast sockets to kernel structures.
fn is_of_sockets(helper: &str) -> bool {
    helper.starts_with("skc_to_")
}
