//! The arguments of each operation.

mod attach;
mod elements;
mod load;
mod load_object;
mod mounts;
mod objects;
mod pins;
mod survey;
mod system;
mod verify;

use harness_diagnostics::node::Place;
use harness_protocol::{
    mount_option::MountOption,
    plan::{BpffsFd, Call},
};
use harness_scenario::attempt::{Attempt, BtfGetFdById, MountDelegate, TokenCreate};
use harness_uapi::{resolver::Found, vocabulary::Kind};

use crate::expand::{
    desk::{Desk, Made, Setting, made},
    objects::Object,
    words::Words,
};

/// Works out the arguments of an operation; `None` if one of them is wrong.
pub(crate) fn make(desk: &mut Desk<'_, '_>, attempt: &Attempt, setting: &Setting) -> Option<Made> {
    match attempt {
        Attempt::TokenCreate(op) => desk.token_create(op, setting),
        Attempt::MapCreate(op) => desk.map_create(op, setting),
        Attempt::ProgLoad(op) => desk.prog_load(op, setting),
        Attempt::BtfLoad(_) => Some(Made { gives: Some(Object::Btf), ..made(Words::new("btf_load"), Call::BtfLoad) }),
        Attempt::BtfGetFdById(op) => Some(btf_get_fd_by_id(op)),
        Attempt::TokenInfo(_) => Some(desk.token_info()),
        Attempt::MountDelegate(op) => desk.mount_delegate(op, setting),
        Attempt::ObjPin(op) => desk.obj_pin(op, setting),
        Attempt::ObjGet(op) => desk.obj_get(op, setting),
        Attempt::MapUpdate(op) => desk.map_update(op, setting),
        Attempt::MapLookup(op) => desk.map_lookup(op, setting),
        Attempt::MapDelete(op) => desk.map_delete(op, setting),
        Attempt::MapNextKey(op) => desk.map_next_key(op, setting),
        Attempt::MapLookupAndDelete(op) => desk.map_lookup_and_delete(op, setting),
        Attempt::MapBatch(op) => desk.map_batch(op, setting),
        Attempt::MapFreeze(op) => desk.map_freeze(op, setting),
        Attempt::MapMmap(op) => desk.map_mmap(op, setting),
        Attempt::ProgTestRun(op) => desk.prog_test_run(op, setting),
        Attempt::ProgAttach(op) => desk.prog_attach(op, setting),
        Attempt::ProgDetach(op) => desk.prog_detach(op, setting),
        Attempt::ProgQuery(op) => desk.prog_query(op, setting),
        Attempt::ProgBindMap(op) => desk.prog_bind_map(op, setting),
        Attempt::ProgStreamRead(op) => desk.prog_stream_read(op, setting),
        Attempt::ProgAssocStructOps(op) => desk.prog_assoc_struct_ops(op, setting),
        Attempt::RawTracepointOpen(op) => desk.raw_tracepoint_open(op, setting),
        Attempt::NextId(op) => Some(desk.next_id(op)),
        Attempt::FdById(op) => desk.fd_by_id(op, setting),
        Attempt::ObjInfo(op) => desk.obj_info(op, setting),
        Attempt::ProgCode(op) => desk.prog_code(op, setting),
        Attempt::TaskFdQuery(op) => desk.task_fd_query(op, setting),
        Attempt::EnableStats(_) => Some(made(Words::new("enable_stats"), Call::EnableStats)),
        Attempt::LinkCreate(op) => desk.link_create(op, setting),
        Attempt::LinkUpdate(op) => desk.link_update(op, setting),
        Attempt::LinkDetach(op) => desk.link_detach(op, setting),
        Attempt::IterCreate(op) => desk.iter_create(op, setting),
        Attempt::Object(op) => desk.load_object(op, setting),
        Attempt::HelperSurvey(op) => desk.helper_survey(op, setting),
        Attempt::Verify(op) => desk.verify(op, setting),
        Attempt::Remount(op) => desk.remount(op, setting),
        Attempt::Umount(op) => Some(mounts::umount(op)),
        Attempt::SysctlWrite(op) => desk.sysctl_write(op, setting),
        Attempt::Unflagged(op) => Some(system::unflagged(op)),
        Attempt::PerfQuery(_) => Some(made(Words::new("perf_query"), Call::PerfQuery)),
        Attempt::SocketAttach(op) => desk.socket_attach(op, setting),
        Attempt::Exit(_) => desk.exit(setting),
    }
}

fn btf_get_fd_by_id(op: &BtfGetFdById) -> Made {
    let words = Words::new("btf_get_fd_by_id").given("id", op.id);
    let call = Call::BtfGetFdById { id: op.id.unwrap_or(VMLINUX_BTF_ID) };
    Made { gives: Some(Object::Btf), ..made(words, call) }
}

/// Why the kernel cannot know an attempt: the first name that it lacks.
fn first_missing(names: &[&Found]) -> Option<String> {
    names.iter().find_map(|found| found.missing.clone())
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
            BpffsFd::Bind => Some("bind"),
            BpffsFd::BindSubdir => Some("bind_subdir"),
            BpffsFd::Moved => Some("moved"),
            BpffsFd::Detached => Some("detached"),
        };
        let flags = (op.flags != 0).then(|| format!("{:#x}", op.flags));
        let words = Words::new("token_create").given("from", op.from.as_ref()).given("fd", fd).given("flags", flags);
        let missing = self.lexicon.lacks_cmd("token_create");
        let call = Call::TokenCreate { from, fd: op.fd, flags: op.flags };
        Some(Made { missing, gives: Some(Object::Token), ..made(words, call) })
    }

    /// A name of the kernel's, or a number that has none.
    fn name(&mut self, kind: Kind, text: &str, place: &Place) -> Option<Found> {
        if let Ok(number) = text.parse() {
            return self.number(kind, number, place);
        }
        self.lexicon.find(kind, text).map_err(|unknown| self.sink.problem(place, unknown.to_string())).ok()
    }

    fn number(&mut self, kind: Kind, number: u32, place: &Place) -> Option<Found> {
        if let Some(name) = self.lexicon.known.table(kind).name(number) {
            self.sink.advise(place, format!("{kind} {number} has a name"), format!("write `{name}`"));
            return None;
        }
        Some(Found { number, name: number.to_string(), missing: None })
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
        let missing = self.lexicon.lacks_tokens();
        Some(Made { missing, ..made(words, Call::MountDelegate { options, create: op.create }) })
    }

    pub(crate) fn mount_option(&mut self, option: &str, place: &Place) -> Option<MountOption> {
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
}

/// The first type description of a kernel is its own (`btf_vmlinux` takes the first id).
const VMLINUX_BTF_ID: u32 = 1;
