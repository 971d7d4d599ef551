//! The names of the kernel's commands and types, and of libbpf's features.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};

use harness_protocol::outcome::LONGEST_NAME;
use libbpf_sys as sys;

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
pub(crate) fn command_name(number: u32) -> String {
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

/// The feature that the memory of maps and programs is charged to control groups.
pub(crate) const MEMORY_OF_CGROUPS: u32 = 15;

/// Returns the name of a feature, or its number.
pub(crate) fn feature_name(number: u32) -> String {
    FEATURES.get(number as usize).map_or_else(|| format!("feature {number}"), |name| (*name).to_owned())
}

/// Returns the name of a map type; `?` for one that libbpf 1.7 does not know.
pub(crate) fn map_type(number: u32) -> String {
    // SAFETY: any number may be looked up; the result is a static string or null.
    unsafe { text(sys::libbpf_bpf_map_type_str(number)) }
}

/// Returns the name of a program type, likewise.
pub(crate) fn prog_type(number: u32) -> String {
    // SAFETY: as above.
    unsafe { text(sys::libbpf_bpf_prog_type_str(number)) }
}

/// Returns the name of an attach type, likewise.
pub(crate) fn attach_type(number: u32) -> String {
    // SAFETY: as above.
    unsafe { text(sys::libbpf_bpf_attach_type_str(number)) }
}

/// Copies a C string, up to [`LONGEST_NAME`] characters; `?` stands for a null pointer, and for each character that is
/// not plain.
///
/// # Safety
/// `string` must be null or point at a string that ends with a zero byte.
pub(crate) unsafe fn text(string: *const c_char) -> String {
    if string.is_null() {
        return "?".to_owned();
    }
    // SAFETY: by the contract.
    plain(unsafe { CStr::from_ptr(string) }.to_bytes())
}

/// Returns bytes as a name, up to [`LONGEST_NAME`] characters; `?` stands for each that is not plain.
pub(crate) fn plain(bytes: &[u8]) -> String {
    let plain =
        |byte: &u8| if byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\') { char::from(*byte) } else { '?' };
    bytes.iter().take(LONGEST_NAME).map(plain).collect()
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn a_number_has_its_features_name() {
        assert_eq!(feature_name(MEMORY_OF_CGROUPS), "memory of cgroups");
    }

    #[test]
    fn names_are_plain_and_bounded() {
        let odd = std::ffi::CString::new(format!("a\n\"{}", "x".repeat(1000))).unwrap();
        // SAFETY: the string lives across the call.
        let name = unsafe { text(odd.as_ptr()) };
        assert!(name.starts_with("a??x") && name.len() == LONGEST_NAME, "{name}");
    }
}
