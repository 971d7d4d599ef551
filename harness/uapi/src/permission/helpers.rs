//! What calls of helpers ask for.
//!
//! Programs for tracing have most helpers by their type, whose capabilities include those asked here; all others get
//! them from `bpf_base_func_proto` (`kernel/bpf/helpers.c`) and `bpf_sk_base_func_proto` (`net/core/filter.c`).

use crate::{permission::Capability, release::Release};

/// A capability that a helper is given for.
pub(super) struct HelperCapability {
    pub(super) capability: Capability,
    /// Whether it is asked for in the initial user namespace, which no token stands for.
    pub(super) initial: bool,
    pub(super) source: &'static str,
}

const BASE: &str = "bpf_base_func_proto in kernel/bpf/helpers.c";
const SOCKETS: &str = "bpf_sk_base_func_proto in net/core/filter.c";
const TRACING: &str = "bpf_tracing_func_proto in kernel/trace/bpf_trace.c";
const SYSCALL: &str = "syscall_prog_func_proto in kernel/bpf/syscall.c";

/// The first release in which the token's namespace is asked for `probe_write_user`, and no longer the initial one.
const WRITES_BY_TOKEN: Release = Release { major: 6, minor: 14 };

/// The first release known to give all helpers for tracing by one list of capabilities, whatever the program's type.
const ONE_LIST: Release = Release { major: 6, minor: 16 };

/// What the kernel asks for before it gives a program of this type a helper; `None` for nothing.
pub(super) fn asked(helper: &str, prog_type: &str, release: Release) -> Option<HelperCapability> {
    let by_token = |capability, source| Some(HelperCapability { capability, initial: false, source });
    if helper == "probe_write_user" {
        let initial = release < WRITES_BY_TOKEN;
        return Some(HelperCapability { capability: Capability::SysAdmin, initial, source: TRACING });
    }
    match prog_type {
        "syscall" if helper == "sys_bpf" => by_token(Capability::Perfmon, SYSCALL),
        // Before, programs that are system calls had them all without a question.
        "syscall" if release < ONE_LIST => None,
        _ if is_for_perfmon(helper) => by_token(Capability::Perfmon, BASE),
        _ if release >= ONE_LIST && is_for_perfmon_by_now(helper) => by_token(Capability::Perfmon, BASE),
        // Programs that are system calls have these as programs for tracing do (`tracing_prog_func_proto`).
        "syscall" if is_of_sockets(helper) => None,
        _ if is_of_sockets(helper) => by_token(Capability::Perfmon, SOCKETS),
        _ if is_for_bpf(helper) => by_token(Capability::Bpf, BASE),
        _ => None,
    }
}

/// The list behind the question for `CAP_BPF`.
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

/// The list behind the question for `CAP_PERFMON`, as it was when tokens came.
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

/// What was given by the type of program before, and is in that list since there is one list for all.
fn is_for_perfmon_by_now(helper: &str) -> bool {
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

/// Conversions of sockets into the kernel's own structures.
fn is_of_sockets(helper: &str) -> bool {
    helper.starts_with("skc_to_")
}
