//! `BPF_PROG_LOAD` of any instructions, with the verifier's log.

use std::os::fd::OwnedFd;

use harness_protocol::errno::Errno;

use super::{ProgSpec, Token};

/// The verifier's log of one program, without a line for each instruction.
#[derive(Debug)]
pub(crate) struct Log(Vec<u8>);

impl Log {
    /// Makes a log with more room than the verifier needs at this level.
    pub(crate) fn new() -> Self {
        Self(vec![0; 16 * 1024])
    }

    /// Returns the log of the last load; empty if the load did not reach the verifier.
    pub(crate) fn text(&self) -> String {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        String::from_utf8_lossy(&self.0[..end]).into_owned()
    }
}

/// `BPF_PROG_LOAD`, once.
pub(crate) fn load(spec: ProgSpec<'_>, token: Token<'_>, log: &mut Log) -> Result<OwnedFd, Errno> {
    log.0[0] = 0;
    super::load(spec, token, &mut log.0)
}

#[cfg(test)]
mod tests {
    use libbpf_sys as sys;

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
