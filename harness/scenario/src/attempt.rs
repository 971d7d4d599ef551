//! The operations that a scenario can attempt, with their keys.

mod attach;
mod elements;
mod loads;
mod mounts;
mod objects;
mod programs;
mod system;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{choice::TokenChoice, expect::Expect};

pub use attach::{LinkCreate, ProgAttach, ProgDetach, ProgQuery, RawTracepointOpen};
pub use elements::{MapBatch, MapDelete, MapFreeze, MapLookup, MapLookupAndDelete, MapMmap, MapNextKey, MapUpdate};
use harness_protocol::plan::BpffsFd;
pub use loads::{BtfLoad, HelperSurvey, MapCreate, Object, ProgLoad, Replaces, Signature, Verify};
pub use mounts::{MountDelegate, ObjGet, ObjPin, Remount, Umount};
pub use objects::{
    EnableStats, FdById, IterCreate, LinkDetach, LinkUpdate, NextId, ObjInfo, ProgAssocStructOps, ProgBindMap,
    ProgCode, ProgStreamRead, TaskFdQuery,
};
pub use programs::Exec;
pub use system::{Attack, PerfEventOpen, PerfQuery, Reload, SocketAttach, SocketBind, SysctlWrite, Unflagged};

/// The keys that every operation has, and those that several have.
#[derive(Clone, Copy, Debug)]
pub struct Common<'a> {
    /// Who makes the attempt; the container named `container` if `None`.
    pub by: Option<&'a str>,
    /// The verdict that it must have, if any.
    pub expect: Option<Expect>,
    /// The token that it uses, if the scenario sets it.
    pub token: Option<&'a TokenChoice>,
    /// Whether the operation takes a token.
    pub takes_token: bool,
    /// The name under which its result is saved.
    pub save: Option<&'a str>,
    /// The capabilities in effect during the attempt, if the scenario lists them.
    pub caps: Option<&'a [String]>,
    /// What its process executes before.
    pub exec: &'a [String],
}

/// Declares the keys of an operation: those of every operation, `token` and `save` where it has them, and its own.
macro_rules! operation {
    ($(#[$meta:meta])* $name:ident { $($own:tt)* }) => {
        operation!(@struct [$(#[$meta])*] $name {} { $($own)* });
        operation!(@common $name, |op| None, false, None);
    };
    ($(#[$meta:meta])* $name:ident, save { $($own:tt)* }) => {
        operation!(@struct [$(#[$meta])*] $name {
            /// The name under which later attempts can use the resulting file descriptor, such as `"m"`.
            #[serde(default)]
            pub save: Option<String>,
        } { $($own)* });
        operation!(@common $name, |op| None, false, op.save.as_deref());
    };
    ($(#[$meta:meta])* $name:ident, token { $($own:tt)* }) => {
        operation!(@struct [$(#[$meta])*] $name {
            /// The token that it uses: `true` for the token that the container created during setup, or the name under
            /// which an earlier attempt saved a token.
            #[serde(default)]
            pub token: Option<$crate::choice::TokenChoice>,
        } { $($own)* });
        operation!(@common $name, |op| op.token.as_ref(), true, None);
    };
    ($(#[$meta:meta])* $name:ident, token, save { $($own:tt)* }) => {
        operation!(@struct [$(#[$meta])*] $name {
            /// The token that the call passes: `true` for the token that the container created during setup, `false`
            /// for none, or the name under which an earlier attempt saved a token. By default `true` if the container's
            /// bpffs delegates anything, otherwise `false`.
            #[serde(default)]
            pub token: Option<$crate::choice::TokenChoice>,
            /// The name under which later attempts can use the resulting file descriptor, such as `"m"`.
            #[serde(default)]
            pub save: Option<String>,
        } { $($own)* });
        operation!(@common $name, |op| op.token.as_ref(), true, op.save.as_deref());
    };
    (@struct [$($meta:tt)*] $name:ident { $($shared:tt)* } { $($own:tt)* }) => {
        $($meta)*
        #[derive(Clone, Debug, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($own)*
            /// Who makes the attempt: the name of a container, or `host` for full root outside all containers. By
            /// default `container`.
            #[serde(default)]
            pub by: Option<String>,
            /// The capabilities in effect during the attempt, such as `["bpf"]`; by default all that its actor has.
            /// Afterwards all are in effect again.
            #[serde(default)]
            pub caps: Option<Vec<String>>,
            /// Copies of the guest program, of those in `[vm] guard`, such as `["agent"]`: a child of the actor's process executes
            /// the first, that the next, and the last makes the attempt. `"fork"` among them is a child that goes on, and
            /// `"traced"` one that its parent traces until it has executed the next. By default the actor's process makes the
            /// attempt itself. Controls execute nothing.
            #[serde(default)]
            #[schemars(length(max = 8))]
            pub exec: Vec<String>,
            $($shared)*
            /// The verdict that the attempt must have.
            #[serde(default)]
            pub expect: Option<$crate::expect::Expect>,
        }
    };
    (@common $name:ident, |$op:ident| $token:expr, $takes:literal, $save:expr) => {
        impl $name {
            pub(super) fn common(&self) -> Common<'_> {
                let $op = self;
                Common {
                    by: $op.by.as_deref(),
                    expect: $op.expect,
                    token: $token,
                    takes_token: $takes,
                    save: $save,
                    caps: $op.caps.as_deref(),
                    exec: &$op.exec,
                }
            }
        }
    };
}
use operation;

operation! {
    /// The keys of `token_create`.
    TokenCreate, save {
        /// Whose bpffs the token is for: the name of a container, or `host`. By default the actor's own.
        #[serde(default)]
        pub from: Option<String>,
        /// Which file descriptor of the bpffs is passed.
        #[serde(default)]
        pub fd: BpffsFd,
        /// Flags of the call. The kernel defines none.
        #[serde(default)]
        pub flags: u32,
    }
}

operation! {
    /// The keys of `btf_get_fd_by_id`.
    BtfGetFdById, token, save {
        /// The id of the BTF; by default 1, the kernel's own.
        #[serde(default)]
        pub id: Option<u32>,
    }
}

operation! {
    /// The keys of `token_info`.
    TokenInfo, token {}
}

const fn yes() -> bool {
    true
}

operation! {
    /// The keys of `prog_test_run`.
    ProgTestRun {
        /// The saved program.
        pub prog: String,
        /// Whether it gets a packet; programs of type `syscall` take none.
        #[serde(default = "yes")]
        pub packet: bool,
    }
}

operation! {
    /// The keys of `exit`.
    Exit {}
}

/// Declares the operations, with their spelling.
macro_rules! attempts {
    ($($(#[$meta:meta])* $name:ident => $op:literal,)*) => {
        /// One attempt: an operation by one actor.
        #[derive(Clone, Debug, Deserialize, JsonSchema)]
        #[serde(tag = "op")]
        pub enum Attempt {
            $(
                $(#[$meta])*
                #[serde(rename = $op)]
                $name($name),
            )*
        }

        impl Attempt {
            /// Returns the name of its operation.
            pub const fn op(&self) -> &'static str {
                match self { $(Self::$name(_) => $op,)* }
            }

            /// Returns the keys that it shares with other operations.
            pub fn common(&self) -> Common<'_> {
                match self { $(Self::$name(keys) => keys.common(),)* }
            }
        }
    };
}

attempts! {
    /// Creates a token from a bpffs (`BPF_TOKEN_CREATE`), after capabilities were dropped. Not needed for `token =
    /// true`, which uses the token that the container created during setup.
    TokenCreate => "token_create",
    /// Creates a map (`BPF_MAP_CREATE`). By default, sizes, number of entries and flags are what the type needs.
    MapCreate => "map_create",
    /// Loads a program that returns a constant (`BPF_PROG_LOAD`).
    ProgLoad => "prog_load",
    /// Loads a small BTF object (`BPF_BTF_LOAD`).
    BtfLoad => "btf_load",
    /// Opens a loaded BTF object by its id (`BPF_BTF_GET_FD_BY_ID`).
    BtfGetFdById => "btf_get_fd_by_id",
    /// Queries what a token allows (`BPF_OBJ_GET_INFO_BY_FD`).
    TokenInfo => "token_info",
    /// Opens a bpffs and sets mount options on it (`fsopen(2)`, `fsconfig(2)`). The actor makes all calls itself.
    MountDelegate => "mount_delegate",
    /// Pins an object in the actor's bpffs (`BPF_OBJ_PIN`).
    ObjPin => "obj_pin",
    /// Opens a pinned object in the actor's bpffs (`BPF_OBJ_GET`).
    ObjGet => "obj_get",
    /// Sets an element of a map (`BPF_MAP_UPDATE_ELEM`).
    MapUpdate => "map_update",
    /// Reads an element of a map (`BPF_MAP_LOOKUP_ELEM`).
    MapLookup => "map_lookup",
    /// Deletes an element of a map (`BPF_MAP_DELETE_ELEM`).
    MapDelete => "map_delete",
    /// Gets the key after another one (`BPF_MAP_GET_NEXT_KEY`).
    MapNextKey => "map_next_key",
    /// Reads an element of a map and deletes it (`BPF_MAP_LOOKUP_AND_DELETE_ELEM`).
    MapLookupAndDelete => "map_lookup_and_delete",
    /// Reads, sets or deletes several elements of a map (`BPF_MAP_LOOKUP_BATCH` and the other batch commands).
    MapBatch => "map_batch",
    /// Freezes a map, so that user space can no longer write to it (`BPF_MAP_FREEZE`).
    MapFreeze => "map_freeze",
    /// Maps the first page of a map's values into memory (`mmap(2)`), and unmaps it again.
    MapMmap => "map_mmap",
    /// Runs a program once on a packet of 64 bytes (`BPF_PROG_TEST_RUN`).
    ProgTestRun => "prog_test_run",
    /// Attaches a program without a link (`BPF_PROG_ATTACH`).
    ProgAttach => "prog_attach",
    /// Detaches a program (`BPF_PROG_DETACH`).
    ProgDetach => "prog_detach",
    /// Queries how many programs are attached (`BPF_PROG_QUERY`).
    ProgQuery => "prog_query",
    /// Makes a program hold a reference to a map (`BPF_PROG_BIND_MAP`).
    ProgBindMap => "prog_bind_map",
    /// Reads what a program printed (`BPF_PROG_STREAM_READ_BY_FD`).
    ProgStreamRead => "prog_stream_read",
    /// Associates a program with a `struct_ops` map (`BPF_PROG_ASSOC_STRUCT_OPS`).
    ProgAssocStructOps => "prog_assoc_struct_ops",
    /// Attaches a program to a raw tracepoint (`BPF_RAW_TRACEPOINT_OPEN`).
    RawTracepointOpen => "raw_tracepoint_open",
    /// Gets the id after another one (`BPF_MAP_GET_NEXT_ID` and the commands for other objects).
    NextId => "next_id",
    /// Opens a saved object by its id, without a token (`BPF_MAP_GET_FD_BY_ID` and the commands for other objects).
    FdById => "fd_by_id",
    /// Queries information about an object (`BPF_OBJ_GET_INFO_BY_FD`).
    ObjInfo => "obj_info",
    /// Queries how many instructions a program has after the kernel added and removed some (`BPF_OBJ_GET_INFO_BY_FD`).
    ProgCode => "prog_code",
    /// Queries what a file descriptor of the actor is attached to (`BPF_TASK_FD_QUERY`).
    TaskFdQuery => "task_fd_query",
    /// Makes the kernel measure how long programs run (`BPF_ENABLE_STATS`), and stop again.
    EnableStats => "enable_stats",
    /// Attaches a program with a link (`BPF_LINK_CREATE`).
    LinkCreate => "link_create",
    /// Replaces the program of a link (`BPF_LINK_UPDATE`).
    LinkUpdate => "link_update",
    /// Detaches the program of a link (`BPF_LINK_DETACH`).
    LinkDetach => "link_detach",
    /// Creates a file from the link of an iterator (`BPF_ITER_CREATE`).
    IterCreate => "iter_create",
    /// Loads a BPF object file with libbpf, in a process of its own. It succeeds if libbpf reports success. The
    /// snapshot lists each call of `bpf(2)` that libbpf made.
    Object => "object",
    /// Runs a program that knows nothing of this harness, with a bpffs at `/sys/fs/bpf`. It succeeds if the program exits with status
    /// 0, or prints what is waited for. The snapshot lists each call of `bpf(2)` and `perf_event_open(2)` that it made. If it fails
    /// although the kernel denied none of its calls, the verdict is `not_made`.
    Exec => "exec",
    /// Surveys which helpers the verifier grants to programs of a type: one load (`BPF_PROG_LOAD`) for every helper
    /// that the kernel knows. It is allowed if programs of the type can be loaded at all.
    HelperSurvey => "helper_survey",
    /// Loads a program that uses one feature the verifier does not allow everyone (`BPF_PROG_LOAD`).
    Verify => "verify",
    /// Sets options on a mounted bpffs (`fspick(2)`, `fsconfig(2)` with `FSCONFIG_CMD_RECONFIGURE`). The actor makes
    /// all calls itself.
    Remount => "remount",
    /// Unmounts a bind mount of the actor's bpffs (`umount2(2)`), which is created for the attempt.
    Umount => "umount",
    /// Writes a kernel setting (below `/proc/sys`).
    SysctlWrite => "sysctl_write",
    /// Passes the descriptor of a token without the flag that announces it (`BPF_F_TOKEN_FD`).
    Unflagged => "unflagged",
    /// Opens a perf event that counts the actor's own process (`perf_event_open(2)`).
    PerfEventOpen => "perf_event_open",
    /// Queries how many programs are attached to a perf event (`PERF_EVENT_IOC_QUERY_BPF`). Only tracepoints answer:
    /// for any other event, whoever may query it gets `EINVAL`.
    PerfQuery => "perf_query",
    /// Attaches a program to a socket of the actor (`setsockopt(2)`).
    SocketAttach => "socket_attach",
    /// Binds a UDP socket of the actor to a port (`bind(2)`), and closes it again.
    SocketBind => "socket_bind",
    /// Attacks the scenario's guard, as root with every capability in the initial namespaces (`by = "host"`). An attempt
    /// that the guard's policy refuses follows each: the canary, which shows whether the guard is still in force. The control
    /// attacks something of the same kind that is not the guard's.
    Attack => "attack",
    /// Puts another policy in the place of the one in force, as root in the initial namespaces (`by = "host"`). The guard must be
    /// pinned or early, and its policy have `reload`. The control makes the same calls with a map that is not the guard's.
    Reload => "reload",
    /// Ends the actor's process, which can make no later attempts. The objects that it saved remain.
    Exit => "exit",
}
