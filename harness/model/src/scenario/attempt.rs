//! The operations a scenario can attempt, and the keys of each.

mod attach;
mod elements;
mod loads;
mod mounts;
mod objects;
mod system;

use schemars::JsonSchema;
use serde::Deserialize;

use super::choice::TokenChoice;
use crate::{plan::BpffsFd, verdict::Expect};
pub use attach::{LinkCreate, ProgAttach, ProgDetach, ProgQuery, RawTracepointOpen};
pub use elements::{MapBatch, MapDelete, MapFreeze, MapLookup, MapLookupAndDelete, MapMmap, MapNextKey, MapUpdate};
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
            pub token: Option<TokenChoice>,
        } { $($own)* });
        operation!(@common $name, |op| op.token.as_ref(), true, None);
    };
    ($(#[$meta:meta])* $name:ident, token, save { $($own:tt)* }) => {
        operation!(@struct [$(#[$meta])*] $name {
            /// The token handed over: `true` for the one the container made while it was set up, `false` for none, or
            /// the name an earlier attempt saved one under. By default `true` where the container's bpffs delegates
            /// anything, else `false`.
            #[serde(default)]
            pub token: Option<TokenChoice>,
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
            pub expect: Option<Expect>,
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

/// One attempt: an operation by one actor.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Attempt {
    /// Makes a token from a bpffs (`BPF_TOKEN_CREATE`), after capabilities were dropped. Not needed for `token = true`:
    /// that token was made while the container was set up.
    TokenCreate(TokenCreate),
    /// Makes a map (`BPF_MAP_CREATE`). Sizes, number of entries and flags are by default what its type needs.
    MapCreate(MapCreate),
    /// Loads a program that returns a constant (`BPF_PROG_LOAD`).
    ProgLoad(ProgLoad),
    /// Loads a small type description (`BPF_BTF_LOAD`).
    BtfLoad(BtfLoad),
    /// Opens a loaded type description by its id (`BPF_BTF_GET_FD_BY_ID`).
    BtfGetFdById(BtfGetFdById),
    /// Asks what a token allows (`BPF_OBJ_GET_INFO_BY_FD`).
    TokenInfo(TokenInfo),
    /// Opens a bpffs and sets mount options on it (`fsopen(2)`, `fsconfig(2)`), all by the actor itself.
    MountDelegate(MountDelegate),
    /// Gives an object a name in the actor's bpffs (`BPF_OBJ_PIN`).
    ObjPin(ObjPin),
    /// Opens an object by its name in the actor's bpffs (`BPF_OBJ_GET`).
    ObjGet(ObjGet),
    /// Sets an element of a map (`BPF_MAP_UPDATE_ELEM`).
    MapUpdate(MapUpdate),
    /// Reads an element of a map (`BPF_MAP_LOOKUP_ELEM`).
    MapLookup(MapLookup),
    /// Takes an element out of a map (`BPF_MAP_DELETE_ELEM`).
    MapDelete(MapDelete),
    /// Asks for the key after another one (`BPF_MAP_GET_NEXT_KEY`).
    MapNextKey(MapNextKey),
    /// Reads an element of a map and takes it out (`BPF_MAP_LOOKUP_AND_DELETE_ELEM`).
    MapLookupAndDelete(MapLookupAndDelete),
    /// Does something to several elements of a map (`BPF_MAP_LOOKUP_BATCH` and its like).
    MapBatch(MapBatch),
    /// Has a map written no more from user space (`BPF_MAP_FREEZE`).
    MapFreeze(MapFreeze),
    /// Maps the first page of a map's values into memory (`mmap(2)`), and unmaps it.
    MapMmap(MapMmap),
    /// Runs a program once on a packet of 64 bytes (`BPF_PROG_TEST_RUN`).
    ProgTestRun(ProgTestRun),
    /// Attaches a program without a link (`BPF_PROG_ATTACH`).
    ProgAttach(ProgAttach),
    /// Takes a program off (`BPF_PROG_DETACH`).
    ProgDetach(ProgDetach),
    /// Asks how many programs are attached (`BPF_PROG_QUERY`).
    ProgQuery(ProgQuery),
    /// Has a program keep a map (`BPF_PROG_BIND_MAP`).
    ProgBindMap(ProgBindMap),
    /// Reads what a program printed (`BPF_PROG_STREAM_READ_BY_FD`).
    ProgStreamRead(ProgStreamRead),
    /// Associates a program with a structure of functions (`BPF_PROG_ASSOC_STRUCT_OPS`).
    ProgAssocStructOps(ProgAssocStructOps),
    /// Attaches a program to a raw tracepoint (`BPF_RAW_TRACEPOINT_OPEN`).
    RawTracepointOpen(RawTracepointOpen),
    /// Asks for the id after another one (`BPF_MAP_GET_NEXT_ID` and its like).
    NextId(NextId),
    /// Opens a saved object by its id, without a token (`BPF_MAP_GET_FD_BY_ID` and its like).
    FdById(FdById),
    /// Asks what an object is (`BPF_OBJ_GET_INFO_BY_FD`).
    ObjInfo(ObjInfo),
    /// Asks how many instructions a program has after what the kernel added and took out (`BPF_OBJ_GET_INFO_BY_FD`).
    ProgCode(ProgCode),
    /// Asks what a file descriptor of the actor itself is attached to (`BPF_TASK_FD_QUERY`).
    TaskFdQuery(TaskFdQuery),
    /// Has the kernel measure how long programs run (`BPF_ENABLE_STATS`), and stop again.
    EnableStats(EnableStats),
    /// Attaches a program by a link (`BPF_LINK_CREATE`).
    LinkCreate(LinkCreate),
    /// Replaces the program of a link (`BPF_LINK_UPDATE`).
    LinkUpdate(LinkUpdate),
    /// Takes the program of a link off (`BPF_LINK_DETACH`).
    LinkDetach(LinkDetach),
    /// Makes a file of an iterator (`BPF_ITER_CREATE`).
    IterCreate(IterCreate),
    /// Loads a BPF object file with libbpf, in a process of its own. It succeeds if libbpf says so; each call of
    /// `bpf(2)` that libbpf made is told below it.
    Object(Object),
    /// Finds out which helpers the verifier grants to programs of a type: a load (`BPF_PROG_LOAD`) for every helper the
    /// kernel knows. Allowed if programs of the type may be loaded at all.
    HelperSurvey(HelperSurvey),
    /// Loads a program that does one thing the verifier does not let everybody do (`BPF_PROG_LOAD`).
    Verify(Verify),
    /// Sets options on a mounted bpffs (`fspick(2)`, `fsconfig(2)` with `FSCONFIG_CMD_RECONFIGURE`), all by the actor.
    Remount(Remount),
    /// Unmounts (`umount2(2)`) a bind mount of the actor's bpffs, which is made for the attempt.
    Umount(Umount),
    /// Writes a kernel setting (below `/proc/sys`).
    SysctlWrite(SysctlWrite),
    /// Hands over the descriptor of a token without the flag that says it is there (`BPF_F_TOKEN_FD`).
    Unflagged(Unflagged),
    /// Asks which programs are attached to a perf event of the actor's own that is no tracepoint
    /// (`PERF_EVENT_IOC_QUERY_BPF`): who may ask learns that it has none.
    PerfQuery(PerfQuery),
    /// Attaches a program to a socket of the actor's own (`setsockopt(2)`).
    SocketAttach(SocketAttach),
    /// Ends the actor's process; it makes no attempt after this one. What it saved stays.
    Exit(Exit),
}

impl Attempt {
    /// Its operation, as it is written.
    pub const fn op(&self) -> &'static str {
        match self {
            Self::TokenCreate(_) => "token_create",
            Self::MapCreate(_) => "map_create",
            Self::ProgLoad(_) => "prog_load",
            Self::BtfLoad(_) => "btf_load",
            Self::BtfGetFdById(_) => "btf_get_fd_by_id",
            Self::TokenInfo(_) => "token_info",
            Self::MountDelegate(_) => "mount_delegate",
            Self::ObjPin(_) => "obj_pin",
            Self::ObjGet(_) => "obj_get",
            Self::MapUpdate(_) => "map_update",
            Self::MapLookup(_) => "map_lookup",
            Self::MapDelete(_) => "map_delete",
            Self::MapNextKey(_) => "map_next_key",
            Self::MapLookupAndDelete(_) => "map_lookup_and_delete",
            Self::MapBatch(_) => "map_batch",
            Self::MapFreeze(_) => "map_freeze",
            Self::MapMmap(_) => "map_mmap",
            Self::ProgTestRun(_) => "prog_test_run",
            Self::ProgAttach(_) => "prog_attach",
            Self::ProgDetach(_) => "prog_detach",
            Self::ProgQuery(_) => "prog_query",
            Self::ProgBindMap(_) => "prog_bind_map",
            Self::ProgStreamRead(_) => "prog_stream_read",
            Self::ProgAssocStructOps(_) => "prog_assoc_struct_ops",
            Self::RawTracepointOpen(_) => "raw_tracepoint_open",
            Self::NextId(_) => "next_id",
            Self::FdById(_) => "fd_by_id",
            Self::ObjInfo(_) => "obj_info",
            Self::ProgCode(_) => "prog_code",
            Self::TaskFdQuery(_) => "task_fd_query",
            Self::EnableStats(_) => "enable_stats",
            Self::LinkCreate(_) => "link_create",
            Self::LinkUpdate(_) => "link_update",
            Self::LinkDetach(_) => "link_detach",
            Self::IterCreate(_) => "iter_create",
            Self::Object(_) => "object",
            Self::HelperSurvey(_) => "helper_survey",
            Self::Verify(_) => "verify",
            Self::Remount(_) => "remount",
            Self::Umount(_) => "umount",
            Self::SysctlWrite(_) => "sysctl_write",
            Self::Unflagged(_) => "unflagged",
            Self::PerfQuery(_) => "perf_query",
            Self::SocketAttach(_) => "socket_attach",
            Self::Exit(_) => "exit",
        }
    }

    /// The keys it shares with other operations.
    pub fn common(&self) -> Common<'_> {
        match self {
            Self::TokenCreate(op) => op.common(),
            Self::MapCreate(op) => op.common(),
            Self::ProgLoad(op) => op.common(),
            Self::BtfLoad(op) => op.common(),
            Self::BtfGetFdById(op) => op.common(),
            Self::TokenInfo(op) => op.common(),
            Self::MountDelegate(op) => op.common(),
            Self::ObjPin(op) => op.common(),
            Self::ObjGet(op) => op.common(),
            Self::MapUpdate(op) => op.common(),
            Self::MapLookup(op) => op.common(),
            Self::MapDelete(op) => op.common(),
            Self::MapNextKey(op) => op.common(),
            Self::MapLookupAndDelete(op) => op.common(),
            Self::MapBatch(op) => op.common(),
            Self::MapFreeze(op) => op.common(),
            Self::MapMmap(op) => op.common(),
            Self::ProgTestRun(op) => op.common(),
            Self::ProgAttach(op) => op.common(),
            Self::ProgDetach(op) => op.common(),
            Self::ProgQuery(op) => op.common(),
            Self::ProgBindMap(op) => op.common(),
            Self::ProgStreamRead(op) => op.common(),
            Self::ProgAssocStructOps(op) => op.common(),
            Self::RawTracepointOpen(op) => op.common(),
            Self::NextId(op) => op.common(),
            Self::FdById(op) => op.common(),
            Self::ObjInfo(op) => op.common(),
            Self::ProgCode(op) => op.common(),
            Self::TaskFdQuery(op) => op.common(),
            Self::EnableStats(op) => op.common(),
            Self::LinkCreate(op) => op.common(),
            Self::LinkUpdate(op) => op.common(),
            Self::LinkDetach(op) => op.common(),
            Self::IterCreate(op) => op.common(),
            Self::Object(op) => op.common(),
            Self::HelperSurvey(op) => op.common(),
            Self::Verify(op) => op.common(),
            Self::Remount(op) => op.common(),
            Self::Umount(op) => op.common(),
            Self::SysctlWrite(op) => op.common(),
            Self::Unflagged(op) => op.common(),
            Self::PerfQuery(op) => op.common(),
            Self::SocketAttach(op) => op.common(),
            Self::Exit(op) => op.common(),
        }
    }
}
