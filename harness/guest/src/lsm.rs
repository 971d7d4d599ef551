//! BPF programs of our own on LSM hooks, which refuse everything while they are switched on.
//!
//! A program reads one number from a map that is mapped into the guest's memory: 0 lets everything pass, any other
//! value makes it return `EPERM`. So the switch is a store to memory, not a `bpf(2)` call that the hooks could refuse.

#![allow(unsafe_code)]

use std::{
    os::fd::{AsRawFd, OwnedFd},
    ptr::{self, NonNull},
    rc::Rc,
    sync::atomic::{AtomicU32, Ordering},
};

use harness_protocol::{errno::Errno, plan::LsmHook};
use libbpf_sys as sys;
use rustix::mm::{MapFlags, ProtFlags};
use thiserror::Error;

use crate::{
    bpf::{self, MapSpec, ProgSpec},
    kernel_types,
};

/// Why a hook could not be attached to.
#[derive(Debug, Error)]
#[error("LSM hook {}: {call}: {errno}; the kernel needs CONFIG_BPF_LSM and `bpf` in its LSM list", hook.as_str())]
pub(crate) struct LsmError {
    hook: LsmHook,
    call: &'static str,
    errno: Errno,
}

/// Programs on hooks, inactive until switched on; detached when dropped.
#[derive(Debug, Default)]
pub(crate) struct LsmDenyHooks {
    switch: Option<Rc<Switch>>,
    links: Vec<OwnedFd>,
}

/// The switch of all scenarios, made for the first one with hooks. It stays: the kernel frees the map only long after
/// its last program, once no task can be in the trampoline any more.
#[derive(Debug, Default)]
pub(crate) struct SharedSwitch(Option<Rc<Switch>>);

impl SharedSwitch {
    /// Makes the switch if there are hooks and no switch yet. Returns whether it made one.
    pub(crate) fn prepare(&mut self, hooks: &[LsmHook]) -> Result<bool, LsmError> {
        let (Some(&hook), None) = (hooks.first(), &self.0) else { return Ok(false) };
        let made = Switch::new().map_err(|(call, errno)| LsmError { hook, call, errno })?;
        self.0 = Some(Rc::new(made));
        Ok(true)
    }
}

impl LsmDenyHooks {
    /// Attaches programs to these hooks, with the switch that was prepared.
    pub(crate) fn on(hooks: &[LsmHook], shared: &SharedSwitch) -> Result<Self, LsmError> {
        let Some(switch) = shared.0.clone() else { return Ok(Self::default()) };
        switch.set(false);
        let take = |&hook: &LsmHook| take(hook, &switch.map).map_err(|(call, errno)| LsmError { hook, call, errno });
        let links = hooks.iter().map(take).collect::<Result<_, _>>()?;
        Ok(Self { switch: Some(switch), links })
    }

    /// Returns whether there are any.
    pub(crate) fn any(&self) -> bool {
        !self.links.is_empty()
    }

    /// Switches them on, so that they refuse everything, or off.
    pub(crate) fn set_in_force(&self, in_force: bool) {
        if let Some(switch) = &self.switch {
            switch.set(in_force);
        }
    }
}

/// The function that failed, and its errno.
type Failed = (&'static str, Errno);

/// The number that the programs read.
#[derive(Debug)]
struct Switch {
    map: OwnedFd,
    memory: NonNull<AtomicU32>,
}

impl Switch {
    fn new() -> Result<Self, Failed> {
        let spec = MapSpec {
            map_type: sys::BPF_MAP_TYPE_ARRAY,
            key_size: 4,
            value_size: 4,
            max_entries: 1,
            flags: sys::BPF_F_MMAPABLE,
            ..MapSpec::default()
        };
        let map = bpf::map_create(spec, None).map_err(|errno| ("BPF_MAP_CREATE", errno))?;
        // SAFETY: a new mapping of the map's only value, at an address of the kernel's choice.
        let memory = unsafe {
            let access = ProtFlags::READ | ProtFlags::WRITE;
            rustix::mm::mmap(ptr::null_mut(), size_of::<AtomicU32>(), access, MapFlags::SHARED, &map, 0)
        };
        let memory = memory.map_err(|errno| ("mmap of the map", crate::error::errno(errno)))?;
        let memory = NonNull::new(memory.cast()).ok_or(("mmap of the map", Errno::EINVAL))?;
        Ok(Self { map, memory })
    }

    fn set(&self, in_force: bool) {
        // SAFETY: the mapping lives as long as this value, is writable and page-aligned, and this process only accesses
        // it atomically.
        unsafe { self.memory.as_ref() }.store(u32::from(in_force), Ordering::SeqCst);
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        // SAFETY: the mapping was made in `new`, and nobody uses it any more.
        let _ = unsafe { rustix::mm::munmap(self.memory.as_ptr().cast(), size_of::<AtomicU32>()) };
    }
}

/// Loads the program for a hook and attaches it; the link keeps the program alive.
fn take(hook: LsmHook, switch: &OwnedFd) -> Result<OwnedFd, Failed> {
    let target = kernel_types::known().id(&hook.function());
    let target = target.map_err(|_| ("lookup in the kernel's BTF", Errno::from_raw(libc::ENOENT)))?;
    let body: Vec<u64> = instructions(switch.as_raw_fd(), hook.condition()).into_iter().map(encoded).collect();
    let spec = ProgSpec {
        prog_type: sys::BPF_PROG_TYPE_LSM,
        expected_attach_type: sys::BPF_LSM_MAC,
        target,
        body: &body,
        ..ProgSpec::PLAIN
    };
    let program = bpf::prog_load(spec, None).map_err(|errno| ("BPF_PROG_LOAD", errno))?;
    // SAFETY: LSM programs are attached without a name; the descriptor is open.
    let link = unsafe { sys::bpf_raw_tracepoint_open(ptr::null(), program.as_raw_fd()) };
    bpf::owned(link).map_err(|errno| ("BPF_RAW_TRACEPOINT_OPEN", errno))
}

/// Encodes an instruction as one number (RFC 9669).
fn encoded(insn: sys::bpf_insn) -> u64 {
    let registers = u64::from(insn.dst_reg()) | u64::from(insn.src_reg()) << 4;
    let (off, imm) = (u64::from(insn.off.cast_unsigned()), u64::from(insn.imm.cast_unsigned()));
    u64::from(insn.code) | registers << 8 | off << 16 | imm << 32
}

/// `return switch ? -EPERM : 0`, in the instruction encoding of RFC 9669; with a condition only if that argument of the
/// hook is not NULL.
///
/// The verifier believes that no argument of a hook is NULL, so the program must not compare the argument itself: it
/// reads the memory that the argument is in, as a number.
fn instructions(map: i32, condition: Option<usize>) -> Vec<sys::bpf_insn> {
    let insn = |code: u32, registers: (u8, u8), off: i16, imm: i32| {
        let mut insn = sys::bpf_insn { code: code as u8, off, imm, ..Default::default() };
        insn.set_dst_reg(registers.0);
        insn.set_src_reg(registers.1);
        insn
    };
    let (mov, value) = (sys::BPF_ALU64 | sys::BPF_MOV | sys::BPF_K, sys::BPF_PSEUDO_MAP_VALUE as u8);
    let (copy, add) = (sys::BPF_ALU64 | sys::BPF_MOV | sys::BPF_X, sys::BPF_ALU64 | sys::BPF_ADD | sys::BPF_K);
    let pass_if_null = |argument: usize| {
        [
            insn(copy, (3, 1), 0, 0),
            insn(add, (3, 0), 0, (argument * size_of::<u64>()) as i32),
            insn(copy, (1, 10), 0, 0),
            insn(add, (1, 0), 0, -8),
            insn(mov, (2, 0), 0, size_of::<u64>() as i32),
            insn(sys::BPF_JMP | sys::BPF_CALL, (0, 0), 0, sys::BPF_FUNC_probe_read_kernel as i32),
            insn(sys::BPF_LDX | sys::BPF_MEM | sys::BPF_DW, (1, 10), -8, 0),
            insn(mov, (0, 0), 0, 0),
            // To the end of the other part.
            insn(sys::BPF_JMP | sys::BPF_JEQ | sys::BPF_K, (1, 0), 6, 0),
        ]
    };
    let refuse = [
        insn(sys::BPF_LD | sys::BPF_DW | sys::BPF_IMM, (1, value), 0, map),
        insn(0, (0, 0), 0, 0),
        insn(sys::BPF_LDX | sys::BPF_MEM | sys::BPF_W, (1, 1), 0, 0),
        insn(mov, (0, 0), 0, 0),
        insn(sys::BPF_JMP | sys::BPF_JEQ | sys::BPF_K, (1, 0), 1, 0),
        insn(mov, (0, 0), 0, -libc::EPERM),
        insn(sys::BPF_JMP | sys::BPF_EXIT, (0, 0), 0, 0),
    ];
    condition.map(pass_if_null).into_iter().flatten().chain(refuse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_hooks_nothing_is_done_and_nothing_refused() {
        let mut shared = SharedSwitch::default();
        assert!(!shared.prepare(&[]).unwrap());
        let deny_hooks = LsmDenyHooks::on(&[], &shared).unwrap();
        deny_hooks.set_in_force(true);
        assert!(!deny_hooks.any());
    }

    #[test]
    fn the_program_reads_the_switch_and_refuses() {
        let program = instructions(7, None);
        assert_eq!((program[0].code, program[0].src_reg(), program[0].imm), (0x18, 2, 7));
        assert_eq!((program[2].code, program[2].dst_reg(), program[2].src_reg()), (0x61, 1, 1));
        assert_eq!((program[4].code, program[4].off), (0x15, 1));
        assert_eq!((program[5].imm, program[6].code), (-1, 0x95));
        assert_eq!([program[0], program[4], program[5]].map(encoded), [0x7_0000_2118, 0x1_0115, 0xffff_ffff_0000_00b7]);
    }

    #[test]
    fn a_condition_precedes_the_same_program_and_jumps_to_its_end() {
        let encode = |condition| instructions(7, condition).into_iter().map(encoded).collect::<Vec<_>>();
        let (always, conditional) = (encode(None), encode(Some(2)));
        let (before, after) = conditional.split_at(conditional.len() - always.len());
        assert_eq!(after, always);
        let offset = (before.last().unwrap() >> 16) as u16 as usize;
        assert_eq!(after[offset], 0x95);
        assert_eq!(before[1], 0x10_0000_0307);
    }

    #[test]
    fn a_hook_that_cannot_be_taken_is_named() {
        let error = LsmError { hook: LsmHook::BpfTokenCmd, call: "BPF_PROG_LOAD", errno: Errno::EINVAL };
        insta::assert_snapshot!(
            error,
            @"LSM hook bpf_token_cmd: BPF_PROG_LOAD: EINVAL; the kernel needs CONFIG_BPF_LSM and `bpf` in its LSM list"
        );
    }
}
