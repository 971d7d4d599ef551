//! Commands of `bpf(2)` through `syscall(2)`: those for which libbpf has no function, or whose function does more than
//! was asked.

#![allow(unsafe_code)]

use std::{
    marker::PhantomData,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use harness_protocol::errno::Errno;

use crate::error::last_errno;

/// `union bpf_attr` under construction, member by member at the offsets of `include/uapi/linux/bpf.h`. It is longer
/// than any kernel's; bytes that a kernel does not know must be zero (`bpf_check_uarg_tail_zero` in
/// `kernel/bpf/syscall.c`).
pub(crate) struct Attr<'a> {
    words: [u64; Attr::WORDS],
    /// Borrows the buffers that it points to.
    buffers: PhantomData<&'a mut [u8]>,
}

impl<'a> Attr<'a> {
    const WORDS: usize = 24;

    /// Makes an attribute of zeros.
    pub(crate) const fn new() -> Self {
        Self { words: [0; Self::WORDS], buffers: PhantomData }
    }

    /// Sets four bytes.
    pub(crate) fn u32(mut self, offset: usize, value: u32) -> Self {
        let shift = (offset % 8) * 8;
        let word = &mut self.words[offset / 8];
        *word = *word & !(u64::from(u32::MAX) << shift) | u64::from(value) << shift;
        self
    }

    /// Sets eight bytes.
    pub(crate) fn u64(mut self, offset: usize, value: u64) -> Self {
        debug_assert!(offset.is_multiple_of(8), "numbers of eight bytes are aligned");
        self.words[offset / 8] = value;
        self
    }

    /// Sets a file descriptor.
    pub(crate) fn fd(self, offset: usize, fd: BorrowedFd<'a>) -> Self {
        self.u32(offset, fd.as_raw_fd().unsigned_abs())
    }

    /// Sets a pointer to a buffer that the kernel only reads.
    pub(crate) fn input<T>(self, offset: usize, buffer: &'a [T]) -> Self {
        self.u64(offset, buffer.as_ptr() as u64)
    }

    /// Sets a pointer to a buffer that the kernel may write.
    pub(crate) fn output<T>(self, offset: usize, buffer: &'a mut [T]) -> Self {
        self.u64(offset, buffer.as_mut_ptr() as u64)
    }

    /// Makes the call and returns its result.
    ///
    /// # Safety
    /// Every buffer must be as long as the kernel assumes, given the other members and the objects the call names.
    pub(crate) unsafe fn call(&mut self, command: u32) -> Result<i32, Errno> {
        // SAFETY: the union and the buffers that it borrows outlive the call; their lengths are the caller's contract.
        let result =
            unsafe { libc::syscall(libc::SYS_bpf, command, self.words.as_mut_ptr(), size_of_val(&self.words)) };
        if result < 0 { Err(last_errno()) } else { Ok(result as i32) }
    }

    /// Makes the call for a command that returns a new descriptor.
    ///
    /// # Safety
    /// As for [`Self::call`], and the command must return a new descriptor.
    pub(crate) unsafe fn make(&mut self, command: u32) -> Result<OwnedFd, Errno> {
        // SAFETY: by the contract; the descriptor is new and nobody else owns it.
        unsafe { self.call(command).map(|fd| OwnedFd::from_raw_fd(fd)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_at_their_offsets() {
        let attr = Attr::new().u32(4, 7).u32(0, 5).u32(4, 8).u64(16, 9);
        assert_eq!((attr.words[0], attr.words[2]), (8 << 32 | 5, 9));
    }

    #[test]
    fn a_refusal_is_an_errno() {
        // SAFETY: no buffers; no kernel has this command.
        assert!(unsafe { Attr::new().call(u32::MAX) }.is_err());
    }
}
