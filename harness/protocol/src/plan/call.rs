//! What can be attempted: one system call each, with everything it takes.

mod parts;

use serde::{Deserialize, Serialize};

use crate::{
    mount_option::MountOption,
    plan::{
        Actor, GlobalEffect, HelperSurvey, ObjectLoad, Verify,
        saved_objects::{SavedObjects, saved_objects},
        target::LinkTarget,
        token_command::TokenCommand,
        types::{Body, MapTypes, ProgTarget, ProgTypes},
    },
};

pub use parts::{
    BatchOp, BpffsFd, Holding, ObjectKind, PartContent, PartOffset, PinLocation, Sabotage, SocketDuty, ValuePart,
};

/// Declares the operations: for each its arguments, its name in scenario files, the saved objects it is about in the order
/// in which their descriptors are handed to the actor, the command whose token decides about it, and how it reaches beyond
/// the actor's own namespaces.
macro_rules! calls {
    ($(
        $(#[$meta:meta])*
        $name:ident
        $(($inner:ident: $type:ty))?
        $({ $($(#[$field_meta:meta])* $field:ident: $field_type:ty,)* })?
        => $op:literal $(, objects($($object:ident),*))? $(, token($token:ident))?, reach($reach:expr);
    )*) => {
        /// A BPF operation with all its arguments.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub enum Call {
            $(
                $(#[$meta])*
                #[serde(rename = $op)]
                $name $(($type))? $({ $($(#[$field_meta])* $field: $field_type,)* })?,
            )*
        }

        impl Call {
            /// Its name, as scenario files write it.
            pub const fn op(&self) -> &'static str {
                match self { $(Self::$name { .. } => $op,)* }
            }

            /// The command whose permission a token that is handed over decides about, if there is one.
            pub const fn token_command(&self) -> Option<TokenCommand> {
                match self { $(Self::$name { .. } => calls!(@token $($token)?),)* }
            }

            /// How it would reach beyond the namespaces and cgroups of its own scenario; `None` if nobody else notices it.
            #[allow(unused_variables, reason = "most operations reach nobody, whatever their arguments")]
            pub(super) fn reach(&self) -> Option<GlobalEffect> {
                match self { $(Self::$name $(($inner))? $({ $($field),* })? => $reach,)* }
            }
        }

        saved_objects! {
            Call: $(Self::$name $(($inner))? $({ $($field),* })? => { $($($object),*)? })*
        }
    };
    (@token) => { None };
    (@token $token:ident) => { Some(TokenCommand::$token) };
}

calls! {
    /// `BPF_TOKEN_CREATE`.
    TokenCreate {
        /// Whose bpffs.
        from: Actor,
        /// Which file descriptor of it.
        fd: BpffsFd,
        /// Flags of the call; the kernel knows none.
        #[serde(default, skip_serializing_if = "is_zero")]
        flags: u32,
    } => "token_create", reach(None);
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
        /// `map_extra`.
        #[serde(default)]
        map_extra: u64,
        /// The types of its keys and values, for maps that have some.
        #[serde(default)]
        types: MapTypes,
    } => "map_create", objects(inner_map, types), token(MapCreate), reach(None);
    /// `BPF_PROG_LOAD`.
    ProgLoad {
        /// `enum bpf_prog_type`.
        prog_type: u32,
        /// `enum bpf_attach_type`.
        expected_attach_type: u32,
        /// `prog_flags` without `BPF_F_TOKEN_FD`.
        prog_flags: u32,
        /// Its instructions.
        body: Body,
        /// The license string.
        license: String,
        /// What it is written for, if that is one function or structure.
        #[serde(default)]
        target: ProgTarget,
        /// Its own type description.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        types: Option<ProgTypes>,
        /// `fd_array`: saved maps that instructions name by their place in this list (`BPF_PSEUDO_MAP_IDX`).
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        maps: Vec<String>,
    } => "prog_load", objects(target, types, maps), token(ProgLoad), reach(None);
    /// `BPF_BTF_LOAD` of [`crate::blob`].
    BtfLoad => "btf_load", token(BtfLoad), reach(None);
    /// `BPF_BTF_GET_FD_BY_ID`.
    BtfGetFdById {
        /// The id asked for; 1 is vmlinux.
        id: u32,
    } => "btf_get_fd_by_id", token(BtfGetFdById), reach(None);
    /// `BPF_OBJ_GET_INFO_BY_FD` of the attempt's token.
    TokenInfo => "token_info", reach(None);
    /// `fsopen("bpf")`, the options by `fsconfig(2)`, and `FSCONFIG_CMD_CREATE` if asked, all by the actor itself.
    MountDelegate {
        /// Set in this order.
        options: Vec<MountOption>,
        /// Whether the file system is created afterwards.
        create: bool,
    } => "mount_delegate", reach(None);
    /// `BPF_OBJ_PIN` in the actor's bpffs.
    ObjPin {
        /// What is pinned, by the name it was saved under.
        object: String,
        /// A file name below the bpffs root.
        path: String,
        /// Whether it is still there after the attempt.
        #[serde(default = "stays", skip_serializing_if = "is_true")]
        stays: bool,
        /// Where.
        #[serde(default, skip_serializing_if = "PinLocation::is_bpffs")]
        place: PinLocation,
        /// The permissions its file is given then (`chmod(2)`); `None` leaves those the kernel gave it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mode: Option<u32>,
    } => "obj_pin", objects(object), reach(None);
    /// `BPF_OBJ_GET` from the actor's bpffs.
    ObjGet {
        /// A file name below the bpffs root.
        path: String,
        /// `file_flags`: what the descriptor is for.
        #[serde(default, skip_serializing_if = "is_zero")]
        flags: u32,
    } => "obj_get", reach(None);
    /// `BPF_MAP_UPDATE_ELEM`.
    MapUpdate {
        /// The map, by the name it was saved under.
        map: String,
        /// The key's bytes.
        key: Vec<u8>,
        /// The value's bytes; what they lack of the map's value size is zero.
        value: Vec<u8>,
        /// What is put into the value by its meaning.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        parts: Vec<ValuePart>,
    } => "map_update", objects(map, parts), reach(None);
    /// `BPF_MAP_LOOKUP_ELEM`.
    MapLookup {
        /// The map, by the name it was saved under.
        map: String,
        /// The key's bytes.
        key: Vec<u8>,
        /// Bytes of a value.
        value_size: u32,
    } => "map_lookup", objects(map), reach(None);
    /// `BPF_PROG_TEST_RUN` on a 64-byte packet.
    ProgTestRun {
        /// The program, by the name it was saved under.
        prog: String,
    } => "prog_test_run", objects(prog), reach(None);
    /// `BPF_MAP_DELETE_ELEM`.
    MapDelete {
        /// The map, by the name it was saved under.
        map: String,
        /// The key's bytes.
        key: Vec<u8>,
    } => "map_delete", objects(map), reach(None);
    /// `BPF_MAP_GET_NEXT_KEY`.
    MapNextKey {
        /// The map, by the name it was saved under.
        map: String,
        /// The key before it; `None` asks for the first.
        key: Option<Vec<u8>>,
    } => "map_next_key", objects(map), reach(None);
    /// `BPF_MAP_LOOKUP_AND_DELETE_ELEM`.
    MapLookupAndDelete {
        /// The map, by the name it was saved under.
        map: String,
        /// The key's bytes.
        key: Vec<u8>,
    } => "map_lookup_and_delete", objects(map), reach(None);
    /// `BPF_MAP_LOOKUP_BATCH` and its like, from the first element on.
    MapBatch {
        /// Which of them.
        op: BatchOp,
        /// The map, by the name it was saved under.
        map: String,
        /// How many elements: the keys 0, 1 and so on as little-endian numbers, and values of zeros.
        count: u32,
    } => "map_batch", objects(map), reach(None);
    /// `BPF_MAP_FREEZE`.
    MapFreeze {
        /// The map, by the name it was saved under.
        map: String,
    } => "map_freeze", objects(map), reach(None);
    /// `mmap(2)` of a map's first page, shared, and `munmap(2)`.
    MapMmap {
        /// The map, by the name it was saved under.
        map: String,
        /// Whether it is mapped for writing too.
        write: bool,
    } => "map_mmap", objects(map), reach(None);
    /// `BPF_PROG_ATTACH`.
    ProgAttach {
        /// The program, by the name it was saved under.
        prog: String,
        /// `enum bpf_attach_type`.
        attach_type: u32,
        /// What it is attached to.
        target: LinkTarget,
        /// `attach_flags`.
        #[serde(default, skip_serializing_if = "is_zero")]
        flags: u32,
        /// Whether it stays attached after the attempt; otherwise the actor takes it off at once.
        stays: bool,
    } => "prog_attach", objects(prog, target), reach(target.reach());
    /// `BPF_PROG_DETACH`.
    ProgDetach {
        /// The program, by the name it was saved under; `None` where the kernel takes off whichever is there.
        prog: Option<String>,
        /// `enum bpf_attach_type`.
        attach_type: u32,
        /// What it is taken off.
        target: LinkTarget,
    } => "prog_detach", objects(prog, target), reach(target.reach());
    /// `BPF_PROG_QUERY`, for the number of programs.
    ProgQuery {
        /// `enum bpf_attach_type`.
        attach_type: u32,
        /// What may have programs.
        target: LinkTarget,
    } => "prog_query", objects(target), reach(target.reach());
    /// `BPF_PROG_BIND_MAP`.
    ProgBindMap {
        /// The program, by the name it was saved under.
        prog: String,
        /// The map, likewise.
        map: String,
    } => "prog_bind_map", objects(prog, map), reach(None);
    /// `BPF_PROG_STREAM_READ_BY_FD`, of standard output (Linux 6.17).
    ProgStreamRead {
        /// The program, by the name it was saved under.
        prog: String,
    } => "prog_stream_read", objects(prog), reach(None);
    /// `BPF_PROG_ASSOC_STRUCT_OPS` (Linux 7.0).
    ProgAssocStructOps {
        /// The program, by the name it was saved under.
        prog: String,
        /// The map, likewise.
        map: String,
    } => "prog_assoc_struct_ops", objects(prog, map), reach(None);
    /// `BPF_RAW_TRACEPOINT_OPEN`.
    RawTracepointOpen {
        /// The program, by the name it was saved under.
        prog: String,
        /// The tracepoint; `None` for a program that was loaded for one.
        name: Option<String>,
    } => "raw_tracepoint_open", objects(prog), reach(Some(GlobalEffect::Tracing));
    /// `BPF_MAP_GET_NEXT_ID` and its like.
    NextId {
        /// Of what.
        kind: ObjectKind,
        /// The id before it.
        after: u32,
    } => "next_id", reach(None);
    /// `BPF_MAP_GET_FD_BY_ID` and its like, without a token; [`Call::BtfGetFdById`] is the one that takes one.
    FdById {
        /// Of what.
        kind: ObjectKind,
        /// The object whose id is asked for, by the name it was saved under.
        object: String,
    } => "fd_by_id", objects(object), reach(None);
    /// `BPF_OBJ_GET_INFO_BY_FD`.
    ObjInfo {
        /// The object, by the name it was saved under.
        object: String,
        /// What it is, if it is something that has an id.
        kind: Option<ObjectKind>,
    } => "obj_info", objects(object), reach(None);
    /// `BPF_OBJ_GET_INFO_BY_FD` of a program, for the number of its instructions.
    ProgCode {
        /// The program, by the name it was saved under.
        prog: String,
    } => "prog_code", objects(prog), reach(None);
    /// `BPF_TASK_FD_QUERY` about the actor itself.
    TaskFdQuery {
        /// The link or event, by the name it was saved under.
        object: String,
    } => "task_fd_query", objects(object), reach(None);
    /// `BPF_ENABLE_STATS` of run times.
    EnableStats => "enable_stats", reach(Some(GlobalEffect::Statistics));
    /// `BPF_LINK_UPDATE`.
    LinkUpdate {
        /// The link, by the name it was saved under.
        link: String,
        /// The new program, likewise.
        prog: String,
        /// The program it must have so far (`BPF_F_REPLACE`), likewise; any if `None`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        old: Option<String>,
    } => "link_update", objects(link, prog, old), reach(None);
    /// `BPF_LINK_DETACH`.
    LinkDetach {
        /// The link, by the name it was saved under.
        link: String,
    } => "link_detach", objects(link), reach(None);
    /// `BPF_ITER_CREATE`.
    IterCreate {
        /// The link of an iterator, by the name it was saved under.
        link: String,
    } => "iter_create", objects(link), reach(None);
    /// `BPF_LINK_CREATE`.
    LinkCreate {
        /// The program, by the name it was saved under; a map if the target is [`LinkTarget::StructOps`].
        prog: String,
        /// `enum bpf_attach_type`.
        attach_type: u32,
        /// What it is attached to.
        target: LinkTarget,
    } => "link_create", objects(prog, target), reach(target.reach());
    /// Loads a BPF object with libbpf, in a process of its own.
    Object(load: ObjectLoad) => "object", reach(load.attach.then_some(GlobalEffect::Tracing));
    /// A `BPF_PROG_LOAD` for each of several helpers: which of them the verifier grants.
    HelperSurvey(survey: HelperSurvey) => "helper_survey", objects(survey), token(ProgLoad), reach(None);
    /// `BPF_PROG_LOAD` of given instructions, with what the verifier complains of.
    Verify(program: Verify) => "verify", objects(program), token(ProgLoad), reach(None);
    /// `fspick(2)` of a mounted bpffs, the options by `fsconfig(2)`, and `FSCONFIG_CMD_RECONFIGURE`.
    Remount {
        /// Whose bpffs.
        from: Actor,
        /// Set in this order.
        options: Vec<MountOption>,
    } => "remount", reach(None);
    /// `umount2(2)` of a bind mount of the actor's bpffs, which is made for the attempt.
    Umount {
        /// What is held of the mount meanwhile.
        holding: Holding,
    } => "umount", reach(None);
    /// `write(2)` of a kernel setting.
    SysctlWrite {
        /// Its dotted name.
        name: String,
        /// What is written; `None` for what it is already.
        value: Option<String>,
    } => "sysctl_write", reach(Some(GlobalEffect::Settings));
    /// A command with the descriptor of the attempt's token, but without the flag that says it is there.
    Unflagged(command: TokenCommand) => "unflagged", reach(None);
    /// `PERF_EVENT_IOC_QUERY_BPF` of a perf event of the actor's own that is no tracepoint, which has no programs.
    PerfQuery => "perf_query", reach(None);
    /// `setsockopt(2)`: attaches a program to a socket of the actor's own.
    SocketAttach {
        /// The program, by the name it was saved under.
        prog: String,
        /// What it does there.
        duty: SocketDuty,
        /// Whether the socket's filter was locked before (`SO_LOCK_FILTER`).
        locked: bool,
    } => "socket_attach", objects(prog), reach(None);
    /// The end of the process that plays the actor; nothing in a control, which plays other actors besides.
    Exit => "exit", reach(None);
    /// Not a BPF operation: kills or hangs the guest, so that the harness can prove that it survives that. Never
    /// written in a scenario file.
    Sabotage(how: Sabotage) => "sabotage", reach(Some(GlobalEffect::Machine));
}

fn stays() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_true(value: &bool) -> bool {
    *value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}
