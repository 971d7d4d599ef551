//! What can be attempted: one system call each, with all its arguments.

mod parts;

use serde::{Deserialize, Serialize};

use crate::{
    mount_option::MountOption,
    plan::{
        Actor, Attack, Exec, GlobalEffect, HelperSurvey, ObjectLoad, Reload, Signature, Verify,
        saved_objects::{SavedObjects, saved_objects},
        target::LinkTarget,
        token_command::TokenCommand,
        types::{Body, MapTypes, ProgTarget, ProgTypes},
    },
};

pub use parts::{
    BatchOp, BpffsFd, Holding, ObjectKind, PartContent, PartOffset, PerfEventSource, PinLocation, Sabotage, SocketDuty,
    ValuePart,
};

/// Declares the operations. Each has its arguments, its name in scenario files, the saved objects it uses in the order
/// in which the actor gets their descriptors, the command whose token decides about it, and its effect beyond the
/// actor's own namespaces.
macro_rules! calls {
    ($(
        $(#[$meta:meta])*
        $name:ident
        $(($inner:ident: $type:ty))?
        $({ $($(#[$field_meta:meta])* $field:ident: $field_type:ty,)* })?
        => $op:literal $(, objects($($object:ident),*))? $(, token($token:ident))?, global_effect($global_effect:expr);
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
            /// Returns its name in scenario files.
            pub const fn op(&self) -> &'static str {
                match self { $(Self::$name { .. } => $op,)* }
            }

            /// Returns the command whose permission a token decides about, if there is one.
            pub const fn token_command(&self) -> Option<TokenCommand> {
                match self { $(Self::$name { .. } => calls!(@token $($token)?),)* }
            }

            /// Returns its effect beyond the namespaces and cgroups of its own scenario, if any.
            #[allow(unused_variables, reason = "most operations affect nobody else, whatever their arguments")]
            pub(super) fn global_effect(&self) -> Option<GlobalEffect> {
                match self { $(Self::$name $(($inner))? $({ $($field),* })? => $global_effect,)* }
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
        /// The owner of the bpffs.
        from: Actor,
        /// The file descriptor of the bpffs.
        fd: BpffsFd,
        /// The flags of the call; the kernel knows none.
        #[serde(default, skip_serializing_if = "is_zero")]
        flags: u32,
    } => "token_create", global_effect(None);
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
        /// The saved map that is the inner map of a map of maps.
        inner_map: Option<String>,
        /// `map_extra`.
        #[serde(default)]
        map_extra: u64,
        /// The BTF types of its keys and values, for maps that need them.
        #[serde(default)]
        types: MapTypes,
        /// `excl_prog_hash`: the SHA-256 sum of the instructions of the only program that may use it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exclusive: Option<[u8; 32]>,
    } => "map_create", objects(inner_map, types), token(MapCreate), global_effect(None);
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
        /// The function or structure that it is written for, if any.
        #[serde(default)]
        target: ProgTarget,
        /// Its own BTF.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        types: Option<ProgTypes>,
        /// `fd_array`: saved maps that instructions name by their index in this list (`BPF_PSEUDO_MAP_IDX`).
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        maps: Vec<String>,
        /// Its signature. If it covers more than the instructions, the call names the length of `fd_array` as well, from
        /// which the kernel knows the maps that are signed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signature: Option<Signature>,
    } => "prog_load", objects(target, types, maps), token(ProgLoad), global_effect(None);
    /// `BPF_BTF_LOAD` of [`crate::blob`].
    BtfLoad => "btf_load", token(BtfLoad), global_effect(None);
    /// `BPF_BTF_GET_FD_BY_ID`.
    BtfGetFdById {
        /// The BTF object's id; 1 is vmlinux.
        id: u32,
    } => "btf_get_fd_by_id", token(BtfGetFdById), global_effect(None);
    /// `BPF_OBJ_GET_INFO_BY_FD` of the attempt's token.
    TokenInfo => "token_info", global_effect(None);
    /// `fsopen("bpf")`, the options by `fsconfig(2)`, and `FSCONFIG_CMD_CREATE` if requested, all by the actor itself.
    MountDelegate {
        /// The options to set, in this order.
        options: Vec<MountOption>,
        /// Whether the file system is created afterwards.
        create: bool,
    } => "mount_delegate", global_effect(None);
    /// `BPF_OBJ_PIN` in the actor's bpffs.
    ObjPin {
        /// The saved object to pin.
        object: String,
        /// A path below the bpffs root.
        path: String,
        /// Whether the pin remains after the attempt.
        #[serde(default = "stays", skip_serializing_if = "is_true")]
        stays: bool,
        /// The file system to pin in.
        #[serde(default, skip_serializing_if = "PinLocation::is_bpffs")]
        place: PinLocation,
        /// The permissions to give the pin afterwards (`chmod(2)`); `None` leaves the kernel's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mode: Option<u32>,
    } => "obj_pin", objects(object), global_effect(None);
    /// `BPF_OBJ_GET` from the actor's bpffs.
    ObjGet {
        /// A path below the bpffs root.
        path: String,
        /// `file_flags`: the access that the descriptor is for.
        #[serde(default, skip_serializing_if = "is_zero")]
        flags: u32,
    } => "obj_get", global_effect(None);
    /// `BPF_MAP_UPDATE_ELEM`.
    MapUpdate {
        /// The saved map.
        map: String,
        /// The key's bytes.
        key: Vec<u8>,
        /// The value's bytes, padded with zeros to the map's value size.
        value: Vec<u8>,
        /// Parts of the value that only the guest knows.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        parts: Vec<ValuePart>,
    } => "map_update", objects(map, parts), global_effect(None);
    /// `BPF_MAP_LOOKUP_ELEM`.
    MapLookup {
        /// The saved map.
        map: String,
        /// The key's bytes.
        key: Vec<u8>,
        /// Bytes of a value.
        value_size: u32,
    } => "map_lookup", objects(map), global_effect(None);
    /// `BPF_PROG_TEST_RUN`.
    ProgTestRun {
        /// The saved program.
        prog: String,
        /// Whether it runs once on a packet of 64 bytes.
        packet: bool,
    } => "prog_test_run", objects(prog), global_effect(None);
    /// `BPF_MAP_DELETE_ELEM`.
    MapDelete {
        /// The saved map.
        map: String,
        /// The key's bytes.
        key: Vec<u8>,
    } => "map_delete", objects(map), global_effect(None);
    /// `BPF_MAP_GET_NEXT_KEY`.
    MapNextKey {
        /// The saved map.
        map: String,
        /// The previous key; `None` requests the first.
        key: Option<Vec<u8>>,
    } => "map_next_key", objects(map), global_effect(None);
    /// `BPF_MAP_LOOKUP_AND_DELETE_ELEM`.
    MapLookupAndDelete {
        /// The saved map.
        map: String,
        /// The key's bytes.
        key: Vec<u8>,
    } => "map_lookup_and_delete", objects(map), global_effect(None);
    /// `BPF_MAP_LOOKUP_BATCH` and its siblings, from the first element on.
    MapBatch {
        /// The command.
        op: BatchOp,
        /// The saved map.
        map: String,
        /// The number of elements. Their keys are 0, 1 and so on as little-endian numbers, their values zeros.
        count: u32,
    } => "map_batch", objects(map), global_effect(None);
    /// `BPF_MAP_FREEZE`.
    MapFreeze {
        /// The saved map.
        map: String,
    } => "map_freeze", objects(map), global_effect(None);
    /// `mmap(2)` of a map's first page, shared, and `munmap(2)`.
    MapMmap {
        /// The saved map.
        map: String,
        /// Whether the page is also mapped for writing.
        write: bool,
    } => "map_mmap", objects(map), global_effect(None);
    /// `BPF_PROG_ATTACH`.
    ProgAttach {
        /// The saved program.
        prog: String,
        /// `enum bpf_attach_type`.
        attach_type: u32,
        /// What to attach to.
        target: LinkTarget,
        /// `attach_flags`.
        #[serde(default, skip_serializing_if = "is_zero")]
        flags: u32,
        /// Whether the program stays attached after the attempt; otherwise the actor detaches it at once.
        stays: bool,
    } => "prog_attach", objects(prog, target), global_effect(target.global_effect());
    /// `BPF_PROG_DETACH`.
    ProgDetach {
        /// The saved program; `None` where the kernel detaches whichever is attached.
        prog: Option<String>,
        /// `enum bpf_attach_type`.
        attach_type: u32,
        /// What to detach from.
        target: LinkTarget,
    } => "prog_detach", objects(prog, target), global_effect(target.global_effect());
    /// `BPF_PROG_QUERY` for the number of programs.
    ProgQuery {
        /// `enum bpf_attach_type`.
        attach_type: u32,
        /// What to query.
        target: LinkTarget,
    } => "prog_query", objects(target), global_effect(target.global_effect());
    /// `BPF_PROG_BIND_MAP`.
    ProgBindMap {
        /// The saved program.
        prog: String,
        /// The saved map.
        map: String,
    } => "prog_bind_map", objects(prog, map), global_effect(None);
    /// `BPF_PROG_STREAM_READ_BY_FD` of standard output (Linux 6.17).
    ProgStreamRead {
        /// The saved program.
        prog: String,
    } => "prog_stream_read", objects(prog), global_effect(None);
    /// `BPF_PROG_ASSOC_STRUCT_OPS` (Linux 7.0).
    ProgAssocStructOps {
        /// The saved program.
        prog: String,
        /// The saved map.
        map: String,
    } => "prog_assoc_struct_ops", objects(prog, map), global_effect(None);
    /// `BPF_RAW_TRACEPOINT_OPEN`.
    RawTracepointOpen {
        /// The saved program.
        prog: String,
        /// The tracepoint; `None` for a program that was loaded for one.
        name: Option<String>,
    } => "raw_tracepoint_open", objects(prog), global_effect(Some(GlobalEffect::Tracing));
    /// `BPF_MAP_GET_NEXT_ID` and its siblings.
    NextId {
        /// The kind of object.
        kind: ObjectKind,
        /// The previous id.
        after: u32,
    } => "next_id", global_effect(None);
    /// `BPF_MAP_GET_FD_BY_ID` and its siblings, without a token; [`Call::BtfGetFdById`] is the one that takes one.
    FdById {
        /// The kind of object.
        kind: ObjectKind,
        /// The saved object whose id is used.
        object: String,
    } => "fd_by_id", objects(object), global_effect(None);
    /// `BPF_OBJ_GET_INFO_BY_FD`.
    ObjInfo {
        /// The saved object.
        object: String,
        /// Its kind, if it has an id.
        kind: Option<ObjectKind>,
    } => "obj_info", objects(object), global_effect(None);
    /// `BPF_OBJ_GET_INFO_BY_FD` of a program for the number of its instructions.
    ProgCode {
        /// The saved program.
        prog: String,
        /// Whether those are counted that the verifier processed (`verified_insns`), each as often as it did so.
        #[serde(default, skip_serializing_if = "is_false")]
        verified: bool,
    } => "prog_code", objects(prog), global_effect(None);
    /// `BPF_TASK_FD_QUERY` about the actor itself.
    TaskFdQuery {
        /// The saved link or event.
        object: String,
    } => "task_fd_query", objects(object), global_effect(None);
    /// `BPF_ENABLE_STATS` for run times.
    EnableStats => "enable_stats", global_effect(Some(GlobalEffect::Statistics));
    /// `BPF_LINK_UPDATE`.
    LinkUpdate {
        /// The saved link.
        link: String,
        /// The new saved program.
        prog: String,
        /// The saved program that it must have so far (`BPF_F_REPLACE`); any if `None`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        old: Option<String>,
    } => "link_update", objects(link, prog, old), global_effect(None);
    /// `BPF_LINK_DETACH`.
    LinkDetach {
        /// The saved link.
        link: String,
    } => "link_detach", objects(link), global_effect(None);
    /// `BPF_ITER_CREATE`.
    IterCreate {
        /// The saved link of an iterator.
        link: String,
    } => "iter_create", objects(link), global_effect(None);
    /// `BPF_LINK_CREATE`.
    LinkCreate {
        /// The saved program; a map if the target is [`LinkTarget::StructOps`].
        prog: String,
        /// `enum bpf_attach_type`.
        attach_type: u32,
        /// What to attach to.
        target: LinkTarget,
    } => "link_create", objects(prog, target), global_effect(target.global_effect());
    /// Loads a BPF object with libbpf in a process of its own.
    Object(load: ObjectLoad) => "object", global_effect(load.attach.then_some(GlobalEffect::Tracing));
    /// Runs a program of the guest's file system with its calls recorded.
    Exec(exec: Exec) => "exec", global_effect(Some(GlobalEffect::Program));
    /// A `BPF_PROG_LOAD` for each of several helpers, to find which of them the verifier grants.
    HelperSurvey(survey: HelperSurvey) => "helper_survey", objects(survey), token(ProgLoad), global_effect(None);
    /// `BPF_PROG_LOAD` of given instructions, with the verifier's message.
    Verify(program: Verify) => "verify", objects(program), token(ProgLoad), global_effect(None);
    /// `fspick(2)` of a mounted bpffs, the options by `fsconfig(2)`, and `FSCONFIG_CMD_RECONFIGURE`.
    Remount {
        /// The owner of the bpffs.
        from: Actor,
        /// The options to set, in this order.
        options: Vec<MountOption>,
    } => "remount", global_effect(None);
    /// `umount2(2)` of a bind mount of the actor's bpffs, made for the attempt.
    Umount {
        /// What is held of the mount meanwhile.
        holding: Holding,
    } => "umount", global_effect(None);
    /// `write(2)` of a kernel setting.
    SysctlWrite {
        /// The setting's dotted name.
        name: String,
        /// The value to write; `None` for the current one.
        value: Option<String>,
    } => "sysctl_write", global_effect(Some(GlobalEffect::Settings));
    /// A command with the descriptor of the attempt's token, but without the flag that announces it.
    Unflagged(command: TokenCommand) => "unflagged", global_effect(None);
    /// `perf_event_open(2)` of an event that counts the actor's own process only.
    PerfEventOpen {
        /// What it counts.
        source: PerfEventSource,
        /// Whether it also counts in the kernel; otherwise `exclude_kernel` is set.
        kernel: bool,
    } => "perf_event_open", global_effect(source.global_effect());
    /// `PERF_EVENT_IOC_QUERY_BPF` for the number of programs of a perf event.
    PerfQuery {
        /// The saved event; `None` for an event of the actor's own that is not a tracepoint.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        event: Option<String>,
    } => "perf_query", objects(event), global_effect(None);
    /// `bind(2)` of a UDP socket of the actor's own, which is closed again.
    SocketBind {
        /// The port.
        port: u16,
    } => "socket_bind", global_effect(None);
    /// `setsockopt(2)` that attaches a program to a socket of the actor's own.
    SocketAttach {
        /// The saved program.
        prog: String,
        /// The program's task there.
        duty: SocketDuty,
        /// Whether the socket's filter is locked before (`SO_LOCK_FILTER`).
        locked: bool,
    } => "socket_attach", objects(prog), global_effect(None);
    /// An attack on the scenario's guard. Its control attacks something of the same kind that is not the guard's.
    Attack {
        /// How.
        way: Attack,
        /// The copy of the guest program that a process executes to be attacked; the guard itself if there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        copy: Option<String>,
    } => "attack", global_effect(None);
    /// A reload of the guard's policy. Its control makes the same calls with a map that is not the guard's.
    Reload(reload: Reload) => "reload", global_effect(None);
    /// Ends the process that plays the actor. A control does nothing, because its process plays other actors as well.
    Exit => "exit", global_effect(None);
    /// Several calls, one after the other, whose errnos (0 for success) are the answer's detail. For tests that need many
    /// calls, and never written in a scenario file.
    Several(calls: Vec<Call>) => "several", objects(calls), global_effect(None);
    /// Kills or hangs the guest, to prove that the harness survives that. Not a BPF operation, and never written in a
    /// scenario file.
    Sabotage(how: Sabotage) => "sabotage", global_effect(Some(GlobalEffect::Machine));
}

impl Call {
    /// Returns the files in [`super::OBJECTS_FOLDER`] that it needs.
    pub fn files(&self) -> Vec<&str> {
        match self {
            Self::Object(load) => load.files().map(String::as_str).collect(),
            Self::ProgLoad { signature: Some(signature), .. } => signature.files().collect(),
            Self::Reload(reload) => vec![&reload.file],
            _ => Vec::new(),
        }
    }

    /// Returns whether it is a call of `bpf(2)`, or several.
    pub const fn is_bpf(&self) -> bool {
        !matches!(
            self,
            Self::MountDelegate { .. }
                | Self::MapMmap { .. }
                | Self::Remount { .. }
                | Self::Umount { .. }
                | Self::SysctlWrite { .. }
                | Self::PerfEventOpen { .. }
                | Self::PerfQuery { .. }
                | Self::SocketBind { .. }
                | Self::SocketAttach { .. }
                | Self::Attack { .. }
                | Self::Reload(_)
                | Self::Exit
                | Self::Sabotage(_)
        )
    }
}

fn stays() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_true(value: &bool) -> bool {
    *value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}
