//! Attachment targets that are not BPF objects: a perf event of our own, and a function of this program.

#![allow(unsafe_code)]

use std::{
    ffi::CString,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use harness_protocol::{errno::Errno, plan::PerfEventSource};

use crate::{
    error::{During, SysError, last_errno},
    pseudofile, tracepoints,
};

/// `PERF_TYPE_SOFTWARE`, `PERF_TYPE_TRACEPOINT` and `PERF_COUNT_SW_CPU_CLOCK` (`include/uapi/linux/perf_event.h`).
const SOFTWARE: u32 = 1;
const TRACEPOINT: u32 = 2;
const CPU_CLOCK: u64 = 0;
/// `PERF_ATTR_SIZE_VER1`.
const SIZE: u32 = 72;
/// `disabled`, `exclude_kernel` and `exclude_hv`: all that `kernel.perf_event_paranoid = 2` allows everybody.
const DISABLED: u64 = 1 << 0;
const EXCLUDE_KERNEL: u64 = 1 << 5;
const EXCLUDE_HYPERVISOR: u64 = 1 << 6;
const CLOSE_ON_EXEC: u64 = 8;

/// What `struct perf_event_attr` says of an event's source.
struct Source {
    kind: u32,
    config: u64,
    /// `config1`: where a function's name or a file's path is.
    name: Option<CString>,
    /// `config2`: the offset in the function or file.
    offset: u64,
}

/// Opens an event of the caller's own.
pub(crate) fn open_source(source: &PerfEventSource, kernel: bool) -> Result<Result<OwnedFd, Errno>, SysError> {
    let source = match source {
        PerfEventSource::Clock => CLOCK,
        PerfEventSource::Tracepoint(name) => Source { kind: TRACEPOINT, config: tracepoints::number(name)?, ..CLOCK },
        PerfEventSource::Kprobe(function) => {
            let name = CString::new(function.replace('\0', "")).expect("zeros were just taken out");
            Source { kind: kind_of("kprobe")?, name: Some(name), ..CLOCK }
        }
        PerfEventSource::Uprobe => {
            let name = Some(c"/proc/self/exe".to_owned());
            Source { kind: kind_of("uprobe")?, name, offset: uprobe_offset()?, ..CLOCK }
        }
    };
    Ok(open_with(&source, if kernel { 0 } else { EXCLUDE_KERNEL }))
}

const CLOCK: Source = Source { kind: SOFTWARE, config: CPU_CLOCK, name: None, offset: 0 };

/// Returns the number that the kernel gave to a kind of event when it booted.
fn kind_of(name: &str) -> Result<u32, SysError> {
    let path = format!("/sys/bus/event_source/devices/{name}/type");
    let malformed = |_| SysError { call: format!("find a number in {path}"), errno: Errno::EINVAL };
    pseudofile::read(&path)?.trim().parse().map_err(malformed)
}

/// Opens a software event of the caller's own that never fires.
pub(crate) fn open() -> Result<OwnedFd, Errno> {
    open_with(&CLOCK, EXCLUDE_KERNEL)
}

/// `perf_event_open(2)`, with a period that no counter reaches.
fn open_with(source: &Source, exclude: u64) -> Result<OwnedFd, Errno> {
    let period: u64 = 1 << 40;
    let flags = DISABLED | EXCLUDE_HYPERVISOR | exclude;
    let name = source.name.as_ref().map_or(0, |name| name.as_ptr() as u64);
    let kind = u64::from(source.kind) | u64::from(SIZE) << 32;
    let attr: [u64; SIZE as usize / 8] = [kind, source.config, period, 0, 0, flags, 0, name, source.offset];
    let (own, any_processor, no_group) = (0, -1, -1);
    // SAFETY: the attributes are as long as they say and outlive the call, which only reads them; so does the name, which
    // ends with a zero byte.
    let fd =
        unsafe { libc::syscall(libc::SYS_perf_event_open, attr.as_ptr(), own, any_processor, no_group, CLOSE_ON_EXEC) };
    // SAFETY: the call has just made this descriptor, and nobody else owns it.
    if fd < 0 { Err(last_errno()) } else { Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) }) }
}

/// `PERF_EVENT_IOC_QUERY_BPF` for the number of an event's programs; without an event, of one that is not a tracepoint
/// and gets `EINVAL` for whoever has permission (`perf_event_query_prog_array` in `kernel/trace/bpf_trace.c`).
pub(crate) fn query(event: Option<BorrowedFd<'_>>) -> Result<Result<(), Errno>, SysError> {
    const QUERY: u64 = 0xc008_240a;
    let own = event.is_none().then(|| open().during(|| "perf_event_open")).transpose()?;
    let event = event.or(own.as_ref().map(AsFd::as_fd)).expect("there is one of the two");
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
