//! Attaching and detaching programs, and querying what is attached.

use std::{
    ffi::CString,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use harness_protocol::{
    errno::Errno,
    outcome::Answer,
    plan::{KernelType, LinkTarget, SocketDuty},
};
use libbpf_sys as sys;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::result::{AttemptResult, Handles, OperationError, done, made};
use crate::{
    attr::Attr,
    error::{During, SysError, last_errno},
    events, interfaces, kernel_types,
    message::FdRole,
    pseudofile,
};

/// The offset of `target_fd` and `target_ifindex` in a link.
const TARGET: usize = 4;

/// `BPF_LINK_CREATE` without flags. Not through libbpf: for some attach types it reacts to `EINVAL` with another
/// command.
pub(super) fn link_create(
    handles: Handles<'_>,
    attach_type: u32,
    target: &LinkTarget,
) -> Result<AttemptResult, OperationError> {
    let link = Attr::new().fd(0, handles.object(0)?).u32(8, attach_type);
    match target {
        LinkTarget::Nothing | LinkTarget::StructOps => Ok(create(link)),
        LinkTarget::Interface(name) => Ok(create(link.u32(TARGET, interfaces::index(name)?))),
        LinkTarget::Cgroup | LinkTarget::RootCgroup => Ok(create(link.fd(TARGET, handles.need(FdRole::Cgroup)?))),
        LinkTarget::Netns => Ok(create(link.fd(TARGET, own_netns()?.as_fd()))),
        LinkTarget::Netfilter { pf, hooknum, priority } => {
            Ok(create(link.u32(16, *pf).u32(20, *hooknum).u32(24, priority.cast_unsigned())))
        }
        LinkTarget::PerfEvent => Ok(match events::open() {
            Ok(event) => create(link.fd(TARGET, event.as_fd())),
            Err(errno) => refused(errno, "perf_event_open"),
        }),
        LinkTarget::Event(_) => Ok(create(link.fd(TARGET, handles.object(1)?))),
        LinkTarget::Kprobes(names) => Ok(kprobes(link, names)),
        LinkTarget::Uprobe => Ok(create(
            link.input(16, c"/proc/self/exe".to_bytes_with_nul()).input(24, &[events::uprobe_offset()?]).u32(48, 1),
        )),
        LinkTarget::Functions(functions) => functions_by_type(link, functions),
        LinkTarget::Map(_) => Ok(create(link.fd(TARGET, handles.object(1)?))),
        LinkTarget::Elements(_) => {
            let map = handles.object(1)?;
            let info = [map.as_raw_fd()];
            Ok(create(link.input(16, &info).u32(24, size_of_val(&info) as u32)))
        }
        LinkTarget::Lirc => Ok(create(link.fd(TARGET, handles.need(FdRole::Device)?))),
        LinkTarget::Of { .. } => Ok(create(others_argument(handles, target)?.put(TARGET, link))),
    }
}

#[allow(unsafe_code)]
fn create(mut link: Attr<'_>) -> AttemptResult {
    // SAFETY: the kinds of target with buffers have set them, each with its count; strings end with a zero byte. The
    // command makes a descriptor.
    made(unsafe { link.make(sys::BPF_LINK_CREATE) })
}

fn kprobes(link: Attr<'_>, names: &[String]) -> AttemptResult {
    let names: Vec<CString> = names.iter().filter_map(|name| CString::new(name.as_str()).ok()).collect();
    let pointers: Vec<u64> = names.iter().map(|name| name.as_ptr() as u64).collect();
    create(link.u32(20, pointers.len() as u32).input(24, &pointers))
}

fn functions_by_type(link: Attr<'_>, functions: &[KernelType]) -> Result<AttemptResult, OperationError> {
    let ids = functions.iter().map(|wanted| kernel_types::known().id(wanted)).collect::<Result<Vec<u32>, _>>()?;
    Ok(create(link.input(16, &ids).u32(32, ids.len() as u32)))
}

fn refused(errno: Errno, step: &str) -> AttemptResult {
    AttemptResult { answer: Answer::Err { errno, step: Some(step.to_owned()) }, fd: None }
}

fn own_netns() -> Result<OwnedFd, SysError> {
    pseudofile::open("/proc/self/ns/net")
}

/// The target argument of `BPF_PROG_ATTACH` and its siblings: a number, or a descriptor held for the call.
enum TargetArgument<'a> {
    Number(u32),
    Given(BorrowedFd<'a>),
    Opened(OwnedFd),
}

impl TargetArgument<'_> {
    fn put<'b>(&'b self, offset: usize, attr: Attr<'b>) -> Attr<'b> {
        match self {
            Self::Number(number) => attr.u32(offset, *number),
            Self::Given(fd) => attr.fd(offset, *fd),
            Self::Opened(fd) => attr.fd(offset, fd.as_fd()),
        }
    }
}

/// Finds the argument for a target; `map` is the index of the saved map among the call's objects.
fn target_argument<'a>(
    handles: Handles<'a>,
    target: &LinkTarget,
    map: usize,
) -> Result<TargetArgument<'a>, OperationError> {
    match target {
        LinkTarget::Interface(name) => Ok(TargetArgument::Number(interfaces::index(name)?)),
        LinkTarget::Cgroup | LinkTarget::RootCgroup => Ok(TargetArgument::Given(handles.need(FdRole::Cgroup)?)),
        LinkTarget::Map(_) => Ok(TargetArgument::Given(handles.object(map)?)),
        LinkTarget::Lirc => Ok(TargetArgument::Given(handles.need(FdRole::Device)?)),
        LinkTarget::Netns => Ok(TargetArgument::Opened(own_netns()?)),
        LinkTarget::Of { .. } => others_argument(handles, target),
        LinkTarget::Nothing
        | LinkTarget::Netfilter { .. }
        | LinkTarget::PerfEvent
        | LinkTarget::Event(_)
        | LinkTarget::Kprobes(_)
        | LinkTarget::Uprobe
        | LinkTarget::Functions(_)
        | LinkTarget::Elements(_)
        | LinkTarget::StructOps => Err(OperationError::LinkOnly),
    }
}

/// Finds the argument for another actor's cgroup, network namespace or interface.
fn others_argument<'a>(handles: Handles<'a>, target: &LinkTarget) -> Result<TargetArgument<'a>, OperationError> {
    match target.bare() {
        LinkTarget::Cgroup => Ok(TargetArgument::Given(handles.need(FdRole::Cgroup)?)),
        LinkTarget::Netns => Ok(TargetArgument::Given(handles.need(FdRole::Netns)?)),
        LinkTarget::Interface(name) => {
            Ok(TargetArgument::Number(interfaces::index_in(handles.need(FdRole::Netns)?, name)?))
        }
        _ => Err(OperationError::LinkOnly),
    }
}

/// Finds the argument for attaching and detaching: there the kernel uses the caller's network namespace and takes no
/// descriptor of it (`netns_bpf_prog_attach` in `kernel/bpf/net_namespace.c`).
fn own_argument<'a>(
    handles: Handles<'a>,
    target: &LinkTarget,
    map: usize,
) -> Result<TargetArgument<'a>, OperationError> {
    if *target == LinkTarget::Netns { Ok(TargetArgument::Number(0)) } else { target_argument(handles, target, map) }
}

fn attachment(
    argument: &TargetArgument<'_>,
    prog: Option<BorrowedFd<'_>>,
    attach_type: u32,
    command: u32,
) -> Result<i32, Errno> {
    attachment_with(argument, prog, attach_type, 0, command)
}

/// The offset of `attach_flags`.
const ATTACH_FLAGS: usize = 12;

fn attachment_with(
    argument: &TargetArgument<'_>,
    prog: Option<BorrowedFd<'_>>,
    attach_type: u32,
    flags: u32,
    command: u32,
) -> Result<i32, Errno> {
    let attr = argument.put(0, Attr::new()).u32(8, attach_type).u32(ATTACH_FLAGS, flags);
    call(&mut prog.into_iter().fold(attr, |attr, prog| attr.u32(4, fd_number(prog))), command)
}

fn fd_number(fd: BorrowedFd<'_>) -> u32 {
    std::os::fd::AsRawFd::as_raw_fd(&fd).unsigned_abs()
}

#[allow(unsafe_code)]
fn call(attr: &mut Attr<'_>, command: u32) -> Result<i32, Errno> {
    // SAFETY: none of these calls has a buffer.
    unsafe { attr.call(command) }
}

/// `BPF_PROG_ATTACH`. Detaches the program again unless it is to stay.
pub(super) fn prog_attach(
    handles: Handles<'_>,
    attach_type: u32,
    target: &LinkTarget,
    flags: u32,
    stays: bool,
) -> Result<AttemptResult, OperationError> {
    let (prog, argument) = (handles.object(0)?, own_argument(handles, target, 1)?);
    let attached = attachment_with(&argument, Some(prog), attach_type, flags, sys::BPF_PROG_ATTACH);
    if attached.is_ok() && !stays {
        attachment(&argument, Some(prog), attach_type, sys::BPF_PROG_DETACH)
            .during(|| "BPF_PROG_DETACH after the attempt")?;
    }
    Ok(done(attached))
}

/// `BPF_PROG_DETACH`.
pub(super) fn prog_detach(
    handles: Handles<'_>,
    has_prog: bool,
    attach_type: u32,
    target: &LinkTarget,
) -> Result<AttemptResult, OperationError> {
    let prog = has_prog.then(|| handles.object(0)).transpose()?;
    let argument = own_argument(handles, target, usize::from(has_prog))?;
    Ok(done(attachment(&argument, prog, attach_type, sys::BPF_PROG_DETACH)))
}

/// `BPF_PROG_QUERY` for the number of programs.
pub(super) fn prog_query(
    handles: Handles<'_>,
    attach_type: u32,
    target: &LinkTarget,
) -> Result<AttemptResult, OperationError> {
    let argument = target_argument(handles, target, 0)?;
    Ok(done(call(&mut argument.put(0, Attr::new()).u32(4, attach_type), sys::BPF_PROG_QUERY)))
}

/// Attaches a program to a new UDP socket, which is closed afterwards.
pub(super) fn to_socket(prog: BorrowedFd<'_>, duty: SocketDuty, locked: bool) -> Result<AttemptResult, OperationError> {
    let socket =
        socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None).during(|| "UDP socket")?;
    // Only sockets that share an address form a group from which the program selects.
    set_option(socket.as_fd(), libc::SO_REUSEPORT, 1).during(|| "setsockopt SO_REUSEPORT")?;
    if locked {
        set_option(socket.as_fd(), libc::SO_LOCK_FILTER, 1).during(|| "setsockopt SO_LOCK_FILTER")?;
    }
    let option = match duty {
        SocketDuty::Filter => libc::SO_ATTACH_BPF,
        SocketDuty::Reuseport => libc::SO_ATTACH_REUSEPORT_EBPF,
    };
    Ok(done(set_option(socket.as_fd(), option, prog.as_raw_fd())))
}

#[allow(unsafe_code)]
fn set_option(socket: BorrowedFd<'_>, option: libc::c_int, value: libc::c_int) -> Result<(), Errno> {
    let (value, length) = (std::ptr::from_ref(&value).cast(), size_of_val(&value) as libc::socklen_t);
    // SAFETY: the value has the stated length and outlives the call, which only reads it.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, value, length) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_non_program_is_refused_with_an_answer() {
        let (pipe, _writer) = rustix::pipe::pipe().unwrap();
        for duty in [SocketDuty::Filter, SocketDuty::Reuseport] {
            let answer = to_socket(pipe.as_fd(), duty, false).unwrap().answer;
            assert_eq!(answer, Answer::Err { errno: Errno::from_raw(libc::EINVAL), step: None }, "{duty:?}");
            let answer = to_socket(pipe.as_fd(), duty, true).unwrap().answer;
            assert_eq!(answer, Answer::Err { errno: Errno::EPERM, step: None }, "{duty:?}");
        }
    }
}
