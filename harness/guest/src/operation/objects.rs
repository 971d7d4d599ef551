//! Calls on objects in general: ids, links and iterators, and programs with maps.

use std::{
    ffi::{CStr, CString},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use harness_protocol::{errno::Errno, outcome::Answer, plan::ObjectKind};
use libbpf_sys as sys;
use rustix::fs::{CWD, Mode};

use super::{
    elements::number_of,
    result::{AttemptResult, OperationError, done, made},
};
use crate::{attr::Attr, bpf, error::During, pseudofile};

/// `BPF_OBJ_PIN`. Sets the file's permissions if `mode` is given, and removes the pin unless it is to stay.
pub(super) fn pin(
    object: BorrowedFd<'_>,
    path: &CStr,
    mode: Option<u32>,
    stays: bool,
) -> Result<AttemptResult, OperationError> {
    let pinned = bpf::obj_pin(object, path);
    if let (Ok(()), Some(mode)) = (&pinned, mode) {
        rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(mode), rustix::fs::AtFlags::empty())
            .during(|| "chmod of the new pin")?;
    }
    if pinned.is_ok() && !stays {
        rustix::fs::unlink(path).during(|| "unlink of the new pin")?;
    }
    Ok(done(pinned))
}

/// `BPF_MAP_GET_NEXT_ID` and its siblings.
pub(super) fn next_id(kind: ObjectKind, after: u32) -> AttemptResult {
    let command = match kind {
        ObjectKind::Map => sys::BPF_MAP_GET_NEXT_ID,
        ObjectKind::Prog => sys::BPF_PROG_GET_NEXT_ID,
        ObjectKind::Link => sys::BPF_LINK_GET_NEXT_ID,
        ObjectKind::Btf => sys::BPF_BTF_GET_NEXT_ID,
    };
    done(call(Attr::new().u32(0, after), command))
}

/// `BPF_MAP_GET_FD_BY_ID` and its siblings, with the id from the object's `/proc/self/fdinfo`.
pub(super) fn fd_by_id(kind: ObjectKind, object: BorrowedFd<'_>) -> Result<AttemptResult, OperationError> {
    let (command, field) = match kind {
        ObjectKind::Map => (sys::BPF_MAP_GET_FD_BY_ID, "map_id:"),
        ObjectKind::Prog => (sys::BPF_PROG_GET_FD_BY_ID, "prog_id:"),
        ObjectKind::Link => (sys::BPF_LINK_GET_FD_BY_ID, "link_id:"),
        ObjectKind::Btf => (sys::BPF_BTF_GET_FD_BY_ID, "btf_id:"),
    };
    let description = pseudofile::read(&format!("/proc/self/fdinfo/{}", object.as_raw_fd()))?;
    Ok(made(make(Attr::new().u32(0, number_of(&description, field)), command)))
}

/// `BPF_TASK_FD_QUERY` about the caller itself.
pub(super) fn task_fd_query(object: BorrowedFd<'_>) -> AttemptResult {
    let own = rustix::process::getpid().as_raw_nonzero().get().unsigned_abs();
    done(call(Attr::new().u32(0, own).fd(4, object), sys::BPF_TASK_FD_QUERY))
}

/// `BPF_ENABLE_STATS` of run times (`BPF_STATS_RUN_TIME`), for as long as the descriptor is open.
pub(super) fn enable_stats() -> AttemptResult {
    made(make(Attr::new(), sys::BPF_ENABLE_STATS))
}

/// `BPF_LINK_UPDATE`, with `BPF_F_REPLACE` if the current program is given.
pub(super) fn link_update(link: BorrowedFd<'_>, prog: BorrowedFd<'_>, old: Option<BorrowedFd<'_>>) -> AttemptResult {
    let attr = Attr::new().fd(0, link).fd(4, prog);
    done(call(
        old.into_iter().fold(attr, |attr, old| attr.u32(8, sys::BPF_F_REPLACE).fd(12, old)),
        sys::BPF_LINK_UPDATE,
    ))
}

/// `BPF_LINK_DETACH`.
pub(super) fn link_detach(link: BorrowedFd<'_>) -> AttemptResult {
    done(call(Attr::new().fd(0, link), sys::BPF_LINK_DETACH))
}

/// `BPF_ITER_CREATE`. Returns how many bytes can be read from the iterator.
pub(super) fn iter_create(link: BorrowedFd<'_>) -> AttemptResult {
    let made = made(make(Attr::new().fd(0, link), sys::BPF_ITER_CREATE));
    let Some(iterator) = &made.fd else { return made };
    match length(iterator.as_fd()) {
        Ok(bytes) => AttemptResult { answer: Answer::Ok { detail: Some(format!("{bytes} bytes")) }, ..made },
        Err(errno) => AttemptResult { answer: Answer::Err { errno, step: Some("read".to_owned()) }, fd: None },
    }
}

/// Returns the number of bytes up to the end of a file.
fn length(file: BorrowedFd<'_>) -> Result<usize, Errno> {
    let (mut buffer, mut bytes) = ([0_u8; 4096], 0);
    loop {
        match rustix::io::read(file, &mut buffer).map_err(crate::error::errno)? {
            0 => return Ok(bytes),
            more => bytes += more,
        }
    }
}

/// `BPF_PROG_BIND_MAP`.
pub(super) fn prog_bind_map(prog: BorrowedFd<'_>, map: BorrowedFd<'_>) -> AttemptResult {
    done(call(Attr::new().fd(0, prog).fd(4, map), sys::BPF_PROG_BIND_MAP))
}

/// `BPF_PROG_ASSOC_STRUCT_OPS`.
pub(super) fn prog_assoc_struct_ops(prog: BorrowedFd<'_>, map: BorrowedFd<'_>) -> AttemptResult {
    done(call(Attr::new().fd(0, map).fd(4, prog), sys::BPF_PROG_ASSOC_STRUCT_OPS))
}

/// `BPF_STREAM_STDOUT` (`include/uapi/linux/bpf.h`).
const STANDARD_OUTPUT: u32 = 1;

/// `BPF_PROG_STREAM_READ_BY_FD`.
#[allow(unsafe_code)]
pub(super) fn prog_stream_read(prog: BorrowedFd<'_>) -> AttemptResult {
    let mut buffer = [0_u8; 64];
    let length = buffer.len() as u32;
    let mut attr = Attr::new().output(0, &mut buffer).u32(8, length).u32(12, STANDARD_OUTPUT).fd(16, prog);
    // SAFETY: the buffer has the stated length.
    done(unsafe { attr.call(sys::BPF_PROG_STREAM_READ_BY_FD) })
}

/// `BPF_RAW_TRACEPOINT_OPEN`.
#[allow(unsafe_code)]
pub(super) fn raw_tracepoint_open(prog: BorrowedFd<'_>, name: Option<&str>) -> AttemptResult {
    let name = name.map(|name| CString::new(name.replace('\0', "")).expect("zeros were just taken out"));
    let attr = Attr::new().fd(8, prog);
    let mut attr = name.iter().fold(attr, |attr, name| attr.u64(0, name.as_ptr() as u64));
    // SAFETY: the name ends with a zero byte and outlives the call, which makes a descriptor.
    made(unsafe { attr.make(sys::BPF_RAW_TRACEPOINT_OPEN) })
}

#[allow(unsafe_code)]
fn call(mut attr: Attr<'_>, command: u32) -> Result<i32, Errno> {
    // SAFETY: no buffers.
    unsafe { attr.call(command) }
}

#[allow(unsafe_code)]
fn make(mut attr: Attr<'_>, command: u32) -> Result<OwnedFd, Errno> {
    // SAFETY: no buffers; the commands that use it make a descriptor.
    unsafe { attr.make(command) }
}
