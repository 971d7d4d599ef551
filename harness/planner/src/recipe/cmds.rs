//! Recipes for each command of `bpf(2)`.

use harness_protocol::plan::{Actor, BatchOp, BpffsFd, Call, LinkTarget, ObjectKind, PinLocation};
use harness_uapi::{resolver::NameResolver, vocabulary::Kind};

use crate::recipe::{
    Recipe,
    draft::Draft,
    maps::{self, MapArguments},
    progs,
};

/// Whether there is a recipe for a command.
pub(super) fn is_known(name: &str) -> bool {
    COMMANDS.iter().any(|(known, _)| *known == name)
}

/// Returns the recipe for a command of this actor; `None` for an unknown command.
pub(super) fn recipe(name: &str, actor: &Actor, resolver: &NameResolver<'_>) -> Option<Recipe> {
    let (_, write) = COMMANDS.iter().find(|(known, _)| *known == name)?;
    let mut draft = Draft::new(resolver);
    draft.lacks(resolver.lacks_cmd(name));
    Some(write(draft, actor))
}

type Write = fn(Draft<'_, '_>, &Actor) -> Recipe;

/// The recipe of each command, by the kernel's name.
const COMMANDS: [(&str, Write); 39] = [
    ("map_create", |draft, _| map_create(draft)),
    ("map_lookup_elem", |draft, _| on_array(draft, |map| Call::MapLookup { map, key: vec![0; 4], value_size: 4 })),
    ("map_update_elem", |draft, _| on_array(draft, |map| update(map, 4))),
    ("map_delete_elem", |draft, _| on_filled_hash(draft, |map| Call::MapDelete { map, key: vec![0; 4] })),
    ("map_get_next_key", |draft, _| on_array(draft, |map| Call::MapNextKey { map, key: None })),
    ("prog_load", |draft, _| prog_load(draft)),
    ("obj_pin", |draft, _| on_array(draft, |object| pin(object, false))),
    ("obj_get", |draft, _| obj_get(draft)),
    ("prog_attach", |draft, _| prog_attach(draft)),
    ("prog_detach", |draft, _| prog_detach(draft)),
    ("prog_test_run", |draft, _| on_prog(draft, "xdp", |prog| Call::ProgTestRun { prog, packet: true })),
    ("prog_get_next_id", |draft, _| on_prog(draft, "xdp", |_| next(ObjectKind::Prog))),
    ("map_get_next_id", |draft, _| on_array(draft, |_| next(ObjectKind::Map))),
    ("prog_get_fd_by_id", |draft, _| on_prog(draft, "xdp", |object| Call::FdById { kind: ObjectKind::Prog, object })),
    ("map_get_fd_by_id", |draft, _| on_array(draft, |object| Call::FdById { kind: ObjectKind::Map, object })),
    ("obj_get_info_by_fd", |draft, _| on_array(draft, |object| Call::ObjInfo { object, kind: Some(ObjectKind::Map) })),
    ("prog_query", |draft, _| prog_query(draft)),
    ("raw_tracepoint_open", |draft, _| on_prog(draft, "raw_tracepoint", raw_tracepoint)),
    ("btf_load", |draft, _| draft.done(Call::BtfLoad)),
    ("btf_get_fd_by_id", |draft, _| draft.done(Call::BtfGetFdById { id: VMLINUX_BTF_ID })),
    ("task_fd_query", |draft, _| task_fd_query(draft)),
    ("map_lookup_and_delete_elem", |draft, _| {
        on_filled_hash(draft, |map| Call::MapLookupAndDelete { map, key: vec![0; 4] })
    }),
    ("map_freeze", |draft, _| used_up(on_array(draft, |map| Call::MapFreeze { map }))),
    ("btf_get_next_id", |draft, _| draft.done(next(ObjectKind::Btf))),
    ("map_lookup_batch", |draft, _| on_array(draft, |map| batch(BatchOp::Lookup, map, 1))),
    ("map_lookup_and_delete_batch", |draft, _| on_full_hash(draft, BatchOp::LookupAndDelete)),
    ("map_update_batch", |draft, _| on_array(draft, |map| batch(BatchOp::Update, map, 1))),
    ("map_delete_batch", |draft, _| on_full_hash(draft, BatchOp::Delete)),
    ("link_create", |draft, _| link_create(draft)),
    ("link_update", |draft, _| link_update(draft)),
    ("link_get_fd_by_id", |draft, _| on_link(draft, |object| Call::FdById { kind: ObjectKind::Link, object })),
    ("link_get_next_id", |draft, _| on_link(draft, |_| next(ObjectKind::Link))),
    ("enable_stats", |draft, _| draft.done(Call::EnableStats)),
    ("iter_create", |draft, _| on_link(draft, |link| Call::IterCreate { link })),
    ("link_detach", |draft, _| link_detach(draft)),
    ("prog_bind_map", |draft, _| bind_map(draft)),
    ("token_create", |draft, actor| draft.done(Call::TokenCreate { from: actor.clone(), fd: BpffsFd::Root, flags: 0 })),
    ("prog_stream_read_by_fd", |draft, _| on_prog(draft, "xdp", |prog| Call::ProgStreamRead { prog })),
    ("prog_assoc_struct_ops", |draft, _| associate(draft)),
];

/// The id of the kernel's own BTF: `btf_vmlinux` takes the first one.
const VMLINUX_BTF_ID: u32 = 1;

/// The file name of a pin.
const PIN: &str = "pin";

fn map_create(mut draft: Draft<'_, '_>) -> Recipe {
    let call = maps::create(&mut draft, "hash", MapArguments::PLAIN);
    draft.done(call)
}

fn prog_load(mut draft: Draft<'_, '_>) -> Recipe {
    let call = progs::load(&mut draft, "xdp", None);
    draft.done(call)
}

fn on_array(mut draft: Draft<'_, '_>, call: impl FnOnce(String) -> Call) -> Recipe {
    let map = maps::saved(&mut draft, "map", "array");
    draft.done(call(map))
}

fn on_prog(mut draft: Draft<'_, '_>, name: &str, call: impl FnOnce(String) -> Call) -> Recipe {
    let prog = progs::saved(&mut draft, "prog", name, None);
    draft.done(call(prog))
}

fn bind_map(mut draft: Draft<'_, '_>) -> Recipe {
    let prog = progs::saved(&mut draft, "prog", "xdp", None);
    let map = maps::saved(&mut draft, "map", "array");
    draft.done(Call::ProgBindMap { prog, map })
}

fn associate(mut draft: Draft<'_, '_>) -> Recipe {
    let prog = progs::saved(&mut draft, "prog", "xdp", None);
    let arguments = maps::arguments("struct_ops").unwrap_or(MapArguments::PLAIN);
    let map = maps::of_structure(&mut draft, "map", arguments);
    draft.done(Call::ProgAssocStructOps { prog, map })
}

/// A call on a hash map with one element, which it removes.
fn on_filled_hash(mut draft: Draft<'_, '_>, call: impl FnOnce(String) -> Call) -> Recipe {
    let map = maps::saved(&mut draft, "map", "hash");
    draft.then(update(map.clone(), 4));
    draft.used_up_by(call(map))
}

/// A batch call on a hash map with several elements. A call that reaches the end of the map returns `ENOENT`, even if
/// it found elements (`__htab_map_lookup_and_delete_batch` in `kernel/bpf/hashtab.c`), so it requests fewer than there
/// are. The map has so many buckets that the first one in use holds no more than that.
fn on_full_hash(mut draft: Draft<'_, '_>, op: BatchOp) -> Recipe {
    let arguments = MapArguments { max_entries: 256, ..MapArguments::PLAIN };
    let map = maps::sized(&mut draft, "map", "hash", arguments);
    draft.then(batch(BatchOp::Update, map.clone(), 8));
    draft.used_up_by(batch(op, map, 4))
}

fn used_up(recipe: Recipe) -> Recipe {
    Recipe { uses_up: true, ..recipe }
}

fn update(map: String, key_size: usize) -> Call {
    Call::MapUpdate { map, key: vec![0; key_size], value: Vec::new(), parts: Vec::new() }
}

fn batch(op: BatchOp, map: String, count: u32) -> Call {
    Call::MapBatch { op, map, count }
}

fn pin(object: String, stays: bool) -> Call {
    Call::ObjPin { object, path: PIN.to_owned(), stays, place: PinLocation::Bpffs, mode: None }
}

fn obj_get(mut draft: Draft<'_, '_>) -> Recipe {
    let map = maps::saved(&mut draft, "map", "array");
    draft.local(pin(map, true));
    draft.done(Call::ObjGet { path: PIN.to_owned(), flags: 0 })
}

fn next(kind: ObjectKind) -> Call {
    Call::NextId { kind, after: 0 }
}

/// Saves a program that allows every device.
fn device_program(draft: &mut Draft<'_, '_>, save: &str) -> (String, u32) {
    let attach_type = draft.number(Kind::Attach, "cgroup_device");
    (progs::saved(draft, save, "cgroup_device", Some("cgroup_device")), attach_type)
}

fn attached(prog: String, attach_type: u32, stays: bool) -> Call {
    Call::ProgAttach { prog, attach_type, target: LinkTarget::Cgroup, flags: 0, stays }
}

fn prog_attach(mut draft: Draft<'_, '_>) -> Recipe {
    let (prog, attach_type) = device_program(&mut draft, "prog");
    draft.done(attached(prog, attach_type, false))
}

fn prog_detach(mut draft: Draft<'_, '_>) -> Recipe {
    let (prog, attach_type) = device_program(&mut draft, "prog");
    draft.local(attached(prog.clone(), attach_type, true));
    draft.used_up_by(Call::ProgDetach { prog: Some(prog), attach_type, target: LinkTarget::Cgroup })
}

fn prog_query(mut draft: Draft<'_, '_>) -> Recipe {
    let attach_type = draft.number(Kind::Attach, "cgroup_device");
    draft.done(Call::ProgQuery { attach_type, target: LinkTarget::Cgroup })
}

fn raw_tracepoint(prog: String) -> Call {
    Call::RawTracepointOpen { prog, name: Some("sys_enter".to_owned()) }
}

fn task_fd_query(mut draft: Draft<'_, '_>) -> Recipe {
    let prog = progs::saved(&mut draft, "prog", "raw_tracepoint", None);
    let object = draft.save("link", raw_tracepoint(prog));
    draft.done(Call::TaskFdQuery { object })
}

/// Saves a link of an iterator over all processes, which belongs to no container.
fn iterator(draft: &mut Draft<'_, '_>) -> String {
    let attach_type = draft.number(Kind::Attach, "trace_iter");
    let prog = progs::saved(draft, "prog", "tracing", Some("trace_iter"));
    draft.save("link", Call::LinkCreate { prog, attach_type, target: LinkTarget::Nothing })
}

fn on_link(mut draft: Draft<'_, '_>, call: impl FnOnce(String) -> Call) -> Recipe {
    let link = iterator(&mut draft);
    draft.done(call(link))
}

fn link_create(mut draft: Draft<'_, '_>) -> Recipe {
    let (prog, attach_type) = device_program(&mut draft, "prog");
    draft.done(Call::LinkCreate { prog, attach_type, target: LinkTarget::Cgroup })
}

fn link_update(mut draft: Draft<'_, '_>) -> Recipe {
    let link = iterator(&mut draft);
    let prog = progs::saved(&mut draft, "other", "tracing", Some("trace_iter"));
    draft.done(Call::LinkUpdate { link, prog, old: None })
}

/// A detached link can be detached again (`bpf_cgroup_link_detach` in `kernel/bpf/cgroup.c`).
fn link_detach(mut draft: Draft<'_, '_>) -> Recipe {
    let (prog, attach_type) = device_program(&mut draft, "prog");
    let link = draft.save("link", Call::LinkCreate { prog, attach_type, target: LinkTarget::Cgroup });
    draft.done(Call::LinkDetach { link })
}
