//! What can be attempted: one system call each, with everything it takes.

use serde::{Deserialize, Serialize};

use super::Actor;
use crate::delegation::MountOption;

/// A BPF operation with all its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Call {
    /// `BPF_TOKEN_CREATE`.
    TokenCreate {
        /// Whose bpffs.
        from: Actor,
        /// Which file descriptor of it.
        fd: BpffsFd,
    },
    /// `BPF_MAP_CREATE`.
    MapCreate {
        /// `enum bpf_map_type`.
        map_type: u32,
        /// Bytes of a key.
        key_size: u32,
        /// Bytes of a value.
        value_size: u32,
        /// Number of entries.
        max_entries: u32,
        /// `map_flags` without `BPF_F_TOKEN_FD`.
        map_flags: u32,
        /// For maps of maps, the saved map that serves as the pattern.
        inner_map: Option<String>,
    },
    /// `BPF_PROG_LOAD` of a program that returns a constant.
    ProgLoad {
        /// `enum bpf_prog_type`.
        prog_type: u32,
        /// `enum bpf_attach_type`.
        expected_attach_type: u32,
        /// `prog_flags` without `BPF_F_TOKEN_FD`.
        prog_flags: u32,
        /// What the program returns.
        returns: i32,
        /// The license string.
        license: String,
    },
    /// `BPF_BTF_LOAD` of a minimal valid blob.
    BtfLoad,
    /// `BPF_BTF_GET_FD_BY_ID`.
    BtfGetFdById {
        /// The id asked for; 1 is vmlinux.
        id: u32,
    },
    /// `BPF_OBJ_GET_INFO_BY_FD` of the attempt's token.
    TokenInfo,
    /// `fsopen("bpf")`, the options by `fsconfig(2)`, and `FSCONFIG_CMD_CREATE` if asked, all by the actor itself.
    MountDelegate {
        /// Set in this order.
        options: Vec<MountOption>,
        /// Whether the file system is created afterwards.
        create: bool,
    },
    /// `BPF_OBJ_PIN` in the actor's bpffs.
    ObjPin {
        /// What is pinned, by the name it was saved under.
        object: String,
        /// A file name below the bpffs root.
        path: String,
    },
    /// `BPF_OBJ_GET` from the actor's bpffs.
    ObjGet {
        /// A file name below the bpffs root.
        path: String,
    },
    /// `BPF_MAP_UPDATE_ELEM`.
    MapUpdate {
        /// The map, by the name it was saved under.
        map: String,
        /// The key's bytes.
        key: Vec<u8>,
        /// The value's bytes.
        value: Vec<u8>,
    },
    /// `BPF_MAP_LOOKUP_ELEM`.
    MapLookup {
        /// The map, by the name it was saved under.
        map: String,
        /// The key's bytes.
        key: Vec<u8>,
        /// Bytes of a value.
        value_size: u32,
    },
    /// `BPF_PROG_TEST_RUN` on a 64-byte packet.
    ProgTestRun {
        /// The program, by the name it was saved under.
        prog: String,
    },
    /// `BPF_LINK_CREATE`.
    LinkCreate {
        /// The program, by the name it was saved under.
        prog: String,
        /// `enum bpf_attach_type`.
        attach_type: u32,
        /// What it is attached to.
        target: LinkTarget,
    },
    /// Not a BPF operation: kills or hangs the guest, so that the harness can prove that it survives that. Never
    /// written in a scenario file.
    Sabotage(Sabotage),
}

/// Which file descriptor of a bpffs a token is asked from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "host", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BpffsFd {
    /// The root directory, opened for reading: what the kernel wants.
    #[default]
    Root,
    /// A directory below the root.
    Subdir,
    /// The descriptor `fsmount(2)` gives, which is opened like `O_PATH`.
    OPath,
    /// The root directory of a tmpfs in the actor's mount namespace: another file system.
    Tmpfs,
}

/// What a link attaches to, found by the actor in its own namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkTarget {
    /// A network interface by name.
    Interface(String),
    /// The cgroup made for the actor's container.
    Cgroup,
    /// The root cgroup.
    RootCgroup,
    /// A netfilter hook.
    Netfilter {
        /// `NFPROTO_*`.
        pf: u32,
        /// `NF_INET_*`.
        hooknum: u32,
        /// Smaller runs earlier.
        priority: i32,
    },
}

/// A way to harm the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sabotage {
    /// Panic the kernel by `/proc/sysrq-trigger`.
    Panic,
    /// Never come back.
    Hang,
    /// Exit the guest program without a word.
    Exit,
    /// Write to the console without end.
    Flood,
}
