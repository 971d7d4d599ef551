//! Attacks that only make calls, which the guard judges.

use std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    ptr::{self, NonNull},
    sync::atomic::{AtomicI32, AtomicU32, Ordering::SeqCst},
    time::{Duration, Instant},
};

use harness_protocol::{errno::Errno, plan::Attack};
use libbpf_sys as sys;
use rustix::{
    mm::{MapFlags, ProtFlags},
    process::Pid,
};

use super::{
    Attacked,
    stand_in::{id_of, lsm_link, map},
};
use crate::{
    attr::Attr,
    bpf,
    error::{During, SysError, last_errno},
    process::{self, Fork},
};

pub(super) fn attack(way: Attack, hook: u32) -> Attacked {
    match way {
        Attack::LsmProgram => refuse_first(hook),
        Attack::FillHook => fill(hook),
        Attack::SwapMaps => swap_maps(),
        _ => unreachable!("`Attack::target` says that it is aimed at something else"),
    }
}

/// Attaches a program that refuses this process's calls, and makes one.
fn refuse_first(hook: u32) -> Attacked {
    const CALL: u64 = (sys::BPF_JMP | sys::BPF_CALL) as u64;
    const SHIFT: u64 = (sys::BPF_ALU64 | sys::BPF_RSH | sys::BPF_K) as u64;
    const UNLESS: u64 = (sys::BPF_JMP | sys::BPF_JNE | sys::BPF_K) as u64;
    let [refuse, exit] = bpf::returning(-libc::EPERM);
    let [pass, _] = bpf::returning(0);
    let body = [
        CALL | u64::from(sys::BPF_FUNC_get_current_pid_tgid) << 32,
        SHIFT | 32 << 32,
        UNLESS | 2 << 16 | u64::from(std::process::id()) << 32,
        refuse,
        exit,
        pass,
        exit,
    ];
    let _attached = lsm_link(hook, &body)?;
    Ok(Some(match map() {
        Ok(_) => "a call passed".to_owned(),
        Err(errno) => format!("a call was refused before it came to the guard: {errno}"),
    }))
}

/// More programs than any kernel runs for one function (`BPF_MAX_TRAMP_LINKS`, `include/linux/bpf.h`).
const MOST: usize = 64;

/// Attaches programs that let everything pass, until the kernel refuses one.
fn fill(hook: u32) -> Attacked {
    let mut attached = Vec::new();
    while attached.len() < MOST {
        match lsm_link(hook, &bpf::returning(0)) {
            Ok(link) => attached.push(link),
            Err(error) if attached.is_empty() => return Err(error),
            Err(error) => return Ok(Some(format!("{} programs, then {}", attached.len(), error.errno))),
        }
    }
    Ok(Some(format!("{MOST} programs")))
}

/// How often the maps are swapped while programs are loaded.
const SWAPS: u32 = 10_000;
/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(100);
/// The other user.
const OTHER: u32 = 1000;

fn swap_maps() -> Attacked {
    let own = map().during(|| "BPF_MAP_CREATE")?;
    let foreign = foreign_map()?;
    let foreign_id = id_of(&foreign, "map_id:")?;
    let array = Swapped::new()?;
    // Once each, so that both answers are certain to be on record, in this order.
    array.set(own.as_fd());
    load(&array)?;
    array.set(foreign.as_fd());
    let Err(refusal) = load(&array) else { return Ok(Some("a program uses another user's map".to_owned())) };
    let _swapper = Swapper::start(&array, [own.as_fd(), foreign.as_fd()])?;
    let (deadline, mut swaps) = (Instant::now() + PATIENCE, 0);
    while swaps < SWAPS {
        if Instant::now() >= deadline {
            return Err(Errno::from_raw(libc::ETIME)).during(|| format!("swap {SWAPS} times during calls"));
        }
        let before = array.swaps();
        let loaded = load(&array);
        swaps += array.swaps().wrapping_sub(before);
        match loaded {
            Ok(program) if map_of(&program)? == foreign_id => {
                return Ok(Some("a program uses another user's map".to_owned()));
            }
            Err(error) if error != refusal => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    Err(refusal)
}

/// Makes a map as another user would, with every capability.
fn foreign_map() -> Result<OwnedFd, SysError> {
    become_user(OTHER)?;
    let map = map().during(|| "BPF_MAP_CREATE");
    become_user(0)?;
    map
}

/// Sets the real user, which leaves the capabilities alone while the effective one is root.
fn become_user(uid: u32) -> Result<(), SysError> {
    const SAME: u32 = u32::MAX;
    #[allow(unsafe_code)]
    // SAFETY: the call takes numbers only.
    let set = unsafe { libc::syscall(libc::SYS_setresuid, uid, SAME, SAME) };
    if set < 0 { Err(last_errno()) } else { Ok(()) }.during(|| "setresuid")
}

/// The instructions that do nothing: the verifier takes a while, so that there is something to swap in.
const IDLE: usize = 2_000;

/// Loads a program that uses the map in the array.
fn load(array: &Swapped) -> Result<OwnedFd, SysError> {
    // `r1 = the map with index 0 in fd_array`.
    const MAP: u64 =
        (sys::BPF_LD | sys::BPF_IMM | sys::BPF_DW) as u64 | 1 << 8 | (sys::BPF_PSEUDO_MAP_IDX as u64) << 12;
    let [nothing, exit] = bpf::returning(0);
    let mut body = vec![MAP, 0];
    body.extend(std::iter::repeat_n(nothing, IDLE));
    body.push(exit);
    let license = c"GPL".to_bytes_with_nul();
    let attr = Attr::new()
        .u32(0, sys::BPF_PROG_TYPE_SOCKET_FILTER)
        .u32(4, body.len() as u32)
        .input(8, &body)
        .input(16, license)
        .u64(120, array.0.as_ptr() as u64);
    #[allow(unsafe_code)]
    // SAFETY: the instructions are as many as it says, the license ends with a zero, and the array has the one descriptor that
    // the instructions name.
    let loaded = unsafe { { attr }.make(sys::BPF_PROG_LOAD) };
    loaded.during(|| "BPF_PROG_LOAD")
}

/// Returns the id of the map that a program uses.
fn map_of(program: &OwnedFd) -> Result<u32, SysError> {
    let mut map = 0_u32;
    let mut info = sys::bpf_prog_info { nr_map_ids: 1, map_ids: &raw mut map as u64, ..Default::default() };
    let mut length = size_of::<sys::bpf_prog_info>() as u32;
    #[allow(unsafe_code)]
    // SAFETY: the kernel writes at most `length` bytes, the size of `info`, and one id.
    let result = unsafe { sys::bpf_prog_get_info_by_fd(program.as_raw_fd(), &mut info, &mut length) };
    if result < 0 { Err(Errno::from_raw(-result)) } else { Ok(map) }.during(|| "BPF_OBJ_GET_INFO_BY_FD")
}

/// What two processes share: an array of one descriptor, and how often it was changed.
struct Shared {
    fd: AtomicI32,
    swaps: AtomicU32,
}

struct Swapped(NonNull<Shared>);

impl Swapped {
    fn new() -> Result<Self, SysError> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        #[allow(unsafe_code)]
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let memory =
            unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), size_of::<Shared>(), access, MapFlags::SHARED) };
        NonNull::new(memory.during(|| "mmap")?.cast()).map(Self).ok_or(Errno::EINVAL).during(|| "mmap")
    }

    fn get(&self) -> &Shared {
        #[allow(unsafe_code)]
        // SAFETY: it is mapped as long as `self` lives, aligned to a page, and zeros are valid numbers.
        unsafe {
            self.0.as_ref()
        }
    }

    fn set(&self, map: BorrowedFd<'_>) {
        self.get().fd.store(map.as_raw_fd(), SeqCst);
        self.get().swaps.fetch_add(1, SeqCst);
    }

    fn swaps(&self) -> u32 {
        self.get().swaps.load(SeqCst)
    }
}

impl Drop for Swapped {
    fn drop(&mut self) {
        #[allow(unsafe_code)]
        // SAFETY: the mapping is this value's own.
        let _ = unsafe { rustix::mm::munmap(self.0.as_ptr().cast(), size_of::<Shared>()) };
    }
}

/// A process that swaps maps until it is dropped. It runs before others, so that it swaps in the middle of their calls.
struct Swapper(Pid);

impl Swapper {
    /// How long it sleeps after each swap.
    const PAUSE: Duration = Duration::from_micros(50);

    fn start(array: &Swapped, maps: [BorrowedFd<'_>; 2]) -> Result<Self, SysError> {
        match process::fork()? {
            Fork::Parent(child) => Ok(Self(child)),
            Fork::Child => {
                let _ = process::die_with_parent();
                let first = libc::sched_param { sched_priority: 1 };
                #[allow(unsafe_code)]
                // SAFETY: the kernel reads the parameter.
                let _ = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const first) };
                for map in maps.iter().cycle() {
                    array.set(*map);
                    std::thread::sleep(Self::PAUSE);
                }
                process::leave(0)
            }
        }
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        process::kill(self.0);
        process::reap(self.0);
    }
}
