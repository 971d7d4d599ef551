//! Recipes for each map type.

use harness_protocol::{
    blob,
    plan::{Call, MapTypes},
};
use harness_uapi::{resolver::NameResolver, vocabulary::Kind};

use crate::recipe::{Recipe, draft::Draft, flags};

/// The arguments of `BPF_MAP_CREATE` for a map type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MapArguments {
    /// The size of a key, in bytes.
    pub(crate) key_size: u32,
    /// The size of a value, in bytes; 0 stands for the size of the kernel structure.
    pub(crate) value_size: u32,
    /// The number of entries.
    pub(crate) max_entries: u32,
    /// Flags by name; see [`super::MAP_FLAGS`].
    pub(crate) flags: &'static [&'static str],
    /// The kernel structure that is its value, if any.
    pub(crate) structure: Option<&'static str>,
}

const PLAIN: MapArguments = MapArguments::PLAIN;

impl MapArguments {
    /// What most types accept (`array_map_alloc_check` and `htab_map_alloc_check` in `kernel/bpf`), and perhaps a type
    /// that is newer than these tables.
    pub(crate) const PLAIN: Self = Self { key_size: 4, value_size: 4, max_entries: 1, flags: &[], structure: None };
}

/// The structure of a `struct_ops` map: that of the kernel's own tests
/// (`net/bpf/bpf_dummy_struct_ops.c`).
const DUMMY_OPS: &str = "bpf_struct_ops_bpf_dummy_ops";

/// Returns the arguments for a map type, by the kernel's name; `None` for an unknown type.
pub(crate) fn arguments(name: &str) -> Option<MapArguments> {
    let sized = |key_size, value_size, max_entries| MapArguments { key_size, value_size, max_entries, ..PLAIN };
    Some(match name {
        "hash"
        | "array"
        | "prog_array"
        | "perf_event_array"
        | "percpu_hash"
        | "percpu_array"
        | "cgroup_array"
        | "lru_hash"
        | "lru_percpu_hash"
        | "array_of_maps"
        | "hash_of_maps"
        | "devmap"
        | "devmap_hash"
        | "sockmap"
        | "sockhash"
        | "cpumap"
        | "xskmap"
        | "reuseport_sockarray" => PLAIN,
        // One stack frame of eight bytes.
        "stack_trace" => sized(4, 8, 1),
        // The key is a prefix length and an address.
        "lpm_trie" => MapArguments { flags: &["no_prealloc"], ..sized(8, 8, 1) },
        "rhash" => MapArguments { flags: &["no_prealloc"], ..PLAIN },
        // `struct bpf_cgroup_storage_key`; the number of entries must be 0.
        "cgroup_storage"
        | "cgroup_storage_deprecated"
        | "percpu_cgroup_storage"
        | "percpu_cgroup_storage_deprecated" => sized(16, 8, 0),
        "queue" | "stack" | "bloom_filter" => sized(0, 4, 1),
        // The size of the ring in bytes: a power of two pages.
        "ringbuf" | "user_ringbuf" => sized(0, 0, 4096),
        // Pages.
        "arena" => MapArguments { flags: &["mmapable"], ..sized(0, 0, 1) },
        // `struct bpf_insn_array_value`.
        "insn_array" => sized(4, 16, 1),
        "sk_storage" | "inode_storage" | "task_storage" | "cgrp_storage" => {
            MapArguments { flags: &["no_prealloc"], ..sized(4, 4, 0) }
        }
        "struct_ops" => MapArguments { structure: Some(DUMMY_OPS), ..sized(4, 0, 1) },
        _ => return None,
    })
}

/// Whether a map type holds maps, and so needs an inner map as its template.
pub fn holds_maps(name: &str) -> bool {
    matches!(name, "array_of_maps" | "hash_of_maps")
}

/// Whether a map type needs BTF: for its keys and values (`bpf_local_storage_map_alloc_check` in
/// `kernel/bpf/bpf_local_storage.c`), or for a kernel structure (`map_create` in `kernel/bpf/syscall.c`).
pub(crate) fn needs_types(name: &str) -> bool {
    matches!(name, "sk_storage" | "inode_storage" | "task_storage" | "cgrp_storage" | "struct_ops")
}

/// Whether a map type has one value per CPU, so that the result of a lookup depends on their number.
pub fn is_per_cpu(name: &str) -> bool {
    name.contains("percpu")
}

/// Returns the recipe to create a map of this type.
pub(super) fn recipe(name: &str, resolver: &NameResolver<'_>) -> Option<Recipe> {
    let arguments = arguments(name)?;
    let mut draft = Draft::new(resolver);
    let template = holds_maps(name).then(|| saved(&mut draft, "pattern", "hash"));
    let described = needs_types(name).then(|| described(draft.save("types", Call::BtfLoad), arguments.structure));
    let mut call = create(&mut draft, name, arguments);
    if let Call::MapCreate { inner_map, types, .. } = &mut call {
        *inner_map = template;
        *types = described.unwrap_or_default();
    }
    Some(draft.done(call))
}

/// Returns the types of a map from saved BTF: values of a kernel structure, or integers as keys and values.
fn described(btf: String, structure: Option<&str>) -> MapTypes {
    match structure {
        Some(structure) => MapTypes::KernelStruct { structure: structure.to_owned(), btf },
        None => MapTypes::Saved { btf, key: blob::INTEGER, value: blob::INTEGER },
    }
}

/// Saves a `struct_ops` map, and the BTF that it needs.
pub(super) fn of_structure(draft: &mut Draft<'_, '_>, save: &str, arguments: MapArguments) -> String {
    let btf = draft.save("types", Call::BtfLoad);
    let mut call = create(draft, "struct_ops", arguments);
    if let Call::MapCreate { types, .. } = &mut call {
        *types = described(btf, arguments.structure);
    }
    draft.save(save, call)
}

/// Saves a map that needs no other object, with the arguments of its type.
pub(super) fn saved(draft: &mut Draft<'_, '_>, save: &str, map_type: &str) -> String {
    sized(draft, save, map_type, arguments(map_type).unwrap_or(PLAIN))
}

/// Saves a map that needs no other object, with these arguments.
pub(super) fn sized(draft: &mut Draft<'_, '_>, save: &str, map_type: &str, arguments: MapArguments) -> String {
    let call = create(draft, map_type, arguments);
    draft.save(save, call)
}

/// Returns the call for a map without BTF and inner map.
pub(super) fn create(draft: &mut Draft<'_, '_>, name: &str, arguments: MapArguments) -> Call {
    Call::MapCreate {
        map_type: draft.number(Kind::Map, name),
        key_size: arguments.key_size,
        value_size: arguments.value_size,
        max_entries: arguments.max_entries,
        map_flags: flags::bits(&flags::MAP_FLAGS, arguments.flags),
        inner_map: None,
        map_extra: 0,
        types: MapTypes::None,
        exclusive: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_exists() {
        for name in ["lpm_trie", "rhash", "arena", "sk_storage"] {
            let flags = arguments(name).unwrap().flags;
            assert_eq!(flags::bits(&flags::MAP_FLAGS, flags).count_ones() as usize, flags.len(), "{name}");
        }
    }

    #[test]
    fn an_unknown_type_has_no_arguments() {
        assert_eq!(arguments("unspec"), None);
        assert_eq!(arguments("no_such"), None);
    }
}
