//! Expands the arguments of each operation.

mod attach;
mod attack;
mod elements;
mod exec;
mod load;
mod load_object;
mod mounts;
mod objects;
mod pins;
mod survey;
mod system;
mod verify;

use harness_diagnostics::node::KeyPath;
use harness_protocol::{
    mount_option::MountOption,
    plan::{BpffsFd, Call},
};
use harness_scenario::attempt::{Attempt, BtfGetFdById, MountDelegate, TokenCreate};
use harness_uapi::{resolver::ResolvedName, vocabulary::Kind};

use crate::expand::{
    context::{AttemptContext, ExpandContext, ExpandedCall, made},
    label::AttemptLabel,
    objects::Object,
};

/// Expands the arguments of an operation; `None` if one of them is wrong.
pub(crate) fn make(
    context: &mut ExpandContext<'_, '_>,
    attempt: &Attempt,
    current: &AttemptContext,
) -> Option<ExpandedCall> {
    match attempt {
        Attempt::TokenCreate(op) => context.token_create(op, current),
        Attempt::MapCreate(op) => context.map_create(op, current),
        Attempt::ProgLoad(op) => context.prog_load(op, current),
        Attempt::BtfLoad(_) => {
            Some(ExpandedCall { result: Some(Object::Btf), ..made(AttemptLabel::new("btf_load"), Call::BtfLoad) })
        }
        Attempt::BtfGetFdById(op) => Some(btf_get_fd_by_id(op)),
        Attempt::TokenInfo(_) => Some(context.token_info()),
        Attempt::MountDelegate(op) => context.mount_delegate(op, current),
        Attempt::ObjPin(op) => context.obj_pin(op, current),
        Attempt::ObjGet(op) => context.obj_get(op, current),
        Attempt::MapUpdate(op) => context.map_update(op, current),
        Attempt::MapLookup(op) => context.map_lookup(op, current),
        Attempt::MapDelete(op) => context.map_delete(op, current),
        Attempt::MapNextKey(op) => context.map_next_key(op, current),
        Attempt::MapLookupAndDelete(op) => context.map_lookup_and_delete(op, current),
        Attempt::MapBatch(op) => context.map_batch(op, current),
        Attempt::MapFreeze(op) => context.map_freeze(op, current),
        Attempt::MapMmap(op) => context.map_mmap(op, current),
        Attempt::ProgTestRun(op) => context.prog_test_run(op, current),
        Attempt::ProgAttach(op) => context.prog_attach(op, current),
        Attempt::ProgDetach(op) => context.prog_detach(op, current),
        Attempt::ProgQuery(op) => context.prog_query(op, current),
        Attempt::ProgBindMap(op) => context.prog_bind_map(op, current),
        Attempt::ProgStreamRead(op) => context.prog_stream_read(op, current),
        Attempt::ProgAssocStructOps(op) => context.prog_assoc_struct_ops(op, current),
        Attempt::RawTracepointOpen(op) => context.raw_tracepoint_open(op, current),
        Attempt::NextId(op) => Some(context.next_id(op)),
        Attempt::FdById(op) => context.fd_by_id(op, current),
        Attempt::ObjInfo(op) => context.obj_info(op, current),
        Attempt::ProgCode(op) => context.prog_code(op, current),
        Attempt::TaskFdQuery(op) => context.task_fd_query(op, current),
        Attempt::EnableStats(_) => Some(made(AttemptLabel::new("enable_stats"), Call::EnableStats)),
        Attempt::LinkCreate(op) => context.link_create(op, current),
        Attempt::LinkUpdate(op) => context.link_update(op, current),
        Attempt::LinkDetach(op) => context.link_detach(op, current),
        Attempt::IterCreate(op) => context.iter_create(op, current),
        Attempt::Object(op) => context.load_object(op, current),
        Attempt::Exec(op) => context.exec(op, current),
        Attempt::HelperSurvey(op) => context.helper_survey(op, current),
        Attempt::Verify(op) => context.verify(op, current),
        Attempt::Remount(op) => context.remount(op, current),
        Attempt::Umount(op) => Some(mounts::umount(op)),
        Attempt::SysctlWrite(op) => context.sysctl_write(op, current),
        Attempt::Unflagged(op) => Some(system::unflagged(op)),
        Attempt::PerfEventOpen(op) => context.perf_event_open(op, current),
        Attempt::PerfQuery(op) => context.perf_query(op, current),
        Attempt::SocketAttach(op) => context.socket_attach(op, current),
        Attempt::SocketBind(op) => Some(system::socket_bind(op)),
        Attempt::Attack(op) => context.attack(op, current),
        Attempt::Reload(op) => context.reload(op, current),
        Attempt::Exit(_) => context.exit(current),
    }
}

fn btf_get_fd_by_id(op: &BtfGetFdById) -> ExpandedCall {
    let label = AttemptLabel::new("btf_get_fd_by_id").given("id", op.id);
    let call = Call::BtfGetFdById { id: op.id.unwrap_or(VMLINUX_BTF_ID) };
    ExpandedCall { result: Some(Object::Btf), ..made(label, call) }
}

/// Returns why the kernel does not know an attempt: the first name that it lacks.
fn first_missing(names: &[&ResolvedName]) -> Option<String> {
    names.iter().find_map(|found| found.missing.clone())
}

impl ExpandContext<'_, '_> {
    fn token_create(&mut self, op: &TokenCreate, current: &AttemptContext) -> Option<ExpandedCall> {
        let from = match &op.from {
            Some(name) => self.containers.actor(Some(name), &current.key_path.key("from"), self.problems)?,
            None => current.actor.clone()?,
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
        let label =
            AttemptLabel::new("token_create").given("from", op.from.as_ref()).given("fd", fd).given("flags", flags);
        let missing = self.resolver.lacks_cmd("token_create");
        let call = Call::TokenCreate { from, fd: op.fd, flags: op.flags };
        Some(ExpandedCall { missing, result: Some(Object::Token), ..made(label, call) })
    }

    /// Resolves a name of the kernel, or a number without a name.
    fn name(&mut self, kind: Kind, text: &str, key_path: &KeyPath) -> Option<ResolvedName> {
        if let Ok(number) = text.parse() {
            return self.number(kind, number, key_path);
        }
        self.resolver.find(kind, text).map_err(|unknown| self.problems.problem(key_path, unknown.to_string())).ok()
    }

    fn number(&mut self, kind: Kind, number: u32, key_path: &KeyPath) -> Option<ResolvedName> {
        if let Some(name) = self.resolver.known.table(kind).name(number) {
            self.problems.advise(key_path, format!("{kind} {number} has a name"), format!("write `{name}`"));
            return None;
        }
        Some(ResolvedName { number, name: number.to_string(), missing: None })
    }

    fn token_info(&self) -> ExpandedCall {
        let missing = self.resolver.lacks_struct("bpf_token_info");
        ExpandedCall { missing, ..made(AttemptLabel::new("token_info"), Call::TokenInfo) }
    }

    fn mount_delegate(&mut self, op: &MountDelegate, current: &AttemptContext) -> Option<ExpandedCall> {
        let key_path = current.key_path.key("options");
        let mut options = Vec::new();
        for (index, option) in op.options.iter().enumerate() {
            options.push(self.mount_option(option, &key_path.index(index))?);
        }
        if options.is_empty() && !op.create && current.complete && self.problems.is_complete(&key_path) {
            self.problems.problem(&key_path, "without options, `create = true` is required");
            return None;
        }
        let label = op.options.iter().fold(AttemptLabel::new("mount_delegate"), |label, option| label.word(option));
        let label = if op.create { label.word("create") } else { label };
        let missing = self.resolver.lacks_tokens();
        Some(ExpandedCall { missing, ..made(label, Call::MountDelegate { options, create: op.create }) })
    }

    pub(crate) fn mount_option(&mut self, option: &str, key_path: &KeyPath) -> Option<MountOption> {
        match option.split_once('=') {
            Some((key, value)) if !key.is_empty() && !option.contains('\0') => {
                Some(MountOption { key: key.to_owned(), value: value.to_owned() })
            }
            _ => {
                let message = format!("`{}` is not a mount option", option.escape_debug());
                self.problems.advise(key_path, message, "write `key=value`, for example `delegate_cmds=map_create`");
                None
            }
        }
    }
}

/// The id of the kernel's own BTF: `btf_vmlinux` takes the first one.
const VMLINUX_BTF_ID: u32 = 1;
