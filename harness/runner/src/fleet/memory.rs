//! Measures the host's free memory.

use std::{
    fs,
    path::{Path, PathBuf},
};

const MIB: u64 = 1 << 20;

/// Returns the memory that is available without swapping and within the limits of our control groups, in MiB;
/// `u64::MAX` if nothing can be read.
pub(super) fn free_mib() -> u64 {
    let host = fs::read_to_string("/proc/meminfo").ok().and_then(|text| available_kib(&text)).map(|kib| kib / 1024);
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let remaining = groups_of(&groups).into_iter().filter_map(|group| remaining_in(&group));
    remaining.chain(host).min().unwrap_or(u64::MAX)
}

/// Returns `MemAvailable` of `proc_meminfo(5)`, in KiB.
fn available_kib(meminfo: &str) -> Option<u64> {
    meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.split_whitespace().next()?.parse().ok())
}

/// Returns the folders of our version 2 control group and its ancestors (`cgroups(7)`).
fn groups_of(proc_cgroup: &str) -> Vec<PathBuf> {
    let Some(own) = proc_cgroup.lines().find_map(|line| line.strip_prefix("0::/")) else { return Vec::new() };
    let root = Path::new("/sys/fs/cgroup");
    let group = root.join(own);
    group.ancestors().take_while(|path| path.starts_with(root)).map(Path::to_owned).collect()
}

/// Returns the memory that a group may still use, in MiB; `None` if it has no limit.
fn remaining_in(group: &Path) -> Option<u64> {
    let read = |name: &str| fs::read_to_string(group.join(name)).ok();
    remaining_mib(&read("memory.max")?, &read("memory.current")?, &read("memory.stat").unwrap_or_default())
}

/// Returns what remains of `memory.max`, in MiB. Inactive file pages count as free, because the kernel reclaims them.
fn remaining_mib(max: &str, current: &str, stat: &str) -> Option<u64> {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let reclaimable = stat.lines().find_map(|line| number(line.strip_prefix("inactive_file ")?)).unwrap_or(0);
    Some(number(max)?.saturating_sub(number(current)?.saturating_sub(reclaimable)) / MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_read() {
        let text = "MemTotal:       24641828 kB\nMemFree:          500000 kB\nMemAvailable:   17000000 kB\n";
        assert_eq!(available_kib(text), Some(17_000_000));
        assert_eq!(available_kib("MemTotal: 1 kB\n"), None);
        assert!(free_mib() > 0);
    }

    #[test]
    fn reclaimable_memory_of_a_group_counts_as_free() {
        let gib = |count: u64| format!("{}\n", count << 30);
        assert_eq!(remaining_mib(&gib(4), &gib(3), ""), Some(1024));
        assert_eq!(remaining_mib(&gib(4), &gib(3), &format!("anon 1\ninactive_file {}", gib(2))), Some(3072));
        assert_eq!(remaining_mib(&gib(4), &gib(5), ""), Some(0));
        assert_eq!(remaining_mib("max\n", &gib(5), ""), None);
    }

    #[test]
    fn groups_include_all_ancestors() {
        let groups = groups_of("4:memory:/old\n0::/user.slice/me\n");
        assert_eq!(
            groups,
            ["/sys/fs/cgroup/user.slice/me", "/sys/fs/cgroup/user.slice", "/sys/fs/cgroup"].map(PathBuf::from)
        );
        assert!(groups_of("4:memory:/old\n").is_empty());
    }
}
