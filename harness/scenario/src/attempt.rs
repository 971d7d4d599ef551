//! The operations a scenario can attempt, and the keys of each.

mod attach;
mod elements;
mod loads;
mod mounts;
mod objects;
mod system;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{choice::TokenChoice, expect::Expect};

pub use attach::{LinkCreate, ProgAttach, ProgDetach, ProgQuery, RawTracepointOpen};
pub use elements::{MapBatch, MapDelete, MapFreeze, MapLookup, MapLookupAndDelete, MapMmap, MapNextKey, MapUpdate};
use harness_protocol::plan::BpffsFd;
pub use loads::{BtfLoad, HelperSurvey, MapCreate, Object, ProgLoad, Replaces, Verify};
pub use mounts::{MountDelegate, ObjGet, ObjPin, Remount, Umount};
pub use objects::{
    EnableStats, FdById, IterCreate, LinkDetach, LinkUpdate, NextId, ObjInfo, ProgAssocStructOps, ProgBindMap,
    ProgCode, ProgStreamRead, TaskFdQuery,
};
pub use system::{PerfQuery, SocketAttach, SysctlWrite, Unflagged};

/// The keys that every operation has, and those some have.
#[derive(Clone, Copy, Debug)]
pub struct Common<'a> {
    /// Who makes the attempt; the container named `container` if `None`.
    pub by: Option<&'a str>,
    /// What it is meant to give, where that is known.
    pub expect: Option<Expect>,
    /// The token it hands over, if it is written.
    pub token: Option<&'a TokenChoice>,
    /// Whether the operation takes a token at all.
    pub takes_token: bool,
    /// The name its result is kept under.
    pub save: Option<&'a str>,
    /// The capabilities in effect during it, if they are written.
    pub caps: Option<&'a [String]>,
}

/// Declares the keys of an operation: those of every operation, `token` and `save` where it has them, and its own.
macro_rules! operation {
    ($(#[$meta:meta])* $name:ident { $($own:tt)* }) => {
        operation!(@struct [$(#[$meta])*] $name {} { $($own)* });
        operation!(@common $name, |op| None, false, None);
    };
    ($(#[$meta:meta])* $name:ident, save { $($own:tt)* }) => {
        operation!(@struct [$(#[$meta])*] $name {
            /// The name under which later attempts find the resulting file descriptor.
            #[serde(default)]
            pub save: Option<String>,
        } { $($own)* });
        operation!(@common $name, |op| None, false, op.save.as_deref());
    };
    ($(#[$meta:meta])* $name:ident, token { $($own:tt)* }) => {
        operation!(@struct [$(#[$meta])*] $name {
            /// The token it is about: `true` for the one the container made while it was set up, or the name an earlier
            /// attempt saved one under.
            #[serde(default)]
            pub token: Option<$crate::choice::TokenChoice>,
        } { $($own)* });
        operation!(@common $name, |op| op.token.as_ref(), true, None);
    };
    ($(#[$meta:meta])* $name:ident, token, save { $($own:tt)* }) => {
        operation!(@struct [$(#[$meta])*] $name {
            /// The token handed over: `true` for the one the container made while it was set up, `false` for none, or
            /// the name an earlier attempt saved one under. By default `true` where the container's bpffs delegates
            /// anything, else `false`.
            #[serde(default)]
            pub token: Option<$crate::choice::TokenChoice>,
            /// The name under which later attempts find the resulting file descriptor.
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
            /// Who makes the attempt: the name of a container, or `host` for full root outside of all containers.
            /// By default `container`.
            #[serde(default)]
            pub by: Option<String>,
            /// The capabilities in effect during the attempt, of those its actor has; by default all of them. The actor
            /// has them all again afterwards.
            #[serde(default)]
            pub caps: Option<Vec<String>>,
            $($shared)*
            /// What it must give.
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
                }
            }
        }
    };
}
use operation;

operation! {
    /// The keys of `token_create`.
    TokenCreate, save {
        /// Whose bpffs: the name of a container, or `host`. By default the actor's own.
        #[serde(default)]
        pub from: Option<String>,
        /// Which file descriptor of it.
        #[serde(default)]
        pub fd: BpffsFd,
        /// Flags of the call; the kernel knows none.
        #[serde(default)]
        pub flags: u32,
    }
}

operation! {
    /// The keys of `btf_get_fd_by_id`.
    BtfGetFdById, token, save {
        /// The id; by default 1, the kernel's own.
        #[serde(default)]
        pub id: Option<u32>,
    }
}

operation! {
    /// The keys of `token_info`.
    TokenInfo, token {}
}

operation! {
    /// The keys of `prog_test_run`.
    ProgTestRun {
        /// The program, by the name it was saved under.
        pub prog: String,
    }
}

operation! {
    /// The keys of `exit`.
    Exit {}
}

/// Declares which operations there are, and how each is written.
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
            /// Its operation, as it is written.
            pub const fn op(&self) -> &'static str {
                match self { $(Self::$name(_) => $op,)* }
            }

            /// The keys it shares with other operations.
            pub fn common(&self) -> Common<'_> {
                match self { $(Self::$name(keys) => keys.common(),)* }
            }
        }
    };
}

attempts! {
    /// Makes a token from a bpffs (`BPF_TOKEN_CREATE`), after capabilities were dropped. Not needed for `token = true`:
    /// that token was made while the container was set up.
    TokenCreate => "token_create",
    /// Makes a map (`BPF_MAP_CREATE`). Sizes, number of entries and flags are by default what its type needs.
    MapCreate => "map_create",
    /// Loads a program that returns a constant (`BPF_PROG_LOAD`).
    ProgLoad => "prog_load",
    /// Loads a small type description (`BPF_BTF_LOAD`).
    BtfLoad => "btf_load",
    /// Opens a loaded type description by its id (`BPF_BTF_GET_FD_BY_ID`).
    BtfGetFdById => "btf_get_fd_by_id",
    /// Asks what a token allows (`BPF_OBJ_GET_INFO_BY_FD`).
    TokenInfo => "token_info",
    /// Opens a bpffs and sets mount options on it (`fsopen(2)`, `fsconfig(2)`), all by the actor itself.
    MountDelegate => "mount_delegate",
    /// Gives an object a name in the actor's bpffs (`BPF_OBJ_PIN`).
    ObjPin => "obj_pin",
    /// Opens an object by its name in the actor's bpffs (`BPF_OBJ_GET`).
    ObjGet => "obj_get",
    /// Sets an element of a map (`BPF_MAP_UPDATE_ELEM`).
    MapUpdate => "map_update",
    /// Reads an element of a map (`BPF_MAP_LOOKUP_ELEM`).
    MapLookup => "map_lookup",
    /// Takes an element out of a map (`BPF_MAP_DELETE_ELEM`).
    MapDelete => "map_delete",
    /// Asks for the key after another one (`BPF_MAP_GET_NEXT_KEY`).
    MapNextKey => "map_next_key",
    /// Reads an element of a map and takes it out (`BPF_MAP_LOOKUP_AND_DELETE_ELEM`).
    MapLookupAndDelete => "map_lookup_and_delete",
    /// Does something to several elements of a map (`BPF_MAP_LOOKUP_BATCH` and its like).
    MapBatch => "map_batch",
    /// Has a map written no more from user space (`BPF_MAP_FREEZE`).
    MapFreeze => "map_freeze",
    /// Maps the first page of a map's values into memory (`mmap(2)`), and unmaps it.
    MapMmap => "map_mmap",
    /// Runs a program once on a packet of 64 bytes (`BPF_PROG_TEST_RUN`).
    ProgTestRun => "prog_test_run",
    /// Attaches a program without a link (`BPF_PROG_ATTACH`).
    ProgAttach => "prog_attach",
    /// Takes a program off (`BPF_PROG_DETACH`).
    ProgDetach => "prog_detach",
    /// Asks how many programs are attached (`BPF_PROG_QUERY`).
    ProgQuery => "prog_query",
    /// Has a program keep a map (`BPF_PROG_BIND_MAP`).
    ProgBindMap => "prog_bind_map",
    /// Reads what a program printed (`BPF_PROG_STREAM_READ_BY_FD`).
    ProgStreamRead => "prog_stream_read",
    /// Associates a program with a structure of functions (`BPF_PROG_ASSOC_STRUCT_OPS`).
    ProgAssocStructOps => "prog_assoc_struct_ops",
    /// Attaches a program to a raw tracepoint (`BPF_RAW_TRACEPOINT_OPEN`).
    RawTracepointOpen => "raw_tracepoint_open",
    /// Asks for the id after another one (`BPF_MAP_GET_NEXT_ID` and its like).
    NextId => "next_id",
    /// Opens a saved object by its id, without a token (`BPF_MAP_GET_FD_BY_ID` and its like).
    FdById => "fd_by_id",
    /// Asks what an object is (`BPF_OBJ_GET_INFO_BY_FD`).
    ObjInfo => "obj_info",
    /// Asks how many instructions a program has after what the kernel added and took out (`BPF_OBJ_GET_INFO_BY_FD`).
    ProgCode => "prog_code",
    /// Asks what a file descriptor of the actor itself is attached to (`BPF_TASK_FD_QUERY`).
    TaskFdQuery => "task_fd_query",
    /// Has the kernel measure how long programs run (`BPF_ENABLE_STATS`), and stop again.
    EnableStats => "enable_stats",
    /// Attaches a program by a link (`BPF_LINK_CREATE`).
    LinkCreate => "link_create",
    /// Replaces the program of a link (`BPF_LINK_UPDATE`).
    LinkUpdate => "link_update",
    /// Takes the program of a link off (`BPF_LINK_DETACH`).
    LinkDetach => "link_detach",
    /// Makes a file of an iterator (`BPF_ITER_CREATE`).
    IterCreate => "iter_create",
    /// Loads a BPF object file with libbpf, in a process of its own. It succeeds if libbpf says so; each call of
    /// `bpf(2)` that libbpf made is told below it.
    Object => "object",
    /// Finds out which helpers the verifier grants to programs of a type: a load (`BPF_PROG_LOAD`) for every helper the
    /// kernel knows. Allowed if programs of the type may be loaded at all.
    HelperSurvey => "helper_survey",
    /// Loads a program that does one thing the verifier does not let everybody do (`BPF_PROG_LOAD`).
    Verify => "verify",
    /// Sets options on a mounted bpffs (`fspick(2)`, `fsconfig(2)` with `FSCONFIG_CMD_RECONFIGURE`), all by the actor.
    Remount => "remount",
    /// Unmounts (`umount2(2)`) a bind mount of the actor's bpffs, which is made for the attempt.
    Umount => "umount",
    /// Writes a kernel setting (below `/proc/sys`).
    SysctlWrite => "sysctl_write",
    /// Hands over the descriptor of a token without the flag that says it is there (`BPF_F_TOKEN_FD`).
    Unflagged => "unflagged",
    /// Asks which programs are attached to a perf event of the actor's own that is no tracepoint
    /// (`PERF_EVENT_IOC_QUERY_BPF`): who may ask learns that it has none.
    PerfQuery => "perf_query",
    /// Attaches a program to a socket of the actor's own (`setsockopt(2)`).
    SocketAttach => "socket_attach",
    /// Ends the actor's process; it makes no attempt after this one. What it saved stays.
    Exit => "exit",
}
