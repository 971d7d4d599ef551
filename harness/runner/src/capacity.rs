//! How many VMs may run at the same time, and how many do.

use std::{
    fmt,
    num::{NonZeroUsize, ParseIntError},
    str::FromStr,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

/// The maximum number of VMs at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jobs(pub(crate) NonZeroUsize);

impl Default for Jobs {
    /// One per processor: a VM has one virtual processor, with or without KVM.
    fn default() -> Self {
        Self(thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))
    }
}

impl Jobs {
    /// Divides the jobs into `parts` equal parts; returns one part, at least one job.
    #[must_use]
    pub fn share(self, parts: usize) -> Self {
        Self(NonZeroUsize::new(self.0.get() / parts.max(1)).unwrap_or(NonZeroUsize::MIN))
    }
}

impl FromStr for Jobs {
    type Err = ParseIntError;

    /// Parses a number of at least 1.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// All VMs of this process.
#[derive(Debug)]
pub struct Fleet {
    pub(crate) jobs: Jobs,
    pub(crate) running_vms: Mutex<RunningVms>,
    pub(crate) changed: Condvar,
}

impl Fleet {
    /// Creates a fleet that runs at most `jobs` VMs at once; none runs yet.
    pub fn of(jobs: Jobs) -> Self {
        Self { jobs, running_vms: Mutex::default(), changed: Condvar::new() }
    }
}

/// The number of running VMs, and the memory reserved for them.
#[derive(Debug, Default)]
pub(crate) struct RunningVms {
    pub(crate) running: usize,
    pub(crate) reserved_mib: u64,
    /// Since when memory has been short although none of our VMs runs.
    pub(crate) starving: Option<Instant>,
}

impl RunningVms {
    /// Records that a VM starts that may use `need` MiB.
    pub(crate) fn enter(&mut self, need: u64) {
        self.running += 1;
        self.reserved_mib += need;
        self.starving = None;
    }

    /// Records that such a VM has ended.
    pub(crate) fn leave(&mut self, need: u64) {
        self.running -= 1;
        self.reserved_mib -= need;
    }

    /// Records that no VM can start for lack of memory.
    pub(crate) fn starve(&mut self, now: Instant) {
        if self.running == 0 {
            self.starving.get_or_insert(now);
        }
    }
}

/// Locks a mutex, even if a thread that held it panicked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
