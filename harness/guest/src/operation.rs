//! Attempts, as an executor makes them: one call, its answer, and possibly a file descriptor.

mod attach;
pub(crate) mod attack;
mod elements;
mod info;
mod load;
mod objects;
pub(crate) mod reload;
mod result;
mod several;
mod signed;
mod system;
mod unflagged;
mod verifier;

use std::os::fd::AsFd;

use harness_protocol::{blob, mount_option::MountOption, plan::Call};

use crate::{
    bpf::{self, TokenMasks},
    bpffs::{self, Mounted},
    events,
    message::{Extent, FdRole},
    mounts,
};
pub(crate) use result::{AttemptResult, Handles, OperationError};
use result::{detailed, done, made, stepped};

/// Makes an attempt. `own` is the executor's bpffs, where it pins.
pub(crate) fn attempt(
    call: &Call,
    handles: Handles<'_>,
    own: &Mounted,
    extent: Extent,
) -> Result<AttemptResult, OperationError> {
    if extent == Extent::Token {
        return Ok(made(bpf::token_create(handles.need(FdRole::Bpffs)?, 0)));
    }
    let token = handles.get(FdRole::Token);
    match call {
        Call::TokenCreate { flags, .. } => Ok(made(bpf::token_create(handles.need(FdRole::Bpffs)?, *flags))),
        Call::MapCreate { .. } => load::map_create(call, handles, token),
        Call::ProgLoad { .. } => load::prog_load(call, handles, token),
        Call::BtfLoad => Ok(made(bpf::btf_load(&blob::bytes(), token))),
        Call::BtfGetFdById { id } => Ok(made(bpf::btf_get_fd_by_id(*id, token))),
        Call::TokenInfo => Ok(detailed(bpf::token_info(handles.need(FdRole::Token)?).map(masks_in_words))),
        Call::MountDelegate { options, create } => Ok(mount_delegate(options, *create)),
        Call::ObjPin { path, stays, mode, .. } => objects::pin(handles.object(0)?, &own.path(path), *mode, *stays),
        Call::ObjGet { path, flags } => Ok(made(bpf::obj_get(&own.path(path), *flags))),
        Call::MapUpdate { key, value, parts, .. } => elements::update(handles, key, value, parts),
        Call::MapLookup { key, value_size, .. } => elements::lookup(handles.object(0)?, key, *value_size),
        Call::MapDelete { key, .. } => elements::delete(handles.object(0)?, key),
        Call::MapNextKey { key, .. } => elements::next_key(handles.object(0)?, key.as_deref()),
        Call::MapLookupAndDelete { key, .. } => elements::lookup_and_delete(handles.object(0)?, key),
        Call::MapBatch { op, count, .. } => elements::batch(*op, handles.object(0)?, *count),
        Call::MapFreeze { .. } => Ok(elements::freeze(handles.object(0)?)),
        Call::MapMmap { write, .. } => Ok(elements::mmap(handles.object(0)?, *write)),
        Call::ProgTestRun { packet, .. } => {
            let packet = packet.then_some([0; PACKET]);
            let returned = bpf::prog_test_run(handles.object(0)?, packet.as_ref().map(|packet| &packet[..]));
            Ok(detailed(returned.map(|value| format!("retval {value}"))))
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
        Call::ProgCode { verified, .. } => Ok(info::instructions(handles.object(0)?, *verified)),
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
        Call::Remount { options, .. } => Ok(stepped(bpffs::remount(handles.need(FdRole::Bpffs)?, options))),
        Call::Unflagged(command) => Ok(unflagged::make(*command, token)),
        Call::PerfEventOpen { source, kernel } => Ok(made(events::open_source(source, *kernel)?)),
        Call::PerfQuery { event } => {
            let event = event.is_some().then(|| handles.object(0)).transpose()?;
            Ok(done(events::query(event)?))
        }
        Call::SocketBind { port } => Ok(system::bind(*port)?),
        Call::SocketAttach { duty, locked, .. } => attach::to_socket(handles.object(0)?, *duty, *locked),
        Call::SysctlWrite { name, value } => Ok(system::write(name, value.as_deref())?),
        Call::Umount { holding } => Ok(stepped(mounts::unmount(own.root(), *holding))),
        Call::Several(calls) => several::make(calls, handles, own, extent),
        Call::Object(_) | Call::Exec(_) | Call::Attack { .. } | Call::Reload(_) | Call::Exit | Call::Sabotage(_) => {
            Err(OperationError::NotForExecutor)
        }
    }
}

/// The length in bytes of the packet that programs are tested on.
const PACKET: usize = 64;

fn mount_delegate(options: &[MountOption], create: bool) -> AttemptResult {
    let set = || {
        let context = bpffs::open("bpf")?;
        bpffs::configure(context.as_fd(), options)?;
        if create { bpffs::create(context.as_fd()) } else { Ok(()) }
    };
    stepped(set())
}

fn masks_in_words(masks: TokenMasks) -> String {
    format!(
        "cmds={:#x} maps={:#x} progs={:#x} attachs={:#x}",
        masks.allowed_cmds, masks.allowed_maps, masks.allowed_progs, masks.allowed_attachs
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_the_same_in_every_run() {
        let masks = TokenMasks { allowed_cmds: 1, allowed_maps: u64::MAX, ..Default::default() };
        assert_eq!(masks_in_words(masks), "cmds=0x1 maps=0xffffffffffffffff progs=0x0 attachs=0x0");
    }
}
