//! `BPF_PROG_LOAD` of any instructions, and what the verifier said.

use std::{ffi::CStr, os::fd::OwnedFd, ptr};

use harness_model::errno::Errno;
use libbpf_sys as sys;

use super::{Token, flag, number, owned};

/// Arguments of `BPF_PROG_LOAD`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program<'a> {
    /// `enum bpf_prog_type`.
    pub(crate) prog_type: u32,
    /// `enum bpf_attach_type`.
    pub(crate) expected_attach_type: u32,
    /// `prog_flags` without the token's.
    pub(crate) flags: u32,
    /// The type of the kernel it is about, 0 for none.
    pub(crate) attach_btf_id: u32,
    /// Its license.
    pub(crate) license: &'a CStr,
    /// Its instructions, each encoded as RFC 9669 has it, in the byte order of the machine.
    pub(crate) instructions: &'a [u64],
}

/// What the verifier says about one program, and nothing about each instruction it looks at.
#[derive(Debug)]
pub(crate) struct Log(Vec<u8>);

/// `BPF_LOG_STATS` (`include/linux/bpf_verifier.h`): complaints and a summary.
const STATS: u32 = 4;

impl Log {
    /// Room for more than the verifier says at this level.
    pub(crate) fn new() -> Self {
        Self(vec![0; 16 * 1024])
    }

    /// The text of the last load: empty if it did not get as far as the verifier.
    pub(crate) fn text(&self) -> String {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        String::from_utf8_lossy(&self.0[..end]).into_owned()
    }
}

/// `BPF_PROG_LOAD`, once.
pub(crate) fn load(program: Program<'_>, token: Token<'_>, log: &mut Log) -> Result<OwnedFd, Errno> {
    log.0[0] = 0;
    let mut options = sys::bpf_prog_load_opts {
        sz: size_of::<sys::bpf_prog_load_opts>() as u64,
        attempts: 1,
        expected_attach_type: program.expected_attach_type,
        prog_flags: program.flags | flag(token),
        attach_btf_id: program.attach_btf_id,
        token_fd: number(token),
        log_level: STATS,
        log_size: log.0.len() as u32,
        log_buf: log.0.as_mut_ptr().cast(),
        ..Default::default()
    };
    // SAFETY: instructions, license, log and options live across the call, the counts are theirs, and `bpf_insn` is
    // eight bytes with no stricter alignment than `u64`.
    owned(unsafe {
        sys::bpf_prog_load(
            program.prog_type,
            ptr::null(),
            program.license.as_ptr(),
            program.instructions.as_ptr().cast(),
            program.instructions.len() as u64,
            &mut options,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_ends_at_its_first_zero() {
        let mut log = Log::new();
        assert_eq!(log.text(), "");
        log.0[..6].copy_from_slice(b"R9 !\0x");
        assert_eq!(log.text(), "R9 !");
    }

    #[test]
    fn an_instruction_fits_its_number() {
        assert_eq!(size_of::<sys::bpf_insn>(), size_of::<u64>());
        assert!(align_of::<sys::bpf_insn>() <= align_of::<u64>());
    }
}
