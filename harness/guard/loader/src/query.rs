//! Questions about the BTF objects of the kernel, without reading their types.

#![allow(unsafe_code)]

use std::{
    io, mem,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use libbpf_sys as sys;

/// Returns the id of the BTF object that follows this one.
///
/// # Errors
/// `ENOENT` if there is none.
pub(crate) fn next_btf_id(after: u32) -> io::Result<u32> {
    let mut next = 0;
    // SAFETY: the result is written to a variable that outlives the call.
    done(unsafe { sys::bpf_btf_get_next_id(after, &raw mut next) })?;
    Ok(next)
}

/// Converts what libbpf returns: a negative errno on failure.
fn done(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result) }
}

/// Returns whether a BTF object is the kernel's own. Only the kernel gives BTF objects names.
///
/// # Errors
/// That of the kernel, such as `EPERM`.
pub(crate) fn is_vmlinux(id: u32) -> io::Result<bool> {
    // SAFETY: it takes a number.
    let fd = done(unsafe { sys::bpf_btf_get_fd_by_id(id) })?;
    // SAFETY: a new descriptor that nobody else has.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut name = [0_u8; 16];
    // SAFETY: zero is a valid value of each member.
    let mut info: sys::bpf_btf_info = unsafe { mem::zeroed() };
    (info.name, info.name_len) = (name.as_mut_ptr() as u64, name.len() as u32);
    let mut length = size_of_val(&info) as u32;
    // SAFETY: the kernel writes at most `length` bytes of `info`, and at most `name_len` bytes of `name`.
    done(unsafe { sys::bpf_obj_get_info_by_fd(fd.as_raw_fd(), (&raw mut info).cast(), &raw mut length) })?;
    Ok(name.starts_with(b"vmlinux\0"))
}

/// Opens a map for reading only.
///
/// # Errors
/// That of the kernel, such as `EPERM`.
pub(crate) fn map_to_look_at(id: u32) -> io::Result<OwnedFd> {
    // SAFETY: zero is a valid value of each member.
    let mut options: sys::bpf_get_fd_by_id_opts = unsafe { mem::zeroed() };
    (options.sz, options.open_flags) = (size_of_val(&options) as u64, sys::BPF_F_RDONLY);
    // SAFETY: the options outlive the call.
    let fd = done(unsafe { sys::bpf_map_get_fd_by_id_opts(id, &raw const options) })?;
    // SAFETY: a new descriptor that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Opens a map.
///
/// # Errors
/// That of the kernel, such as `EPERM`; of the guard's map `incoming`, its answer to a reload.
pub(crate) fn map_by_id(id: u32) -> io::Result<OwnedFd> {
    // SAFETY: it takes a number.
    let fd = done(unsafe { sys::bpf_map_get_fd_by_id(id) })?;
    // SAFETY: a new descriptor that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Reads the first value of an array map.
///
/// # Errors
/// That of the kernel.
pub(crate) fn first_value(map: BorrowedFd<'_>, size: usize) -> io::Result<Vec<u8>> {
    // The kernel copies whole values, each rounded up to 8 bytes.
    let mut value = vec![0_u8; size.next_multiple_of(8)];
    let key = 0_u32;
    // SAFETY: key and value have the map's sizes and outlive the call.
    done(unsafe { sys::bpf_map_lookup_elem(map.as_raw_fd(), (&raw const key).cast(), value.as_mut_ptr().cast()) })?;
    Ok(value)
}
