//! Program types that observe or change more than the container.

use std::collections::BTreeMap;

use harness_uapi::{delegation::numbers, names, vocabulary::Kind};

/// Returns what programs of a type can reach once they are attached, as the end of a sentence that begins with the type;
/// `None` for those that reach only what the container has anyway.
///
/// None of these needs a capability outside the container to be attached (`bpf_prog_attach_check_attach_type` and
/// `link_create` in `kernel/bpf/syscall.c`), at most an event (`perf_trace_event_perm` in
/// `kernel/trace/trace_event_perf.c`) or a descriptor (`netns_bpf_link_create` in `kernel/bpf/net_namespace.c`).
pub(super) fn of_program(name: &str) -> Option<&'static str> {
    Some(match name {
        "tracing" => {
            "can trace functions of the whole kernel and alter their results, for every process on the machine"
        }
        "kprobe" => "can watch any kernel function through a kprobe-multi link, and read the memory of every process",
        "raw_tracepoint" | "raw_tracepoint_writable" => {
            "can watch every system call of every process on the machine, with its arguments"
        }
        "lsm" => "can refuse operations of every process on the machine, including the host's",
        "struct_ops" => {
            "can replace parts of the kernel for the whole machine, such as congestion control or the scheduler"
        }
        "ext" => "can replace functions of any program of which the container has a descriptor",
        "tracepoint" => {
            "can watch every process on the machine; where kernel.perf_event_paranoid is at most 2, the kernel's default, \
             the container opens the perf event itself"
        }
        "perf_event" => {
            "can watch the whole machine if a process outside the container opens the perf event; the container itself can \
             only open those of its own processes"
        }
        "sk_lookup" | "flow_dissector" => {
            "can steer the packets of every network namespace that the container shares or has a descriptor of, which may \
             be the host's"
        }
        "netfilter" | "sched_cls" | "sched_act" | "xdp" => {
            "can read, change and drop all packets of the container's network namespace, which may be the host's"
        }
        "cgroup_sock_addr" => {
            "can control the sockets of every cgroup whose directory the container can open for reading, including those \
             of the host's cgroup file systems that are mounted there, and lets them bind to privileged ports and set \
             SO_MARK in the network namespace that they use"
        }
        "cgroup_device" | "cgroup_skb" | "cgroup_sock" | "cgroup_sockopt" | "cgroup_sysctl" | "sock_ops" => {
            "can control every cgroup whose directory the container can open for reading, including those of the host's \
             cgroup file systems that are mounted there"
        }
        _ => return None,
    })
}

/// Returns the delegated program types that reach beyond the container, grouped by what they reach.
pub(super) fn of_mask(mask: u64) -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut reach: BTreeMap<&'static str, Vec<&'static str>> = BTreeMap::new();
    for number in numbers(mask) {
        let Some(name) = names::name(Kind::Prog, number) else { continue };
        if let Some(what) = of_program(name) {
            reach.entry(what).or_default().push(name);
        }
    }
    reach
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_grouped_by_what_they_reach() {
        let bit = |name| 1_u64 << names::number(Kind::Prog, name).unwrap();
        let reach = of_mask(bit("lsm") | bit("xdp") | bit("sched_cls") | bit("socket_filter"));
        let groups: Vec<usize> = reach.values().map(Vec::len).collect();
        assert_eq!(groups.iter().sum::<usize>(), 3);
        assert!(reach.values().any(|names| names == &["sched_cls", "xdp"]));
        let others = of_mask(bit("sk_lookup") | bit("tracepoint") | bit("perf_event") | bit("cgroup_sock_addr"));
        assert_eq!(others.len(), 4);
        assert!(of_mask(1 << 63).is_empty());
    }
}
