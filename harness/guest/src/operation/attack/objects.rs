//! Attacks on maps, programs and links by their ids.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    ptr::{self, NonNull},
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
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

/// The map of the policy, which nobody may write once the guard is in force.
const POLICIES: &str = "policies";
/// The rings of records.
const RINGS: [&str; 2] = ["denials", "calls"];
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
    let opened: Vec<OwnedFd> = opened.into_iter().flatten().collect();
    match (way, refused) {
        (_, refused) if refused == all => Err(errors.swap_remove(0).expect_err("it is among the errors")),
        (Attack::MapUpdate, _) => update(named(&opened, target, POLICIES)?),
        (Attack::MapMmap, _) => disarm(named(&opened, target, VARIABLES)?),
        (Attack::RingMmap, _) => {
            RINGS.iter().try_for_each(|ring| move_position(named(&opened, target, ring)?))?;
            Ok(None)
        }
        (_, 0) => Ok(None),
        _ => Ok(Some("some of them".to_owned())),
    }
}

pub(crate) fn open(command: u32, id: u32) -> Result<OwnedFd, Errno> {
    #[allow(unsafe_code)]
    // SAFETY: these commands take an id, no buffers, and return a new descriptor.
    unsafe {
        Attr::new().u32(0, id).make(command)
    }
}

/// Returns the map of this name; of what stands in for the guard, any.
fn named<'m>(opened: &'m [OwnedFd], target: &Target, name: &str) -> Result<BorrowedFd<'m>, SysError> {
    for map in opened {
        if target.is_stand_in || info(map.as_fd())?.0 == name {
            return Ok(map.as_fd());
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
    at(map, ARMED, |armed: &AtomicU32| armed.store(0, Ordering::SeqCst))?;
    Ok(None)
}

/// Stores the position up to which a ring is read, at its beginning: the one that is there, so that no record is lost.
fn move_position(ring: BorrowedFd<'_>) -> Result<(), SysError> {
    at(ring, 0, |position: &AtomicU64| {
        let now = position.load(Ordering::SeqCst);
        let _ = position.compare_exchange(now, now, Ordering::SeqCst, Ordering::SeqCst);
    })
}

/// Maps the first page of a map for writing, and does something with the number at this offset.
fn at<T>(map: BorrowedFd<'_>, offset: usize, change: impl FnOnce(&T)) -> Result<(), SysError> {
    const PAGE: usize = 4096;
    debug_assert!(offset + size_of::<T>() <= PAGE && offset.is_multiple_of(align_of::<T>()), "it lies within the page");
    let access = ProtFlags::READ | ProtFlags::WRITE;
    #[allow(unsafe_code)]
    // SAFETY: a new mapping, at an address of the kernel's choice.
    let memory = unsafe { rustix::mm::mmap(ptr::null_mut(), PAGE, access, MapFlags::SHARED, map, 0) };
    let memory = NonNull::new(memory.during(|| "mmap")?).ok_or(Errno::EINVAL).during(|| "mmap")?;
    #[allow(unsafe_code)]
    // SAFETY: the number lies within the mapping, is aligned, and is of an atomic type; the mapping ends afterwards.
    unsafe {
        change(memory.byte_add(offset).cast::<T>().as_ref());
        let _ = rustix::mm::munmap(memory.as_ptr(), PAGE);
    }
    Ok(())
}
