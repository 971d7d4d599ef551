//! Processors and memory that this process may use.

use std::{
    fs,
    num::NonZero,
    path::{Path, PathBuf},
    thread,
};

use schemars::JsonSchema;
use serde::Serialize;

/// Processors and memory; sizes are in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Limits {
    /// Processors of the machine.
    pub(super) processors: usize,
    /// Processors this process may use, by its affinity and cgroups.
    pub(super) usable_processors: usize,
    /// Memory of the machine.
    pub(super) memory: u64,
    /// Memory that is free or can be made free.
    pub(super) available_memory: u64,
    /// The lowest limit of this process's cgroups, if there is one.
    pub(super) memory_limit: Option<u64>,
}

impl Limits {
    pub(super) fn of_this_machine() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let meminfo = read("/proc/meminfo");
        Self {
            processors: read("/proc/cpuinfo").lines().filter(|line| line.starts_with("processor")).count(),
            usable_processors: thread::available_parallelism().map_or(1, NonZero::get),
            memory: field(&meminfo, "MemTotal:"),
            available_memory: field(&meminfo, "MemAvailable:"),
            memory_limit: memory_limit(Path::new("/sys/fs/cgroup"), &read("/proc/self/cgroup")),
        }
    }

    /// Returns the memory that is available now, in bytes.
    pub(super) fn usable_memory(&self) -> u64 {
        self.memory_limit.map_or(self.available_memory, |limit| limit.min(self.available_memory))
    }
}

/// Reads a field of `proc_meminfo(5)`, in bytes.
fn field(meminfo: &str, name: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).map_or(0, |kib: u64| kib * 1024)
}

/// Returns the lowest `memory.max` of a version 2 cgroup and its ancestors (`cgroups(7)`).
fn memory_limit(root: &Path, own: &str) -> Option<u64> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let group: PathBuf = root.join(path.trim_start_matches('/'));
    let limits = group.ancestors().take_while(|folder| folder.starts_with(root)).filter_map(|folder| {
        let text = fs::read_to_string(folder.join("memory.max")).ok()?;
        text.trim().parse().ok()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_on_the_way_up_holds() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/b")).unwrap();
        fs::write(root.path().join("a/memory.max"), "1000\n").unwrap();
        fs::write(root.path().join("a/b/memory.max"), "max\n").unwrap();
        assert_eq!(memory_limit(root.path(), "1:name=x:/y\n0::/a/b\n"), Some(1000));
        assert_eq!(memory_limit(root.path(), "0::/\n"), None);
        assert_eq!(memory_limit(root.path(), ""), None);
    }

    #[test]
    fn memory_is_read_in_kibibytes() {
        assert_eq!(field("MemTotal:   2 kB\nMemAvailable: 1 kB\n", "MemAvailable:"), 1024);
        assert_eq!(field("", "MemTotal:"), 0);
        let limits = Limits { available_memory: 10, memory_limit: Some(4), ..Limits::default() };
        assert_eq!(limits.usable_memory(), 4);
    }
}
