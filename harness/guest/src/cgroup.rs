//! Control groups: one for each container, in a folder of our own below the root of the unified hierarchy.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    rc::Rc,
};

use rustix::{
    fs::{AtFlags, Mode},
    process::Pid,
};

use crate::{
    bpffs,
    error::{During, SysError},
    pseudofile,
};

/// The folder of our own; what is left in it after a scenario is a leftover.
const FOLDER: &str = "bpf-token-guest";

/// Where it is mounted: alone, or beside hierarchies of version 1.
const PLACES: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// The hierarchy and our folder in it.
#[derive(Debug)]
pub(crate) struct Hierarchy {
    root: OwnedFd,
    folder: OwnedFd,
}

impl Hierarchy {
    /// Opens it and makes our folder.
    pub(crate) fn open() -> Result<Self, SysError> {
        let root = root()?;
        make(root.as_fd(), FOLDER)?;
        let folder = pseudofile::open_folder(root.as_fd(), FOLDER)?;
        Ok(Self { root, folder })
    }

    /// The root cgroup, opened for reading.
    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Makes a new cgroup of this name.
    pub(crate) fn make(self: &Rc<Self>, name: String) -> Result<Cgroup, SysError> {
        make(self.folder.as_fd(), &name)?;
        let folder = pseudofile::open_folder(self.folder.as_fd(), &name)?;
        Ok(Cgroup { hierarchy: Rc::clone(self), name, folder })
    }

    /// The names of cgroups in our folder.
    pub(crate) fn left(&self) -> Result<Vec<String>, SysError> {
        let mut names = pseudofile::folders(&self.folder, "our cgroup folder")?;
        names.sort();
        Ok(names)
    }

    /// Removes a cgroup that has no processes any more.
    pub(crate) fn remove(&self, name: &str) -> Result<(), SysError> {
        rustix::fs::unlinkat(&self.folder, name, AtFlags::REMOVEDIR).during(|| format!("rmdir cgroup {name}"))
    }
}

impl Drop for Hierarchy {
    fn drop(&mut self) {
        // Fails only while a leftover is in it, which has been reported by then.
        let _ = rustix::fs::unlinkat(&self.root, FOLDER, AtFlags::REMOVEDIR);
    }
}

/// A cgroup, removed when dropped; what cannot be removed yet is found by [`Hierarchy::left`].
#[derive(Debug)]
pub(crate) struct Cgroup {
    hierarchy: Rc<Hierarchy>,
    name: String,
    folder: OwnedFd,
}

impl Cgroup {
    /// Its name in our folder.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Moves a process into it.
    pub(crate) fn admit(&self, pid: Pid) -> Result<(), SysError> {
        pseudofile::write_at(&self.folder, "cgroup.procs", &pid.as_raw_nonzero().to_string())
    }
}

impl AsFd for Cgroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = self.hierarchy.remove(&self.name);
    }
}

/// The root where an image usually has it; mounted attached nowhere otherwise. Not mounted without need: that would
/// clear the flags another mount of the hierarchy has set (`apply_cgroup_root_flags`, `kernel/cgroup/cgroup.c`).
fn root() -> Result<OwnedFd, SysError> {
    for place in PLACES {
        if let Ok(folder) = pseudofile::open_folder(rustix::fs::CWD, place) {
            let kind = rustix::fs::fstatfs(&folder).during(|| format!("fstatfs {place}"))?.f_type;
            if kind == libc::CGROUP2_SUPER_MAGIC {
                return Ok(folder);
            }
        }
    }
    bpffs::duplicate(bpffs::Mounted::of("cgroup2", &[])?.root())
}

/// The cgroup this process is in; the root where the process is not in the unified hierarchy.
pub(crate) fn own() -> Result<OwnedFd, SysError> {
    let own = pseudofile::read("/proc/self/cgroup")?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    pseudofile::open_folder(root()?.as_fd(), if path.is_empty() { "." } else { path })
}

fn make(parent: BorrowedFd<'_>, name: &str) -> Result<(), SysError> {
    match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Err(rustix::io::Errno::EXIST) => Ok(()),
        other => other.during(|| format!("mkdir cgroup {name}")),
    }
}
