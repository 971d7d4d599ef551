//! The arguments of each operation.

use super::{
    attempts::{Desk, Made, Setting, describe},
    lexicon::Found,
    links::{self, DUMMY},
    objects::{MapShape, Object, is_plain_name},
    values,
    words::Words,
};
use crate::{
    delegation::MountOption,
    plan::{BpffsFd, Call, LinkTarget, Token},
    recipe,
    scenario::{
        attempt::{
            Attempt, BtfGetFdById, LinkCreate, MapCreate, MapLookup, MapUpdate, MountDelegate, ObjGet, ObjPin,
            ProgLoad, ProgTestRun, TokenCreate,
        },
        choice::{Bytes, Flag},
        node::Place,
    },
    verdict::Expect,
    vocabulary::Kind,
};

/// Works out the arguments of an operation; `None` if one of them is wrong.
pub(crate) fn make(desk: &mut Desk<'_, '_>, attempt: &Attempt, setting: &Setting) -> Option<Made> {
    match attempt {
        Attempt::TokenCreate(op) => desk.token_create(op, setting),
        Attempt::MapCreate(op) => desk.map_create(op, setting),
        Attempt::ProgLoad(op) => desk.prog_load(op, setting),
        Attempt::BtfLoad(_) => Some(desk.btf_load(setting)),
        Attempt::BtfGetFdById(op) => Some(desk.btf_get_fd_by_id(op, setting)),
        Attempt::TokenInfo(_) => Some(desk.token_info()),
        Attempt::MountDelegate(op) => desk.mount_delegate(op, setting),
        Attempt::ObjPin(op) => desk.obj_pin(op, setting),
        Attempt::ObjGet(op) => desk.obj_get(op, setting),
        Attempt::MapUpdate(op) => desk.map_update(op, setting),
        Attempt::MapLookup(op) => desk.map_lookup(op, setting),
        Attempt::ProgTestRun(op) => desk.prog_test_run(op, setting),
        Attempt::LinkCreate(op) => desk.link_create(op, setting),
    }
}

fn made(words: Words, call: Call) -> Made {
    Made { words, call, missing: None, gives: None }
}

impl Desk<'_, '_> {
    fn token_create(&mut self, op: &TokenCreate, setting: &Setting) -> Option<Made> {
        let from = match &op.from {
            Some(name) => self.roster.actor(Some(name), &setting.place.key("from"), self.sink)?,
            None => setting.actor.clone()?,
        };
        let fd = match op.fd {
            BpffsFd::Root => None,
            BpffsFd::Subdir => Some("subdir"),
            BpffsFd::OPath => Some("o_path"),
            BpffsFd::Tmpfs => Some("tmpfs"),
        };
        let words = Words::new("token_create").given("from", op.from.as_ref()).given("fd", fd);
        let missing = self.lexicon.lacks_cmd("token_create");
        Some(Made { missing, gives: Some(Object::Token), ..made(words, Call::TokenCreate { from, fd: op.fd }) })
    }

    /// Why the kernel cannot know this attempt: a name it lacks, or no way to take a token.
    fn missing(&self, names: &[&Found], token: &Token, member: &str) -> Option<String> {
        let by_name = names.iter().find_map(|found| found.missing.clone());
        by_name.or_else(|| if *token == Token::None { None } else { self.lexicon.lacks_attr(member) })
    }

    fn name(&mut self, kind: Kind, text: &str, place: &Place) -> Option<Found> {
        self.lexicon.find(kind, text).map_err(|unknown| self.sink.problem(place, unknown.to_string())).ok()
    }

    fn refuse_what_needs_more(&mut self, what: &str, needs: Option<&str>, place: &Place) -> Option<()> {
        let Some(needs) = needs else { return Some(()) };
        self.sink.problem(place, format!("{what} needs {needs}, which no attempt can give yet"));
        None
    }

    fn flags(&mut self, written: Option<&[Flag]>, usual: &[&str], table: &[(&str, u32)], setting: &Setting) -> u32 {
        match written {
            Some(written) => values::flags(written, table, &setting.place.key("flags"), self.sink),
            None => recipe::bits(table, usual),
        }
    }

    fn map_create(&mut self, op: &MapCreate, setting: &Setting) -> Option<Made> {
        let place = setting.place.key("type");
        let found = self.name(Kind::Map, &op.map_type, &place)?;
        let usual = recipe::map(&found.name);
        self.refuse_what_needs_more(&format!("a `{}` map", found.name), recipe::map_needs_more(&found.name), &place)?;
        let inner_map = self.inner_map(op, &found.name, setting)?;
        let shape = MapShape {
            type_name: found.name.clone(),
            key_size: op.key_size.unwrap_or(usual.key_size),
            value_size: op.value_size.unwrap_or(usual.value_size),
        };
        let words = Words::new("map_create")
            .word(&found.name)
            .given("key_size", op.key_size)
            .given("value_size", op.value_size)
            .given("max_entries", op.max_entries)
            .given("flags", values::shown_flags(op.flags.as_deref()))
            .given("inner_map", op.inner_map.as_ref());
        let call = Call::MapCreate {
            map_type: found.number,
            key_size: shape.key_size,
            value_size: shape.value_size,
            max_entries: op.max_entries.unwrap_or(usual.max_entries),
            map_flags: self.flags(op.flags.as_deref(), usual.flags, &recipe::MAP_FLAGS, setting),
            inner_map,
        };
        let missing = self.missing(&[&found], &setting.token, "map_token_fd");
        Some(Made { missing, gives: Some(Object::Map(shape)), ..made(words, call) })
    }

    #[expect(clippy::option_option, reason = "the outer one is an error that was told, the inner one an absent key")]
    fn inner_map(&mut self, op: &MapCreate, type_name: &str, setting: &Setting) -> Option<Option<String>> {
        let place = setting.place.key("inner_map");
        match (&op.inner_map, recipe::holds_maps(type_name)) {
            (None, false) => Some(None),
            (Some(_), false) => {
                self.sink
                    .problem(&place, format!("a `{type_name}` map holds no maps, so it has no use for `inner_map`"));
                None
            }
            (None, true) => {
                let message = format!("a `{type_name}` map needs another one as its pattern");
                self.sink.advise(&setting.place, message, "write `inner_map = \"NAME\"`, the name of a saved map");
                None
            }
            (Some(name), true) => self.map(name, &place).map(|_| Some(name.clone())),
        }
    }

    fn prog_load(&mut self, op: &ProgLoad, setting: &Setting) -> Option<Made> {
        let place = setting.place.key("type");
        let found = self.name(Kind::Prog, &op.prog_type, &place)?;
        let usual = recipe::prog(&found.name);
        self.refuse_what_needs_more(
            &format!("a `{}` program", found.name),
            recipe::prog_needs_more(&found.name),
            &place,
        )?;
        let attach = match op.attach.as_deref().or(usual.attach) {
            Some(name) => Some(self.name(Kind::Attach, name, &setting.place.key("attach"))?),
            None => None,
        };
        let words = Words::new("prog_load")
            .word(&found.name)
            .given("attach", op.attach.as_ref().and(attach.as_ref()).map(|attach| &attach.name))
            .given("flags", values::shown_flags(op.flags.as_deref()))
            .given("returns", op.returns)
            .given("license", op.license.as_ref());
        let call = Call::ProgLoad {
            prog_type: found.number,
            expected_attach_type: attach.as_ref().map_or(0, |attach| attach.number),
            prog_flags: self.flags(op.flags.as_deref(), usual.flags, &recipe::PROG_FLAGS, setting),
            returns: op.returns.unwrap_or(0),
            license: op.license.clone().unwrap_or_else(|| "GPL".to_owned()),
        };
        let names: Vec<&Found> = std::iter::once(&found).chain(&attach).collect();
        let missing = self.missing(&names, &setting.token, "prog_token_fd");
        let link_attach = usual.link_attach.map(str::to_owned).or(attach.map(|attach| attach.name));
        Some(Made { missing, gives: Some(Object::Prog { link_attach }), ..made(words, call) })
    }

    fn btf_load(&mut self, setting: &Setting) -> Made {
        let missing = self.missing(&[], &setting.token, "btf_token_fd");
        Made { missing, gives: Some(Object::Btf), ..made(Words::new("btf_load"), Call::BtfLoad) }
    }

    fn btf_get_fd_by_id(&mut self, op: &BtfGetFdById, setting: &Setting) -> Made {
        let words = Words::new("btf_get_fd_by_id").given("id", op.id);
        let missing = self.missing(&[], &setting.token, "fd_by_id_token_fd");
        let call = Call::BtfGetFdById { id: op.id.unwrap_or(VMLINUX_BTF_ID) };
        Made { missing, gives: Some(Object::Btf), ..made(words, call) }
    }

    fn token_info(&self) -> Made {
        let missing = self.lexicon.lacks_struct("bpf_token_info");
        Made { missing, ..made(Words::new("token_info"), Call::TokenInfo) }
    }

    fn mount_delegate(&mut self, op: &MountDelegate, setting: &Setting) -> Option<Made> {
        let place = setting.place.key("options");
        let mut options = Vec::new();
        for (index, option) in op.options.iter().enumerate() {
            options.push(self.mount_option(option, &place.index(index))?);
        }
        if options.is_empty() && !op.create {
            self.sink.problem(&place, "this sets no option and creates nothing");
            return None;
        }
        let words = op.options.iter().fold(Words::new("mount_delegate"), |words, option| words.word(option));
        let words = if op.create { words.word("create") } else { words };
        Some(made(words, Call::MountDelegate { options, create: op.create }))
    }

    fn mount_option(&mut self, option: &str, place: &Place) -> Option<MountOption> {
        match option.split_once('=') {
            Some((key, value)) if !key.is_empty() && !option.contains('\0') => {
                Some(MountOption { key: key.to_owned(), value: value.to_owned() })
            }
            _ => {
                let message = format!("`{}` is no mount option", option.escape_debug());
                self.sink.advise(place, message, "write `key=value`, such as `delegate_cmds=map_create`");
                None
            }
        }
    }

    fn path(&mut self, path: &str, setting: &Setting) -> Option<String> {
        if is_plain_name(path) {
            return Some(path.to_owned());
        }
        let message = format!("`{}` is no file name below a bpffs", path.escape_debug());
        self.sink.advise(&setting.place.key("path"), message, "use letters, digits, `_` and `-`: no slash, no dot");
        None
    }

    fn obj_pin(&mut self, op: &ObjPin, setting: &Setting) -> Option<Made> {
        let path = self.path(&op.path, setting)?;
        let place = setting.place.key("object");
        let object = self.objects.find(&op.object, "an object", |object| Some(object.clone()), &place, self.sink)?;
        if !matches!(op.expect, Some(Expect::Denied | Expect::Malformed)) {
            self.objects.pin(setting.actor.as_ref()?, &path, object);
        }
        let words = Words::new("obj_pin").word(&op.object).word(&path);
        Some(made(words, Call::ObjPin { object: op.object.clone(), path }))
    }

    fn obj_get(&mut self, op: &ObjGet, setting: &Setting) -> Option<Made> {
        let path = self.path(&op.path, setting)?;
        let gives = self.objects.pinned(setting.actor.as_ref()?, &path, &setting.place.key("path"), self.sink)?;
        let words = Words::new("obj_get").word(&path);
        Some(Made { gives: Some(gives), ..made(words, Call::ObjGet { path }) })
    }

    fn map(&mut self, name: &str, place: &Place) -> Option<MapShape> {
        let shape = |object: &Object| if let Object::Map(shape) = object { Some(shape.clone()) } else { None };
        self.objects.find(name, "a map", shape, place, self.sink)
    }

    /// A map whose elements can be written down: not one with a value for each processor.
    fn map_with_elements(&mut self, name: &str, setting: &Setting) -> Option<MapShape> {
        let place = setting.place.key("map");
        let shape = self.map(name, &place)?;
        let large = shape.key_size.max(shape.value_size) > values::LARGEST as u32;
        if recipe::is_per_cpu(&shape.type_name) {
            let message = format!("a `{}` map has a value for each processor, whose number differs", shape.type_name);
            self.sink.problem(&place, message);
        } else if large {
            self.sink
                .problem(&place, format!("keys and values of more than {} bytes cannot be given", values::LARGEST));
        } else {
            return Some(shape);
        }
        None
    }

    fn key(&mut self, key: Option<&Bytes>, shape: &MapShape, setting: &Setting) -> Option<Vec<u8>> {
        values::bytes(key, shape.key_size, "a key", &setting.place.key("key"), self.sink)
    }

    fn map_update(&mut self, op: &MapUpdate, setting: &Setting) -> Option<Made> {
        let shape = self.map_with_elements(&op.map, setting)?;
        let key = self.key(op.key.as_ref(), &shape, setting);
        let place = setting.place.key("value");
        let value = values::bytes(op.value.as_ref(), shape.value_size, "a value", &place, self.sink);
        let call = Call::MapUpdate { map: op.map.clone(), key: key?, value: value? };
        Some(made(Words::new("map_update").word(&op.map), call))
    }

    fn map_lookup(&mut self, op: &MapLookup, setting: &Setting) -> Option<Made> {
        let shape = self.map_with_elements(&op.map, setting)?;
        let key = self.key(op.key.as_ref(), &shape, setting)?;
        let call = Call::MapLookup { map: op.map.clone(), key, value_size: shape.value_size };
        Some(made(Words::new("map_lookup").word(&op.map), call))
    }

    fn prog_test_run(&mut self, op: &ProgTestRun, setting: &Setting) -> Option<Made> {
        self.prog(&op.prog, setting)?;
        Some(made(Words::new("prog_test_run").word(&op.prog), Call::ProgTestRun { prog: op.prog.clone() }))
    }

    #[expect(clippy::option_option, reason = "the outer one is an error that was told, the inner one attach type 0")]
    fn prog(&mut self, name: &str, setting: &Setting) -> Option<Option<String>> {
        let link_attach = |object: &Object| match object {
            Object::Prog { link_attach } => Some(link_attach.clone()),
            _ => None,
        };
        self.objects.find(name, "a program", link_attach, &setting.place.key("prog"), self.sink)
    }

    fn link_create(&mut self, op: &LinkCreate, setting: &Setting) -> Option<Made> {
        let usual = self.prog(&op.prog, setting);
        let target = links::target(&op.target, &setting.place.key("target"), self.sink);
        let (usual, target) = (usual?, target?);
        let attach = self.link_attach(op.attach.as_deref().or(usual.as_deref()), setting)?;
        self.check_target(&attach, &target, setting)?;
        let words = Words::new("link_create")
            .word(&op.prog)
            .given("attach", op.attach.as_ref().map(|_| &attach.name))
            .word(&op.target);
        let missing = attach.missing.clone();
        let call = Call::LinkCreate { prog: op.prog.clone(), attach_type: attach.number, target };
        Some(Made { missing, gives: Some(Object::Link), ..made(words, call) })
    }

    fn link_attach(&mut self, name: Option<&str>, setting: &Setting) -> Option<Found> {
        match name {
            Some(name) => self.name(Kind::Attach, name, &setting.place.key("attach")),
            None => {
                let name = self.lexicon.table(Kind::Attach).name(0).unwrap_or("cgroup_inet_ingress").to_owned();
                Some(Found { number: 0, name, missing: None })
            }
        }
    }

    fn check_target(&mut self, attach: &Found, target: &LinkTarget, setting: &Setting) -> Option<()> {
        let place = setting.place.key("target");
        if let Some(wanted) = links::mismatch(&attach.name, target) {
            let message = format!("a link of attach type `{}` needs {wanted}", attach.name);
            self.sink.advise(&place, message, "another attach type can be written with `attach`");
            return None;
        }
        let dummy = matches!(target, LinkTarget::Interface(name) if name == DUMMY);
        let actor = setting.actor.as_ref()?;
        if dummy && !self.roster.has_own_network(actor) {
            let message = format!("{} has no network namespace of its own, and so no {DUMMY}", describe(actor));
            self.sink.advise(&place, message, "add `namespaces = [\"net\"]` to the container");
            return None;
        }
        Some(())
    }
}

/// The first type description of a kernel is its own (`btf_vmlinux` takes the first id).
const VMLINUX_BTF_ID: u32 = 1;
