//! Programs at sockets.

#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use harness_model::{errno::Errno, plan::SocketDuty};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::{OperationError, Outcome, done};
use crate::{attr::last_errno, error::During};

/// Attaches a program to a new UDP socket, which is gone afterwards.
pub(super) fn attach(prog: BorrowedFd<'_>, duty: SocketDuty, locked: bool) -> Result<Outcome, OperationError> {
    let socket =
        socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None).during(|| "socket of UDP")?;
    // Only sockets that share their address have a group of which one is chosen.
    set(socket.as_fd(), libc::SO_REUSEPORT, 1).during(|| "setsockopt SO_REUSEPORT")?;
    if locked {
        set(socket.as_fd(), libc::SO_LOCK_FILTER, 1).during(|| "setsockopt SO_LOCK_FILTER")?;
    }
    let option = match duty {
        SocketDuty::Filter => libc::SO_ATTACH_BPF,
        SocketDuty::Reuseport => libc::SO_ATTACH_REUSEPORT_EBPF,
    };
    Ok(done(set(socket.as_fd(), option, prog.as_raw_fd())))
}

fn set(socket: BorrowedFd<'_>, option: libc::c_int, value: libc::c_int) -> Result<(), Errno> {
    let (value, length) = (std::ptr::from_ref(&value).cast(), size_of_val(&value) as libc::socklen_t);
    // SAFETY: the value is as long as is said and outlives the call, which only reads it.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, value, length) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use harness_model::outcome::Answer;

    use super::*;

    #[test]
    fn what_is_no_program_is_refused_with_an_answer() {
        let (pipe, _writer) = rustix::pipe::pipe().unwrap();
        for duty in [SocketDuty::Filter, SocketDuty::Reuseport] {
            let answer = attach(pipe.as_fd(), duty, false).unwrap().answer;
            assert_eq!(answer, Answer::Err { errno: Errno::from_raw(libc::EINVAL), step: None }, "{duty:?}");
            let answer = attach(pipe.as_fd(), duty, true).unwrap().answer;
            assert_eq!(answer, Answer::Err { errno: Errno::EPERM, step: None }, "{duty:?}");
        }
    }
}
