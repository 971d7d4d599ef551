//! How much memory the host has left.

use std::{
    fs,
    path::{Path, PathBuf},
};

const MIB: u64 = 1 << 20;

/// What can still be taken without swapping and without leaving our control groups, in MiB. Without limits that are told to us
/// there is as much as anybody wants.
pub(super) fn free_mib() -> u64 {
    let host = fs::read_to_string("/proc/meminfo").ok().and_then(|text| available_kib(&text)).map(|kib| kib / 1024);
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let rooms = groups_of(&groups).into_iter().filter_map(|group| room_in(&group));
    rooms.chain(host).min().unwrap_or(u64::MAX)
}

/// `MemAvailable` of `proc_meminfo(5)`, in KiB.
fn available_kib(meminfo: &str) -> Option<u64> {
    meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.split_whitespace().next()?.parse().ok())
}

/// Our control group of version 2 and those above it (`cgroups(7)`), as folders.
fn groups_of(proc_cgroup: &str) -> Vec<PathBuf> {
    let Some(own) = proc_cgroup.lines().find_map(|line| line.strip_prefix("0::/")) else { return Vec::new() };
    let root = Path::new("/sys/fs/cgroup");
    let group = root.join(own);
    group.ancestors().take_while(|path| path.starts_with(root)).map(Path::to_owned).collect()
}

/// What a group leaves, in MiB; `None` if it has no limit.
fn room_in(group: &Path) -> Option<u64> {
    let read = |name: &str| fs::read_to_string(group.join(name)).ok();
    room(&read("memory.max")?, &read("memory.current")?, &read("memory.stat").unwrap_or_default())
}

/// What `memory.max` leaves, in MiB: pages of files are given back when somebody needs their memory.
fn room(max: &str, current: &str, stat: &str) -> Option<u64> {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let reclaimable = stat.lines().find_map(|line| number(line.strip_prefix("inactive_file ")?)).unwrap_or(0);
    Some(number(max)?.saturating_sub(number(current)?.saturating_sub(reclaimable)) / MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_what_the_kernel_calls_available() {
        let text = "MemTotal:       24641828 kB\nMemFree:          500000 kB\nMemAvailable:   17000000 kB\n";
        assert_eq!(available_kib(text), Some(17_000_000));
        assert_eq!(available_kib("MemTotal: 1 kB\n"), None);
        assert!(free_mib() > 0);
    }

    #[test]
    fn a_group_leaves_what_it_does_not_use_or_can_give_back() {
        let gib = |count: u64| format!("{}\n", count << 30);
        assert_eq!(room(&gib(4), &gib(3), ""), Some(1024));
        assert_eq!(room(&gib(4), &gib(3), &format!("anon 1\ninactive_file {}", gib(2))), Some(3072));
        assert_eq!(room(&gib(4), &gib(5), ""), Some(0));
        assert_eq!(room("max\n", &gib(5), ""), None);
    }

    #[test]
    fn our_groups_are_ours_and_all_above() {
        let groups = groups_of("4:memory:/old\n0::/user.slice/me\n");
        assert_eq!(
            groups,
            ["/sys/fs/cgroup/user.slice/me", "/sys/fs/cgroup/user.slice", "/sys/fs/cgroup"].map(PathBuf::from)
        );
        assert!(groups_of("4:memory:/old\n").is_empty());
    }
}
