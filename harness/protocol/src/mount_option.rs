//! Options of a bpffs mount, as they are handed to the kernel.

use serde::{Deserialize, Serialize};

/// The mount options that set the four masks of a delegation: commands, map types, program types, attach types
/// (`kernel/bpf/inode.c`, `bpf_fs_parameters`).
pub const OPTIONS: [&str; 4] = ["delegate_cmds", "delegate_maps", "delegate_progs", "delegate_attachs"];

/// One option handed to `fsconfig(2)` with `FSCONFIG_SET_STRING`, verbatim.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MountOption {
    /// Such as `delegate_cmds`.
    pub key: String,
    /// Such as `map_create:prog_load`; at most [`LONGEST_VALUE`] bytes if the kernel is to accept it.
    pub value: String,
}

/// The longest value `fsconfig(2)` takes for a string, in bytes (`fs/fsopen.c`, `strndup_user(_value, 256)`).
pub const LONGEST_VALUE: usize = 255;

impl MountOption {
    /// An option whose value is a mask as one number. The kernel looks a name up in its BTF instead, by one string
    /// comparison an enumerator.
    pub fn numeric(key: &str, mask: u64) -> Self {
        Self { key: key.to_owned(), value: format!("{mask:#x}") }
    }
}
