//! Program types that observe or change more than the container.

use std::collections::BTreeMap;

use harness_uapi::{delegation::numbers, names, vocabulary::Kind};

/// Returns what programs of a type can reach once they are attached, as the end of a sentence that begins with the type;
/// `None` for those that reach only what the container has anyway.
///
/// None of these needs a capability outside the container to be attached (`bpf_prog_attach_check_attach_type` and
/// `link_create` in `kernel/bpf/syscall.c`).
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
        "tracepoint" | "perf_event" => {
            "can watch the whole machine if a process outside the container opens the perf event; the container cannot"
        }
        "netfilter" | "sched_cls" | "sched_act" | "xdp" | "flow_dissector" => {
            "can read, change and drop all packets of the container's network namespace, which may be the host's"
        }
        "cgroup_device" | "cgroup_skb" | "cgroup_sock" | "cgroup_sock_addr" | "cgroup_sockopt" | "cgroup_sysctl"
        | "sock_ops" => {
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
        assert!(of_mask(1 << 63).is_empty());
    }
}
