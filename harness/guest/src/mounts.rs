//! Mounts of a bpffs beyond its first: bind mounts, moved and unmounted ones, and changed options.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use harness_protocol::plan::{BpffsFd, Holding};
use rustix::{
    fs::CWD,
    mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags},
};

use crate::{
    bpf,
    error::{During, SysError},
    pseudofile,
};

/// Where further mounts are attached: directories every image has, in the mount namespace of the caller. Nothing of
/// the guest's is below them.
const PLACES: [&str; 2] = ["/sys/fs/bpf", "/tmp"];

/// A mount that is attached somewhere, and gone when dropped, however busy.
struct Attached {
    place: &'static str,
}

impl Attached {
    fn new(mount: BorrowedFd<'_>, place: &'static str) -> Result<Self, SysError> {
        rustix::mount::move_mount(mount, "", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .during(|| format!("move_mount {place}"))?;
        Ok(Self { place })
    }

    /// Its root, opened by its path.
    fn root(&self) -> Result<OwnedFd, SysError> {
        pseudofile::open_folder(CWD, self.place)
    }

    fn unmount(&self, flags: UnmountFlags) -> Result<(), SysError> {
        rustix::mount::unmount(self.place, flags).during(|| "umount2")
    }

    /// Unmounts it as asked; if that fails, it goes as it would have gone anyway.
    fn unmount_once(self, flags: UnmountFlags) -> Result<(), SysError> {
        let result = self.unmount(flags);
        if result.is_ok() {
            std::mem::forget(self);
        }
        result
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // Without it the mount would stay, and be found as a leftover.
        let _ = self.unmount(UnmountFlags::DETACH);
    }
}

/// A bind mount of a directory, attached nowhere.
fn bind(directory: BorrowedFd<'_>) -> Result<OwnedFd, SysError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::AT_EMPTY_PATH | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    rustix::mount::open_tree(directory, "", flags).during(|| "open_tree OPEN_TREE_CLONE")
}

/// The root directory of a further mount of this directory; `None` for descriptors that are not of one.
pub(crate) fn further(directory: BorrowedFd<'_>, which: BpffsFd) -> Option<Result<OwnedFd, SysError>> {
    match which {
        BpffsFd::Bind | BpffsFd::BindSubdir => Some(bound(directory)),
        BpffsFd::Moved => Some(moved(directory)),
        BpffsFd::Detached => Some(detached(directory)),
        BpffsFd::Root | BpffsFd::OPath | BpffsFd::Subdir | BpffsFd::Tmpfs => None,
    }
}

fn bound(directory: BorrowedFd<'_>) -> Result<OwnedFd, SysError> {
    pseudofile::open_folder(bind(directory)?, ".")
}

fn moved(root: BorrowedFd<'_>) -> Result<OwnedFd, SysError> {
    let [from, to] = PLACES;
    let first = Attached::new(bind(root)?.as_fd(), from)?;
    rustix::mount::move_mount(CWD, from, CWD, to, MoveMountFlags::empty()).during(|| format!("move_mount {from}"))?;
    std::mem::forget(first);
    Attached { place: to }.root()
}

fn detached(root: BorrowedFd<'_>) -> Result<OwnedFd, SysError> {
    let mount = Attached::new(bind(root)?.as_fd(), PLACES[0])?;
    let root = mount.root()?;
    mount.unmount_once(UnmountFlags::DETACH)?;
    Ok(root)
}

/// Unmounts a bind mount while something of it is held.
pub(crate) fn unmount(root: BorrowedFd<'_>, holding: Holding) -> Result<(), SysError> {
    let mount = Attached::new(bind(root)?.as_fd(), PLACES[0])?;
    let _held = match holding {
        Holding::Nothing => None,
        Holding::Directory => Some(mount.root()?),
        Holding::Token => Some(bpf::token_create(mount.root()?.as_fd(), 0).during(|| "token_create")?),
    };
    mount.unmount_once(UnmountFlags::empty())
}
