//! Attacks on maps, programs and links by their ids.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    ptr::{self, NonNull},
    sync::atomic::{AtomicU32, Ordering},
};

use harness_protocol::{errno::Errno, plan::Attack};
use libbpf_sys as sys;
use rustix::mm::{MapFlags, ProtFlags};

use super::Attacked;
use crate::{
    attr::Attr,
    error::{During, SysError},
    target::Target,
};

/// The map of the policy's rules, which nobody may write once the guard is in force.
const RULES: &str = "rules";
/// What libbpf calls the map of the programs' variables: the object's name and the section.
const VARIABLES: &str = "guard.bss";
/// The offset of `armed` in `struct guard_state` (`abi.h` of the guard).
const ARMED: usize = 56;

pub(super) fn attack(way: Attack, target: &Target) -> Attacked {
    let (command, step, ids) = match way {
        Attack::LinkById => (sys::BPF_LINK_GET_FD_BY_ID, "BPF_LINK_GET_FD_BY_ID", &target.links),
        Attack::ProgById => (sys::BPF_PROG_GET_FD_BY_ID, "BPF_PROG_GET_FD_BY_ID", &target.programs),
        _ => (sys::BPF_MAP_GET_FD_BY_ID, "BPF_MAP_GET_FD_BY_ID", &target.maps),
    };
    let opened: Vec<Result<OwnedFd, SysError>> = ids.iter().map(|id| open(command, *id).during(|| step)).collect();
    if opened.is_empty() {
        return Err(Errno::from_raw(libc::ENOENT)).during(|| "BPF_*_GET_NEXT_ID");
    }
    let refused = opened.iter().filter(|opened| opened.is_err()).count();
    let all = opened.len();
    let (opened, mut errors): (Vec<_>, Vec<_>) = opened.into_iter().partition(Result::is_ok);
    match (way, refused) {
        (_, refused) if refused == all => Err(errors.swap_remove(0).expect_err("it is among the errors")),
        (Attack::MapUpdate, _) => update(named(opened, target, RULES)?.as_fd()),
        (Attack::MapMmap, _) => disarm(named(opened, target, VARIABLES)?.as_fd()),
        (_, 0) => Ok(None),
        _ => Ok(Some("some of them")),
    }
}

fn open(command: u32, id: u32) -> Result<OwnedFd, Errno> {
    #[allow(unsafe_code)]
    // SAFETY: these commands take an id, no buffers, and return a new descriptor.
    unsafe {
        Attr::new().u32(0, id).make(command)
    }
}

/// Returns the map of this name; of what stands in for the guard, any.
fn named(opened: Vec<Result<OwnedFd, SysError>>, target: &Target, name: &str) -> Result<OwnedFd, SysError> {
    for map in opened.into_iter().flatten() {
        if target.is_stand_in || info(map.as_fd())?.0 == name {
            return Ok(map);
        }
    }
    Err(Errno::from_raw(libc::ENOENT)).during(|| format!("open map {name}"))
}

/// Returns the name of a map and the bytes of a value.
fn info(map: BorrowedFd<'_>) -> Result<(String, usize), SysError> {
    let mut info = sys::bpf_map_info::default();
    let mut length = size_of::<sys::bpf_map_info>() as u32;
    #[allow(unsafe_code)]
    // SAFETY: the kernel writes at most `length` bytes, the size of `info`.
    let result = unsafe {
        use std::os::fd::AsRawFd;
        sys::bpf_map_get_info_by_fd(map.as_raw_fd(), &mut info, &mut length)
    };
    if result < 0 {
        return Err(Errno::from_raw(-result)).during(|| "BPF_OBJ_GET_INFO_BY_FD");
    }
    let name: Vec<u8> = info.name.iter().map(|byte| *byte as u8).take_while(|byte| *byte != 0).collect();
    Ok((String::from_utf8_lossy(&name).into_owned(), info.value_size as usize))
}

fn update(map: BorrowedFd<'_>) -> Attacked {
    let (_, size) = info(map)?;
    let (key, value) = ([0_u8; 4], vec![0_u8; size.next_multiple_of(8)]);
    let mut attr = Attr::new().fd(0, map).input(8, &key).input(16, &value);
    #[allow(unsafe_code)]
    // SAFETY: the map is an array, with keys of four bytes, and the value is as long as its values.
    let updated = unsafe { attr.call(sys::BPF_MAP_UPDATE_ELEM) };
    updated.during(|| "BPF_MAP_UPDATE_ELEM")?;
    Ok(None)
}

/// Sets the variable to 0 without which the programs do nothing.
fn disarm(map: BorrowedFd<'_>) -> Attacked {
    const LENGTH: usize = ARMED + size_of::<AtomicU32>();
    let access = ProtFlags::READ | ProtFlags::WRITE;
    #[allow(unsafe_code)]
    // SAFETY: a new mapping, at an address of the kernel's choice.
    let memory = unsafe { rustix::mm::mmap(ptr::null_mut(), LENGTH, access, MapFlags::SHARED, map, 0) };
    let memory = NonNull::new(memory.during(|| "mmap")?).ok_or(Errno::EINVAL).during(|| "mmap")?;
    #[allow(unsafe_code)]
    // SAFETY: the number lies within the mapping, is aligned, and is accessed atomically; the mapping ends afterwards.
    unsafe {
        memory.byte_add(ARMED).cast::<AtomicU32>().as_ref().store(0, Ordering::SeqCst);
        let _ = rustix::mm::munmap(memory.as_ptr(), LENGTH);
    }
    Ok(None)
}
