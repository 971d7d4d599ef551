//! System call filters, and the restrictions of a container other than missing capabilities: no new privileges, and a filter.
//!
//! A filter is a classic BPF program over `struct seccomp_data` (`include/uapi/linux/seccomp.h`). It checks the call's
//! number and first argument only, with the numbers of the architecture that the guest program was built for.

#![allow(unsafe_code)]

use std::mem::offset_of;

use harness_protocol::{
    errno::Errno,
    plan::{Filter, FilterErrno, Refused, Restrictions, SystemCall},
};

use crate::error::{During, SysError, last_errno};

/// Applies restrictions to the calling process, permanently. The process must still have `CAP_SYS_ADMIN` in its user
/// namespace, which a filter without `no_new_privs` needs (`seccomp(2)`).
pub(crate) fn restrict(restrictions: &Restrictions) -> Result<(), SysError> {
    if restrictions.no_new_privs {
        rustix::thread::set_no_new_privs(true).during(|| "prctl PR_SET_NO_NEW_PRIVS")?;
    }
    restrictions.filter.as_ref().map_or(Ok(()), |filter| install(program(filter)))
}

/// Makes a program the filter of the calling process, permanently.
pub(crate) fn install(mut program: Vec<libc::sock_filter>) -> Result<(), SysError> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::EINVAL).during(|| "seccomp: too many rules")?;
    let program = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    // SAFETY: the kernel copies the program; its pointer and length belong together and outlive the call.
    let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program, 0, 0) };
    match result {
        0 => Ok(()),
        _ => Err(last_errno()).during(|| "prctl PR_SET_SECCOMP"),
    }
}

/// Compiles the filter to classic BPF: rule by rule, then everything else passes.
fn program(filter: &Filter) -> Vec<libc::sock_filter> {
    let errno = match filter.answer {
        FilterErrno::Eperm => libc::EPERM,
        FilterErrno::Enosys => libc::ENOSYS,
    };
    let refusal = statement(RETURN, libc::SECCOMP_RET_ERRNO | errno.unsigned_abs());
    let mut program = Vec::new();
    for Refused { call, command } in &filter.refused {
        let number = u32::try_from(number(*call)).unwrap_or(u32::MAX);
        program.push(statement(LOAD, offset_of!(libc::seccomp_data, nr) as u32));
        match command {
            None => program.push(unless_equal(number, 1)),
            Some(command) => {
                program.push(unless_equal(number, 3));
                program.push(statement(LOAD, FIRST_ARGUMENT));
                program.push(unless_equal(*command, 1));
            }
        }
        program.push(refusal);
    }
    program.push(statement(RETURN, libc::SECCOMP_RET_ALLOW));
    program
}

/// The lower half of the first argument: `bpf(2)` takes its command as an `int`.
const FIRST_ARGUMENT: u32 =
    offset_of!(libc::seccomp_data, args) as u32 + if cfg!(target_endian = "big") { 4 } else { 0 };

/// Loads a word of `struct seccomp_data` (`BPF_LD | BPF_W | BPF_ABS`).
pub(crate) const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;

/// Returns a constant (`BPF_RET | BPF_K`).
pub(crate) const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// Compares with a constant (`BPF_JMP | BPF_JEQ | BPF_K`).
pub(crate) const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;

fn statement(code: u16, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt: 0, jf: 0, k }
}

/// Skips `skip` instructions unless the loaded word equals `k`.
fn unless_equal(k: u32, skip: u8) -> libc::sock_filter {
    libc::sock_filter { code: EQUAL, jt: 0, jf: skip, k }
}

fn number(call: SystemCall) -> libc::c_long {
    match call {
        SystemCall::Bpf => libc::SYS_bpf,
        SystemCall::Fsopen => libc::SYS_fsopen,
        SystemCall::Fsconfig => libc::SYS_fsconfig,
        SystemCall::Fspick => libc::SYS_fspick,
        SystemCall::OpenTree => libc::SYS_open_tree,
        SystemCall::PerfEventOpen => libc::SYS_perf_event_open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a filter's answer to a call, by running its program as the kernel would.
    fn answer(program: &[libc::sock_filter], call: SystemCall, command: u32) -> u32 {
        let (mut at, mut word) = (0, 0);
        loop {
            let step = program[at];
            at += 1;
            match step.code {
                LOAD if step.k == 0 => word = u32::try_from(number(call)).unwrap(),
                LOAD => word = command,
                EQUAL => at += usize::from(if word == step.k { step.jt } else { step.jf }),
                RETURN => return step.k,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    #[test]
    fn refuses_what_is_listed_and_nothing_else() {
        let refused = vec![
            Refused { call: SystemCall::Bpf, command: Some(5) },
            Refused { call: SystemCall::Fsconfig, command: None },
        ];
        let program = program(&Filter { refused, answer: FilterErrno::Enosys });
        let enosys = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
        assert_eq!(answer(&program, SystemCall::Bpf, 5), enosys);
        assert_eq!(answer(&program, SystemCall::Bpf, 0), libc::SECCOMP_RET_ALLOW);
        assert_eq!(answer(&program, SystemCall::Fsconfig, 5), enosys);
        assert_eq!(answer(&program, SystemCall::Fsopen, 5), libc::SECCOMP_RET_ALLOW);
    }
}
