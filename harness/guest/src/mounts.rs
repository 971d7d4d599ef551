//! Further mounts of a bpffs: bind mounts, moved and unmounted ones, and changed options.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use harness_protocol::plan::{BpffsFd, Holding};
use rustix::{
    fs::CWD,
    mount::{MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags},
};

use crate::{
    bpf,
    error::{During, SysError},
    pseudofile,
};

/// Where further mounts are attached in the caller's mount namespace: directories that every image has, and where the
/// guest keeps nothing of its own.
const PATHS: [&str; 2] = ["/sys/fs/bpf", "/tmp"];

/// An attached mount, unmounted when dropped, however busy.
struct Attached {
    path: &'static str,
}

impl Attached {
    fn new(mount: BorrowedFd<'_>, path: &'static str) -> Result<Self, SysError> {
        rustix::mount::move_mount(mount, "", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .during(|| format!("move_mount {path}"))?;
        Ok(Self { path })
    }

    /// Opens its root by its path.
    fn root(&self) -> Result<OwnedFd, SysError> {
        pseudofile::open_folder(CWD, self.path)
    }

    fn unmount(&self, flags: UnmountFlags) -> Result<(), SysError> {
        rustix::mount::unmount(self.path, flags).during(|| "umount2")
    }

    /// Unmounts it as asked. If that fails, dropping it unmounts it.
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
        // Without this the mount would stay and be reported as a leftover.
        let _ = self.unmount(UnmountFlags::DETACH);
    }
}

/// Makes an unattached bind mount of a directory.
fn bind(directory: BorrowedFd<'_>) -> Result<OwnedFd, SysError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::AT_EMPTY_PATH | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    rustix::mount::open_tree(directory, "", flags).during(|| "open_tree OPEN_TREE_CLONE")
}

/// Opens the root directory of a further mount of this directory; `None` for other kinds of descriptors.
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
    let [from, to] = PATHS;
    let first = Attached::new(bind(root)?.as_fd(), from)?;
    rustix::mount::move_mount(CWD, from, CWD, to, MoveMountFlags::empty()).during(|| format!("move_mount {from}"))?;
    std::mem::forget(first);
    Attached { path: to }.root()
}

fn detached(root: BorrowedFd<'_>) -> Result<OwnedFd, SysError> {
    let mount = Attached::new(bind(root)?.as_fd(), PATHS[0])?;
    let root = mount.root()?;
    mount.unmount_once(UnmountFlags::DETACH)?;
    Ok(root)
}

/// Keeps what is mounted and unmounted in this mount namespace from all others.
pub(crate) fn make_private() -> Result<(), SysError> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).during(|| "mount MS_PRIVATE /")
}

/// Unmounts a bind mount while holding something of it.
pub(crate) fn unmount(root: BorrowedFd<'_>, holding: Holding) -> Result<(), SysError> {
    let mount = Attached::new(bind(root)?.as_fd(), PATHS[0])?;
    let _held = match holding {
        Holding::Nothing => None,
        Holding::Directory => Some(mount.root()?),
        Holding::Token => Some(bpf::token_create(mount.root()?.as_fd(), 0).during(|| "token_create")?),
    };
    mount.unmount_once(UnmountFlags::empty())
}
