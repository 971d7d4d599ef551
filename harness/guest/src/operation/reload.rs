//! A reload of the guard's policy, with the system calls of `bpf-guard reload`.

use std::{
    os::fd::{AsFd, BorrowedFd},
    ptr,
    sync::atomic::{AtomicU32, Ordering},
};

use harness_protocol::{errno::Errno, outcome::Answer, plan::Reload};
use libbpf_sys as sys;
use rustix::mm::{MapFlags, ProtFlags};

use super::{
    attack::{id_of, map_of, open},
    result::{AttemptResult, OperationError, stepped},
};
use crate::{
    error::{During, SysError},
    library, pseudofile,
};

/// Where a guard that is pinned leaves the ids of its maps, by name, one a line.
const MAPS: &str = "/run/bpf-guard/maps";
/// The map that a reload is asked by.
const INCOMING: &str = "incoming ";

/// Asks the guard; a control asks a map of its own.
pub(crate) fn make(reload: &Reload, is_control: bool) -> Result<AttemptResult, OperationError> {
    let asked = library::get(&reload.file).ok_or_else(|| OperationError::NoFile(reload.file.clone()))?;
    let own;
    let id = if is_control {
        own = map_of(u32::try_from(asked.len()).unwrap_or(u32::MAX)).during(|| "BPF_MAP_CREATE")?;
        id_of(&own, "map_id:")?
    } else {
        id_of_incoming()?
    };
    Ok(match ask(id, asked) {
        Ok(()) => AttemptResult { answer: Answer::Ok { detail: None }, fd: None },
        Err(error) => stepped(Err(error)),
    })
}

fn id_of_incoming() -> Result<u32, SysError> {
    let maps = pseudofile::read(MAPS)?;
    let id = maps.lines().find_map(|line| line.strip_prefix(INCOMING)?.parse().ok());
    id.ok_or(Errno::from_raw(libc::ENOENT)).during(|| "find the map that a reload is asked by")
}

fn ask(id: u32, asked: &[u8]) -> Result<(), SysError> {
    let again = || open(sys::BPF_MAP_GET_FD_BY_ID, id).during(|| "BPF_MAP_GET_FD_BY_ID");
    let map = again()?;
    write(map.as_fd(), asked).during(|| "mmap")?;
    again().map(drop)
}

/// Writes all behind the first four bytes, then these, which say that the rest is there.
#[allow(unsafe_code)]
fn write(map: BorrowedFd<'_>, value: &[u8]) -> Result<(), rustix::io::Errno> {
    let (first, rest) = value.split_first_chunk().ok_or(rustix::io::Errno::INVAL)?;
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping, at an address of the kernel's choice.
    let memory = unsafe { rustix::mm::mmap(ptr::null_mut(), value.len(), access, MapFlags::SHARED, map, 0) }?;
    // SAFETY: the mapping is page-aligned and as long as the value: the kernel refuses one beyond the map.
    unsafe {
        ptr::copy_nonoverlapping(rest.as_ptr(), memory.cast::<u8>().add(first.len()), rest.len());
        (*memory.cast::<AtomicU32>()).store(u32::from_ne_bytes(*first), Ordering::SeqCst);
        rustix::mm::munmap(memory, value.len())
    }
}
