//! What the kernel reveals about an object, and to whom.

#![allow(unsafe_code)]

use std::os::fd::BorrowedFd;

use harness_protocol::{errno::Errno, plan::ObjectKind};
use libbpf_sys as sys;

use super::result::{AttemptResult, detailed, done};
use crate::attr::Attr;

/// `BPF_OBJ_GET_INFO_BY_FD`: returns what depends on the caller.
pub(super) fn of(object: BorrowedFd<'_>, kind: Option<ObjectKind>) -> AttemptResult {
    match kind {
        Some(ObjectKind::Map) => detailed(map(object)),
        Some(ObjectKind::Prog) => detailed(program(object)),
        Some(ObjectKind::Link) => detailed(link(object)),
        Some(ObjectKind::Btf) => done(ask(object, &mut sys::bpf_btf_info::default())),
        None => done(ask(object, &mut [0_u8; 64])),
    }
}

/// Makes the kernel fill an info structure, which may point to buffers that outlive the call.
fn ask<T>(object: BorrowedFd<'_>, description: &mut T) -> Result<(), Errno> {
    let description = std::slice::from_mut(description);
    let length = size_of_val(description) as u32;
    let mut attr = Attr::new().fd(0, object).u32(4, length).output(8, description);
    // SAFETY: the structure has the stated length, and so have the buffers that it points to.
    unsafe { attr.call(sys::BPF_OBJ_GET_INFO_BY_FD) }.map(|_| ())
}

fn map(object: BorrowedFd<'_>) -> Result<String, Errno> {
    let mut map = sys::bpf_map_info::default();
    ask(object, &mut map)?;
    Ok(format!("flags={:#x}", map.map_flags))
}

/// The kernel shows a program's instructions, machine code and its address to some callers only, and the creator's uid
/// as mapped in the caller's user namespace (`bpf_prog_get_info_by_fd` in `kernel/bpf/syscall.c`).
fn program(object: BorrowedFd<'_>) -> Result<String, Errno> {
    let (mut instructions, mut code, mut addresses) = ([0_u8; 64], [0_u8; 64], [0_u64; 1]);
    let mut prog = sys::bpf_prog_info {
        xlated_prog_insns: instructions.as_mut_ptr() as u64,
        xlated_prog_len: instructions.len() as u32,
        jited_prog_insns: code.as_mut_ptr() as u64,
        jited_prog_len: code.len() as u32,
        jited_ksyms: addresses.as_mut_ptr() as u64,
        nr_jited_ksyms: addresses.len() as u32,
        ..Default::default()
    };
    ask(object, &mut prog)?;
    Ok(format!(
        "instructions={} code={} address={} uid={}",
        shown(prog.xlated_prog_len, prog.xlated_prog_insns),
        shown(prog.jited_prog_len, prog.jited_prog_insns),
        shown(prog.nr_jited_ksyms, prog.jited_ksyms),
        prog.created_by_uid
    ))
}

/// Returns how many instructions the kernel made of a program, each eight bytes (`struct bpf_insn`), or how many the
/// verifier processed.
pub(super) fn instructions(prog: BorrowedFd<'_>, verified: bool) -> AttemptResult {
    let mut description = sys::bpf_prog_info::default();
    let asked = ask(prog, &mut description);
    detailed(asked.map(|()| match description.xlated_prog_len {
        _ if verified => format!("{} instructions", description.verified_insns),
        0 => "hidden".to_owned(),
        bytes => format!("{} instructions", bytes as usize / size_of::<sys::bpf_insn>()),
    }))
}

/// The kernel clears the count of what it hides, or the pointer to what it only counts.
fn shown(count: u32, pointer: u64) -> &'static str {
    match (count, pointer) {
        (0, _) => "hidden",
        (_, 0) => "counted",
        _ => "shown",
    }
}

/// Only links to function entries show some callers more than others: the functions' addresses
/// (`bpf_kprobe_multi_link_fill_link_info` in `kernel/trace/bpf_trace.c`).
fn link(object: BorrowedFd<'_>) -> Result<String, Errno> {
    let mut link = sys::bpf_link_info::default();
    ask(object, &mut link)?;
    if link.type_ != sys::BPF_LINK_TYPE_KPROBE_MULTI {
        return Ok(format!("type={}", link.type_));
    }
    let mut addresses = [0_u64; 1];
    let mut link = sys::bpf_link_info::default();
    link.__bindgen_anon_1.kprobe_multi.addrs = addresses.as_mut_ptr() as u64;
    link.__bindgen_anon_1.kprobe_multi.count = addresses.len() as u32;
    ask(object, &mut link)?;
    Ok(format!("address={}", if addresses == [0] { "hidden" } else { "shown" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_counted_and_shown_are_distinguished() {
        assert_eq!([shown(0, 7), shown(1, 0), shown(1, 7)], ["hidden", "counted", "shown"]);
    }
}
