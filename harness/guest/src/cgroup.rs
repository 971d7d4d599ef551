//! Control groups: one for each container, in a folder of ours below the root of the unified hierarchy.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
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

/// Our folder; what remains in it after a scenario is a leftover.
const FOLDER: &str = "bpf-token-guest";

/// Where the hierarchy is mounted: alone, or next to hierarchies of version 1.
const MOUNT_POINTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// The hierarchy and our folder in it.
#[derive(Debug)]
pub(crate) struct Hierarchy {
    root: OwnedFd,
    folder: OwnedFd,
}

impl Hierarchy {
    /// Opens the hierarchy and makes our folder.
    pub(crate) fn open() -> Result<Self, SysError> {
        let root = root()?;
        make(root.as_fd(), FOLDER)?;
        let folder = pseudofile::open_folder(root.as_fd(), FOLDER)?;
        Ok(Self { root, folder })
    }

    /// Returns the root cgroup, opened for reading.
    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Makes a new cgroup of this name.
    pub(crate) fn make(self: &Rc<Self>, name: String) -> Result<Cgroup, SysError> {
        make(self.folder.as_fd(), &name)?;
        let folder = pseudofile::open_folder(self.folder.as_fd(), &name)?;
        Ok(Cgroup { hierarchy: Rc::clone(self), name, folder })
    }

    /// Returns the names of the cgroups in our folder.
    pub(crate) fn left(&self) -> Result<Vec<String>, SysError> {
        let mut names = pseudofile::folders(&self.folder, "our cgroup folder")?;
        names.sort();
        Ok(names)
    }

    /// Returns the id of the cgroup that a process is in.
    pub(crate) fn id_of(&self, pid: Pid) -> Result<u64, SysError> {
        let text = pseudofile::read(&format!("/proc/{}/cgroup", pid.as_raw_nonzero()))?;
        let path = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
        let folder = pseudofile::open_folder(self.root.as_fd(), &Path::new(".").join(path).to_string_lossy())?;
        id_of(folder.as_fd())
    }

    /// Removes a cgroup without processes.
    pub(crate) fn remove(&self, name: &str) -> Result<(), SysError> {
        rustix::fs::unlinkat(&self.folder, name, AtFlags::REMOVEDIR).during(|| format!("rmdir cgroup {name}"))
    }
}

impl Drop for Hierarchy {
    fn drop(&mut self) {
        // Fails only if a leftover remains, which has been reported by then.
        let _ = rustix::fs::unlinkat(&self.root, FOLDER, AtFlags::REMOVEDIR);
    }
}

/// A cgroup, removed when dropped. [`Hierarchy::left`] lists those that could not be removed yet.
#[derive(Debug)]
pub(crate) struct Cgroup {
    hierarchy: Rc<Hierarchy>,
    name: String,
    folder: OwnedFd,
}

impl Cgroup {
    /// Returns its name in our folder.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns its id, by which BPF programs know it.
    pub(crate) fn id(&self) -> Result<u64, SysError> {
        id_of(self.folder.as_fd())
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

/// Returns the id of a cgroup: its inode on a kernel with 64 bits (`kernfs_id_ino`, `include/linux/kernfs.h`).
fn id_of(folder: BorrowedFd<'_>) -> Result<u64, SysError> {
    rustix::fs::fstat(folder).map(|stat| stat.st_ino).during(|| "fstat of a cgroup")
}

/// Opens the root where an image usually mounts it; mounts it unattached otherwise. It is mounted only if needed: that
/// clears the flags that another mount of the hierarchy has set (`apply_cgroup_root_flags`, `kernel/cgroup/cgroup.c`).
fn root() -> Result<OwnedFd, SysError> {
    for path in MOUNT_POINTS {
        if let Ok(folder) = pseudofile::open_folder(rustix::fs::CWD, path) {
            let kind = rustix::fs::fstatfs(&folder).during(|| format!("fstatfs {path}"))?.f_type;
            if kind == libc::CGROUP2_SUPER_MAGIC {
                return Ok(folder);
            }
        }
    }
    bpffs::duplicate(bpffs::Mounted::of("cgroup2", &[])?.root())
}

/// Opens the nearest cgroup that holds this process and whose children have these controllers; its own cgroup if there is
/// none. The processes of its own cgroup keep it from giving children controllers (`cgroup_vet_subtree_control_enable`,
/// `kernel/cgroup/cgroup.c`), unless it is the root.
pub(crate) fn around(controllers: &[&str]) -> Result<OwnedFd, SysError> {
    let own = pseudofile::read("/proc/self/cgroup")?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    nearest(root()?.as_fd(), path, controllers)
}

fn nearest(root: BorrowedFd<'_>, own: &str, controllers: &[&str]) -> Result<OwnedFd, SysError> {
    let open = |path: &Path| pseudofile::open_folder(root, &Path::new(".").join(path).to_string_lossy());
    for path in Path::new(own).ancestors() {
        let folder = open(path)?;
        let given = pseudofile::read_at(&folder, "cgroup.subtree_control").unwrap_or_default();
        if controllers.iter().all(|controller| given.split_whitespace().any(|given| given == *controller)) {
            return Ok(folder);
        }
    }
    open(Path::new(own))
}

/// A cgroup of its own below the root, removed when dropped.
pub(crate) struct Apart {
    root: OwnedFd,
    name: String,
    folder: OwnedFd,
}

impl Apart {
    /// Makes it.
    pub(crate) fn new(name: String) -> Result<Self, SysError> {
        let root = root()?;
        make(root.as_fd(), &name)?;
        let folder = pseudofile::open_folder(root.as_fd(), &name)?;
        Ok(Self { root, name, folder })
    }
}

impl AsFd for Apart {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let _ = rustix::fs::unlinkat(&self.root, &self.name, AtFlags::REMOVEDIR);
    }
}

fn make(parent: BorrowedFd<'_>, name: &str) -> Result<(), SysError> {
    match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Err(rustix::io::Errno::EXIST) => Ok(()),
        other => other.during(|| format!("mkdir cgroup {name}")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_nearest_cgroup_whose_children_have_the_controllers_is_taken() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("user.slice/user-0.slice/session.scope")).unwrap();
        for (cgroup, given) in
            [("", "cpu memory pids\n"), ("user.slice", "memory pids\n"), ("user.slice/user-0.slice", "cpu\n")]
        {
            fs::write(root.path().join(cgroup).join("cgroup.subtree_control"), given).unwrap();
        }
        let open = || pseudofile::open_folder(rustix::fs::CWD, root.path().to_str().unwrap()).unwrap();
        let found = |own: &str, controllers: &[&str]| {
            let folder = nearest(open().as_fd(), own, controllers).unwrap();
            fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&folder))).unwrap()
        };
        let own = "user.slice/user-0.slice/session.scope";
        assert_eq!(found(own, &["memory", "pids"]), root.path().join("user.slice"));
        assert_eq!(found(own, &["cpu"]), root.path().join("user.slice/user-0.slice"));
        assert_eq!(found(own, &["io"]), root.path().join(own));
        assert_eq!(found("", &["memory"]), root.path());
    }
}
