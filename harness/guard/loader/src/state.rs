//! The memory that the BPF programs and this process share.

#![allow(unsafe_code)]

use std::{
    mem::offset_of,
    os::fd::BorrowedFd,
    ptr::{self, NonNull},
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use rustix::{
    io::Errno,
    mm::{MapFlags, ProtFlags},
};

/// A value that BPF programs write too: only numbers that are accessed atomically.
///
/// # Safety
/// Every bit pattern must be valid, and all members atomic.
pub(crate) unsafe trait Shared {}

/// `struct guard_state` of `abi.h`.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) seq: AtomicU64,
    pub(crate) calls: AtomicU64,
    pub(crate) lost: [AtomicU64; 2],
    pub(crate) guard_start: AtomicU64,
    pub(crate) reader_start: AtomicU64,
    pub(crate) guard_tgid: AtomicU32,
    pub(crate) reader_tgid: AtomicU32,
    pub(crate) armed: AtomicU32,
    pub(crate) off: AtomicU32,
    pub(crate) exempt_tgid: AtomicU32,
    pub(crate) generation: AtomicU32,
    pub(crate) reloading: AtomicU32,
    pub(crate) reserved: AtomicU32,
}

// SAFETY: it consists of atomic numbers.
unsafe impl Shared for State {}
// SAFETY: an atomic number.
unsafe impl Shared for AtomicU64 {}

/// A mapped value of a map.
#[derive(Debug)]
pub(crate) struct Mapped<T: Shared>(NonNull<T>);

impl<T: Shared> Mapped<T> {
    /// Maps the only value of an array map that can be mapped.
    pub(crate) fn of(map: BorrowedFd<'_>) -> Result<Self, Errno> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let memory = unsafe { rustix::mm::mmap(ptr::null_mut(), size_of::<T>(), access, MapFlags::SHARED, map, 0) }?;
        NonNull::new(memory.cast()).map(Self).ok_or(Errno::FAULT)
    }

    /// Returns the value.
    pub(crate) fn get(&self) -> &T {
        // SAFETY: the mapping lives as long as `self`, is page-aligned and at least as long as the value (the kernel
        // refuses a mapping beyond the map), and all accesses are atomic.
        unsafe { self.0.as_ref() }
    }
}

impl<T: Shared> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping was made in `of`, and nobody uses it any more.
        let _ = unsafe { rustix::mm::munmap(self.0.as_ptr().cast(), size_of::<T>()) };
    }
}

/// Writes the only value of an array map that can be mapped, first all behind its first four bytes, then these; has it looked at,
/// and returns what stands there afterwards, as long as the value.
pub(crate) fn exchange<T>(map: BorrowedFd<'_>, value: &[u8], look: impl FnOnce() -> T) -> Result<(T, Vec<u8>), Errno> {
    let (first, rest) = value.split_first_chunk().ok_or(Errno::INVAL)?;
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping, at an address of the kernel's choice.
    let memory = unsafe { rustix::mm::mmap(ptr::null_mut(), value.len(), access, MapFlags::SHARED, map, 0) }?;
    // SAFETY: the mapping is page-aligned and as long as the value (the kernel refuses a mapping beyond the map). Programs of
    // the guard read what is behind the first four bytes only after these are set, and take nothing in it for granted.
    unsafe {
        ptr::copy_nonoverlapping(rest.as_ptr(), memory.cast::<u8>().add(first.len()), rest.len());
        (*memory.cast::<AtomicU32>()).store(u32::from_ne_bytes(*first), Ordering::SeqCst);
    }
    let looked = look();
    let mut after = vec![0; value.len()];
    // SAFETY: as above; nobody uses the mapping any more.
    unsafe {
        ptr::copy_nonoverlapping(memory.cast(), after.as_mut_ptr(), after.len());
        rustix::mm::munmap(memory, value.len())?;
    }
    Ok((looked, after))
}

impl State {
    /// Writes a number where the programs see it before anything that follows.
    pub(crate) fn set(number: &AtomicU32, value: u32) {
        number.store(value, Ordering::SeqCst);
    }

    /// Returns the number of the next record, and how many were lost of `denials` and of `calls`.
    pub(crate) fn sums(&self) -> [u64; 3] {
        [&self.seq, &self.lost[0], &self.lost[1]].map(|number| number.load(Ordering::SeqCst))
    }

    /// Returns the same of a value that was read.
    pub(crate) fn sums_of(value: &[u8]) -> [u64; 3] {
        let number = |at: usize| {
            let bytes = value.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u64::from_le_bytes)
        };
        let lost = offset_of!(Self, lost);
        [number(offset_of!(Self, seq)), number(lost), number(lost + 8)]
    }
}
