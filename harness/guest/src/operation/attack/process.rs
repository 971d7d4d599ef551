//! Attacks on a process.

use std::{os::fd::AsFd, time::Duration};

use harness_protocol::{errno::Errno, plan::Attack};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{CWD, Mode, OFlags},
    process::{Pid, PidfdFlags, PidfdGetfdFlags, Signal, WaitOptions},
};

use super::Attacked;
use crate::{
    cgroup,
    error::{During, last_errno},
    pseudofile,
    target::Target,
};

pub(super) fn attack(way: Attack, target: &Target) -> Attacked {
    let pid = Pid::from_raw(target.pid).ok_or(Errno::from_raw(libc::ESRCH)).during(|| "find the process")?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).during(|| "pidfd_open")?;
    let mut apart = None;
    match way {
        Attack::Ptrace => return trace(pid),
        Attack::ProcMem => {
            let path = format!("/proc/{}/mem", target.pid);
            rustix::fs::openat(CWD, path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
                .during(|| "open /proc/PID/mem")?;
            return Ok(None);
        }
        Attack::PidfdGetfd => {
            rustix::process::pidfd_getfd(&pidfd, 0, PidfdGetfdFlags::empty()).during(|| "pidfd_getfd")?;
            return Ok(None);
        }
        Attack::PidfdSendSignal => {
            rustix::process::pidfd_send_signal(&pidfd, Signal::KILL).during(|| "pidfd_send_signal")?;
        }
        Attack::Kill => rustix::process::kill_process(pid, Signal::KILL).during(|| "kill")?,
        Attack::CgroupKill => {
            let group = apart.insert(cgroup::Apart::new(format!("attack-{}", target.pid))?);
            pseudofile::write_at(&*group, "cgroup.procs", &target.pid.to_string())?;
            pseudofile::write_at(&*group, "cgroup.kill", "1")?;
        }
        _ => unreachable!("`Attack::target` says that it is aimed at something else"),
    }
    if target.is_stand_in {
        return Ok(None);
    }
    let patience = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
    let ended = poll(&mut [PollFd::new(&pidfd.as_fd(), PollFlags::IN)], Some(&patience)).during(|| "poll a pidfd")?;
    Ok(Some(if ended > 0 { "the process has ended" } else { "the process lives" }))
}

/// How long a process may take to end.
const PATIENCE: Duration = Duration::from_secs(4);

/// Attaches to a process as a debugger does, and lets it go on.
fn trace(pid: Pid) -> Attacked {
    request(libc::PTRACE_ATTACH, pid).during(|| "ptrace PTRACE_ATTACH")?;
    rustix::process::waitpid(Some(pid), WaitOptions::UNTRACED).during(|| "wait for the traced process")?;
    request(libc::PTRACE_DETACH, pid).during(|| "ptrace PTRACE_DETACH")?;
    Ok(None)
}

fn request(what: libc::c_uint, pid: Pid) -> Result<(), Errno> {
    let none = std::ptr::null_mut::<libc::c_void>();
    #[allow(unsafe_code)]
    // SAFETY: neither request reads or writes memory of this process.
    let result = unsafe { libc::ptrace(what, pid.as_raw_nonzero().get(), none, none) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}
