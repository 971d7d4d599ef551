//! The `bpf(2)` calls, each exactly one system call with the meaning asked for, on top of libbpf's low-level functions.
//!
//! libbpf 1.7 has one habit that would change what is asked, and it is kept out: before the first map, program or BTF
//! it loads a program to probe whether the kernel charges memory to control groups, and raises `RLIMIT_MEMLOCK` if not
//! (`src/bpf.c`). The program answers that itself (`object::recorder`).
//!
//! `bpf_prog_load` repeats a load that failed with `EAGAIN` unless it is limited to one attempt; [`prog_load`] limits
//! it.

#![allow(unsafe_code)]

pub(crate) mod names;
pub(crate) mod verifier_log;
pub(crate) mod verify;

use std::{
    ffi::CStr,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr,
};

use harness_protocol::errno::Errno;
use libbpf_sys as sys;

/// A token for a call that takes one.
pub(crate) type Token<'fd> = Option<BorrowedFd<'fd>>;

/// Arguments of `BPF_MAP_CREATE`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MapSpec<'a> {
    /// `enum bpf_map_type`.
    pub(crate) map_type: u32,
    /// Bytes of a key.
    pub(crate) key_size: u32,
    /// Bytes of a value.
    pub(crate) value_size: u32,
    /// Number of entries.
    pub(crate) max_entries: u32,
    /// `map_flags` without the token flag.
    pub(crate) flags: u32,
    /// `map_extra`.
    pub(crate) extra: u64,
    /// The inner map of a map of maps.
    pub(crate) inner: Option<BorrowedFd<'a>>,
    /// A BTF object with the ids of the key's and the value's type.
    pub(crate) types: Option<(BorrowedFd<'a>, u32, u32)>,
    /// The BTF id of the kernel structure that is the value; 0 for none.
    pub(crate) structure: u32,
    /// The SHA-256 sum of the instructions of the only program that may use it.
    pub(crate) exclusive: Option<&'a [u8; 32]>,
}

/// Arguments of `BPF_PROG_LOAD`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProgSpec<'a> {
    /// `enum bpf_prog_type`.
    pub(crate) prog_type: u32,
    /// `enum bpf_attach_type`.
    pub(crate) expected_attach_type: u32,
    /// `prog_flags` without the token flag.
    pub(crate) flags: u32,
    /// Its instructions, each a `struct bpf_insn`.
    pub(crate) body: &'a [u64],
    /// Its license.
    pub(crate) license: &'a CStr,
    /// The BTF id of the type it is written for: a type of the kernel's, or of a program's.
    pub(crate) target: u32,
    /// The program whose function it replaces.
    pub(crate) replaces: Option<BorrowedFd<'a>>,
    /// Its own BTF, and each function's first instruction and type (`struct bpf_func_info`).
    pub(crate) types: Option<(BorrowedFd<'a>, &'a [[u32; 2]])>,
    /// Maps that instructions name by their index in this list.
    pub(crate) maps: &'a [BorrowedFd<'a>],
}

impl ProgSpec<'_> {
    /// A program of no type, with the required members only.
    pub(crate) const PLAIN: ProgSpec<'static> = ProgSpec {
        prog_type: 0,
        expected_attach_type: 0,
        flags: 0,
        body: &returning(0),
        license: c"GPL",
        target: 0,
        replaces: None,
        types: None,
        maps: &[],
    };
}

/// The four masks of a token, as `BPF_OBJ_GET_INFO_BY_FD` returns them (`struct bpf_token_info`).
pub(crate) type TokenMasks = sys::bpf_token_info;

/// Returns whether a call of `bpf(2)` reaches the kernel's own code instead of a filter: the kernel checks no
/// permission before it rejects an unknown command (`__sys_bpf`, `kernel/bpf/syscall.c`).
pub(crate) fn is_reached() -> bool {
    // Not all ones: later kernels use higher bits as flags next to the command (`BPF_COMMON_ATTRS` in 7.3).
    const NO_COMMAND: u32 = 0xfff;
    // SAFETY: the attributes hold no pointers.
    let answer = unsafe { crate::attr::Attr::new().call(NO_COMMAND) };
    answer == Err(Errno::EINVAL)
}

/// `BPF_TOKEN_CREATE`.
pub(crate) fn token_create(bpffs: BorrowedFd<'_>, flags: u32) -> Result<OwnedFd, Errno> {
    let mut options =
        sys::bpf_token_create_opts { sz: size_of::<sys::bpf_token_create_opts>() as u64, flags, ..Default::default() };
    // SAFETY: the options live across the call and hold no pointers.
    owned(unsafe { sys::bpf_token_create(bpffs.as_raw_fd(), &mut options) })
}

/// `BPF_MAP_CREATE`.
pub(crate) fn map_create(spec: MapSpec<'_>, token: Token<'_>) -> Result<OwnedFd, Errno> {
    let (btf, key, value) = spec.types.map_or((None, 0, 0), |(btf, key, value)| (Some(btf), key, value));
    let options = sys::bpf_map_create_opts {
        sz: size_of::<sys::bpf_map_create_opts>() as u64,
        map_flags: spec.flags | flag(token),
        map_extra: spec.extra,
        inner_map_fd: number(spec.inner),
        btf_fd: number(btf),
        btf_key_type_id: key,
        btf_value_type_id: value,
        btf_vmlinux_value_type_id: spec.structure,
        token_fd: number(token),
        excl_prog_hash: spec.exclusive.map_or(ptr::null(), |sum| sum.as_ptr().cast()),
        excl_prog_hash_size: spec.exclusive.map_or(0, |sum| sum.len() as u32),
        ..Default::default()
    };
    // SAFETY: a null name is allowed; the options and the sum live across the call, and the size is that of the sum.
    owned(unsafe {
        sys::bpf_map_create(spec.map_type, ptr::null(), spec.key_size, spec.value_size, spec.max_entries, &options)
    })
}

/// `BPF_LOG_STATS` (`include/linux/bpf_verifier.h`): verifier messages and a summary.
const LOG_STATS: u32 = 4;

/// `BPF_PROG_LOAD`, once, without a verifier log.
pub(crate) fn prog_load(spec: ProgSpec<'_>, token: Token<'_>) -> Result<OwnedFd, Errno> {
    load(spec, token, &mut [])
}

/// `BPF_PROG_LOAD`, once. The verifier fills the log as far as it has room; an empty log asks for none.
fn load(spec: ProgSpec<'_>, token: Token<'_>, log: &mut [u8]) -> Result<OwnedFd, Errno> {
    let (btf, functions) = spec.types.map_or((None, &[][..]), |(btf, functions)| (Some(btf), functions));
    let maps: Vec<i32> = spec.maps.iter().map(AsRawFd::as_raw_fd).collect();
    let mut options = sys::bpf_prog_load_opts {
        sz: size_of::<sys::bpf_prog_load_opts>() as u64,
        attempts: 1,
        expected_attach_type: spec.expected_attach_type,
        prog_flags: spec.flags | flag(token),
        attach_btf_id: spec.target,
        attach_prog_fd: number(spec.replaces),
        prog_btf_fd: number(btf),
        func_info: if functions.is_empty() { ptr::null() } else { functions.as_ptr().cast() },
        func_info_cnt: functions.len() as u32,
        func_info_rec_size: if functions.is_empty() { 0 } else { size_of::<[u32; 2]>() as u32 },
        fd_array: if maps.is_empty() { ptr::null() } else { maps.as_ptr() },
        token_fd: number(token),
        log_level: if log.is_empty() { 0 } else { LOG_STATS },
        log_size: log.len() as u32,
        log_buf: if log.is_empty() { ptr::null_mut() } else { log.as_mut_ptr().cast() },
        ..Default::default()
    };
    // SAFETY: instructions (eight bytes each, as `struct bpf_insn` has), license, functions, maps, log and options
    // outlive the call, and each count is that of its array.
    owned(unsafe {
        sys::bpf_prog_load(
            spec.prog_type,
            ptr::null(),
            spec.license.as_ptr(),
            spec.body.as_ptr().cast(),
            spec.body.len() as u64,
            &mut options,
        )
    })
}

/// `r0 = value; exit`, in the instruction encoding of RFC 9669.
pub(crate) const fn returning(value: i32) -> [u64; 2] {
    const MOV: u64 = (sys::BPF_ALU64 | sys::BPF_MOV | sys::BPF_K) as u64;
    const EXIT: u64 = (sys::BPF_JMP | sys::BPF_EXIT) as u64;
    [MOV | (value as u32 as u64) << 32, EXIT]
}

/// `BPF_BTF_LOAD`.
pub(crate) fn btf_load(blob: &[u8], token: Token<'_>) -> Result<OwnedFd, Errno> {
    let mut options = sys::bpf_btf_load_opts {
        sz: size_of::<sys::bpf_btf_load_opts>() as u64,
        btf_flags: flag(token),
        token_fd: number(token),
        ..Default::default()
    };
    // SAFETY: the blob's pointer and length belong together, and both outlive the call.
    owned(unsafe { sys::bpf_btf_load(blob.as_ptr().cast(), blob.len() as u64, &mut options) })
}

/// `BPF_BTF_GET_FD_BY_ID`.
pub(crate) fn btf_get_fd_by_id(id: u32, token: Token<'_>) -> Result<OwnedFd, Errno> {
    let options = sys::bpf_get_fd_by_id_opts {
        sz: size_of::<sys::bpf_get_fd_by_id_opts>() as u64,
        open_flags: flag(token),
        token_fd: number(token),
    };
    // SAFETY: the options live across the call and hold no pointers.
    owned(unsafe { sys::bpf_btf_get_fd_by_id_opts(id, &options) })
}

/// `BPF_OBJ_GET_INFO_BY_FD` of a token.
pub(crate) fn token_info(token: BorrowedFd<'_>) -> Result<TokenMasks, Errno> {
    let mut masks = TokenMasks::default();
    let mut length = size_of::<TokenMasks>() as u32;
    // SAFETY: the kernel writes at most `length` bytes, the size of `masks`, whatever object the descriptor is.
    let result = unsafe { sys::bpf_obj_get_info_by_fd(token.as_raw_fd(), (&raw mut masks).cast(), &mut length) };
    done(result).map(|()| masks)
}

/// `BPF_OBJ_PIN`.
pub(crate) fn obj_pin(object: BorrowedFd<'_>, path: &CStr) -> Result<(), Errno> {
    // SAFETY: the path ends with a zero and outlives the call.
    done(unsafe { sys::bpf_obj_pin(object.as_raw_fd(), path.as_ptr()) })
}

/// `BPF_OBJ_GET`.
pub(crate) fn obj_get(path: &CStr, flags: u32) -> Result<OwnedFd, Errno> {
    let options = sys::bpf_obj_get_opts {
        sz: size_of::<sys::bpf_obj_get_opts>() as u64,
        file_flags: flags,
        ..Default::default()
    };
    // SAFETY: the path ends with a zero; it and the options outlive the call.
    owned(unsafe { sys::bpf_obj_get_opts(path.as_ptr(), &options) })
}

/// `BPF_PROG_TEST_RUN` on a packet. Returns the program's return value.
pub(crate) fn prog_test_run(prog: BorrowedFd<'_>, packet: Option<&[u8]>) -> Result<u32, Errno> {
    let plain = sys::bpf_test_run_opts { sz: size_of::<sys::bpf_test_run_opts>() as u64, ..Default::default() };
    let mut options = match packet {
        None => plain,
        Some(packet) => sys::bpf_test_run_opts {
            data_in: packet.as_ptr().cast(),
            data_size_in: packet.len() as u32,
            repeat: 1,
            ..plain
        },
    };
    // SAFETY: pointer and size of the packet belong together, and both outlive the call; the only output is in the
    // options.
    done(unsafe { sys::bpf_prog_test_run_opts(prog.as_raw_fd(), &mut options) }).map(|()| options.retval)
}

/// A kind of object that the kernel gives ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Maps.
    Map,
    /// Programs.
    Program,
    /// Links.
    Link,
    /// BTF.
    Btf,
}

/// `BPF_*_GET_NEXT_ID`: returns the lowest id above `after`, `None` after the last.
pub(crate) fn next_id(kind: Kind, after: u32) -> Result<Option<u32>, Errno> {
    let mut id = 0;
    // SAFETY: each call writes one number, to a place that outlives it.
    let result = unsafe {
        match kind {
            Kind::Map => sys::bpf_map_get_next_id(after, &mut id),
            Kind::Program => sys::bpf_prog_get_next_id(after, &mut id),
            Kind::Link => sys::bpf_link_get_next_id(after, &mut id),
            Kind::Btf => sys::bpf_btf_get_next_id(after, &mut id),
        }
    };
    match done(result) {
        Ok(()) => Ok(Some(id)),
        Err(errno) if errno.raw() == libc::ENOENT => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn flag(token: Token<'_>) -> u32 {
    if token.is_some() { sys::BPF_F_TOKEN_FD } else { 0 }
}

fn number(fd: Option<BorrowedFd<'_>>) -> u32 {
    fd.map_or(0, |fd| fd.as_fd().as_raw_fd().unsigned_abs())
}

/// Converts what libbpf returns: a new descriptor, or a negative errno (`libbpf_legacy.h`, since 1.0).
pub(crate) fn owned(result: i32) -> Result<OwnedFd, Errno> {
    if result < 0 {
        return Err(Errno::from_raw(-result));
    }
    // SAFETY: the call has just made this descriptor, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

fn done(result: i32) -> Result<(), Errno> {
    if result < 0 { Err(Errno::from_raw(-result)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_is_returned_by_two_instructions() {
        assert_eq!(returning(-3), [0xffff_fffd_0000_00b7, 0x95]);
    }

    #[test]
    fn results_are_descriptors_or_errnos() {
        assert_eq!(owned(-524).unwrap_err(), Errno::ENOTSUPP);
        assert_eq!(done(-1), Err(Errno::EPERM));
        assert_eq!(done(0), Ok(()));
    }
}
