//! Where a container's bpffs is while an object is loaded, in a mount namespace of the loading process alone.

use std::ffi::CString;

use harness_protocol::plan::BpffsLocation;
use rustix::{
    fs::{CWD, Mode},
    mount::{MountPropagationFlags, UnmountFlags},
    thread::UnshareFlags,
};

use crate::{
    bpffs::{MOUNT_POINT, Mounted},
    error::{During, SysError},
    process,
};

/// Where libbpf does not look by itself.
const ELSEWHERE: &str = "/tmp/bpffs";

/// Covered by a file system of the container's own, in which [`ELSEWHERE`] can be made.
const COVERED: &str = "/tmp";

/// Puts the bpffs there. Anything but its usual place takes `CAP_SYS_ADMIN` in the container.
pub(super) fn put(place: BpffsLocation) -> Result<(), SysError> {
    if place == BpffsLocation::Usual {
        return Ok(());
    }
    process::unshare(UnshareFlags::NEWNS)?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).during(|| "mount MS_PRIVATE /")?;
    match place {
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

/// A path that leads to it.
pub(super) fn path(place: BpffsLocation, own: &Mounted) -> CString {
    match place {
        BpffsLocation::Usual => text(MOUNT_POINT),
        BpffsLocation::Elsewhere => text(ELSEWHERE),
        BpffsLocation::Detached => own.path(""),
    }
}

fn text(path: &str) -> CString {
    CString::new(path).expect("a constant path has no zeros")
}
