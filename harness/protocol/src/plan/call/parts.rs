//! Parts of calls other than numbers and names.

use serde::{Deserialize, Serialize};

use crate::plan::{
    GlobalEffect, KernelMember,
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

/// A kind of object that the kernel gives ids.
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
    /// BTF objects.
    Btf,
}

/// A part of a map's value whose bytes only the guest knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValuePart {
    /// Its offset.
    pub at: PartOffset,
    /// Its content.
    pub what: PartContent,
}

/// The offset of a part in a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartOffset {
    /// This byte.
    Byte(u32),
    /// A member of the structure that a `struct_ops` map holds, such as `tcp_congestion_ops`, within the structure that
    /// the kernel wraps it in (`bpf_struct_ops_tcp_congestion_ops`).
    StructOps(KernelMember),
}

/// The content of a part of a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartContent {
    /// The number of the actor's file descriptor of a saved object.
    Fd(String),
    /// A text.
    Text(String),
}

/// The task of a program at a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SocketDuty {
    /// Decides how much of a packet is kept (`SO_ATTACH_BPF`).
    #[default]
    Filter,
    /// Selects among sockets that share an address (`SO_ATTACH_REUSEPORT_EBPF`).
    Reuseport,
}

/// What a perf event counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PerfEventSource {
    /// The actor's time on a processor.
    Clock,
    /// Hits of a tracepoint, as `SYSTEM/NAME`.
    Tracepoint(String),
    /// Calls of a kernel function.
    Kprobe(String),
    /// Calls of a function of the guest program that is never called.
    Uprobe,
}

impl PerfEventSource {
    /// A probe changes the kernel's code while the event is open.
    pub(super) fn global_effect(&self) -> Option<GlobalEffect> {
        matches!(self, Self::Kprobe(_)).then_some(GlobalEffect::Tracing)
    }
}

/// The file system in which an object is pinned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PinLocation {
    /// The actor's bpffs.
    #[default]
    Bpffs,
    /// A tmpfs: another file system.
    Tmpfs,
}

impl PinLocation {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
    pub(super) fn is_bpffs(&self) -> bool {
        *self == Self::Bpffs
    }
}

/// The file descriptor of a bpffs that a token is made from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BpffsFd {
    /// The root directory, opened for reading: the one that the kernel accepts.
    #[default]
    Root,
    /// A directory below the root.
    Subdir,
    /// The descriptor from `fsmount(2)`, which is opened like `O_PATH`.
    OPath,
    /// The root directory of a tmpfs in the actor's mount namespace: another file system.
    Tmpfs,
    /// The root directory, opened through a bind mount of it.
    Bind,
    /// The root of a bind mount of a directory below the root.
    BindSubdir,
    /// The root directory, opened through a mount of it that was moved (`move_mount(2)`).
    Moved,
    /// The root directory of a mount that was lazily unmounted since (`MNT_DETACH`, `umount2(2)`).
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
    /// Panics the kernel through `/proc/sysrq-trigger`.
    Panic,
    /// Never returns.
    Hang,
    /// Exits the guest program without a record.
    Exit,
    /// Writes to the console without end.
    Flood,
    /// Makes the kernel warn, and returns; needs `CONFIG_LKDTM`.
    Warn,
    /// Makes the kernel oops; needs `CONFIG_LKDTM`.
    Oops,
}

saved_objects!(ValuePart: Self { what: PartContent::Fd(object), .. } => { object } _ => {});
