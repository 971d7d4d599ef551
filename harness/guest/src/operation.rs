//! Attempts, as an agent makes them: one call, its answer, and perhaps a file descriptor.

mod attach;
mod elements;
mod info;
mod load;
mod objects;
mod pins;
mod sockets;
mod system;
mod unflagged;
mod verifier;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use harness_model::{blob, delegation::MountOption, errno::Errno, outcome::Answer, plan::Call};
use thiserror::Error;

use crate::{
    bpf::{self, TokenMasks},
    bpffs::{self, Mounted},
    error::SysError,
    events,
    kernel_types::UnknownType,
    mounts,
    protocol::{Extent, Handle, Role},
    survey::SurveyError,
    sysctl::SysctlError,
};
use elements::ElementSize;

/// Why an attempt could not even be made: never a verdict.
#[derive(Debug, Error)]
pub(crate) enum OperationError {
    /// A call of our own before the attempt failed.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// A descriptor the call needs was not sent along.
    #[error("nobody said which {0:?} it is about")]
    Missing(Role),
    /// The map's elements are too large to be handled here.
    #[error("an element of the map is larger than {} bytes", ElementSize::LARGEST)]
    TooLarge,
    /// More of a value is asked for than a record holds.
    #[error("{asked} bytes of a value are asked for, and a record holds {most}: lower the attempt's value_size")]
    TooMuchToShow {
        /// How many.
        asked: u32,
        /// How many there may be.
        most: u32,
    },
    /// A part of a value would lie beyond its end.
    #[error("a part of the value at byte {at} does not fit into it")]
    Outside {
        /// Where it would begin.
        at: usize,
    },
    /// The attempt names no kernel setting.
    #[error(transparent)]
    Setting(#[from] SysctlError),
    /// The attempt names a type the kernel does not have.
    #[error(transparent)]
    Type(UnknownType),
    /// The attempt's target is one for links only.
    #[error("a program is put there by a link only: use link_create")]
    NoPlace,
    /// The verifier did not say what a survey is to tell.
    #[error("helper survey: {0}")]
    Survey(#[from] SurveyError),
    /// The attempt is not an agent's to make.
    #[error("an agent does not make this attempt")]
    NotOurs,
}

/// What became of an attempt.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// What the kernel said.
    pub(crate) answer: Answer,
    /// What it made.
    pub(crate) fd: Option<OwnedFd>,
}

/// The descriptors of an attempt by their roles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handles<'a> {
    /// What the attempt needs, by index.
    pub(crate) handles: &'a [Handle],
    /// All descriptors at hand.
    pub(crate) fds: &'a [OwnedFd],
}

impl<'a> Handles<'a> {
    fn all(self, role: Role) -> impl Iterator<Item = BorrowedFd<'a>> {
        let of_role = self.handles.iter().filter(move |Handle(has, _)| *has == role);
        of_role.filter_map(move |Handle(_, at)| self.fds.get(*at as usize).map(AsFd::as_fd))
    }

    /// The descriptor that is this to the attempt.
    pub(crate) fn get(self, role: Role) -> Option<BorrowedFd<'a>> {
        self.all(role).next()
    }

    fn need(self, role: Role) -> Result<BorrowedFd<'a>, OperationError> {
        self.get(role).ok_or(OperationError::Missing(role))
    }

    /// One of the saved objects, in the order of [`Call::objects`].
    fn object(self, index: usize) -> Result<BorrowedFd<'a>, OperationError> {
        self.all(Role::Object).nth(index).ok_or(OperationError::Missing(Role::Object))
    }
}

/// Makes an attempt. `own` is the agent's bpffs, the place of pins.
pub(crate) fn attempt(
    call: &Call,
    handles: Handles<'_>,
    own: &Mounted,
    extent: Extent,
) -> Result<Outcome, OperationError> {
    if extent == Extent::Token {
        return Ok(made(bpf::token_create(handles.need(Role::Bpffs)?, 0)));
    }
    let token = handles.get(Role::Token);
    match call {
        Call::TokenCreate { flags, .. } => Ok(made(bpf::token_create(handles.need(Role::Bpffs)?, *flags))),
        Call::MapCreate { .. } => load::map_create(call, handles, token),
        Call::ProgLoad { .. } => load::prog_load(call, handles, token),
        Call::BtfLoad => Ok(made(bpf::btf_load(&blob::bytes(), token))),
        Call::BtfGetFdById { id } => Ok(made(bpf::btf_get_fd_by_id(*id, token))),
        Call::TokenInfo => Ok(told(bpf::token_info(handles.need(Role::Token)?).map(masks_in_words))),
        Call::MountDelegate { options, create } => Ok(mount_delegate(options, *create)),
        Call::ObjPin { path, stays, mode, .. } => pins::pin(handles.object(0)?, &own.path(path), *mode, *stays),
        Call::ObjGet { path, flags } => Ok(made(bpf::obj_get(&own.path(path), *flags))),
        Call::MapUpdate { key, value, parts, .. } => elements::update(handles, key, value, parts),
        Call::MapLookup { key, value_size, .. } => elements::lookup(handles.object(0)?, key, *value_size),
        Call::MapDelete { key, .. } => elements::delete(handles.object(0)?, key),
        Call::MapNextKey { key, .. } => elements::next_key(handles.object(0)?, key.as_deref()),
        Call::MapLookupAndDelete { key, .. } => elements::lookup_and_delete(handles.object(0)?, key),
        Call::MapBatch { op, count, .. } => elements::batch(*op, handles.object(0)?, *count),
        Call::MapFreeze { .. } => Ok(elements::freeze(handles.object(0)?)),
        Call::MapMmap { write, .. } => Ok(elements::mmap(handles.object(0)?, *write)),
        Call::ProgTestRun { .. } => {
            let returned = bpf::prog_test_run(handles.object(0)?, &[0; PACKET]);
            Ok(told(returned.map(|value| format!("retval {value}"))))
        }
        Call::ProgAttach { attach_type, target, flags, stays, .. } => {
            attach::prog_attach(handles, *attach_type, target, *flags, *stays)
        }
        Call::ProgDetach { prog, attach_type, target } => {
            attach::prog_detach(handles, prog.is_some(), *attach_type, target)
        }
        Call::ProgQuery { attach_type, target } => attach::prog_query(handles, *attach_type, target),
        Call::ProgBindMap { .. } => Ok(objects::prog_bind_map(handles.object(0)?, handles.object(1)?)),
        Call::ProgStreamRead { .. } => Ok(objects::prog_stream_read(handles.object(0)?)),
        Call::ProgAssocStructOps { .. } => Ok(objects::prog_assoc_struct_ops(handles.object(0)?, handles.object(1)?)),
        Call::RawTracepointOpen { name, .. } => Ok(objects::raw_tracepoint_open(handles.object(0)?, name.as_deref())),
        Call::NextId { kind, after } => Ok(objects::next_id(*kind, *after)),
        Call::FdById { kind, .. } => objects::fd_by_id(*kind, handles.object(0)?),
        Call::ObjInfo { kind, .. } => Ok(info::of(handles.object(0)?, *kind)),
        Call::ProgCode { .. } => Ok(info::instructions(handles.object(0)?)),
        Call::TaskFdQuery { .. } => Ok(objects::task_fd_query(handles.object(0)?)),
        Call::EnableStats => Ok(objects::enable_stats()),
        Call::LinkCreate { attach_type, target, .. } => attach::link_create(handles, *attach_type, target),
        Call::LinkUpdate { old, .. } => {
            let old = old.is_some().then(|| handles.object(2)).transpose()?;
            Ok(objects::link_update(handles.object(0)?, handles.object(1)?, old))
        }
        Call::LinkDetach { .. } => Ok(objects::link_detach(handles.object(0)?)),
        Call::IterCreate { .. } => Ok(objects::iter_create(handles.object(0)?)),
        Call::HelperSurvey(survey) => verifier::helper_survey(survey, handles, extent),
        Call::Verify(program) => verifier::verify(program, handles),
        Call::Remount { options, .. } => Ok(stepped(mounts::remount(handles.need(Role::Bpffs)?, options))),
        Call::Unflagged(command) => Ok(unflagged::make(*command, token)),
        Call::PerfQuery => Ok(done(events::query()?)),
        Call::SocketAttach { duty, locked, .. } => sockets::attach(handles.object(0)?, *duty, *locked),
        Call::SysctlWrite { name, value } => Ok(system::write(name, value.as_deref())?),
        Call::Umount { holding } => Ok(stepped(mounts::unmount(own.root(), *holding))),
        Call::Object(_) | Call::Exit | Call::Sabotage(_) => Err(OperationError::NotOurs),
    }
}

/// The length of the packet that programs are tested on, in bytes.
const PACKET: usize = 64;

fn mount_delegate(options: &[MountOption], create: bool) -> Outcome {
    let set = || {
        let context = bpffs::open("bpf")?;
        bpffs::configure(context.as_fd(), options)?;
        if create { bpffs::create(context.as_fd()) } else { Ok(()) }
    };
    stepped(set())
}

/// What became of an attempt that takes several calls.
fn stepped(result: Result<(), SysError>) -> Outcome {
    match result {
        Ok(()) => Outcome { answer: Answer::Ok { detail: None }, fd: None },
        Err(SysError { call, errno }) => Outcome { answer: Answer::Err { errno, step: Some(step(&call)) }, fd: None },
    }
}

/// `fsopen` alone is what outcomes call the first step, whatever it opens.
fn step(call: &str) -> String {
    if call.starts_with("fsopen ") { "fsopen".to_owned() } else { call.to_owned() }
}

fn made(result: Result<OwnedFd, Errno>) -> Outcome {
    match result {
        Ok(fd) => Outcome { answer: Answer::Ok { detail: None }, fd: Some(fd) },
        Err(errno) => Outcome { answer: Answer::Err { errno, step: None }, fd: None },
    }
}

fn told(result: Result<String, Errno>) -> Outcome {
    let answer = match result {
        Ok(detail) => Answer::Ok { detail: Some(detail) },
        Err(errno) => Answer::Err { errno, step: None },
    };
    Outcome { answer, fd: None }
}

fn done<T>(result: Result<T, Errno>) -> Outcome {
    let answer = match result {
        Ok(_) => Answer::Ok { detail: None },
        Err(errno) => Answer::Err { errno, step: None },
    };
    Outcome { answer, fd: None }
}

fn masks_in_words(masks: TokenMasks) -> String {
    format!(
        "cmds={:#x} maps={:#x} progs={:#x} attachs={:#x}",
        masks.allowed_cmds, masks.allowed_maps, masks.allowed_progs, masks.allowed_attachs
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn details_are_words_that_stay_the_same() {
        let masks = TokenMasks { allowed_cmds: 1, allowed_maps: u64::MAX, ..Default::default() };
        assert_eq!(masks_in_words(masks), "cmds=0x1 maps=0xffffffffffffffff progs=0x0 attachs=0x0");
        assert_eq!(hex(&[0, 255, 16]), "00ff10");
    }

    #[test]
    fn steps_name_the_call_and_the_key() {
        assert_eq!(step("fsopen bpf"), "fsopen");
        assert_eq!(step("fsconfig delegate_cmds"), "fsconfig delegate_cmds");
    }

    #[test]
    fn descriptors_are_found_by_role() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let fds = [reader, writer];
        let handles = Handles { handles: &[Handle(Role::Token, 0), Handle(Role::Object, 1)], fds: &fds };
        assert_eq!(handles.need(Role::Object).unwrap().as_raw_fd(), fds[1].as_raw_fd());
        let error = handles.need(Role::Bpffs).unwrap_err();
        assert_eq!(error.to_string(), "nobody said which Bpffs it is about");
    }
}
