//! What each map and program type needs to be made at all, so that a scenario need only name the type.
//!
//! Found by loading each on 6.12 and 7.3 with every permission. A type that is not listed, such as one newer than this
//! table, gets what most types take.

/// The arguments of `BPF_MAP_CREATE` that a type needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapRecipe {
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Number of entries.
    pub max_entries: u32,
    /// Flags by name; see [`map_flag`].
    pub flags: &'static [&'static str],
}

/// What most types take (`array_map_alloc_check` and `htab_map_alloc_check` in `kernel/bpf`).
const PLAIN_MAP: MapRecipe = MapRecipe { key_size: 4, value_size: 4, max_entries: 1, flags: &[] };

/// The arguments a map type needs, by the name a kernel shows for it.
pub fn map(name: &str) -> MapRecipe {
    let sized = |key_size, value_size, max_entries| MapRecipe { key_size, value_size, max_entries, flags: &[] };
    match name {
        // One stack frame of eight bytes.
        "stack_trace" => sized(4, 8, 1),
        // The key is a prefix length and an address.
        "lpm_trie" => MapRecipe { flags: &["no_prealloc"], ..sized(8, 8, 1) },
        "rhash" => MapRecipe { flags: &["no_prealloc"], ..PLAIN_MAP },
        // `struct bpf_cgroup_storage_key`; the number of entries must be 0.
        "cgroup_storage"
        | "cgroup_storage_deprecated"
        | "percpu_cgroup_storage"
        | "percpu_cgroup_storage_deprecated" => sized(16, 8, 0),
        "queue" | "stack" | "bloom_filter" => sized(0, 4, 1),
        // Bytes of the ring, a power of two pages.
        "ringbuf" | "user_ringbuf" => sized(0, 0, 4096),
        // Pages.
        "arena" => MapRecipe { flags: &["mmapable"], ..sized(0, 0, 1) },
        // `struct bpf_insn_array_value`.
        "insn_array" => sized(4, 16, 1),
        _ => PLAIN_MAP,
    }
}

/// Whether a map type holds maps, and so needs one as a pattern.
pub fn holds_maps(name: &str) -> bool {
    matches!(name, "array_of_maps" | "hash_of_maps")
}

/// Whether a map type holds a value for each processor, so that what a lookup gives depends on their number.
pub fn is_per_cpu(name: &str) -> bool {
    name.contains("percpu")
}

/// The arguments of `BPF_PROG_LOAD` that a type needs to load a program that returns 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgRecipe {
    /// The expected attach type, or `None` for number 0.
    pub attach: Option<&'static str>,
    /// Flags by name; see [`prog_flag`].
    pub flags: &'static [&'static str],
    /// The attach type of a link, where it is not the expected attach type of the load.
    pub link_attach: Option<&'static str>,
}

/// The arguments a program type needs, by the name a kernel shows for it (`bpf_prog_load_check_attach` in
/// `kernel/bpf/syscall.c`).
pub fn prog(name: &str) -> ProgRecipe {
    let plain = ProgRecipe { attach: None, flags: &[], link_attach: None };
    let loaded_for = |attach| ProgRecipe { attach: Some(attach), ..plain };
    let linked_as = |attach| ProgRecipe { link_attach: Some(attach), ..plain };
    match name {
        // The kernel takes 0 for these too, and reads it as the same attach type.
        "cgroup_sock" => loaded_for("cgroup_inet_sock_create"),
        "sk_reuseport" => loaded_for("sk_reuseport_select"),
        "cgroup_sock_addr" => loaded_for("cgroup_inet4_connect"),
        "cgroup_sockopt" => loaded_for("cgroup_getsockopt"),
        "sk_lookup" => loaded_for("sk_lookup"),
        "netfilter" => loaded_for("netfilter"),
        "syscall" => ProgRecipe { flags: &["sleepable"], ..plain },
        "xdp" => linked_as("xdp"),
        "sched_cls" => linked_as("tcx_ingress"),
        "cgroup_device" => linked_as("cgroup_device"),
        "cgroup_sysctl" => linked_as("cgroup_sysctl"),
        "sock_ops" => linked_as("cgroup_sock_ops"),
        _ => plain,
    }
}

/// What a map type needs that no attempt can give, if it does.
pub fn map_needs_more(name: &str) -> Option<&'static str> {
    match name {
        "sk_storage" | "inode_storage" | "task_storage" | "cgrp_storage" => {
            Some("type descriptions of its key and value")
        }
        "struct_ops" => Some("the type of a kernel structure"),
        _ => None,
    }
}

/// What a program type needs that no attempt can give, if it does.
pub fn prog_needs_more(name: &str) -> Option<&'static str> {
    match name {
        "tracing" | "lsm" => Some("the type of a kernel function"),
        "struct_ops" => Some("the type of a kernel structure"),
        "ext" => Some("a program it replaces a function of"),
        _ => None,
    }
}

/// Map flags by their name in `include/uapi/linux/bpf.h`, in lower case without `BPF_F_`. `token_fd` is missing: it is
/// set by the attempt's token.
pub const MAP_FLAGS: [(&str, u32); 19] = [
    ("no_prealloc", 1 << 0),
    ("no_common_lru", 1 << 1),
    ("numa_node", 1 << 2),
    ("rdonly", 1 << 3),
    ("wronly", 1 << 4),
    ("stack_build_id", 1 << 5),
    ("zero_seed", 1 << 6),
    ("rdonly_prog", 1 << 7),
    ("wronly_prog", 1 << 8),
    ("clone", 1 << 9),
    ("mmapable", 1 << 10),
    ("preserve_elems", 1 << 11),
    ("inner_map", 1 << 12),
    ("link", 1 << 13),
    ("path_fd", 1 << 14),
    ("vtype_btf_obj_fd", 1 << 15),
    ("segv_on_fault", 1 << 17),
    ("no_user_conv", 1 << 18),
    ("rb_overwrite", 1 << 19),
];

/// Program flags, likewise.
pub const PROG_FLAGS: [(&str, u32); 8] = [
    ("strict_alignment", 1 << 0),
    ("any_alignment", 1 << 1),
    ("test_rnd_hi32", 1 << 2),
    ("test_state_freq", 1 << 3),
    ("sleepable", 1 << 4),
    ("xdp_has_frags", 1 << 5),
    ("xdp_dev_bound_only", 1 << 6),
    ("test_reg_invariants", 1 << 7),
];

/// `BPF_F_TOKEN_FD`, for maps and programs alike.
pub const TOKEN_FD: u32 = 1 << 16;

/// The bits of flags by name.
pub(crate) fn bits(table: &[(&str, u32)], names: &[&str]) -> u32 {
    table.iter().filter(|(name, _)| names.contains(name)).fold(0, |bits, (_, bit)| bits | bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_a_recipe_names_exists_and_none_is_the_tokens() {
        for name in ["lpm_trie", "rhash", "arena"] {
            assert_eq!(bits(&MAP_FLAGS, map(name).flags).count_ones() as usize, map(name).flags.len(), "{name}");
        }
        assert_eq!(bits(&PROG_FLAGS, prog("syscall").flags), 1 << 4);
        let all = MAP_FLAGS.iter().chain(&PROG_FLAGS);
        assert!(all.into_iter().all(|(_, bit)| bit.count_ones() == 1 && *bit != TOKEN_FD));
    }
}
