//! Requirements of maps, by type.

use std::collections::BTreeSet;

use crate::{
    names,
    permission::{Capability, FIRST_RELEASE, MapTrait, Reason, Requirement, command},
    vocabulary::Kind,
};

/// The capability that creating a map of some type requires, beyond access to `bpf(2)` itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapClass {
    /// Nothing.
    Free,
    /// `CAP_BPF`.
    Bpf,
    /// `CAP_NET_ADMIN`.
    NetAdmin,
}

const CREATE: &str = "map_create in kernel/bpf/syscall.c";

/// What a map type requires (the second `switch` of `map_create` in `kernel/bpf/syscall.c`); `None` for a type that is
/// not listed here.
pub fn class_of_map(name: &str) -> Option<MapClass> {
    Some(match name {
        "array" | "percpu_array" | "prog_array" | "perf_event_array" | "cgroup_array" | "array_of_maps" | "hash"
        | "percpu_hash" | "hash_of_maps" | "ringbuf" | "user_ringbuf" | "rhash" => MapClass::Free,
        "cgroup_storage"
        | "cgroup_storage_deprecated"
        | "percpu_cgroup_storage"
        | "percpu_cgroup_storage_deprecated" => MapClass::Free,
        "sk_storage"
        | "inode_storage"
        | "task_storage"
        | "cgrp_storage"
        | "bloom_filter"
        | "lpm_trie"
        | "reuseport_sockarray"
        | "stack_trace"
        | "queue"
        | "stack"
        | "lru_hash"
        | "lru_percpu_hash"
        | "struct_ops"
        | "cpumap"
        | "arena"
        | "insn_array" => MapClass::Bpf,
        "sockmap" | "sockhash" | "devmap" | "devmap_hash" | "xskmap" => MapClass::NetAdmin,
        _ => return None,
    })
}

pub(super) fn map_create(needed: &mut Requirement, map_type: u32, traits: &BTreeSet<MapTrait>) {
    command(needed, "map_create", FIRST_RELEASE);
    let of_type = Reason::MapType(map_type);
    needed.bit(Kind::Map, map_type, of_type, "bpf_token_allow_map_type in kernel/bpf/token.c");
    needed.capability(Capability::Bpf, Reason::Closed, CREATE);
    // An unlisted type is treated as free: its bit and CAP_BPF are required all the same.
    match names::name(Kind::Map, map_type).and_then(class_of_map).unwrap_or(MapClass::Free) {
        MapClass::Free => needed.only_if_closed = true,
        MapClass::Bpf => needed.capability(Capability::Bpf, of_type, CREATE),
        MapClass::NetAdmin => needed.capability(Capability::NetAdmin, of_type, CREATE),
    }
    for map_trait in traits {
        needed.only_if_closed = false;
        with_trait(needed, *map_trait);
    }
}

fn with_trait(needed: &mut Requirement, map_trait: MapTrait) {
    let what = Reason::MapTrait(map_trait);
    match map_trait {
        MapTrait::SpecialFields => {
            needed.capability(Capability::Bpf, what, "map_check_btf in kernel/bpf/syscall.c");
        }
        MapTrait::ZeroSeed => {
            needed.initial(Capability::SysAdmin, what, "htab_map_alloc_check in kernel/bpf/hashtab.c");
        }
        MapTrait::Offloaded => {
            needed.initial(Capability::SysAdmin, what, "bpf_map_offload_map_alloc in kernel/bpf/offload.c");
        }
    }
}
