//! Options of a bpffs mount, as the kernel gets them.

use serde::{Deserialize, Serialize};

/// The mount options that set the four masks of a delegation: commands, map types, program types and attach types
/// (`kernel/bpf/inode.c`, `bpf_fs_parameters`).
pub const OPTIONS: [&str; 4] = ["delegate_cmds", "delegate_maps", "delegate_progs", "delegate_attachs"];

/// One option, passed verbatim to `fsconfig(2)` with `FSCONFIG_SET_STRING`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MountOption {
    /// The key, such as `delegate_cmds`.
    pub key: String,
    /// The value, such as `map_create:prog_load`; the kernel accepts at most [`LONGEST_VALUE`] bytes.
    pub value: String,
}

/// The longest string that `fsconfig(2)` accepts, in bytes (`fs/fsopen.c`, `strndup_user(_value, 256)`).
pub const LONGEST_VALUE: usize = 255;

/// Returns the options that delegate everything.
pub fn delegate_any() -> Vec<MountOption> {
    OPTIONS.map(|key| MountOption { key: key.to_owned(), value: "any".to_owned() }).to_vec()
}

impl MountOption {
    /// Makes an option whose value is a mask as one number. A name would cost the kernel a look-up in its BTF, with a
    /// string comparison for each enumerator.
    pub fn numeric(key: &str, mask: u64) -> Self {
        Self { key: key.to_owned(), value: format!("{mask:#x}") }
    }
}
