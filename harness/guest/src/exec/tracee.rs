//! A stopped process that is traced: its registers and its memory, a word at a time (`ptrace(2)`).
//!
//! Neither `process_vm_readv(2)` nor `/proc/PID/mem` is used: kernels can be built without the first, and the second
//! would need the process's number in the initial pid namespace.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use rustix::process::Pid;

use crate::error::{During, SysError, last_errno};

/// A stopped thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tracee(pub(super) Pid);

/// The registers of a thread.
pub(super) type Registers = libc::user_regs_struct;

const WORD: usize = size_of::<u64>();

impl Tracee {
    fn request(self, request: libc::c_uint, address: u64, data: u64) -> Result<(), harness_protocol::errno::Errno> {
        let pid = self.0.as_raw_nonzero().get();
        // SAFETY: every caller passes what its request asks for, which outlives the call.
        let done = unsafe { libc::syscall(libc::SYS_ptrace, request as libc::c_ulong, pid, address, data) };
        if done < 0 { Err(last_errno()) } else { Ok(()) }
    }

    /// Sets at which events its descendants and itself stop, and that all are killed when the tracer ends.
    pub(super) fn set_options(self) -> Result<(), SysError> {
        let options = libc::PTRACE_O_TRACESECCOMP
            | libc::PTRACE_O_TRACECLONE
            | libc::PTRACE_O_TRACEFORK
            | libc::PTRACE_O_TRACEVFORK
            | libc::PTRACE_O_TRACEEXEC
            | libc::PTRACE_O_TRACESYSGOOD
            | libc::PTRACE_O_EXITKILL;
        self.request(libc::PTRACE_SETOPTIONS as _, 0, u64::from(options.cast_unsigned()))
            .during(|| "ptrace PTRACE_SETOPTIONS")
    }

    /// Lets it go on, with a signal unless that is 0. One that was killed meanwhile is fine.
    pub(super) fn go_on(self, signal: i32) {
        let _ = self.request(libc::PTRACE_CONT as _, 0, signal.unsigned_abs().into());
    }

    /// Lets it go on up to the end of its system call.
    pub(super) fn finish_call(self) {
        let _ = self.request(libc::PTRACE_SYSCALL as _, 0, 0);
    }

    /// Returns its registers.
    pub(super) fn registers(self) -> Result<Registers, SysError> {
        let mut registers = MaybeUninit::<Registers>::zeroed();
        self.request(libc::PTRACE_GETREGS as _, 0, registers.as_mut_ptr() as u64).during(|| "ptrace PTRACE_GETREGS")?;
        // SAFETY: any bytes make a structure of integers.
        Ok(unsafe { registers.assume_init() })
    }

    /// Sets its registers.
    pub(super) fn set_registers(self, registers: &Registers) -> Result<(), SysError> {
        self.request(libc::PTRACE_SETREGS as _, 0, (&raw const *registers) as u64).during(|| "ptrace PTRACE_SETREGS")
    }

    /// Reads memory; what cannot be read, as the kernel could not read it either, is missing at the end.
    pub(super) fn read(self, from: u64, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length.next_multiple_of(WORD));
        while bytes.len() < length {
            let mut word = 0_u64;
            let at = from.wrapping_add(bytes.len() as u64);
            // The raw system call stores the word (`ptrace(2)`, "C library/kernel differences").
            if self.request(libc::PTRACE_PEEKDATA as _, at, (&raw mut word) as u64).is_err() {
                break;
            }
            bytes.extend(word.to_ne_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    /// Writes whole words of memory.
    pub(super) fn write(self, to: u64, bytes: &[u8]) -> Result<(), SysError> {
        for (index, word) in bytes.chunks_exact(WORD).enumerate() {
            let value = u64::from_ne_bytes(word.try_into().expect("a chunk has this many bytes"));
            let at = to.wrapping_add((index * WORD) as u64);
            self.request(libc::PTRACE_POKEDATA as _, at, value).during(|| "ptrace PTRACE_POKEDATA")?;
        }
        Ok(())
    }
}
