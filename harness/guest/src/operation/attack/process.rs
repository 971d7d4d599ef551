//! Attacks on a process.

use std::{
    os::fd::AsFd,
    time::{Duration, Instant},
};

use harness_protocol::{errno::Errno, plan::Attack};
use libbpf_sys as sys;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{CWD, Mode, OFlags},
    process::{Pid, PidfdFlags, PidfdGetfdFlags, Resource, Rlimit, Signal, WaitOptions},
};

use super::{Attacked, objects};
use crate::{
    bpf::{self, MapSpec},
    cgroup,
    error::{During, SysError, last_errno},
    process::{self, Fork},
    pseudofile,
    target::Target,
};

pub(super) fn attack(way: Attack, target: &Target) -> Attacked {
    let pid = Pid::from_raw(target.pid).ok_or(Errno::from_raw(libc::ESRCH)).during(|| "find the process")?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).during(|| "pidfd_open")?;
    let mut apart = None;
    match way {
        Attack::Ptrace => return trace(pid),
        Attack::LdPreload => return secure(pid),
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
        Attack::ProcessVmWritev => return write_stack(pid),
        Attack::CgroupKill | Attack::TakeReadersPlace => {
            let group = apart.insert(cgroup::Apart::new(format!("attack-{}", target.pid))?);
            pseudofile::write_at(&*group, "cgroup.procs", &target.pid.to_string())?;
            pseudofile::write_at(&*group, "cgroup.kill", "1")?;
        }
        Attack::RlimitCpu => {
            let second = Rlimit { current: Some(1), maximum: Some(1) };
            rustix::process::prlimit(Some(pid), Resource::Cpu, second).during(|| "prlimit RLIMIT_CPU")?;
            if !target.is_stand_in {
                keep_busy(&pidfd)?;
            }
        }
        Attack::OomKill => {
            pseudofile::write(&format!("/proc/{}/oom_score_adj", target.pid), "1000")?;
            pseudofile::write("/proc/sysrq-trigger", "f")?;
        }
        _ => unreachable!("`Attack::target` says that it is aimed at something else"),
    }
    // Whoever is first when the kernel looks for a process to end must still be this one.
    if target.is_stand_in && way != Attack::OomKill {
        return Ok(None);
    }
    let patience = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
    let ended = poll(&mut [PollFd::new(&pidfd.as_fd(), PollFlags::IN)], Some(&patience)).during(|| "poll a pidfd")?;
    if way == Attack::TakeReadersPlace {
        let refused = target.maps.len().saturating_sub(opened_in_its_place(&target.maps)?.into());
        return match refused {
            0 => Ok(None),
            _ => Err(Errno::from_raw(libc::EPERM))
                .during(|| format!("BPF_MAP_GET_FD_BY_ID of {refused} of {} maps", target.maps.len())),
        };
    }
    Ok(Some(if ended > 0 { "the process has ended" } else { "the process lives" }.to_owned()))
}

/// Returns how many of these maps a new process can open for reading and writing. It ends, so that the next reader finds the place
/// free.
fn opened_in_its_place(maps: &[u32]) -> Result<u8, SysError> {
    let open = |id: &u32| objects::open(sys::BPF_MAP_GET_FD_BY_ID, *id);
    match process::fork()? {
        Fork::Child => {
            // The first that opens makes the process the reader: only then does the guard tell its maps apart.
            let _ = maps.iter().map(open).find(Result::is_ok);
            let opened = maps.iter().filter_map(|id| open(id).ok()).count();
            process::leave(i32::try_from(opened).unwrap_or(i32::MAX))
        }
        Fork::Parent(child) => {
            let ended =
                rustix::process::waitpid(Some(child), WaitOptions::empty()).during(|| "wait for the next reader")?;
            let status = ended.and_then(|(_, status)| status.exit_status());
            status
                .and_then(|opened| u8::try_from(opened).ok())
                .ok_or(Errno::from_raw(libc::ECHILD))
                .during(|| "open the maps")
        }
    }
}

/// Makes calls for the guard to record, so that its reader runs: the kernel looks at the limit only then.
fn keep_busy(pidfd: impl AsFd) -> Result<(), SysError> {
    const BURST: u32 = 64;
    let deadline = Instant::now() + PATIENCE;
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    while Instant::now() < deadline {
        // Without a pause: on a fast machine the reader is otherwise done with a record before the next one comes, and hardly runs.
        for _ in 0..BURST {
            // A map without a type: the hook is called, and nothing is made.
            let _ = bpf::map_create(MapSpec::default(), None);
        }
        if poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&now)).during(|| "poll a pidfd")? > 0 {
            break;
        }
    }
    Ok(())
}

/// Writes a zero over the last byte of a process's stack, which is one: the kernel leaves the last eight bytes empty
/// (`__bprm_mm_init`, `fs/exec.c` of 6.12).
fn write_stack(pid: Pid) -> Attacked {
    let pid = pid.as_raw_nonzero().get();
    let end = |line: &str| {
        let (_, end) = line.strip_suffix("[stack]")?.split_once(' ')?.0.split_once('-')?;
        usize::from_str_radix(end, 16).ok()
    };
    let maps = pseudofile::read(&format!("/proc/{pid}/maps"))?;
    let end = maps.lines().find_map(end).ok_or(Errno::from_raw(libc::ENOENT)).during(|| "find the stack")?;
    let zero = 0_u8;
    let local = libc::iovec { iov_base: (&raw const zero).cast_mut().cast(), iov_len: 1 };
    let remote = libc::iovec { iov_base: (end - 1) as *mut libc::c_void, iov_len: 1 };
    #[allow(unsafe_code)]
    // SAFETY: the kernel reads one byte here.
    let written = unsafe { libc::process_vm_writev(pid, &raw const local, 1, &raw const remote, 1, 0) };
    if written < 0 { Err(last_errno()) } else { Ok(None) }.during(|| "process_vm_writev")
}

/// Returns what the kernel said to the linker of a process when it was executed (`getauxval(3)`).
fn secure(pid: Pid) -> Attacked {
    let path = format!("/proc/{}/auxv", pid.as_raw_nonzero());
    let bytes = std::fs::read(path).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or_default()));
    let bytes = bytes.during(|| "read /proc/PID/auxv")?;
    let words: Vec<u64> =
        bytes.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().expect("there are eight"))).collect();
    let found = words.chunks_exact(2).find(|pair| pair[0] == libc::AT_SECURE).map(|pair| pair[1]);
    let value = found.ok_or(Errno::from_raw(libc::ENOENT)).during(|| "find AT_SECURE")?;
    Ok(Some(format!("AT_SECURE is {value}")))
}

/// How long a process may take to end: one that lives is told only after that.
const PATIENCE: Duration = Duration::from_secs(20);

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
