//! The start of the traced program: what its process does before `execve(2)`.

#![allow(unsafe_code)]

use std::{
    mem::offset_of,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{Command, Stdio},
};

use harness_protocol::plan::{Exec, ExecToken};
use rustix::thread::UnshareFlags;

use crate::{
    bpffs::{MOUNT_POINT, Mounted},
    context::Loader,
    error::{During, SysError},
    interfaces, mounts, process,
    seccomp::{self, EQUAL, LOAD, RETURN},
};

/// The number of the token's descriptor: far above those that a program opens itself, and below the usual limit.
pub(super) const TOKEN: i32 = 1000;

/// Where programs are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Executes the program; returns only the reason why that failed.
pub(super) fn execute(exec: &Exec, loader: Loader, token: Option<&OwnedFd>, output: &OwnedFd) -> String {
    let prepared = prepare(loader, token);
    if let Err(error) = prepared {
        return error.to_string();
    }
    let mut command = Command::new(&exec.program);
    command
        .args(&exec.args)
        .current_dir(exec.folder.as_deref().unwrap_or("/"))
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", "/root")
        .envs(&exec.env);
    if exec.token == ExecToken::None {
        command.env("LIBBPF_BPF_TOKEN_PATH", "");
    }
    match (output.try_clone(), output.try_clone()) {
        (Ok(output), Ok(errors)) => {
            let error = command.stdin(Stdio::null()).stdout(output).stderr(errors).exec();
            format!("execve {}: {error}", exec.program)
        }
        (Err(error), _) | (_, Err(error)) => format!("dup: {error}"),
    }
}

fn prepare(loader: Loader, token: Option<&OwnedFd>) -> Result<(), SysError> {
    if loader == Loader::Host {
        make_own()?;
    }
    if let Some(token) = token {
        process::pass(token.as_fd(), TOKEN)?;
    }
    process::close_on_exec(token.map(|_| TOKEN))?;
    unblock_signals();
    process::trace_me()?;
    let own = rustix::process::getpid();
    rustix::process::kill_process(own, rustix::process::Signal::STOP).during(|| "kill SIGSTOP")?;
    filter()
}

/// Undoes the tracer's block of SIGCHLD, which would outlast `execve(2)`.
fn unblock_signals() {
    // SAFETY: the set is initialized before it is used, and the call only reads it.
    unsafe {
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Gives root a network and a bpffs of the program's own, as a container has, so that nothing of one run is there in the next.
fn make_own() -> Result<(), SysError> {
    process::unshare(UnshareFlags::NEWNS | UnshareFlags::NEWNET)?;
    interfaces::prepare()?;
    mounts::make_private()?;
    Mounted::of("bpf", &[])?.attach_at(MOUNT_POINT)
}

/// Makes the calls that are recorded stop for the tracer. Without `CAP_SYS_ADMIN` in its user namespace a process must
/// give up new privileges for a filter (`seccomp(2)`), which only set-user-ID programs and file capabilities give.
fn filter() -> Result<(), SysError> {
    match seccomp::install(program()) {
        Err(SysError { errno, .. }) if errno.raw() == libc::EACCES => {
            rustix::thread::set_no_new_privs(true).during(|| "prctl PR_SET_NO_NEW_PRIVS")?;
            seccomp::install(program())
        }
        installed => installed,
    }
}

/// `AUDIT_ARCH_X86_64` (`include/uapi/linux/audit.h`).
const X86_64: u32 = 0xc000_003e;

/// The bit of a number of the x32 interface (`__X32_SYSCALL_BIT`, `arch/x86/include/uapi/asm/unistd.h`).
pub(super) const X32: u32 = 0x4000_0000;

/// Stops at `bpf(2)`, at `perf_event_open(2)`, and at every call of another interface, whose numbers mean something
/// else: the tracer refuses a program that uses one.
fn program() -> Vec<libc::sock_filter> {
    const AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    vec![
        step(LOAD, 0, 0, offset_of!(libc::seccomp_data, arch) as u32),
        step(EQUAL, 0, 5, X86_64),
        step(LOAD, 0, 0, offset_of!(libc::seccomp_data, nr) as u32),
        step(AT_LEAST, 3, 0, X32),
        step(EQUAL, 2, 0, libc::SYS_bpf as u32),
        step(EQUAL, 1, 0, libc::SYS_perf_event_open as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        step(RETURN, 0, 0, libc::SECCOMP_RET_TRACE),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what the filter says to a call, by running it as the kernel would.
    fn answer(arch: u32, number: u32) -> u32 {
        let (program, mut at, mut word) = (program(), 0, 0);
        loop {
            let step = program[at];
            at += 1;
            let jump = |taken: bool| usize::from(if taken { step.jt } else { step.jf });
            match u32::from(step.code) {
                code if code == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS => {
                    word = if step.k == 0 { number } else { arch };
                }
                code if code == libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K => at += jump(word == step.k),
                code if code == libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K => at += jump(word >= step.k),
                _ => return step.k,
            }
        }
    }

    #[test]
    fn two_calls_stop_and_so_does_any_of_another_interface() {
        let number = |number: libc::c_long| u32::try_from(number).unwrap();
        for call in [libc::SYS_bpf, libc::SYS_perf_event_open] {
            assert_eq!(answer(X86_64, number(call)), libc::SECCOMP_RET_TRACE);
        }
        for call in [libc::SYS_read, libc::SYS_execve, libc::SYS_ptrace] {
            assert_eq!(answer(X86_64, number(call)), libc::SECCOMP_RET_ALLOW);
        }
        assert_eq!(answer(X86_64, X32 | number(libc::SYS_bpf)), libc::SECCOMP_RET_TRACE);
        assert_eq!(answer(0x4000_0003, 3), libc::SECCOMP_RET_TRACE);
    }
}
