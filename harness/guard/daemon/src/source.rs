//! Where records come from: the guard that is in force, or a test.

use std::time::Duration;

use anyhow::Result;
use guard_loader::{Access, Reader};
use guard_record::{KernelCounters, Record};
use rustix::time::{ClockId, clock_gettime};

/// What the BPF programs share without a system call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    /// The number of the next record.
    pub(crate) seq: u64,
    /// Records lost, of `denials` and of `calls`.
    pub(crate) lost: [u64; 2],
}

/// A guard whose records are read.
pub(crate) trait Source {
    /// Waits until there is a record, or for this long.
    fn wait(&self, timeout: Duration);

    /// Takes records out of the rings, up to a bound.
    fn take(&mut self) -> Result<Vec<Record>>;

    /// Shows the programs that somebody reads.
    fn beat(&self);

    /// Returns numbers that may change meanwhile.
    fn sums(&self) -> Sums;

    /// Returns the kernel's counters.
    fn counters(&self) -> Result<KernelCounters>;

    /// Returns the time since boot.
    fn now(&self) -> Duration {
        let now = clock_gettime(ClockId::Boottime);
        Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
    }
}

/// The kernel's rings.
pub(crate) struct Rings<'a> {
    pub(crate) access: &'a Access,
    pub(crate) reader: Reader<'a>,
}

impl Source for Rings<'_> {
    fn wait(&self, timeout: Duration) {
        self.reader.wait(timeout);
    }

    fn take(&mut self) -> Result<Vec<Record>> {
        Ok(self.reader.take()?)
    }

    fn beat(&self) {
        self.access.beat();
    }

    fn sums(&self) -> Sums {
        let (seq, lost) = self.access.sums();
        Sums { seq, lost }
    }

    fn counters(&self) -> Result<KernelCounters> {
        let counters = self.access.counters()?;
        Ok(KernelCounters { recorded: counters.recorded(), counted: counters.counted(), lost: counters.lost() })
    }
}
