//! The calls of bpf(2) that load and attach an object, as the guard's hooks see them.

use std::collections::BTreeMap;

use guard_policy::{Call, Event, Hook, Names, Program as LoadedProgram, Target};
use harness_objects::{
    AttachWay, LoadRequest, Map, MapSource, Necessity, Object, Program, ProgramTarget, RequestOwner, asked,
};
use harness_uapi::{
    names,
    permission::{Request, Use},
    release::Release,
    vocabulary::Kind,
};

/// The size of a page, to a multiple of which libbpf rounds ring buffers (`adjust_ringbuf_sz` in `src/libbpf.c`).
const PAGE: u32 = 4096;
/// The most instructions of libbpf's probes (`src/features.c`).
const PROBE_INSNS: u32 = 16;

/// A call that the guard judges.
#[derive(Clone, Debug)]
pub struct ObjectCall {
    /// What it is for, such as `program on_xdp`.
    pub by: String,
    /// Whether the object does not load, or a program is not attached, without it.
    pub is_needed: bool,
    /// What the guard sees.
    pub event: Event,
    /// Whether its sizes are only known when the object is loaded.
    pub has_unknown_size: bool,
}

/// The names of functions and types that objects use, with ids in place of those in the BTF of a kernel.
#[derive(Clone, Debug, Default)]
pub struct KnownFunctions {
    ids: BTreeMap<String, u32>,
    names: Names,
}

impl KnownFunctions {
    /// The ids, for [`guard_policy::decide`].
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The name of an id.
    pub fn name(&self, id: u32) -> Option<&str> {
        self.ids.iter().find(|(_, known)| **known == id).map(|(name, _)| name.as_str())
    }

    fn id(&mut self, name: &str) -> u32 {
        let next = u32::try_from(self.ids.len()).unwrap_or(u32::MAX - 1) + 1;
        let id = *self.ids.entry(name.to_owned()).or_insert(next);
        self.names.insert(name, id);
        id
    }
}

/// Returns the calls by which libbpf loads and attaches an object on a kernel of this release, its probes included.
pub fn calls(object: &Object, release: Release, functions: &mut KnownFunctions) -> Vec<ObjectCall> {
    let mut calls = Calls { object, functions, list: Vec::new() };
    for request in asked(object, release.into()) {
        calls.request(&request);
    }
    calls.probes();
    object.maps.iter().filter(|map| map.autocreate).for_each(|map| calls.filling(map));
    object.programs.iter().filter(|program| program.autoload).for_each(|program| calls.attaching(program));
    calls.list
}

struct Calls<'a> {
    object: &'a Object,
    functions: &'a mut KnownFunctions,
    list: Vec<ObjectCall>,
}

fn cmd(name: &str) -> u32 {
    names::number(Kind::Cmd, name).unwrap_or(u32::MAX)
}

fn prog_type(name: &str) -> u32 {
    names::number(Kind::Prog, name).unwrap_or(u32::MAX)
}

impl Calls<'_> {
    fn request(&mut self, asked: &LoadRequest) {
        let is_needed = !matches!(asked.must, Necessity::Improves(_)) && asked.by != RequestOwner::Token;
        let by = asked.by.to_string();
        match &asked.request {
            Request::TokenCreate => self.command(&by, "token_create", is_needed),
            Request::BtfLoad => self.command(&by, "btf_load", is_needed),
            Request::BtfGetFdById => self.command(&by, "btf_get_fd_by_id", is_needed),
            Request::Attach { .. } | Request::PerfEventOpen { .. } => {}
            Request::Command { cmd } => self.add(&by, is_needed, Event::new(*cmd, Hook::Bpf)),
            Request::MapCreate { map_type, .. } => self.map(&asked.by, *map_type, is_needed),
            Request::ProgLoad { prog_type, expected_attach_type, uses } => {
                let program = self
                    .object
                    .programs
                    .iter()
                    .find(|program| matches!(&asked.by, RequestOwner::Program(name) if **name == *program.name));
                let loaded = match program {
                    Some(program) => self.loaded(program, *prog_type, *expected_attach_type),
                    None => probe(*prog_type, *expected_attach_type, uses.iter()),
                };
                self.load(&by, is_needed, loaded);
            }
        }
    }

    fn command(&mut self, by: &str, name: &str, is_needed: bool) {
        self.add(by, is_needed, Event::new(cmd(name), Hook::Bpf));
    }

    fn add(&mut self, by: &str, is_needed: bool, event: Event) {
        self.list.push(ObjectCall { by: by.to_owned(), is_needed, event, has_unknown_size: false });
    }

    fn load(&mut self, by: &str, is_needed: bool, program: LoadedProgram) {
        self.command(by, "prog_load", is_needed);
        self.add(by, is_needed, Event::new(cmd("prog_load"), Hook::ProgLoad(program)));
    }

    fn map(&mut self, by: &RequestOwner, map_type: u32, is_needed: bool) {
        let RequestOwner::Map(name) = by else {
            // Probes make arrays of one value of 32 bytes; a jump table has as many entries as a program has jumps.
            let is_probe = !matches!(by, RequestOwner::Program(_));
            return self.creation(&by.to_string(), is_needed, map_type, (4, 32, 1), !is_probe);
        };
        let maps = self.object.maps.iter().filter(|map| *map.name == **name);
        let all = maps.flat_map(|map| map.inner.as_deref().into_iter().chain([map]));
        for map in all.filter(|map| map.map_type == map_type) {
            let is_ring =
                ["ringbuf", "user_ringbuf"].map(|name| names::number(Kind::Map, name)).contains(&Some(map_type));
            let entries = if is_ring { ring_size(map.max_entries) } else { map.max_entries };
            // The kernel's own definition of the structure decides how large its instances are.
            let is_unknown =
                map.max_entries == 0 && takes_size(map_type) || matches!(map.source, MapSource::StructOps(_));
            self.creation(&by.to_string(), is_needed, map_type, (map.key_size, map.value_size, entries), is_unknown);
        }
    }

    fn creation(&mut self, by: &str, is_needed: bool, kind: u32, sizes: (u32, u32, u32), has_unknown_size: bool) {
        self.command(by, "map_create", is_needed);
        let (key_size, value_size, max_entries) = sizes;
        let hook = Hook::MapCreate { kind, key_size, value_size, max_entries, has_token: false };
        let event = Event::new(cmd("map_create"), hook);
        self.list.push(ObjectCall { by: by.to_owned(), is_needed, event, has_unknown_size });
    }

    fn loaded(&mut self, program: &Program, prog_type: u32, attach_type: u32) -> LoadedProgram {
        let helpers = program.helpers.iter().copied().map(Call::Helper);
        let kfuncs =
            program.kfuncs.iter().map(|name| Call::Kfunc { btf_id: self.functions.id(name), of_module: false });
        let calls = helpers.chain(kfuncs).collect();
        let target = program.target.as_ref().and_then(|target| btf_name(prog_type, attach_type, target));
        LoadedProgram {
            kind: prog_type,
            attach_type: filled_in(prog_type, attach_type),
            insns: u32::try_from(program.instructions).unwrap_or(u32::MAX),
            has_token: false,
            signed_by: None,
            target: target.map(|(name, of_module)| Target { btf_id: self.functions.id(&name), of_module }),
            calls,
        }
    }

    /// Probes that need no permission of their own, so that [`asked`] does not list them (`src/features.c`).
    fn probes(&mut self) {
        let coarse = names::all().helpers().find(|(_, name)| *name == "ktime_get_coarse_ns").map(|(number, _)| number);
        let socket_filter = prog_type("socket_filter");
        let calls: Vec<Use> = coarse.into_iter().map(Use::Helper).collect();
        self.load("probe of memory accounting", false, probe(socket_filter, 0, calls.iter()));
        let object = self.object;
        let looks_up = object.core_relocations > 0
            || !object.ksyms.is_empty()
            || object.programs.iter().any(|program| program.target.is_some());
        if looks_up {
            for name in ["btf_load", "obj_get_info_by_fd", "btf_get_next_id", "btf_get_fd_by_id"] {
                self.command("looking through the BTF of modules", name, false);
            }
        }
        let is_event = |program: &Program| {
            program.autoload && matches!(program.attaches_by, AttachWay::PerfEvent | AttachWay::UserProbe)
        };
        if object.programs.iter().any(is_event) {
            self.load("probe of links to events", false, probe(prog_type("tracepoint"), 0, [].iter()));
            self.command("probe of links to events", "link_create", false);
        }
    }

    /// What libbpf does with a map once it is made.
    fn filling(&mut self, map: &Map) {
        let by = format!("map {}", map.name);
        let holds_objects = matches!(
            names::name(Kind::Map, map.map_type),
            Some("prog_array" | "array_of_maps" | "hash_of_maps" | "struct_ops")
        );
        if map.is_data() || holds_objects {
            self.command(&by, "map_update_elem", true);
        }
        if matches!(map.source, MapSource::Rodata | MapSource::Kconfig) {
            self.command(&by, "map_freeze", true);
            self.command(&by, "prog_bind_map", false);
        }
        if matches!(map.source, MapSource::StructOps(_)) {
            self.command(&by, "link_create", true);
        }
        if map.pinned_by_name {
            for name in ["obj_get", "obj_get_info_by_fd", "obj_pin"] {
                self.command(&by, name, true);
            }
        }
    }

    fn attaching(&mut self, program: &Program) {
        let by = format!("attaching {}", program.name);
        let names: &[&str] = match program.attaches_by {
            AttachWay::PerfEvent
            | AttachWay::UserProbe
            | AttachWay::ProbeMulti
            | AttachWay::Extension
            | AttachWay::Netns
            | AttachWay::Device
            | AttachWay::Tcx
            | AttachWay::Netkit
            | AttachWay::Netfilter
            | AttachWay::Unknown => &["link_create"],
            AttachWay::RawTracepoint => &["raw_tracepoint_open"],
            AttachWay::Trampoline => &["link_create", "raw_tracepoint_open"],
            AttachWay::Iterator => &["link_create", "iter_create"],
            AttachWay::Cgroup => &["link_create", "prog_attach"],
            AttachWay::SockMap | AttachWay::Lirc => &["prog_attach"],
            AttachWay::Map => &["map_update_elem"],
            AttachWay::Run => &["prog_test_run"],
            AttachWay::Netlink | AttachWay::Route | AttachWay::Socket | AttachWay::StructOps => &[],
        };
        names.iter().for_each(|name| self.command(&by, name, true));
    }
}

fn probe<'u>(kind: u32, attach_type: u32, uses: impl Iterator<Item = &'u Use>) -> LoadedProgram {
    let helper = |one: &Use| match one {
        Use::Helper(number) => Some(Call::Helper(*number)),
        _ => None,
    };
    let attach_type = filled_in(kind, attach_type);
    let calls = uses.filter_map(helper).collect();
    LoadedProgram { kind, attach_type, insns: PROBE_INSNS, calls, ..LoadedProgram::default() }
}

/// The attach type that the kernel fills in where a loader passes none (`bpf_prog_load_fixup_attach_type` in
/// `kernel/bpf/syscall.c`), before its hooks see the program.
fn filled_in(kind: u32, attach_type: u32) -> u32 {
    let instead = match (attach_type, names::name(Kind::Prog, kind)) {
        (0, Some("cgroup_sock")) => "cgroup_inet_sock_create",
        (0, Some("sk_reuseport")) => "sk_reuseport_select",
        _ => return attach_type,
    };
    names::number(Kind::Attach, instead).unwrap_or(attach_type)
}

/// What the BTF of the kernel calls a target that is bound at load (`libbpf_find_attach_btf_id` in `src/libbpf.c`), and
/// whether it is outside of the BTF of vmlinux: in a module, or in another program.
fn btf_name(kind: u32, attach_type: u32, target: &ProgramTarget) -> Option<(String, bool)> {
    let named = match target {
        ProgramTarget::Member { structure, .. } => return Some((structure.clone(), false)),
        ProgramTarget::Named(name) => name,
    };
    let (of_module, name) = match named.split_once(':') {
        Some((_, name)) => (true, name),
        None => (false, named.as_str()),
    };
    match (names::name(Kind::Prog, kind)?, names::name(Kind::Attach, attach_type)?) {
        ("tracing", "trace_raw_tp") => Some((format!("btf_trace_{name}"), of_module)),
        ("tracing", "trace_iter") => Some((format!("bpf_iter_{name}"), of_module)),
        ("tracing", _) => Some((name.to_owned(), of_module)),
        ("lsm", _) => Some((format!("bpf_lsm_{name}"), of_module)),
        ("ext", _) => Some((name.to_owned(), true)),
        _ => None,
    }
}

/// The size that libbpf gives a ring buffer: a page times a power of two (`adjust_ringbuf_sz` in `src/libbpf.c`).
fn ring_size(entries: u32) -> u32 {
    let pages = entries.div_ceil(PAGE);
    pages
        .checked_next_power_of_two()
        .and_then(|pages| pages.checked_mul(PAGE))
        .filter(|_| entries > 0)
        .unwrap_or(entries)
}

/// Whether the kernel requires a number of entries, so that 0 means that libbpf or the loader fills it in.
fn takes_size(map_type: u32) -> bool {
    let name = names::name(Kind::Map, map_type).unwrap_or_default();
    !name.contains("storage")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ring_buffers_are_rounded_as_libbpf_does() {
        let sizes = [0, 1, 4096, 4097, 12288, 1 << 20, u32::MAX].map(ring_size);
        assert_eq!(sizes, [0, 4096, 4096, 8192, 16384, 1 << 20, u32::MAX]);
    }

    #[test]
    fn targets_are_named_as_in_the_kernels_types() {
        let number = |kind, name| names::number(kind, name).unwrap();
        let of = |kind, attach, name: &str| {
            let target = ProgramTarget::Named(name.to_owned());
            btf_name(number(Kind::Prog, kind), number(Kind::Attach, attach), &target)
        };
        let named = |name: &str, of_module| Some((name.to_owned(), of_module));
        assert_eq!(of("tracing", "trace_fentry", "vfs_read"), named("vfs_read", false));
        assert_eq!(of("tracing", "trace_raw_tp", "sched_switch"), named("btf_trace_sched_switch", false));
        assert_eq!(of("tracing", "trace_iter", "task"), named("bpf_iter_task", false));
        assert_eq!(of("lsm", "lsm_mac", "file_open"), named("bpf_lsm_file_open", false));
        assert_eq!(of("tracing", "trace_fentry", "xfs:xfs_read"), named("xfs_read", true));
        assert_eq!(of("kprobe", "trace_kprobe_multi", "vfs_*"), None);
    }
}
