//! Programs given as instructions.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use harness_protocol::{
    outcome::Answer,
    plan::{KernelType, Verify},
};

use crate::{
    bpf::{
        ProgSpec, Token,
        verify::{self, Log},
    },
    kernel_types::{self, UnknownType},
};

/// Loads a program with its map filled in. A refusal carries the verifier's first message, if the verifier ran.
pub(crate) fn load(
    verify: &Verify,
    map: Option<BorrowedFd<'_>>,
    token: Token<'_>,
) -> Result<(Answer, Option<OwnedFd>), UnknownType> {
    let functions = verify.functions.iter().cloned().map(KernelType::Func);
    let functions: Vec<u32> = functions.map(|wanted| kernel_types::known().id(&wanted)).collect::<Result<_, _>>()?;
    let instructions = with_functions(&verify.instructions, &functions);
    let instructions = match map {
        Some(map) => with_map(&instructions, map.as_raw_fd().unsigned_abs()),
        None => instructions,
    };
    let spec = ProgSpec {
        prog_type: verify.prog_type,
        expected_attach_type: verify.expected_attach_type,
        body: &instructions,
        ..ProgSpec::PLAIN
    };
    let mut log = Log::new();
    Ok(match verify::load(spec, token, &mut log) {
        Ok(prog) => (Answer::Ok { detail: None }, Some(prog)),
        Err(errno) => (Answer::Err { errno, step: first_message(&log.text()) }, None),
    })
}

/// Returns the first verifier message that is not its summary.
fn first_message(log: &str) -> Option<String> {
    let first = log.lines().find(|line| !line.is_empty())?;
    if first.starts_with(SUMMARY) { None } else { Some(format!("the verifier: {first}")) }
}

/// The start of the summary at the end of a log (`print_verification_stats` in `kernel/bpf/verifier.c`).
const SUMMARY: &str = "processed ";

/// Fills in the BTF id of a kernel function in each instruction that calls one by its index: `BPF_JMP | BPF_CALL` with
/// `BPF_PSEUDO_KFUNC_CALL` as its source register (`include/uapi/linux/bpf.h`).
fn with_functions(instructions: &[u64], numbers: &[u32]) -> Vec<u64> {
    let fill = |&instruction: &u64| match numbers.get((instruction >> 32) as usize) {
        Some(number) if instruction & 0xf0ff == 0x2085 => instruction & u64::from(u32::MAX) | u64::from(*number) << 32,
        _ => instruction,
    };
    instructions.iter().map(fill).collect()
}

/// Fills in a map's descriptor in each instruction that loads one: `BPF_LD | BPF_DW | BPF_IMM` with `BPF_PSEUDO_MAP_FD`
/// as its source register (RFC 9669). Its second half has opcode 0.
fn with_map(instructions: &[u64], fd: u32) -> Vec<u64> {
    let loads_map = |instruction: u64| instruction & 0xf0ff == 0x1018;
    let fill = |&instruction: &u64| {
        if loads_map(instruction) { instruction & u64::from(u32::MAX) | u64::from(fd) << 32 } else { instruction }
    };
    instructions.iter().map(fill).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_message_is_returned_and_the_summary_is_not() {
        let log = "R0 leaks addr as return value\nprocessed 2 insns (limit 1000000)\n";
        assert_eq!(first_message(log).as_deref(), Some("the verifier: R0 leaks addr as return value"));
        assert_eq!(first_message("processed 2 insns (limit 1000000)\n"), None);
        assert_eq!(first_message(""), None);
    }

    #[test]
    fn the_id_of_a_function_replaces_its_index() {
        let (call, helper) = (0x2085, 0x85 | 1 << 32);
        assert_eq!(with_functions(&[call, call | 1 << 32, helper], &[7, 9]), [call | 7 << 32, call | 9 << 32, helper]);
    }

    #[test]
    fn the_descriptor_of_the_map_is_filled_in_wherever_one_is_loaded() {
        let load_r1 = 0x1118;
        let plain = [0xb7, load_r1, 0, 0x95];
        assert_eq!(with_map(&plain, 7), [0xb7, 7 << 32 | load_r1, 0, 0x95]);
        assert_eq!(with_map(&[0x18, 0], 7), [0x18, 0]);
    }
}
