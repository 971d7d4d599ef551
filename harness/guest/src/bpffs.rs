//! A bpffs instance of an executor, from `fsopen(2)` to the file descriptors that tokens are made from.

use std::{
    ffi::CString,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use harness_protocol::{mount_option::MountOption, plan::BpffsFd};
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags},
    mount::{FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, MoveMountFlags},
};

use crate::{
    error::{During, SysError},
    mounts, pseudofile,
};

/// Where a container attaches its bpffs in its own mount namespace: the empty directory that sysfs provides.
pub(crate) const MOUNT_POINT: &str = "/sys/fs/bpf";

/// The directory made for [`BpffsFd::Subdir`].
const SUBDIR: &str = "subdir";

/// `fsopen(2)`: opens a file system of the caller's user namespace, not yet created.
pub(crate) fn open(name: &'static str) -> Result<OwnedFd, SysError> {
    rustix::mount::fsopen(name, FsOpenFlags::FSOPEN_CLOEXEC).during(|| format!("fsopen {name}"))
}

/// Sets options one by one; an error names `fsconfig` and the key.
pub(crate) fn configure(context: BorrowedFd<'_>, options: &[MountOption]) -> Result<(), SysError> {
    options.iter().try_for_each(|MountOption { key, value }| {
        rustix::mount::fsconfig_set_string(context, key.as_str(), value.as_str()).during(|| format!("fsconfig {key}"))
    })
}

/// `FSCONFIG_CMD_CREATE`.
pub(crate) fn create(context: BorrowedFd<'_>) -> Result<(), SysError> {
    rustix::mount::fsconfig_create(context).during(|| "fsconfig CMD_CREATE")
}

/// Sets options on a mounted bpffs.
pub(crate) fn remount(root: BorrowedFd<'_>, options: &[MountOption]) -> Result<(), SysError> {
    let context = rustix::mount::fspick(root, "", FsPickFlags::FSPICK_EMPTY_PATH | FsPickFlags::FSPICK_CLOEXEC)
        .during(|| "fspick")?;
    configure(context.as_fd(), options)?;
    rustix::mount::fsconfig_reconfigure(context.as_fd()).during(|| "fsconfig CMD_RECONFIGURE")
}

/// A created and mounted file system.
#[derive(Debug)]
pub(crate) struct Mounted {
    /// The descriptor from `fsmount(2)`, which is opened like `O_PATH`.
    mount: OwnedFd,
    /// Its root, opened for reading.
    root: OwnedFd,
}

impl Mounted {
    /// Mounts a created file system without attaching it.
    pub(crate) fn new(context: BorrowedFd<'_>) -> Result<Self, SysError> {
        let mount = rustix::mount::fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
            .during(|| "fsmount")?;
        let root = pseudofile::open_folder(&mount, ".")?;
        Ok(Self { mount, root })
    }

    /// Opens the one that the container attached, from within its mount namespace.
    pub(crate) fn attached() -> Result<Self, SysError> {
        let mount = pseudofile::open_at(CWD, MOUNT_POINT, OFlags::PATH | OFlags::DIRECTORY)?;
        let root = pseudofile::open_folder(CWD, MOUNT_POINT)?;
        Ok(Self { mount, root })
    }

    /// Opens the one that somebody else attached. Also returns why its root cannot be opened for reading, if so: it may
    /// belong to another user.
    pub(crate) fn found() -> Result<(Self, Option<SysError>), SysError> {
        let mount = pseudofile::open_at(CWD, MOUNT_POINT, OFlags::PATH | OFlags::DIRECTORY)?;
        match pseudofile::open_folder(CWD, MOUNT_POINT) {
            Ok(root) => Ok((Self { mount, root }, None)),
            Err(closed) => Ok((Self { root: duplicate(mount.as_fd())?, mount }, Some(closed))),
        }
    }

    /// Opens, configures, creates and mounts in one go, for a caller with all permissions.
    pub(crate) fn of(name: &'static str, options: &[MountOption]) -> Result<Self, SysError> {
        let context = open(name)?;
        configure(context.as_fd(), options)?;
        create(context.as_fd())?;
        Self::new(context.as_fd())
    }

    /// Wraps descriptors that another process opened and sent over a socket.
    pub(crate) fn received(mount: OwnedFd, root: OwnedFd) -> Self {
        Self { mount, root }
    }

    /// Duplicates the mount and the root, to send them to another process.
    pub(crate) fn copies(&self) -> Result<[OwnedFd; 2], SysError> {
        Ok([duplicate(self.mount.as_fd())?, duplicate(self.root.as_fd())?])
    }

    /// Attaches it at [`MOUNT_POINT`] and reads back the delegation that the kernel shows.
    pub(crate) fn attach(&self) -> Result<Vec<MountOption>, SysError> {
        self.attach_at(MOUNT_POINT)?;
        Ok(seen()?.0)
    }

    /// Attaches it at a path.
    pub(crate) fn attach_at(&self, path: &str) -> Result<(), SysError> {
        rustix::mount::move_mount(&self.mount, "", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .during(|| format!("move_mount {path}"))
    }

    /// Returns the root, opened for reading.
    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Opens a file descriptor of it; `None` for [`BpffsFd::Tmpfs`], which is another file system.
    pub(crate) fn fd(&self, which: BpffsFd) -> Result<Option<OwnedFd>, SysError> {
        match which {
            BpffsFd::Root => duplicate(self.root.as_fd()).map(Some),
            BpffsFd::OPath => duplicate(self.mount.as_fd()).map(Some),
            BpffsFd::Subdir => self.subdir().map(Some),
            BpffsFd::Tmpfs => Ok(None),
            BpffsFd::Bind | BpffsFd::BindSubdir | BpffsFd::Moved | BpffsFd::Detached => self.further(which),
        }
    }

    fn further(&self, which: BpffsFd) -> Result<Option<OwnedFd>, SysError> {
        let directory = if which == BpffsFd::BindSubdir { self.subdir()? } else { duplicate(self.root.as_fd())? };
        mounts::further(directory.as_fd(), which).transpose()
    }

    fn subdir(&self) -> Result<OwnedFd, SysError> {
        match rustix::fs::mkdirat(&self.root, SUBDIR, Mode::RWXU) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            failed => failed.during(|| "mkdir in bpffs")?,
        }
        pseudofile::open_folder(&self.root, SUBDIR)
    }

    /// Removes a pin.
    pub(crate) fn unlink(&self, name: &str) -> Result<(), SysError> {
        rustix::fs::unlinkat(&self.root, name, AtFlags::empty()).during(|| format!("unlink {name} in bpffs"))
    }

    /// Returns a path for calls that take no directory descriptor; it works for unattached mounts too. `name` is used
    /// as it is: the plan check ensures that it is a plain one.
    pub(crate) fn path(&self, name: &str) -> CString {
        let path = format!("/proc/self/fd/{}/{name}", self.root.as_raw_fd());
        CString::new(path.replace('\0', "")).expect("zeros were just taken out")
    }
}

/// Returns a path to an open directory.
pub(crate) fn path_of(directory: BorrowedFd<'_>) -> CString {
    CString::new(format!("/proc/self/fd/{}", directory.as_raw_fd())).expect("a number has no zeros")
}

/// Duplicates a descriptor.
pub(crate) fn duplicate(fd: BorrowedFd<'_>) -> Result<OwnedFd, SysError> {
    rustix::io::fcntl_dupfd_cloexec(fd, 0).during(|| "fcntl F_DUPFD_CLOEXEC")
}

/// Reads the delegation that the kernel shows at [`MOUNT_POINT`], and the mount as mount(8) shows it; `None` if nothing
/// is mounted there.
pub(crate) fn seen() -> Result<(Vec<MountOption>, Option<String>), SysError> {
    let mountinfo = pseudofile::read("/proc/self/mountinfo")?;
    Ok((delegation_shown(&mountinfo), topmost(&mountinfo).and_then(mount_line)))
}

/// Returns the topmost mount at [`MOUNT_POINT`].
fn topmost(mountinfo: &str) -> Option<&str> {
    mountinfo.lines().rfind(|line| line.split(' ').nth(4) == Some(MOUNT_POINT))
}

/// Formats a mount as `SOURCE on PATH type TYPE (OPTIONS)`: the options of the mount, then those of the file system
/// that are not among them.
fn mount_line(line: &str) -> Option<String> {
    let (mount, file_system) = line.split_once(" - ")?;
    let own: Vec<&str> = mount.split(' ').nth(5)?.split(',').collect();
    let [kind, source, options] = file_system.splitn(3, ' ').collect::<Vec<_>>().try_into().ok()?;
    let others = options.split(',').filter(|option| !own.contains(option) && !matches!(*option, "rw" | "ro"));
    let options: Vec<&str> = own.iter().copied().chain(others).collect();
    Some(format!("{source} on {MOUNT_POINT} type {kind} ({})", options.join(",")))
}

/// Returns the `delegate_*` options that mountinfo shows for the topmost mount at [`MOUNT_POINT`], in its order
/// (`proc_pid_mountinfo(5)`: the file system's options are the last field).
fn delegation_shown(mountinfo: &str) -> Vec<MountOption> {
    let Some(line) = topmost(mountinfo) else { return Vec::new() };
    let options = line.rsplit(' ').next().unwrap_or_default().split(',');
    options
        .filter_map(|option| option.split_once('='))
        .filter(|(key, _)| key.starts_with("delegate_"))
        .map(|(key, value)| MountOption { key: key.to_owned(), value: value.to_owned() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topmost_mount_shows_the_delegation() {
        let mountinfo = "23 1 0:21 / /sys rw - sysfs sysfs rw\n\
            30 23 0:26 / /sys/fs/bpf rw - bpf bpf rw,delegate_cmds=any\n\
            31 30 0:27 / /sys/fs/bpf rw - bpf none rw,uid=1000,delegate_cmds=map_create:prog_load,delegate_maps=hash\n\
            32 1 0:28 / /mnt rw - bpf none rw,delegate_progs=any\n";
        let shown: Vec<String> =
            delegation_shown(mountinfo).iter().map(|option| format!("{}={}", option.key, option.value)).collect();
        assert_eq!(shown, ["delegate_cmds=map_create:prog_load", "delegate_maps=hash"]);
        assert!(delegation_shown("23 1 0:21 / /sys rw - sysfs sysfs rw\n").is_empty());
    }

    #[test]
    fn a_mount_is_formatted_as_mount_8_does() {
        let line = "31 30 0:27 / /sys/fs/bpf rw,nosuid,relatime shared:7 - bpf none rw,mode=700,delegate_cmds=any";
        let expected = "none on /sys/fs/bpf type bpf (rw,nosuid,relatime,mode=700,delegate_cmds=any)";
        assert_eq!(mount_line(line).as_deref(), Some(expected));
        assert_eq!(mount_line("31 30 0:27 / /sys/fs/bpf"), None);
    }
}
