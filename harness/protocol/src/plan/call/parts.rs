//! What calls are made of besides numbers and names.

use serde::{Deserialize, Serialize};

use crate::plan::{
    KernelMember,
    saved_objects::{SavedObjects, saved_objects},
};

/// A command on several elements of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BatchOp {
    /// `BPF_MAP_LOOKUP_BATCH`.
    Lookup,
    /// `BPF_MAP_LOOKUP_AND_DELETE_BATCH`.
    LookupAndDelete,
    /// `BPF_MAP_UPDATE_BATCH`.
    Update,
    /// `BPF_MAP_DELETE_BATCH`.
    Delete,
}

/// What the kernel numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    /// Maps.
    Map,
    /// Programs.
    Prog,
    /// Links.
    Link,
    /// Type descriptions.
    Btf,
}

/// A part of a map's value whose bytes are known only in the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValuePart {
    /// Where it begins.
    pub at: PartOffset,
    /// What it is.
    pub what: PartContent,
}

/// Where a part of a value begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartOffset {
    /// At this byte.
    Byte(u32),
    /// At a member of the structure that a `struct_ops` map holds, such as `tcp_congestion_ops`, within the structure
    /// the kernel keeps it in (`bpf_struct_ops_tcp_congestion_ops`).
    StructOps(KernelMember),
}

/// What a part of a value is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartContent {
    /// The number of the actor's file descriptor of a saved object.
    Fd(String),
    /// A text.
    Text(String),
}

/// What a program does at a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SocketDuty {
    /// It says how much of a packet is kept (`SO_ATTACH_BPF`).
    #[default]
    Filter,
    /// It chooses among sockets of one address (`SO_ATTACH_REUSEPORT_EBPF`).
    Reuseport,
}

/// Where an object is pinned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PinLocation {
    /// In the actor's bpffs.
    #[default]
    Bpffs,
    /// In a tmpfs: another file system.
    Tmpfs,
}

impl PinLocation {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
    pub(super) fn is_bpffs(&self) -> bool {
        *self == Self::Bpffs
    }
}

/// Which file descriptor of a bpffs a token is asked from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
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
    /// The root directory, opened through a bind mount of it.
    Bind,
    /// The root of a bind mount of a directory below the root.
    BindSubdir,
    /// The root directory, opened through a mount of it that was moved (`move_mount(2)`).
    Moved,
    /// The root directory of a mount that was unmounted lazily since (`MNT_DETACH`, `umount2(2)`).
    Detached,
}

/// What is held of a mount while it is unmounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Holding {
    /// Nothing.
    #[default]
    Nothing,
    /// Its root directory, opened for reading.
    Directory,
    /// A token made from it; the directory is closed.
    Token,
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

saved_objects!(ValuePart: Self { what: PartContent::Fd(object), .. } => { object } _ => {});
