//! Where a container's bpffs is while an object is loaded, in a mount namespace of the loading process only.

use std::ffi::CString;

use harness_protocol::plan::BpffsLocation;
use rustix::{
    fs::{CWD, Mode},
    mount::UnmountFlags,
    thread::UnshareFlags,
};

use crate::{
    bpffs::{MOUNT_POINT, Mounted},
    error::{During, SysError},
    mounts, process,
};

/// A path where libbpf does not look by itself.
const ELSEWHERE: &str = "/tmp/bpffs";

/// Covered by a file system of the container's own, where [`ELSEWHERE`] can be made.
const COVERED: &str = "/tmp";

/// Puts the bpffs there. Any location but the usual one needs `CAP_SYS_ADMIN` in the container.
pub(super) fn put(location: BpffsLocation) -> Result<(), SysError> {
    if location == BpffsLocation::Usual {
        return Ok(());
    }
    process::unshare(UnshareFlags::NEWNS)?;
    mounts::make_private()?;
    match location {
        BpffsLocation::Usual => Ok(()),
        BpffsLocation::Detached => {
            rustix::mount::unmount(MOUNT_POINT, UnmountFlags::DETACH).during(|| format!("umount {MOUNT_POINT}"))
        }
        BpffsLocation::Elsewhere => {
            Mounted::of("tmpfs", &[])?.attach_at(COVERED)?;
            rustix::fs::mkdirat(CWD, ELSEWHERE, Mode::RWXU).during(|| format!("mkdir {ELSEWHERE}"))?;
            rustix::mount::mount_move(MOUNT_POINT, ELSEWHERE).during(|| format!("mount --move to {ELSEWHERE}"))
        }
    }
}

/// Returns a path to it.
pub(super) fn path(location: BpffsLocation, own: &Mounted) -> CString {
    match location {
        BpffsLocation::Usual => text(MOUNT_POINT),
        BpffsLocation::Elsewhere => text(ELSEWHERE),
        BpffsLocation::Detached => own.path(""),
    }
}

fn text(path: &str) -> CString {
    CString::new(path).expect("a constant path has no zeros")
}
