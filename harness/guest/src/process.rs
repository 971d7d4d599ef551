//! The guest's processes: how they fork, what a fork keeps, and how they end.
//!
//! The guest never starts a second thread. That makes `fork(2)` without `exec` sound here: no lock can be held by a
//! thread that the child does not have.

#![allow(unsafe_code)]

use std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, WaitOptions},
    thread::{ThreadNameSpaceType, UnshareFlags},
};

use crate::error::{During, SysError, last_errno};

/// The side of a `fork(2)` that returned.
#[derive(Debug)]
pub(crate) enum Fork {
    /// The caller, with the pid of the new process.
    Parent(Pid),
    /// The new process, which must end by [`leave`] and never return to its caller's caller.
    Child,
}

/// `fork(2)`.
pub(crate) fn fork() -> Result<Fork, SysError> {
    // SAFETY: the process has a single thread (see the module), so the child may run arbitrary code.
    side_of(unsafe { libc::fork() }.into()).during(|| "fork")
}

/// `fork(2)` with the child starting in a cgroup. Writing to `cgroup.procs` instead waits for an RCU grace period, tens
/// of milliseconds; `clone3(2)` with `CLONE_INTO_CGROUP` (Linux 5.7) does not. The C library has no function for it.
pub(crate) fn fork_into(cgroup: BorrowedFd<'_>) -> Result<Fork, SysError> {
    // SAFETY: zeros mean no flags, no numbers and no addresses.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = CLONE_INTO_CGROUP;
    arguments.exit_signal = libc::SIGCHLD as u64;
    arguments.cgroup = cgroup.as_raw_fd().unsigned_abs().into();
    // SAFETY: without `CLONE_VM` and a stack this is a fork; the arguments outlive the call. What else the C library
    // does at a fork serves other threads, and there are none.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of_val(&arguments)) };
    side_of(pid).during(|| "clone3 CLONE_INTO_CGROUP")
}

/// From `include/uapi/linux/sched.h`; libc's constant has too few bits for it.
const CLONE_INTO_CGROUP: u64 = 1 << 33;

fn side_of(pid: i64) -> Result<Fork, harness_protocol::errno::Errno> {
    match i32::try_from(pid) {
        Ok(0) => Ok(Fork::Child),
        Ok(pid @ 1..) => Ok(Fork::Parent(Pid::from_raw(pid).expect("a positive number is a pid"))),
        _ => Err(last_errno()),
    }
}

/// Closes every file descriptor except standard input, output, error and `keep`.
///
/// To be called in a fresh child only: the values that own the parent's descriptors exist there only as copies of
/// memory, which are neither used nor dropped because the child ends by [`leave`].
pub(crate) fn keep_only(keep: BorrowedFd<'_>) -> Result<(), SysError> {
    let keep = keep.as_raw_fd().unsigned_abs();
    close_range(3, keep.saturating_sub(1))?;
    close_range(keep.max(2) + 1, u32::MAX)
}

fn close_range(first: u32, last: u32) -> Result<(), SysError> {
    if first > last {
        return Ok(());
    }
    // SAFETY: closes descriptors that nobody uses any more, see `keep_only`; no memory is touched.
    let closed = unsafe { libc::close_range(first, last, 0) };
    if closed == 0 { Ok(()) } else { Err(last_errno()).during(|| "close_range") }
}

/// Has every descriptor from 3 on closed by `execve(2)`, except `keep`.
pub(crate) fn close_on_exec(keep: Option<i32>) -> Result<(), SysError> {
    let keep = keep.and_then(|keep| u32::try_from(keep).ok());
    let (below, above) = keep.map_or((u32::MAX, None), |keep| (keep - 1, Some(keep + 1)));
    for (first, last) in std::iter::once((3, below)).chain(above.map(|above| (above, u32::MAX))) {
        // SAFETY: sets a flag of descriptors; no memory is touched.
        let done = unsafe { libc::close_range(first, last, libc::CLOSE_RANGE_CLOEXEC as i32) };
        if done != 0 {
            return Err(last_errno()).during(|| "close_range CLOSE_RANGE_CLOEXEC");
        }
    }
    Ok(())
}

/// Makes a descriptor this number, which stays open across `execve(2)`.
///
/// To be called in a fresh child only: whatever else has the number is closed.
pub(crate) fn pass(fd: BorrowedFd<'_>, number: i32) -> Result<(), SysError> {
    // SAFETY: a value that owns the number exists here only as a copy of memory, see `keep_only`.
    let passed = unsafe { libc::dup2(fd.as_raw_fd(), number) };
    // SAFETY: no memory is touched. `dup2(2)` of a descriptor to itself leaves its flag.
    let kept = passed == number && unsafe { libc::fcntl(number, libc::F_SETFD, 0) } == 0;
    if kept { Ok(()) } else { Err(last_errno()).during(|| "dup2") }
}

/// Says that this program runs, by a byte into a descriptor that was passed to it, and waits to be ended.
pub(crate) fn wait_for_end(passed: i32) -> ! {
    let _ = die_with_parent();
    // SAFETY: the byte outlives the call.
    unsafe { libc::write(passed, c"".as_ptr().cast(), 1) };
    loop {
        std::thread::sleep(Duration::from_secs(60));
    }
}

/// `unshare(2)`.
pub(crate) fn unshare(flags: UnshareFlags) -> Result<(), SysError> {
    // SAFETY: only `CLONE_FILES` could take descriptors from another thread, and there is none.
    unsafe { rustix::thread::unshare_unsafe(flags) }.during(|| format!("unshare {flags:?}"))
}

/// Enters namespaces of another process with `setns(2)` and its pidfd (Linux 5.8).
pub(crate) fn enter(pid: i32, namespaces: ThreadNameSpaceType) -> Result<(), SysError> {
    let pid =
        Pid::from_raw(pid).ok_or(harness_protocol::errno::Errno::from_raw(libc::ESRCH)).during(|| "pidfd_open")?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).during(|| "pidfd_open")?;
    rustix::thread::move_into_thread_name_spaces(pidfd.as_fd(), namespaces).during(|| format!("setns {namespaces:?}"))
}

/// Continues the program in a new child, as a new pid namespace requires. The caller closes its descriptors, waits for
/// the child, and ends with it.
pub(crate) fn continue_in_child() -> Result<(), SysError> {
    match fork()? {
        Fork::Child => Ok(()),
        Fork::Parent(child) => {
            let _ = close_range(3, u32::MAX);
            let _ = die_with_parent();
            let _ = rustix::process::waitpid(Some(child), WaitOptions::empty());
            leave(0)
        }
    }
}

/// Ends the process without running destructors or flushing what the parent had buffered.
pub(crate) fn leave(code: i32) -> ! {
    // SAFETY: `_exit(2)` may be called at any time and does not return.
    unsafe { libc::_exit(code) }
}

/// Requests SIGKILL for the time when the parent dies. A change of credentials clears this (`prctl(2)`), so it comes
/// last.
pub(crate) fn die_with_parent() -> Result<(), SysError> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).during(|| "prctl PR_SET_PDEATHSIG")
}

/// Kills a process; one that has already ended is fine.
pub(crate) fn kill(pid: Pid) {
    let _ = rustix::process::kill_process(pid, Signal::KILL);
}

/// Lets the parent trace this process (`PTRACE_TRACEME`).
pub(crate) fn trace_me() -> Result<(), SysError> {
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: this request uses neither number nor address.
    let traced = unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, none, none) };
    if traced == 0 { Ok(()) } else { Err(last_errno()).during(|| "ptrace PTRACE_TRACEME") }
}

/// Waits until a traced child stops, as it does once it has executed something, and stops tracing it.
pub(crate) fn release(child: Pid) {
    let _ = rustix::process::waitpid(Some(child), WaitOptions::UNTRACED);
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: this request uses no address.
    unsafe { libc::ptrace(libc::PTRACE_DETACH, child.as_raw_nonzero().get(), none, none) };
}

/// Waits until a process has ended, whoever its parent is, but at most `patience`.
pub(crate) fn await_end(pid: Pid, patience: Duration) -> Result<(), SysError> {
    let pidfd = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        opened => opened.during(|| "pidfd_open")?,
    };
    let patience = Timespec { tv_sec: patience.as_secs().cast_signed(), tv_nsec: patience.subsec_nanos().into() };
    poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&patience)).during(|| "poll a pidfd").map(drop)
}

/// Waits for a child that was killed or has ended. Returns how it ended.
pub(crate) fn reap(child: Pid) -> String {
    match rustix::process::waitpid(Some(child), WaitOptions::empty()) {
        Ok(Some((_, status))) => describe(status.exit_status(), status.terminating_signal()),
        Ok(None) | Err(_) => "ended in an unknown way".to_owned(),
    }
}

/// Reaps children that have ended. Returns whether any still runs.
pub(crate) fn reap_ended() -> bool {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

fn describe(exit_status: Option<i32>, signal: Option<i32>) -> String {
    match (exit_status, signal) {
        (Some(code), _) => format!("exited with {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "stopped".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_child_is_described() {
        assert_eq!(describe(Some(3), None), "exited with 3");
        assert_eq!(describe(None, Some(9)), "was killed by signal 9");
    }
}
