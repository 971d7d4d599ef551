//! Where records come from: the guard that is in force, or a test.

use std::{cell::Cell, time::Duration};

use anyhow::Result;
use guard_loader::{Access, Reader, Taken};
use guard_record::KernelCounters;
use rustix::time::{ClockId, clock_gettime};

/// What the BPF programs keep of all records.
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
    fn take(&mut self) -> Result<Taken>;

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
    access: &'a Access,
    reader: Reader<'a>,
    last: Cell<Sums>,
}

impl<'a> Rings<'a> {
    /// Opens the rings.
    pub(crate) fn open(access: &'a Access) -> Result<Self> {
        Ok(Self { access, reader: access.reader()?, last: Cell::default() })
    }
}

impl Source for Rings<'_> {
    fn wait(&self, timeout: Duration) {
        self.reader.wait(timeout);
    }

    fn take(&mut self) -> Result<Taken> {
        // Where they cannot be read, `sums` goes on with the last ones, and this says so.
        self.access.sums()?;
        Ok(self.reader.take()?)
    }

    fn beat(&self) {
        self.access.beat();
    }

    fn sums(&self) -> Sums {
        if let Ok((seq, lost)) = self.access.sums() {
            self.last.set(Sums { seq, lost });
        }
        self.last.get()
    }

    fn counters(&self) -> Result<KernelCounters> {
        let counters = self.access.counters()?;
        Ok(KernelCounters { recorded: counters.recorded(), counted: counters.counted(), lost: counters.lost() })
    }
}
