//! Attacks on the pins of links, and on the mounts that they are in.

use std::{
    collections::BTreeSet,
    ffi::CString,
    os::fd::AsFd,
    time::{Duration, Instant},
};

use harness_protocol::{errno::Errno, plan::Attack};
use libbpf_sys as sys;
use rustix::{
    fs::{CWD, Mode},
    mount::{MountFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags},
    thread::UnshareFlags,
};

use super::Attacked;
use crate::{
    attr::Attr,
    bpf::{self, Kind},
    error::{During, SysError},
    mounts,
    process::{self, Fork},
    pseudofile,
    target::{self, Target},
};

pub(super) fn attack(way: Attack, target: &Target) -> Attacked {
    match way {
        Attack::LinkDetach => detach(target),
        Attack::UnlinkPin => {
            each_pin(target, |path| rustix::fs::unlink(path).during(|| "unlink"))?;
            what_is_left(target)
        }
        Attack::RenamePin => {
            each_pin(target, |path| rustix::fs::rename(path, format!("{path}_")).during(|| "rename"))?;
            Ok(None)
        }
        Attack::Rmdir => {
            let folder = format!("{}/folder", target.bpffs);
            rustix::fs::mkdir(&*folder, Mode::RWXU).during(|| "mkdir")?;
            rustix::fs::rmdir(&*folder).during(|| "rmdir")?;
            Ok(None)
        }
        Attack::Umount => unmount(&target.bpffs).and_then(|()| what_is_left(target)),
        Attack::UmountParent => unmount(&target.parent).and_then(|()| what_is_left(target)),
        Attack::MoveMount => move_mount(target),
        Attack::PivotRoot => pivot_root(target),
        _ => unreachable!("`Attack::target` says that it is aimed at something else"),
    }
}

fn unmount(path: &str) -> Result<(), SysError> {
    rustix::mount::unmount(path, UnmountFlags::DETACH).during(|| "umount2")
}

/// Returns the paths of the pins.
fn pins(target: &Target) -> Result<Vec<String>, SysError> {
    let folder = pseudofile::open_folder(CWD, &target.bpffs)
        .map_err(|error| SysError { call: "open the bpffs".to_owned(), ..error })?;
    let mut names: Vec<String> = pseudofile::entries(folder, "the bpffs")?.into_iter().map(|(name, _)| name).collect();
    names.sort();
    Ok(names.into_iter().map(|name| format!("{}/{name}", target.bpffs)).collect())
}

fn each_pin(target: &Target, attack: impl Fn(&str) -> Result<(), SysError>) -> Result<(), SysError> {
    pins(target)?.iter().try_for_each(|path| attack(path))
}

fn detach(target: &Target) -> Attacked {
    let first = pins(target)?.into_iter().next().ok_or(Errno::from_raw(libc::ENOENT)).during(|| "open a pin")?;
    let path = CString::new(first).expect("a path has no zeros");
    let link = bpf::obj_get(&path, 0).during(|| "BPF_OBJ_GET")?;
    #[allow(unsafe_code)]
    // SAFETY: the command takes a descriptor and no buffers.
    let detached = unsafe { Attr::new().fd(0, link.as_fd()).call(sys::BPF_LINK_DETACH) };
    detached.during(|| "BPF_LINK_DETACH")?;
    Ok(None)
}

fn move_mount(target: &Target) -> Attacked {
    let to = format!("{}/elsewhere", target.parent);
    rustix::fs::mkdir(&*to, Mode::RWXU).during(|| "mkdir")?;
    // The kernel moves no mount out of a shared one (`do_move_mount`, `fs/namespace.c`).
    rustix::mount::mount_change(&*target.parent, MountPropagationFlags::PRIVATE).during(|| "mount MS_PRIVATE")?;
    rustix::mount::move_mount(CWD, &*target.bpffs, CWD, &*to, MoveMountFlags::empty()).during(|| "move_mount")?;
    Ok(None)
}

/// In a process of its own: the machine goes on with its root.
fn pivot_root(target: &Target) -> Attacked {
    let (reader, writer) = rustix::pipe::pipe().during(|| "pipe")?;
    let child = match process::fork()? {
        Fork::Parent(child) => child,
        Fork::Child => {
            let done = pivot(target);
            let text = done.map_or_else(|error| format!("{} {}", error.errno.raw(), error.call), |()| "0".to_owned());
            let _ = rustix::io::write(&writer, text.as_bytes());
            process::leave(0)
        }
    };
    drop(writer);
    let mut bytes = [0; 256];
    let length = rustix::io::read(&reader, &mut bytes).during(|| "read from the process that pivots");
    process::reap(child);
    let text = String::from_utf8_lossy(&bytes[..length?]).into_owned();
    match text.split_once(' ') {
        None if text == "0" => what_is_left(target),
        Some((errno, call)) => {
            Err(SysError { call: call.to_owned(), errno: Errno::from_raw(errno.parse().unwrap_or(libc::EINVAL)) })
        }
        None => Err(SysError { call: "pivot_root".to_owned(), errno: Errno::from_raw(libc::ESRCH) }),
    }
}

fn pivot(target: &Target) -> Result<(), SysError> {
    process::unshare(UnshareFlags::NEWNS)?;
    mounts::make_private()?;
    let root = format!("{}/root", target.parent);
    rustix::fs::mkdir(&*root, Mode::RWXU).during(|| "mkdir")?;
    rustix::mount::mount("root", &*root, "tmpfs", MountFlags::empty(), None).during(|| "mount tmpfs")?;
    rustix::process::chdir(&*root).during(|| "chdir")?;
    rustix::process::pivot_root(".", ".").during(|| "pivot_root")?;
    unmount(".")
}

/// How long the kernel may take to free links after their last pin has gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Looks whether links of the target are left. The kernel takes a link off its list, then detaches its program, and frees the
/// program last (`bpf_link_free`, `kernel/bpf/syscall.c`): only without the programs nothing is attached any more.
fn what_is_left(target: &Target) -> Attacked {
    if target.links.is_empty() {
        return Ok(None);
    }
    let deadline = Instant::now() + PATIENCE;
    let [links, programs] = [&target.links, &target.programs].map(|ids| ids.iter().copied().collect::<BTreeSet<u32>>());
    loop {
        if target::ids(Kind::Link)?.is_disjoint(&links) && target::ids(Kind::Program)?.is_disjoint(&programs) {
            return Ok(Some("the guard's links are gone".to_owned()));
        }
        if Instant::now() >= deadline {
            return Ok(Some("the guard's links are there".to_owned()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
