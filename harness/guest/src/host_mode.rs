//! Host mode: the run moves into namespaces and a cgroup of its own before it touches anything.
//!
//! Its parent stays outside, waits, and removes the cgroup. Everything else ends with the first process of the new pid
//! namespace, however that ends. As in a VM, the run is root in the initial user namespace: the controls need every
//! permission, and only that root may set what a bpffs delegates (`bpf_parse_param`, `kernel/bpf/inode.c`).

use std::{
    collections::BTreeSet,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::OnceLock,
};

use rustix::{
    fs::{AtFlags, CWD, Dir, Mode},
    mount::{MountFlags, MoveMountFlags, OpenTreeFlags},
    process::WaitOptions,
    thread::UnshareFlags,
};

use crate::{
    bpf::Kind,
    cgroup,
    error::{During, SysError},
    exit, mounts,
    process::{self, Fork},
    pseudofile,
};

/// The prefix of our cgroups' names; the pid follows.
const CGROUP: &str = "bpf-token-harness-";

/// The controllers that limit a run.
const CONTROLLERS: [&str; 2] = ["memory", "pids"];

/// What must be limited: what it is, the file, and the limit. Four times the memory of a VM, in which a kernel fits as well,
/// because maps for each processor take more where there are many; and far more processes than the two of each of a
/// case's 16 containers.
const LIMITS: [(&str, &str, &str); 2] = [("memory", "memory.max", "2147483648"), ("processes", "pids.max", "512")];

/// Limits that go with that of memory, where the kernel has them: no swap takes its place, and what runs out of it ends as a
/// whole.
const WITH_MEMORY: [(&str, &str); 2] = [("memory.swap.max", "0"), ("memory.oom.group", "1")];

/// Where the run folder is mounted inside.
const FOLDER: &str = "/run/bpf-token-harness";

/// The outer `/proc`, with the processes of the whole machine.
static OUTER_PROC: OnceLock<OwnedFd> = OnceLock::new();

/// Runs `work` in namespaces of its own, with the path of the run folder there. Returns its exit code.
///
/// # Errors
/// [`SysError`] if the caller is not root in the initial user namespace, or if a namespace or the cgroup cannot be
/// made.
pub(crate) fn apart(folder: &Path, work: impl FnOnce(&Path) -> ExitCode) -> Result<ExitCode, SysError> {
    require_initial_root()?;
    // ^C may stop the caller, but does not reach a process group of its own.
    process::die_with_parent()?;
    let around = cgroup::around(&CONTROLLERS)?;
    remove_stale(around.as_fd())?;
    let name = format!("{CGROUP}{}", std::process::id());
    rustix::fs::mkdirat(&around, &name, Mode::from_raw_mode(0o755)).during(|| format!("mkdir cgroup {name}"))?;
    let own = pseudofile::open_folder(around.as_fd(), &name)?;
    limit(own.as_fd()).iter().for_each(|note| eprintln!("note: {note}"));
    process::unshare(UnshareFlags::NEWPID)?;
    match process::fork_into(own.as_fd())? {
        Fork::Child => {
            let entered = process::die_with_parent().and_then(|()| enter(folder));
            Ok(match entered {
                Ok(folder) => work(&folder),
                Err(error) => exit::fault(format!("cannot leave the machine's own namespaces: {error}")),
            })
        }
        Fork::Parent(child) => {
            drop(own);
            let status = rustix::process::waitpid(Some(child), WaitOptions::empty()).during(|| "waitpid")?;
            remove(around.as_fd(), &name)?;
            let code = status.and_then(|(_, status)| status.exit_status()).and_then(|code| u8::try_from(code).ok());
            Ok(ExitCode::from(code.unwrap_or(exit::FAULT)))
        }
    }
}

/// Sets the limits of a run's cgroup. Returns what has none, and why.
fn limit(cgroup: BorrowedFd<'_>) -> Vec<String> {
    for (file, limit) in WITH_MEMORY {
        let _ = pseudofile::write_at(cgroup, file, limit);
    }
    let unlimited = |(what, file, limit)| match pseudofile::write_at(cgroup, file, limit) {
        Ok(()) => None,
        Err(error) => Some(format!(
            "this run has no limit of {what} ({error}): no cgroup around it gives its children both controllers, {}",
            CONTROLLERS.join(" and ")
        )),
    };
    LIMITS.into_iter().filter_map(unlimited).collect()
}

/// Rejects root of a container: its controls would be denied what every permission allows.
fn require_initial_root() -> Result<(), SysError> {
    let map = pseudofile::read("/proc/self/uid_map")?;
    let is_initial = map.split_whitespace().eq(["0", "0", "4294967295"]);
    if rustix::process::geteuid().is_root() && is_initial {
        return Ok(());
    }
    Err(rustix::io::Errno::PERM).during(|| "be root in the initial user namespace")
}

/// Removes the cgroups of runs that were killed.
fn remove_stale(around: BorrowedFd<'_>) -> Result<(), SysError> {
    for name in pseudofile::folders(around, "a cgroup")?.into_iter().filter(|name| name.starts_with(CGROUP)) {
        let events = pseudofile::read_at(around, &format!("{name}/cgroup.events")).unwrap_or_default();
        // The cgroup of a live run has processes.
        if events.lines().any(|line| line == "populated 0") {
            let _ = remove(around, &name);
        }
    }
    Ok(())
}

/// Removes a cgroup and its children.
fn remove(around: BorrowedFd<'_>, name: &str) -> Result<(), SysError> {
    let folder = pseudofile::open_folder(around, name)?;
    pseudofile::folders(&folder, "a cgroup")?.iter().try_for_each(|below| remove(folder.as_fd(), below))?;
    rustix::fs::unlinkat(around, name, AtFlags::REMOVEDIR).during(|| format!("rmdir cgroup {name}"))
}

const NAMESPACES: UnshareFlags = UnshareFlags::NEWNS
    .union(UnshareFlags::NEWNET)
    .union(UnshareFlags::NEWIPC)
    .union(UnshareFlags::NEWUTS)
    .union(UnshareFlags::NEWCGROUP);

const SEALED: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);
const SCRATCH: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// Mounts as in a VM, over those of the machine. The cgroup namespace comes first: mounting the hierarchy from the
/// initial one would change its options for outer_proc (`apply_cgroup_root_flags`, `kernel/cgroup/cgroup.c`).
const MOUNTS: [(&str, &str, MountFlags); 5] = [
    ("proc", "/proc", SEALED),
    ("sysfs", "/sys", SEALED),
    ("cgroup2", "/sys/fs/cgroup", SEALED),
    ("tmpfs", "/tmp", SCRATCH),
    ("tmpfs", "/run", SCRATCH),
];

/// Leaves the machine's namespaces. Returns where the run folder is afterwards.
fn enter(folder: &Path) -> Result<PathBuf, SysError> {
    process::unshare(NAMESPACES)?;
    mounts::make_private()?;
    let outer_proc = pseudofile::open_folder(CWD, "/proc")?;
    let _ = OUTER_PROC.set(outer_proc);
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let shared = rustix::mount::open_tree(CWD, folder, flags).during(|| "open_tree of the run folder")?;
    for (kind, path, flags) in MOUNTS {
        rustix::mount::mount(kind, path, kind, flags, None).during(|| format!("mount {kind} at {path}"))?;
    }
    rustix::fs::mkdir(FOLDER, Mode::from_raw_mode(0o755)).during(|| format!("mkdir {FOLDER}"))?;
    rustix::mount::move_mount(&shared, "", CWD, FOLDER, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .during(|| format!("move_mount {FOLDER}"))?;
    Ok(PathBuf::from(FOLDER))
}

/// Returns the BPF objects that processes outside of our namespaces hold open. In a VM there are none; there it returns
/// those of the first process, because systemd loads programs for the units it starts.
///
/// Objects that others keep without a descriptor, such as a program attached to their cgroup, are not included.
pub(crate) fn held_by_others() -> BTreeSet<(Kind, u32)> {
    match OUTER_PROC.get() {
        Some(proc) => held(proc.as_fd()).unwrap_or_default(),
        None => pseudofile::open_folder(CWD, "/proc")
            .map(|proc| held_by(proc.as_fd(), "1").into_iter().collect())
            .unwrap_or_default(),
    }
}

fn held(proc: BorrowedFd<'_>) -> Result<BTreeSet<(Kind, u32)>, SysError> {
    let namespace = |folder: &str| {
        rustix::fs::readlinkat(proc, format!("{folder}/ns/pid"), Vec::new()).map(std::ffi::CString::into_bytes)
    };
    let ours =
        rustix::fs::readlink("/proc/self/ns/pid", Vec::new()).during(|| "readlink /proc/self/ns/pid")?.into_bytes();
    let mut found = BTreeSet::new();
    for process in
        pseudofile::folders(proc, "/proc")?.into_iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
    {
        // A process that cannot be read has ended meanwhile.
        if namespace(&process).is_ok_and(|theirs| theirs != ours) {
            found.extend(held_by(proc, &process));
        }
    }
    Ok(found)
}

fn held_by(proc: BorrowedFd<'_>, process: &str) -> Vec<(Kind, u32)> {
    let folder = pseudofile::open_folder(proc, &format!("{process}/fd"));
    let Some(entries) = folder.ok().and_then(|folder| Dir::read_from(&folder).ok()) else { return Vec::new() };
    let is_bpf = |name: &str| {
        let link = rustix::fs::readlinkat(proc, format!("{process}/fd/{name}"), Vec::new());
        link.is_ok_and(|link| {
            ["bpf", "btf"].iter().any(|kind| link.to_string_lossy().starts_with(&format!("anon_inode:{kind}")))
        })
    };
    let names = entries.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned());
    let texts = names.filter(|name| is_bpf(name));
    let texts = texts.filter_map(|name| pseudofile::read_at(proc, &format!("{process}/fdinfo/{name}")).ok());
    texts.flat_map(|text| ids(&text)).collect()
}

/// Returns the objects that a descriptor's fdinfo names (`bpf_map_show_fdinfo` and its siblings,
/// `kernel/bpf/syscall.c`).
fn ids(fdinfo: &str) -> Vec<(Kind, u32)> {
    const FIELDS: [(&str, Kind); 4] =
        [("map_id:", Kind::Map), ("prog_id:", Kind::Program), ("link_id:", Kind::Link), ("btf_id:", Kind::Btf)];
    let id = |line: &str| {
        FIELDS.iter().find_map(|(field, kind)| Some((*kind, line.strip_prefix(field)?.trim().parse().ok()?)))
    };
    fdinfo.lines().filter_map(id).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_cannot_be_limited_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let cgroup = pseudofile::open_folder(CWD, folder.path().to_str().unwrap()).unwrap();
        // A cgroup without a controller lacks its files.
        fs::write(folder.path().join("pids.max"), "max\n").unwrap();
        insta::assert_snapshot!(limit(cgroup.as_fd()).join("\n"), @"this run has no limit of memory (open memory.max: ENOENT): no cgroup around it gives its children both controllers, memory and pids");
        for file in ["memory.max", "memory.swap.max", "memory.oom.group"] {
            fs::write(folder.path().join(file), "").unwrap();
        }
        assert!(limit(cgroup.as_fd()).is_empty());
        let limits = ["memory.max", "memory.swap.max", "memory.oom.group", "pids.max"]
            .map(|file| fs::read_to_string(folder.path().join(file)).unwrap());
        assert_eq!(limits, ["2147483648", "0", "1", "512\n"]);
    }

    #[test]
    fn fdinfo_names_its_objects() {
        let link = "pos:\t0\nlink_type:\tcgroup\nlink_id:\t7\nprog_tag:\tab\nprog_id:\t12\n";
        assert_eq!(ids(link), [(Kind::Link, 7), (Kind::Program, 12)]);
        assert_eq!(ids("map_id:\t3\nmap_idx:\t4\n"), [(Kind::Map, 3)]);
        assert!(ids("prog_id: x\n").is_empty());
    }
}
