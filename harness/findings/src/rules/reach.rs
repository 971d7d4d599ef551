//! Types of programs that see or change more than the container they come from.

use std::collections::BTreeMap;

use harness_uapi::{delegation::numbers, names, vocabulary::Kind};

/// What programs of some type can reach once they are attached, in a sentence that goes on after their name; `None` for
/// those that stay with what the container holds anyway.
///
/// None of these asks for a capability outside when it is attached (`bpf_prog_attach_check_attach_type` and
/// `link_create` in `kernel/bpf/syscall.c`).
pub(super) fn of_program(name: &str) -> Option<&'static str> {
    Some(match name {
        "tracing" => {
            "can trace and alter the results of functions of the whole kernel, for every process of the machine"
        }
        "kprobe" => {
            "can watch any function of the whole kernel by a kprobe-multi link, with the memory of every process"
        }
        "raw_tracepoint" | "raw_tracepoint_writable" => {
            "can watch every system call of every process of the machine, and their arguments"
        }
        "lsm" => "can refuse operations to every process of the machine, the host's own included",
        "struct_ops" => {
            "can take the place of parts of the kernel for the whole machine, such as congestion control or the scheduler"
        }
        "ext" => "can replace functions of any program whose descriptor is at hand",
        "tracepoint" | "perf_event" => {
            "can watch the whole machine, if somebody outside opens the perf event for them; the container cannot"
        }
        "netfilter" | "sched_cls" | "sched_act" | "xdp" | "flow_dissector" => {
            "can read, change and drop all packets of any network namespace the container is in; on a shared one, the host's"
        }
        "cgroup_device" | "cgroup_skb" | "cgroup_sock" | "cgroup_sock_addr" | "cgroup_sockopt" | "cgroup_sysctl"
        | "sock_ops" => {
            "can decide for every cgroup whose directory the container can open for reading, which mounted cgroup file \
             systems of the host include"
        }
        _ => return None,
    })
}

/// The delegated program types that reach out, by what they reach.
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
