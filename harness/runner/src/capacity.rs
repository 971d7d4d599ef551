//! How many VMs may run at the same time, and how many do.

use std::{
    fmt,
    num::{NonZeroUsize, ParseIntError},
    str::FromStr,
    sync::{Condvar, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    thread,
    time::Instant,
};

/// The maximum number of VMs at once.
///
/// A VM keeps a processor busy, unless its scenarios bring guards of their own: the end of a guard detaches some twenty
/// programs one after another, each of which waits about a tenth of a second until no task can be in its trampoline any
/// more (`ftrace_shutdown` in `kernel/trace/ftrace.c`, the pause of a grace period in `kernel/rcu/tasks.h`). Under
/// emulation such a scenario waits for two of its three seconds, with KVM for nearly all of its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jobs {
    vms: NonZeroUsize,
    /// Whether two VMs that mostly wait count as one.
    overlap: bool,
}

impl Default for Jobs {
    /// One per processor: a VM has one virtual processor, with or without KVM. Two that mostly wait share one.
    fn default() -> Self {
        Self { vms: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN), overlap: true }
    }
}

impl Jobs {
    /// Divides the jobs into `parts` equal parts; returns one part, at least one job.
    #[must_use]
    pub fn share(self, parts: usize) -> Self {
        let vms = NonZeroUsize::new(self.vms.get() / parts.max(1)).unwrap_or(NonZeroUsize::MIN);
        Self { vms, ..self }
    }

    /// Returns how many VMs of a kind may run at once.
    pub(crate) fn of(self, pace: Pace) -> usize {
        self.halves() / self.halves_of(pace)
    }

    /// Returns the halves of jobs that there are.
    pub(crate) fn halves(self) -> usize {
        2 * self.vms.get()
    }

    /// Returns how many halves of a job a VM takes.
    pub(crate) fn halves_of(self, pace: Pace) -> usize {
        match pace {
            Pace::Waiting if self.overlap => 1,
            Pace::Waiting | Pace::Working => 2,
        }
    }
}

/// What a VM does for most of its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// It keeps its processor busy.
    Working,
    /// Its scenarios bring guards of their own, and wait for their end.
    Waiting,
}

impl FromStr for Jobs {
    type Err = ParseIntError;

    /// Parses a number of at least 1, which is the most VMs whatever they do.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self { vms: text.parse()?, overlap: false })
    }
}

impl fmt::Display for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.vms.fmt(f)
    }
}

/// All VMs of this process.
#[derive(Debug)]
pub struct Fleet {
    pub(crate) jobs: Jobs,
    pub(crate) running_vms: Mutex<RunningVms>,
    pub(crate) changed: Condvar,
    /// VMs that the host lost and that were booted again.
    pub(crate) lost_vms: AtomicU64,
}

impl Fleet {
    /// Creates a fleet that runs at most `jobs` VMs at once; none runs yet.
    pub fn of(jobs: Jobs) -> Self {
        Self { jobs, running_vms: Mutex::default(), changed: Condvar::new(), lost_vms: AtomicU64::new(0) }
    }
}

/// What a VM takes while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    /// How many halves of a job.
    pub(crate) halves: usize,
    /// Its memory, QEMU's own included, in MiB.
    pub(crate) mib: u64,
}

/// The running VMs: how many halves of a job they take, and the memory reserved for them.
#[derive(Debug, Default)]
pub(crate) struct RunningVms {
    pub(crate) halves: usize,
    pub(crate) reserved_mib: u64,
    /// Since when memory has been short although none of our VMs runs.
    pub(crate) starving: Option<Instant>,
}

impl RunningVms {
    /// Records that a VM starts.
    pub(crate) fn enter(&mut self, need: Need) {
        self.halves += need.halves;
        self.reserved_mib += need.mib;
        self.starving = None;
    }

    /// Records that such a VM has ended.
    pub(crate) fn leave(&mut self, need: Need) {
        self.halves -= need.halves;
        self.reserved_mib -= need.mib;
    }

    /// Records that no VM can start for lack of memory.
    pub(crate) fn starve(&mut self, now: Instant) {
        if self.halves == 0 {
            self.starving.get_or_insert(now);
        }
    }
}

/// Locks a mutex, even if a thread that held it panicked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
