//! Flags by name.

/// Map flags by their name in `include/uapi/linux/bpf.h`, in lower case without `BPF_F_`. `token_fd` is missing,
/// because the key `token` of an attempt sets it.
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

/// Program flags, named in the same way.
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

/// Flags of `BPF_PROG_ATTACH`, named in the same way.
pub const ATTACH_FLAGS: [(&str, u32); 8] = [
    ("allow_override", 1 << 0),
    ("allow_multi", 1 << 1),
    ("replace", 1 << 2),
    ("before", 1 << 3),
    ("after", 1 << 4),
    ("id", 1 << 5),
    ("preorder", 1 << 6),
    ("link", 1 << 13),
];

/// Flags of `BPF_OBJ_GET`, which are map flags.
pub const FILE_FLAGS: [(&str, u32); 2] = [("rdonly", 1 << 3), ("wronly", 1 << 4)];

/// `BPF_F_TOKEN_FD`, for maps and programs alike.
pub const TOKEN_FD: u32 = 1 << 16;

/// Returns the bits of flags by name.
pub(crate) fn bits(table: &[(&str, u32)], names: &[&str]) -> u32 {
    table.iter().filter(|(name, _)| names.contains(name)).fold(0, |bits, (_, bit)| bits | bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_one_bit_other_than_the_token_flag() {
        let all = MAP_FLAGS.iter().chain(&PROG_FLAGS).chain(&ATTACH_FLAGS).chain(&FILE_FLAGS);
        assert!(all.into_iter().all(|(_, bit)| bit.count_ones() == 1 && *bit != TOKEN_FD));
    }
}
