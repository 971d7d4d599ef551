//! What a process needs to read the records: the rings, the counters, and the memory of the programs.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs, io,
    os::fd::{AsFd, OwnedFd},
    rc::Rc,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::Duration,
};

use guard_record::{Invalid, Record};
use libbpf_rs::{MapCore, MapFlags, MapHandle, Object, RingBuffer, RingBufferBuilder};

use crate::{
    error::LoadError,
    object::map,
    query,
    state::{Mapped, State},
};

/// Where a guard that was started early leaves the ids of the maps that its reader opens, by name, one a line. Whoever
/// opens them becomes the reader, one process at a time; the programs decide that, not this file.
pub const MAPS_FILE: &str = "/run/bpf-guard/maps";

/// The maps that a reader opens.
#[derive(Debug)]
pub struct Access {
    maps: BTreeMap<&'static str, MapHandle>,
    state: View,
    heartbeat: Mapped<AtomicU64>,
}

/// The programs' variables.
#[derive(Debug)]
enum View {
    /// Of this process' own guard.
    Own(Mapped<State>),
    /// Of the guard in force, to look at. The kernel maps no map that was opened for reading only.
    Foreign(OwnedFd),
}

/// What the programs counted for a hook and a verdict, on all processors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Calls without a record.
    pub counted: u64,
    /// Calls for which a record was due, lost ones included.
    pub recorded: u64,
}

/// All counters, and what they must add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// By hook and verdict, as numbers of `abi.h`; only those that are not 0.
    pub of: BTreeMap<(u8, u8), Counter>,
    /// The number of the next record.
    pub seq: u64,
    /// Records lost, of `denials` and of `calls`.
    pub lost: [u64; 2],
}

impl Counters {
    /// The sum of a counter.
    fn sum(&self, of: impl Fn(&Counter) -> u64) -> u64 {
        self.of.values().map(of).sum()
    }

    /// Returns for how many calls a record was due.
    pub fn recorded(&self) -> u64 {
        self.sum(|counter| counter.recorded)
    }

    /// Returns how many calls were only counted.
    pub fn counted(&self) -> u64 {
        self.sum(|counter| counter.counted)
    }

    /// Returns how many records were lost.
    pub fn lost(&self) -> u64 {
        self.lost.iter().sum()
    }
}

/// Returns the ids of the maps of the guard in force, by name.
pub(crate) fn published() -> Result<BTreeMap<String, u32>, LoadError> {
    let text = fs::read_to_string(MAPS_FILE).map_err(|error| LoadError::NoGuard(format!("{MAPS_FILE}: {error}")))?;
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    Ok(lines.filter_map(|(name, id)| Some((name.to_owned(), id.parse().ok()?))).collect())
}

fn unmapped(name: &'static str) -> impl FnOnce(rustix::io::Errno) -> LoadError {
    move |errno| LoadError::File { path: format!("map {name}").into(), error: errno.into() }
}

/// The number of verdicts (`GUARD_VERDICTS` of `abi.h`).
const VERDICTS: u32 = 3;

impl Access {
    /// The names of the maps that a reader may open.
    pub(crate) const NAMES: [&str; 4] = ["denials", "calls", "counters", "heartbeat"];
    /// The name of the map with the programs' variables, which a reader may look at and not write.
    pub(crate) const STATE: &str = "bss";

    /// The name of the map that a reload is asked by, which root may open.
    pub(crate) const INCOMING: &str = "incoming";

    /// Takes the maps of a loaded object.
    pub(crate) fn of(object: &Object) -> Result<Self, LoadError> {
        let open = |name: &'static str| {
            let map = map(object, name)?;
            MapHandle::try_from(&map).map_err(LoadError::bpf(format!("opening map {name}")))
        };
        let state = Mapped::of(open(Self::STATE)?.as_fd()).map_err(unmapped(Self::STATE))?;
        Self::with(open, View::Own(state))
    }

    /// Opens the maps of the guard that is in force. This makes the process its reader.
    ///
    /// # Errors
    /// [`LoadError::NoGuard`] if none was started early; [`LoadError::NotReader`] if another process reads it, or this one
    /// is not root's.
    pub fn open() -> Result<Self, LoadError> {
        let ids = published()?;
        let id = |name: &'static str| {
            ids.get(name).copied().ok_or_else(|| LoadError::NoGuard(format!("{MAPS_FILE} has no map {name}")))
        };
        let open = |name| {
            let id = id(name)?;
            let map = MapHandle::from_map_id(id).map_err(LoadError::bpf(format!("opening map {name}, id {id}")))?;
            if map.name().to_string_lossy() != *name {
                return Err(LoadError::NoGuard(format!("map {id} is not the guard's map {name}")));
            }
            Ok(map)
        };
        // The first map that is opened: it makes this process the reader.
        let state = query::map_to_look_at(id(Self::STATE)?).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => LoadError::NotReader,
            _ => LoadError::File { path: format!("map {}", Self::STATE).into(), error },
        })?;
        Self::with(open, View::Foreign(state))
    }

    fn with(open: impl Fn(&'static str) -> Result<MapHandle, LoadError>, state: View) -> Result<Self, LoadError> {
        let maps: BTreeMap<_, _> =
            Self::NAMES.into_iter().map(|name| Ok((name, open(name)?))).collect::<Result<_, LoadError>>()?;
        let heartbeat = Mapped::of(maps["heartbeat"].as_fd()).map_err(unmapped("heartbeat"))?;
        Ok(Self { maps, state, heartbeat })
    }

    /// Returns the variables of this process' own guard.
    pub(crate) fn state(&self) -> Option<&State> {
        match &self.state {
            View::Own(state) => Some(state.get()),
            View::Foreign(_) => None,
        }
    }

    /// Returns the number of the next record, and how many were lost of `denials` and of `calls`.
    ///
    /// # Errors
    /// [`LoadError`] if the variables of the guard in force cannot be read.
    pub fn sums(&self) -> Result<(u64, [u64; 2]), LoadError> {
        let [seq, denials, calls] = match &self.state {
            View::Own(state) => state.get().sums(),
            View::Foreign(map) => {
                let value = query::first_value(map.as_fd(), size_of::<State>())
                    .map_err(|error| LoadError::File { path: format!("map {}", Self::STATE).into(), error })?;
                State::sums_of(&value)
            }
        };
        Ok((seq, [denials, calls]))
    }

    /// Says that the rings are being read: `on_no_reader` goes by it.
    pub fn beat(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let nanoseconds =
            u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0);
        self.heartbeat.get().store(nanoseconds, SeqCst);
    }

    /// Reads the counters. They are exact while no call is being made.
    ///
    /// # Errors
    /// [`LoadError`] if the map cannot be read.
    pub fn counters(&self) -> Result<Counters, LoadError> {
        let map = &self.maps["counters"];
        let mut of = BTreeMap::new();
        for index in 0..map.max_entries() {
            let values = map
                .lookup_percpu(&index.to_le_bytes(), MapFlags::ANY)
                .map_err(LoadError::bpf("reading the counters"))?
                .unwrap_or_default();
            let number = |value: &[u8], at: usize| {
                value.get(at..at + 8).and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?))).unwrap_or(0)
            };
            let add = |sum: Counter, value: &Vec<u8>| Counter {
                counted: sum.counted + number(value, 0),
                recorded: sum.recorded + number(value, 8),
            };
            let counter = values.iter().fold(Counter::default(), add);
            if counter != Counter::default() {
                let (hook, verdict) = (index / VERDICTS, index % VERDICTS);
                of.insert((hook as u8, verdict as u8), counter);
            }
        }
        let (seq, lost) = self.sums()?;
        Ok(Counters { of, seq, lost })
    }

    /// Returns a reader of both rings.
    ///
    /// # Errors
    /// [`LoadError`] if a ring cannot be mapped.
    pub fn reader(&self) -> Result<Reader<'_>, LoadError> {
        let taken: Rc<RefCell<Taken>> = Rc::default();
        let ring = |name| {
            let taken = Rc::clone(&taken);
            let keep = move |bytes: &[u8]| {
                taken.borrow_mut().keep(bytes);
                0
            };
            let mut builder = RingBufferBuilder::new();
            builder.add(&self.maps[name], keep).map_err(LoadError::bpf(format!("reading ring {name}")))?;
            builder.build().map_err(LoadError::bpf(format!("mapping ring {name}")))
        };
        Ok(Reader { rings: [ring("denials")?, ring("calls")?], taken })
    }
}

/// What was taken out of the rings.
#[derive(Debug, Default)]
pub struct Taken {
    /// Records, in the order of their numbers; those of two rounds may overlap.
    pub records: Vec<Record>,
    /// What is no record.
    pub malformed: Vec<Malformed>,
    /// Whether nothing was left, of `denials` and of `calls`.
    pub is_all: [bool; 2],
}

/// Bytes of a ring that are no record of this version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The number that stands where a record has its own, if there are so many bytes.
    pub seq: Option<u64>,
    /// What is wrong.
    pub error: Invalid,
}

impl Taken {
    fn keep(&mut self, bytes: &[u8]) {
        match Record::from_bytes(bytes) {
            Ok(record) => self.records.push(record),
            Err(error) => {
                let seq = bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
                self.malformed.push(Malformed { seq, error });
            }
        }
    }
}

/// Reads the records of both rings.
pub struct Reader<'a> {
    /// `denials` and `calls`.
    rings: [RingBuffer<'a>; 2],
    taken: Rc<RefCell<Taken>>,
}

/// The most records that one round takes out of a ring. A process that is killed loses what it took and did not write, so
/// this is little; and a flood of denials does not keep it from the other ring.
pub const MOST_AT_ONCE: usize = 1024;

impl Reader<'_> {
    /// Takes records out of the rings, at most [`MOST_AT_ONCE`] of each. What is no record takes the place of one and
    /// costs no other.
    ///
    /// # Errors
    /// [`LoadError`] if libbpf fails.
    pub fn take(&self) -> Result<Taken, LoadError> {
        let mut is_all = [false; 2];
        for (ring, is_all) in self.rings.iter().zip(&mut is_all) {
            let count = ring.consume_raw_n(MOST_AT_ONCE);
            if count < 0 {
                return Err(LoadError::bpf("reading the rings")(libbpf_rs::Error::from_raw_os_error(-count)));
            }
            *is_all = usize::try_from(count).is_ok_and(|count| count < MOST_AT_ONCE);
        }
        let mut taken = Taken { is_all, ..std::mem::take(&mut *self.taken.borrow_mut()) };
        taken.records.sort_unstable_by_key(|record| record.seq);
        Ok(taken)
    }

    /// Waits until a ring has records, or the time is over.
    pub fn wait(&self, timeout: Duration) {
        let milliseconds = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        wait_readable(self.rings.each_ref().map(RingBuffer::epoll_fd), milliseconds);
    }
}

/// Waits for one of two descriptors of epoll sets.
fn wait_readable(sets: [i32; 2], milliseconds: i32) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    #[allow(unsafe_code)]
    // SAFETY: the descriptors belong to the ring buffers, which outlive this call.
    let sets = sets.map(|fd| unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) });
    let timeout =
        Timespec { tv_sec: i64::from(milliseconds / 1000), tv_nsec: i64::from(milliseconds % 1000) * 1_000_000 };
    let _ = poll(&mut sets.each_ref().map(|fd| PollFd::new(fd, PollFlags::IN)), Some(&timeout));
}

#[cfg(test)]
mod tests {
    use guard_record::Hook;

    use super::*;

    #[test]
    fn what_is_no_record_costs_no_other() {
        let mut taken = Taken::default();
        let mut wrong = Record::of(4, Hook::Map).to_bytes();
        wrong[18] = 99;
        taken.keep(&Record::of(3, Hook::Bpf).to_bytes());
        taken.keep(&wrong);
        taken.keep(&[1, 2, 3]);
        taken.keep(&Record::of(5, Hook::Prog).to_bytes());
        assert_eq!(taken.records.iter().map(|record| record.seq).collect::<Vec<_>>(), [3, 5]);
        let numbers = [Some(4), None];
        assert_eq!(taken.malformed.iter().map(|malformed| malformed.seq).collect::<Vec<_>>(), numbers);
        assert!(taken.malformed[0].error.to_string().contains("hook is 99"));
        assert_eq!(taken.malformed[1].error, Invalid::Length(3));
    }
}
