//! The `bpf(2)` calls, each exactly one system call of the meaning asked for, on libbpf's low-level functions.
//!
//! Two habits of libbpf 1.7 (`src/bpf.c`) would change what is asked, and are kept out:
//! - Before the first map, program or BTF it probes by loading a program whether the kernel accounts memory to control
//!   groups, and raises `RLIMIT_MEMLOCK` if not. [`settle`] has that done once, as root, before any fork; libbpf
//!   remembers the result.
//! - `bpf_link_create` answers `EINVAL` of five attach types by trying `BPF_RAW_TRACEPOINT_OPEN` instead, another
//!   operation. [`link_create`] therefore makes the call itself, on libbpf-sys' `bpf_attr`.
//!
//! `bpf_prog_load` repeats a load that got `EAGAIN` unless told to attempt it once, which [`prog_load`] does.

#![allow(unsafe_code)]

use std::{
    ffi::CStr,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr,
};

use harness_model::errno::Errno;
use libbpf_sys as sys;

/// A token for a call that takes one.
pub(crate) type Token<'fd> = Option<BorrowedFd<'fd>>;

/// Arguments of `BPF_MAP_CREATE`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MapSpec {
    /// `enum bpf_map_type`.
    pub(crate) map_type: u32,
    /// Bytes of a key.
    pub(crate) key_size: u32,
    /// Bytes of a value.
    pub(crate) value_size: u32,
    /// Number of entries.
    pub(crate) max_entries: u32,
    /// `map_flags` without the token's.
    pub(crate) flags: u32,
}

/// Arguments of `BPF_PROG_LOAD` of a program that returns a constant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProgSpec<'a> {
    /// `enum bpf_prog_type`.
    pub(crate) prog_type: u32,
    /// `enum bpf_attach_type`.
    pub(crate) expected_attach_type: u32,
    /// `prog_flags` without the token's.
    pub(crate) flags: u32,
    /// What the program returns.
    pub(crate) returns: i32,
    /// Its license.
    pub(crate) license: &'a CStr,
}

/// What a link is attached to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target<'fd> {
    /// An interface by its index.
    Interface(u32),
    /// A cgroup's directory.
    Cgroup(BorrowedFd<'fd>),
    /// A netfilter hook.
    Netfilter {
        /// `NFPROTO_*`.
        pf: u32,
        /// `NF_INET_*`.
        hooknum: u32,
        /// Smaller runs earlier.
        priority: i32,
    },
}

/// The four masks of a token, as `BPF_OBJ_GET_INFO_BY_FD` tells them (`struct bpf_token_info`).
pub(crate) type TokenMasks = sys::bpf_token_info;

/// Lets libbpf find out, with the privileges the caller has now, what it would otherwise probe in the middle of an
/// attempt; forks inherit what it found.
pub(crate) fn settle() {
    // SAFETY: sets a number.
    unsafe { sys::libbpf_set_memlock_rlim(0) };
    // Its answer does not matter, the probe it causes does.
    let _ = map_create(MapSpec::default(), None, None);
}

/// `BPF_TOKEN_CREATE`.
pub(crate) fn token_create(bpffs: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    // SAFETY: without options the call only reads its integer arguments.
    owned(unsafe { sys::bpf_token_create(bpffs.as_raw_fd(), ptr::null_mut()) })
}

/// `BPF_MAP_CREATE`.
pub(crate) fn map_create(spec: MapSpec, inner: Option<BorrowedFd<'_>>, token: Token<'_>) -> Result<OwnedFd, Errno> {
    let options = sys::bpf_map_create_opts {
        sz: size_of::<sys::bpf_map_create_opts>() as u64,
        map_flags: spec.flags | flag(token),
        inner_map_fd: number(inner),
        token_fd: number(token),
        ..Default::default()
    };
    // SAFETY: a null name is allowed; the options live across the call and hold no pointers.
    owned(unsafe {
        sys::bpf_map_create(spec.map_type, ptr::null(), spec.key_size, spec.value_size, spec.max_entries, &options)
    })
}

/// `BPF_PROG_LOAD`, once, without a verifier log.
pub(crate) fn prog_load(spec: ProgSpec<'_>, token: Token<'_>) -> Result<OwnedFd, Errno> {
    let program = returning(spec.returns);
    let mut options = sys::bpf_prog_load_opts {
        sz: size_of::<sys::bpf_prog_load_opts>() as u64,
        attempts: 1,
        expected_attach_type: spec.expected_attach_type,
        prog_flags: spec.flags | flag(token),
        token_fd: number(token),
        ..Default::default()
    };
    // SAFETY: instructions, license and options live across the call, and the count is the number of instructions.
    owned(unsafe {
        sys::bpf_prog_load(
            spec.prog_type,
            ptr::null(),
            spec.license.as_ptr(),
            program.as_ptr(),
            program.len() as u64,
            &mut options,
        )
    })
}

/// `r0 = value; exit`, by the instruction encoding of RFC 9669.
fn returning(value: i32) -> [sys::bpf_insn; 2] {
    let mov = (sys::BPF_ALU64 | sys::BPF_MOV | sys::BPF_K) as u8;
    let exit = (sys::BPF_JMP | sys::BPF_EXIT) as u8;
    [sys::bpf_insn { code: mov, imm: value, ..Default::default() }, sys::bpf_insn { code: exit, ..Default::default() }]
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
pub(crate) fn obj_get(path: &CStr) -> Result<OwnedFd, Errno> {
    // SAFETY: the path ends with a zero and outlives the call.
    owned(unsafe { sys::bpf_obj_get(path.as_ptr()) })
}

/// What the kernel reads and writes at once for one element of a map, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ElementSize {
    key: usize,
    value: usize,
}

impl ElementSize {
    /// The largest key or value accepted, in bytes.
    pub(crate) const LARGEST: usize = 16 * 1024 * 1024;

    /// Of a map whose description gives these numbers. For maps with a value a processor the kernel copies all of
    /// them, each rounded up to 8 bytes (`bpf_map_value_size`, `kernel/bpf/syscall.c`); assumed for every map, it is
    /// merely generous. `None` if it exceeds [`Self::LARGEST`].
    pub(crate) fn new(key: u32, value: u32, processors: usize) -> Option<Self> {
        let value = (value as usize).checked_next_multiple_of(8)?.checked_mul(processors.max(1))?.max(8);
        let key = (key as usize).max(8);
        (value <= Self::LARGEST && key <= Self::LARGEST).then_some(Self { key, value })
    }
}

/// `BPF_MAP_UPDATE_ELEM` without flags; what the caller's bytes lack of `size` is zero.
pub(crate) fn map_update(map: BorrowedFd<'_>, key: &[u8], value: &[u8], size: ElementSize) -> Result<(), Errno> {
    let (key, value) = (padded(key, size.key), padded(value, size.value));
    // SAFETY: the kernel reads as many bytes as the map's key and value have, and both buffers have at least those.
    done(unsafe { sys::bpf_map_update_elem(map.as_raw_fd(), key.as_ptr().cast(), value.as_ptr().cast(), 0) })
}

/// `BPF_MAP_LOOKUP_ELEM`: at least the element's bytes.
pub(crate) fn map_lookup(map: BorrowedFd<'_>, key: &[u8], size: ElementSize) -> Result<Vec<u8>, Errno> {
    let (key, mut value) = (padded(key, size.key), vec![0; size.value]);
    // SAFETY: the kernel reads the map's key size and writes its value size; the buffers have at least those.
    let result = unsafe { sys::bpf_map_lookup_elem(map.as_raw_fd(), key.as_ptr().cast(), value.as_mut_ptr().cast()) };
    done(result).map(|()| value)
}

fn padded(bytes: &[u8], least: usize) -> Vec<u8> {
    let mut padded = bytes.to_vec();
    padded.resize(least.max(bytes.len()), 0);
    padded
}

/// `BPF_PROG_TEST_RUN` on a packet: what the program returned.
pub(crate) fn prog_test_run(prog: BorrowedFd<'_>, packet: &[u8]) -> Result<u32, Errno> {
    let mut options = sys::bpf_test_run_opts {
        sz: size_of::<sys::bpf_test_run_opts>() as u64,
        data_in: packet.as_ptr().cast(),
        data_size_in: packet.len() as u32,
        repeat: 1,
        ..Default::default()
    };
    // SAFETY: pointer and size of the packet belong together, and both outlive the call; nothing is asked back but
    // the numbers in the options.
    done(unsafe { sys::bpf_prog_test_run_opts(prog.as_raw_fd(), &mut options) }).map(|()| options.retval)
}

/// `BPF_LINK_CREATE` without flags, by `syscall(2)`; the module says why not by libbpf.
pub(crate) fn link_create(prog: BorrowedFd<'_>, attach_type: u32, target: Target<'_>) -> Result<OwnedFd, Errno> {
    let mut attr = sys::bpf_attr::default();
    attr.link_create.__bindgen_anon_1.prog_fd = number(Some(prog));
    attr.link_create.attach_type = attach_type;
    match target {
        Target::Interface(index) => attr.link_create.__bindgen_anon_2.target_ifindex = index,
        Target::Cgroup(folder) => attr.link_create.__bindgen_anon_2.target_fd = number(Some(folder)),
        Target::Netfilter { pf, hooknum, priority } => {
            attr.link_create.__bindgen_anon_3.netfilter =
                sys::bpf_attr__bindgen_ty_14__bindgen_ty_3__bindgen_ty_5 { pf, hooknum, priority, flags: 0 };
        }
    }
    // SAFETY: `attr` is a fully initialised union of the size given, without pointers for this command.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, sys::BPF_LINK_CREATE, &raw mut attr, size_of_val(&attr.link_create)) };
    if result < 0 {
        // SAFETY: the location is this thread's own and always valid.
        return Err(Errno::from_raw(unsafe { *libc::__errno_location() }));
    }
    owned(result as i32)
}

/// A kind of object the kernel numbers.
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

/// `BPF_*_GET_NEXT_ID`: the lowest id above `after`, `None` after the last.
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

/// libbpf returns a descriptor or a negative errno (`libbpf_legacy.h`, since 1.0).
fn owned(result: i32) -> Result<OwnedFd, Errno> {
    if result < 0 {
        return Err(Errno::from_raw(-result));
    }
    // SAFETY: the call has just made this descriptor for us, and nobody else knows it.
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
        let [mov, exit] = returning(-3);
        assert_eq!((mov.code, mov.dst_reg(), mov.src_reg(), mov.off, mov.imm), (0xb7, 0, 0, 0, -3));
        assert_eq!((exit.code, exit.imm), (0x95, 0));
    }

    #[test]
    fn element_buffers_hold_a_value_of_every_processor() {
        assert_eq!(ElementSize::new(4, 4, 2), Some(ElementSize { key: 8, value: 16 }));
        assert_eq!(ElementSize::new(0, 0, 0), Some(ElementSize { key: 8, value: 8 }));
        assert_eq!(ElementSize::new(4, u32::MAX, 64), None);
        assert_eq!(ElementSize::new(u32::MAX, 4, 1), None);
        assert_eq!(padded(&[1, 2], 4), [1, 2, 0, 0]);
        assert_eq!(padded(&[1, 2, 3], 2), [1, 2, 3]);
    }

    #[test]
    fn results_are_descriptors_or_errnos() {
        assert_eq!(owned(-524).unwrap_err(), Errno::ENOTSUPP);
        assert_eq!(done(-1), Err(Errno::EPERM));
        assert_eq!(done(0), Ok(()));
    }
}
