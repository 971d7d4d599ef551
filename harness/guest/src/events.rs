//! Attachment targets that are not BPF objects: a perf event of our own, and a function of this program.

#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use harness_protocol::errno::Errno;

use crate::{
    error::{During, SysError, last_errno},
    pseudofile,
};

/// `PERF_TYPE_SOFTWARE` and `PERF_COUNT_SW_CPU_CLOCK` (`include/uapi/linux/perf_event.h`).
const SOFTWARE: u32 = 1;
const CPU_CLOCK: u64 = 0;
/// `PERF_ATTR_SIZE_VER0`.
const SIZE: u32 = 64;
/// `disabled`, `exclude_kernel` and `exclude_hv`: all that `kernel.perf_event_paranoid = 2` allows everybody.
const FLAGS: u64 = 1 << 0 | 1 << 5 | 1 << 6;
const CLOSE_ON_EXEC: u64 = 8;

/// Opens a software event of the caller's own that never fires (`perf_event_open(2)`).
pub(crate) fn open() -> Result<OwnedFd, Errno> {
    let period: u64 = 1 << 40;
    let mut attr = [0_u64; SIZE as usize / 8];
    attr[..6].copy_from_slice(&[u64::from(SOFTWARE) | u64::from(SIZE) << 32, CPU_CLOCK, period, 0, 0, FLAGS]);
    let (own, any_processor, no_group) = (0, -1, -1);
    // SAFETY: the attributes are as long as they say and outlive the call, which only reads them.
    let fd =
        unsafe { libc::syscall(libc::SYS_perf_event_open, attr.as_ptr(), own, any_processor, no_group, CLOSE_ON_EXEC) };
    // SAFETY: the call has just made this descriptor, and nobody else owns it.
    if fd < 0 { Err(last_errno()) } else { Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) }) }
}

/// `PERF_EVENT_IOC_QUERY_BPF` of such an event: `EINVAL` for a caller with permission, because only tracepoints have
/// programs (`perf_event_query_prog_array` in `kernel/trace/bpf_trace.c`).
pub(crate) fn query() -> Result<Result<(), Errno>, SysError> {
    const QUERY: u64 = 0xc008_240a;
    let event = open().during(|| "perf_event_open")?;
    let mut query = [0_u32; 4];
    // SAFETY: the kernel writes at most the two counts; the query offers no room for ids.
    let result = unsafe { libc::ioctl(event.as_raw_fd(), QUERY as _, query.as_mut_ptr()) };
    Ok(if result < 0 { Err(last_errno()) } else { Ok(()) })
}

/// A target for uprobes that nobody calls.
#[inline(never)]
extern "C" fn never_called() -> u64 {
    std::hint::black_box(0x6e65_7665_7220)
}

/// Returns the offset of [`never_called`] in this program's file (`proc_pid_maps(5)`).
pub(crate) fn uprobe_offset() -> Result<u64, SysError> {
    let address = never_called as extern "C" fn() -> u64 as usize as u64;
    let maps = pseudofile::read("/proc/self/maps")?;
    let missing =
        || SysError { call: "find a function in /proc/self/maps".to_owned(), errno: Errno::from_raw(libc::ENOENT) };
    file_offset(&maps, address).ok_or_else(missing)
}

fn file_offset(maps: &str, address: u64) -> Option<u64> {
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    maps.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (start, end) = fields.next()?.split_once('-')?;
        let (start, end, offset) = (hex(start)?, hex(end)?, hex(fields.nth(1)?)?);
        (start..end).contains(&address).then(|| address - start + offset)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_in_its_file() {
        let maps = "00400000-00401000 r--p 00000000 00:15 7  /guest\n00401000-00500000 r-xp 00001000 00:15 7  /guest\n";
        assert_eq!(file_offset(maps, 0x0040_1234), Some(0x1234));
        assert_eq!(file_offset(maps, 0x0060_0000), None);
        assert!(uprobe_offset().unwrap() > 0);
    }
}
