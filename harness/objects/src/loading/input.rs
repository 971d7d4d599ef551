//! An object, with the facts that every load sequence needs, computed once.

use std::collections::{BTreeMap, BTreeSet};

use harness_uapi::{
    btf::{Btf, BtfKind},
    names,
    vocabulary::Kind,
};

use super::request::Kernel;
use crate::{
    helper::HELPERS,
    map::{Map, MapSource},
    object::Object,
    program::{Program, ProgramTarget},
};

/// The object to load.
pub(crate) struct LoadInput<'a> {
    pub(crate) object: &'a Object,
    /// The programs that libbpf loads.
    pub(super) programs: Vec<&'a Program>,
    /// Whether some map or program does not load without the object's BTF.
    pub(super) needs_btf: bool,
    /// Whether some program calls a helper that libbpf replaces if it seems missing, and whether one does not load with
    /// the replacement.
    pub(super) reads_kernel: bool,
    pub(super) needs_reads: bool,
    /// Whether it has maps of constants.
    pub(super) has_constants: bool,
    /// The indexes of members in the kernel's own structures.
    members: BTreeMap<(&'a str, &'a str), u32>,
}

impl<'a> LoadInput<'a> {
    pub(crate) fn new(object: &'a Object, kernel: Kernel<'_>) -> Self {
        let is_loaded = |program: &&Program| program.autoload && program.prog_type.is_some();
        let programs: Vec<&Program> = object.programs.iter().filter(is_loaded).collect();
        let reads = |program: &Program| HELPERS.replaced.iter().any(|(helper, _)| program.helpers.contains(helper));
        let of_map = |map: &Map| map.autocreate && keeps_for_objects(map.map_type);
        Self {
            object,
            needs_btf: object.has_operations()
                || programs.iter().any(|program| !program.needs_btf.is_empty())
                || object.maps.iter().any(of_map),
            reads_kernel: object.programs.iter().any(reads),
            needs_reads: programs.iter().any(|program| reads(program) && !has_old_reads(program)),
            has_constants: object.maps.iter().any(|map| map.source == MapSource::Rodata),
            members: kernel.types.map(|types| members(types, &programs)).unwrap_or_default(),
            programs,
        }
    }

    /// The index of a member in the kernel's own structure.
    pub(super) fn member_index(&self, structure: &str, member: &str) -> Option<u32> {
        self.members.get(&(structure, member)).copied()
    }
}

/// Looks all members up in one pass over the kernel's types.
fn members<'a>(types: &Btf<'_>, programs: &[&'a Program]) -> BTreeMap<(&'a str, &'a str), u32> {
    let mut wanted: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for program in programs {
        if let Some(ProgramTarget::Member { structure, member, .. }) = &program.target {
            wanted.entry(structure).or_default().insert(member);
        }
    }
    let mut found_members = BTreeMap::new();
    for (_, found) in types.iter().filter(|(_, found)| found.kind == BtfKind::Struct) {
        let Some((structure, members)) = wanted.get_key_value(found.name) else { continue };
        for (index, member) in types.members(&found).enumerate() {
            if let Some(name) = members.get(member.name) {
                found_members.entry((*structure, *name)).or_insert(index as u32);
            }
        }
    }
    found_members
}

/// Whether a map stores values for sockets, inodes, tasks or cgroups, which requires BTF for keys and values
/// (`bpf_local_storage_map_alloc_check` in `kernel/bpf/bpf_local_storage.c`).
pub(super) fn keeps_for_objects(map_type: u32) -> bool {
    matches!(names::name(Kind::Map, map_type), Some("sk_storage" | "inode_storage" | "task_storage" | "cgrp_storage"))
}

/// Whether programs of its type have `bpf_probe_read` (`bpf_tracing_func_proto` in `kernel/trace/bpf_trace.c`).
pub(super) fn has_old_reads(program: &Program) -> bool {
    matches!(
        program.prog_type.and_then(|number| names::name(Kind::Prog, number)),
        Some(
            "kprobe"
                | "tracepoint"
                | "perf_event"
                | "raw_tracepoint"
                | "raw_tracepoint_writable"
                | "tracing"
                | "lsm"
                | "syscall"
        )
    )
}
