//! What a scenario left behind: a comparison of the machine before and after it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use rustix::process::Pid;

use crate::{
    bpf::{self, Kind},
    cgroup::Hierarchy,
    controls::Controls,
    error::{During, SysError},
    host_mode, process, pseudofile,
};

/// How long the kernel may take to free what it frees later, such as network namespaces and unmounted file systems.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The same after a guard has ended: its maps are freed only once no task can be in its trampolines any more.
pub(crate) const PATIENCE_AFTER_GUARD: Duration = Duration::from_secs(30);

/// What outlives a scenario, and how long the wait for the rest may take.
#[derive(Debug)]
pub(crate) struct Remaining<'a> {
    /// The control actors.
    pub(crate) controls: &'a Controls,
    /// The process of the session's guard.
    pub(crate) guard: Option<Pid>,
    /// How long the kernel may take to free what it frees later.
    pub(crate) patience: Duration,
}

/// Everything that a scenario could leave behind, except processes and cgroups: each of ours is a leftover, unless it
/// belongs to a control actor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inventory {
    mounts: BTreeMap<u32, String>,
    interfaces: BTreeSet<String>,
    objects: BTreeSet<(Kind, u32)>,
}

impl Inventory {
    /// Lists what exists now.
    pub(crate) fn take() -> Result<Self, SysError> {
        let mut objects = BTreeSet::new();
        for kind in [Kind::Map, Kind::Program, Kind::Link, Kind::Btf] {
            let mut last = 0;
            while let Some(id) = bpf::next_id(kind, last).during(|| format!("BPF_*_GET_NEXT_ID of {kind:?}"))? {
                objects.insert((kind, id));
                last = id;
            }
        }
        let mounts = mounts_of(&pseudofile::read("/proc/self/mountinfo")?);
        Ok(Self { mounts, interfaces: interfaces()?, objects })
    }

    /// Names each thing that did not exist before.
    fn beyond(&self, before: &Self) -> Vec<String> {
        let mounts = self.mounts.iter().filter(|(id, _)| !before.mounts.contains_key(id));
        let new: BTreeSet<_> = self.objects.difference(&before.objects).copied().collect();
        let others = if new.is_empty() { BTreeSet::new() } else { host_mode::held_by_others() };
        let objects = new.difference(&others);
        mounts
            .map(|(_, name)| format!("mount at {name}"))
            .chain(self.interfaces.difference(&before.interfaces).map(|name| format!("interface {name}")))
            .chain(objects.map(|(kind, id)| format!("{} with id {id}", noun(*kind))))
            .collect()
    }
}

fn noun(kind: Kind) -> &'static str {
    match kind {
        Kind::Map => "BPF map",
        Kind::Program => "BPF program",
        Kind::Link => "BPF link",
        Kind::Btf => "BTF",
    }
}

/// Reads mounts by id, each with its path and type (`proc_pid_mountinfo(5)`).
fn mounts_of(mountinfo: &str) -> BTreeMap<u32, String> {
    let describe = |line: &str| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ');
        let id = fields.next()?.parse().ok()?;
        Some((id, format!("{} of type {}", fields.nth(3)?, kind.split(' ').next()?)))
    };
    mountinfo.lines().filter_map(describe).collect()
}

fn interfaces() -> Result<BTreeSet<String>, SysError> {
    let entries = pseudofile::entries(pseudofile::open("/sys/class/net")?, "/sys/class/net")?;
    Ok(entries.into_iter().map(|(name, _)| name).collect())
}

/// Waits until nothing is left of a scenario, but no longer than allowed. Returns what is left then, and what exists now.
pub(crate) fn wait(
    before: &Inventory,
    hierarchy: &Hierarchy,
    remaining: &Remaining<'_>,
) -> Result<(Vec<String>, Inventory), SysError> {
    let deadline = Instant::now() + remaining.patience;
    let mut pause = Duration::from_micros(200);
    loop {
        let now = Inventory::take()?;
        let mut left = processes(remaining)?;
        left.extend(cgroups(hierarchy, remaining.controls)?);
        left.extend(now.beyond(before));
        if left.is_empty() || Instant::now() >= deadline {
            return Ok((left, now));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

fn processes(remaining: &Remaining<'_>) -> Result<Vec<String>, SysError> {
    if !process::reap_ended() {
        return Ok(Vec::new());
    }
    // A process that still runs has outlived its scenario. It is named, and ended so that it harms no other one.
    let remains = |pid: Pid| remaining.controls.has_process(pid) || remaining.guard == Some(pid);
    let ours = children()?.into_iter().filter(|(pid, _)| !remains(*pid));
    Ok(ours.inspect(|(pid, _)| process::kill(*pid)).map(|(_, name)| name).collect())
}

/// Returns our children with their names, found by the parent in `/proc/PID/stat` (`proc_pid_stat(5)`).
fn children() -> Result<Vec<(Pid, String)>, SysError> {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let entries = pseudofile::entries(pseudofile::open("/proc")?, "/proc")?.into_iter();
    let pids = entries.filter_map(|(name, _)| Pid::from_raw(name.parse().ok().filter(|pid| *pid > 0)?));
    // A process that cannot be read has ended meanwhile.
    let named = |pid: Pid| {
        let stat = pseudofile::read(&format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        Some((pid, child_of(own, &stat)?))
    };
    Ok(pids.filter_map(named).collect())
}

/// Returns the name of a process if it has this parent.
fn child_of(parent: i32, stat: &str) -> Option<String> {
    let (name, rest) = stat.rsplit_once(") ")?;
    let (_, name) = name.split_once(" (")?;
    let its = rest.split(' ').nth(1)?.parse::<i32>().ok()?;
    (its == parent).then(|| format!("process {name}"))
}

fn cgroups(hierarchy: &Hierarchy, controls: &Controls) -> Result<Vec<String>, SysError> {
    let names = hierarchy.left()?.into_iter().filter(|name| !controls.has_cgroup(name));
    Ok(names.filter(|name| hierarchy.remove(name).is_err()).map(|name| format!("cgroup {name}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_named() {
        let before = Inventory {
            mounts: mounts_of("23 1 0:21 / /sys rw - sysfs sysfs rw\n"),
            interfaces: ["lo".to_owned()].into(),
            objects: [(Kind::Btf, 1)].into(),
        };
        let after = Inventory {
            mounts: mounts_of(
                "23 1 0:21 / /sys rw - sysfs sysfs rw\n30 23 0:26 / /sys/fs/bpf rw shared:3 - bpf bpf rw\n",
            ),
            interfaces: ["lo".to_owned(), "dummy0".to_owned()].into(),
            objects: [(Kind::Btf, 1), (Kind::Map, 7), (Kind::Link, 2)].into(),
        };
        let named = ["mount at /sys/fs/bpf of type bpf", "interface dummy0", "BPF map with id 7", "BPF link with id 2"];
        assert_eq!(after.beyond(&before), named);
        assert!(before.beyond(&after).is_empty());
    }

    #[test]
    fn children_are_known_by_their_parent() {
        assert_eq!(child_of(7, "12 (a ) b) S 7 12 0"), Some("process a ) b".to_owned()));
        assert_eq!(child_of(8, "12 (a ) b) S 7 12 0"), None);
        assert_eq!(child_of(7, "no process"), None);
    }
}
