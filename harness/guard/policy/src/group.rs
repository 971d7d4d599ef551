//! Groups: the names that begin with `@` and stand for several others.

use crate::name::Family;

/// A name for several names of a family.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// Its name, with the `@`.
    pub name: &'static str,
    /// The family of its members.
    pub family: Family,
    /// What the members have in common.
    pub about: &'static str,
    /// Its members.
    pub members: &'static [&'static str],
}

/// All groups. Two families may each have a group of one name.
pub const GROUPS: &[Group] = &[
    Group {
        name: "@read",
        family: Family::Cmd,
        about: "commands that change nothing and return no new descriptor: lookups, enumeration, information",
        members: &[
            "map_lookup_elem",
            "map_get_next_key",
            "map_lookup_batch",
            "prog_get_next_id",
            "map_get_next_id",
            "btf_get_next_id",
            "link_get_next_id",
            "obj_get_info_by_fd",
            "prog_query",
            "task_fd_query",
            "prog_stream_read_by_fd",
        ],
    },
    Group {
        name: "@open",
        family: Family::Cmd,
        about: "commands that return a descriptor of what exists: by its id, or by its path in a bpffs",
        members: &["prog_get_fd_by_id", "map_get_fd_by_id", "btf_get_fd_by_id", "link_get_fd_by_id", "obj_get"],
    },
    Group {
        name: "@map",
        family: Family::Cmd,
        about: "commands that make maps and work with their elements",
        members: &[
            "map_create",
            "map_lookup_elem",
            "map_update_elem",
            "map_delete_elem",
            "map_get_next_key",
            "map_lookup_and_delete_elem",
            "map_freeze",
            "map_lookup_batch",
            "map_lookup_and_delete_batch",
            "map_update_batch",
            "map_delete_batch",
        ],
    },
    Group {
        name: "@attach",
        family: Family::Cmd,
        about: "commands that attach a program and detach it",
        members: &[
            "prog_attach",
            "prog_detach",
            "raw_tracepoint_open",
            "link_create",
            "link_update",
            "link_detach",
            "iter_create",
        ],
    },
    Group {
        name: "@libbpf_probes",
        family: Family::Cmd,
        about: "commands by which libbpf finds out what the kernel can do, before it loads an object",
        members: &["prog_load", "map_create", "btf_load", "link_create", "prog_bind_map", "obj_get_info_by_fd"],
    },
    Group {
        name: "@libbpf_probes",
        family: Family::Prog,
        about: "types of the programs by which libbpf finds out what the kernel can do",
        members: &["socket_filter", "kprobe", "tracepoint", "cgroup_sock"],
    },
    Group {
        name: "@libbpf_probes",
        family: Family::Map,
        about: "types of the maps by which libbpf finds out what the kernel can do",
        members: &["array"],
    },
    Group {
        name: "@libbpf_probes",
        family: Family::Helper,
        about: "helpers that libbpf's probes call",
        members: &["ktime_get_coarse_ns", "probe_read_kernel", "get_attach_cookie", "get_func_ip"],
    },
    Group {
        name: "@map",
        family: Family::Helper,
        about: "helpers that work with the elements of maps",
        members: &[
            "map_lookup_elem",
            "map_update_elem",
            "map_delete_elem",
            "map_push_elem",
            "map_pop_elem",
            "map_peek_elem",
            "map_lookup_percpu_elem",
            "for_each_map_elem",
            "per_cpu_ptr",
            "this_cpu_ptr",
            "spin_lock",
            "spin_unlock",
            "kptr_xchg",
        ],
    },
    Group {
        name: "@ringbuf",
        family: Family::Helper,
        about: "helpers that send data to user space",
        members: &[
            "perf_event_output",
            "skb_output",
            "xdp_output",
            "ringbuf_output",
            "ringbuf_reserve",
            "ringbuf_submit",
            "ringbuf_discard",
            "ringbuf_query",
            "ringbuf_reserve_dynptr",
            "ringbuf_submit_dynptr",
            "ringbuf_discard_dynptr",
            "user_ringbuf_drain",
        ],
    },
    Group {
        name: "@time",
        family: Family::Helper,
        about: "helpers that return the time",
        members: &["ktime_get_ns", "ktime_get_boot_ns", "ktime_get_coarse_ns", "ktime_get_tai_ns", "jiffies64"],
    },
    Group {
        name: "@packet",
        family: Family::Helper,
        about: "helpers that read, change and redirect packets",
        members: &[
            "skb_store_bytes",
            "skb_load_bytes",
            "skb_load_bytes_relative",
            "skb_pull_data",
            "skb_change_proto",
            "skb_change_type",
            "skb_change_tail",
            "skb_change_head",
            "skb_adjust_room",
            "skb_vlan_push",
            "skb_vlan_pop",
            "skb_get_tunnel_key",
            "skb_set_tunnel_key",
            "skb_get_tunnel_opt",
            "skb_set_tunnel_opt",
            "skb_ecn_set_ce",
            "skb_set_tstamp",
            "l3_csum_replace",
            "l4_csum_replace",
            "csum_diff",
            "csum_update",
            "csum_level",
            "get_hash_recalc",
            "set_hash_invalid",
            "set_hash",
            "xdp_adjust_head",
            "xdp_adjust_meta",
            "xdp_adjust_tail",
            "xdp_get_buff_len",
            "xdp_load_bytes",
            "xdp_store_bytes",
            "check_mtu",
            "fib_lookup",
            "clone_redirect",
            "redirect",
            "redirect_map",
            "redirect_neigh",
            "redirect_peer",
        ],
    },
    Group {
        name: "@task",
        family: Family::Helper,
        about: "helpers that say which task runs",
        members: &[
            "get_current_pid_tgid",
            "get_current_uid_gid",
            "get_current_comm",
            "get_current_task",
            "get_current_task_btf",
            "get_current_cgroup_id",
            "get_current_ancestor_cgroup_id",
            "get_ns_current_pid_tgid",
            "current_task_under_cgroup",
            "get_cgroup_classid",
        ],
    },
    Group {
        name: "@read_memory_of_others",
        family: Family::Helper,
        about: "helpers that read memory of the kernel or of any process",
        members: &[
            "probe_read",
            "probe_read_str",
            "probe_read_kernel",
            "probe_read_kernel_str",
            "probe_read_user",
            "probe_read_user_str",
            "copy_from_user",
            "copy_from_user_task",
            "kallsyms_lookup_name",
        ],
    },
    Group {
        name: "@interfere",
        family: Family::Helper,
        about: "helpers that write into processes, replace results or send signals",
        members: &["probe_write_user", "override_return", "send_signal", "send_signal_thread", "set_retval"],
    },
];

/// The group of this name in a family.
pub fn find(family: Family, name: &str) -> Option<&'static Group> {
    GROUPS.iter().find(|group| group.family == family && group.name == name)
}

/// The names of the groups of a family.
pub fn names(family: Family) -> impl Iterator<Item = &'static str> {
    GROUPS.iter().filter(move |group| group.family == family).map(|group| group.name)
}

impl Group {
    /// The numbers of its members.
    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        self.members.iter().filter_map(|name| self.family.number(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_has_a_number() {
        for group in GROUPS {
            assert_eq!(group.numbers().count(), group.members.len(), "{} {}", group.name, group.family);
            assert_eq!(find(group.family, group.name).unwrap().about, group.about, "two groups {}", group.name);
        }
    }
}
