//! The names of the kernel's commands and libbpf's features.

/// The commands by number (`enum bpf_cmd`, `include/uapi/linux/bpf.h`).
const COMMANDS: [&str; 39] = [
    "map_create",
    "map_lookup_elem",
    "map_update_elem",
    "map_delete_elem",
    "map_get_next_key",
    "prog_load",
    "obj_pin",
    "obj_get",
    "prog_attach",
    "prog_detach",
    "prog_test_run",
    "prog_get_next_id",
    "map_get_next_id",
    "prog_get_fd_by_id",
    "map_get_fd_by_id",
    "obj_get_info_by_fd",
    "prog_query",
    "raw_tracepoint_open",
    "btf_load",
    "btf_get_fd_by_id",
    "task_fd_query",
    "map_lookup_and_delete_elem",
    "map_freeze",
    "btf_get_next_id",
    "map_lookup_batch",
    "map_lookup_and_delete_batch",
    "map_update_batch",
    "map_delete_batch",
    "link_create",
    "link_update",
    "link_get_fd_by_id",
    "link_get_next_id",
    "enable_stats",
    "iter_create",
    "link_detach",
    "prog_bind_map",
    "token_create",
    "prog_stream_read_by_fd",
    "prog_assoc_struct_ops",
];

/// Returns the name of a command, or its number.
pub(super) fn command_name(number: u32) -> String {
    COMMANDS.get(number as usize).map_or_else(|| format!("command {number}"), |name| (*name).to_owned())
}

/// What libbpf probes for, by number (`enum kern_feature_id`, `src/libbpf_internal.h` of libbpf 1.7).
const FEATURES: [&str; 24] = [
    "names",
    "global data",
    "BTF",
    "functions in BTF",
    "variables in BTF",
    "global functions in BTF",
    "arrays in user memory",
    "expected attach types",
    "probe_read_kernel",
    "maps bound to programs",
    "BTF of modules",
    "floats in BTF",
    "perf links",
    "declaration tags in BTF",
    "type tags in BTF",
    "memory of cgroups",
    "attach cookies",
    "long enumerations in BTF",
    "system call wrappers",
    "uprobe_multi links",
    "context arguments",
    "odd section names in BTF",
    "far offsets into maps",
    "the uprobe system call",
];

/// Returns the name of a feature, or its number.
pub(super) fn feature_name(number: u32) -> String {
    FEATURES.get(number as usize).map_or_else(|| format!("feature {number}"), |name| (*name).to_owned())
}
