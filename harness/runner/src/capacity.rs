//! How many VMs run at a time: as many as are allowed, and those that do.

use std::{
    fmt,
    num::{NonZeroUsize, ParseIntError},
    str::FromStr,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

/// How many VMs run at a time at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jobs(pub(crate) NonZeroUsize);

impl Default for Jobs {
    /// One a processor: a VM has one of its own, with KVM as without.
    fn default() -> Self {
        Self(thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))
    }
}

impl Jobs {
    /// One of so many equal parts, and at least one job.
    #[must_use]
    pub fn share(self, parts: usize) -> Self {
        Self(NonZeroUsize::new(self.0.get() / parts.max(1)).unwrap_or(NonZeroUsize::MIN))
    }
}

impl FromStr for Jobs {
    type Err = ParseIntError;

    /// Reads a number above 0.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// All VMs that run at a time.
#[derive(Debug)]
pub struct Fleet {
    pub(crate) jobs: Jobs,
    pub(crate) yard: Mutex<RunningVms>,
    pub(crate) changed: Condvar,
}

impl Fleet {
    /// So many VMs at a time at most; none runs yet.
    pub fn of(jobs: Jobs) -> Self {
        Self { jobs, yard: Mutex::default(), changed: Condvar::new() }
    }
}

/// The VMs that run, and what they were promised.
#[derive(Debug, Default)]
pub(crate) struct RunningVms {
    pub(crate) running: usize,
    pub(crate) promised_mib: u64,
    /// Since when there has been too little memory although nothing of ours runs.
    pub(crate) starving: Option<Instant>,
}

impl RunningVms {
    /// A VM starts that may take so much memory.
    pub(crate) fn enter(&mut self, need: u64) {
        self.running += 1;
        self.promised_mib += need;
        self.starving = None;
    }

    /// Such a VM has ended.
    pub(crate) fn leave(&mut self, need: u64) {
        self.running -= 1;
        self.promised_mib -= need;
    }

    /// Nothing can be started for want of memory.
    pub(crate) fn starve(&mut self, now: Instant) {
        if self.running == 0 {
            self.starving.get_or_insert(now);
        }
    }
}

/// Locks a mutex, whatever became of a thread that held it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
