//! The daemon's work: records from the rings into the log.
//!
//! What was taken out of a ring is kept until it is in the log. While the log cannot be written, nothing is taken and no
//! heartbeat is given: the rings fill, the kernel counts what does not fit, and the policy's `when_full` and `on_no_reader` decide.
//!
//! Lines are made to last (fdatasync(2)) after each round that has a refused call, and otherwise every second.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, VecDeque},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Result, bail};
use guard_loader::{Malformed, Taken};
use guard_record::{Line, Logged, Names, Time, Verdict};

use crate::{
    anchorage::Anchorage,
    log::{Log, Opened},
    order::{Next, Order},
    source::Source,
    status::Status,
};

/// How long a round waits for records.
const ROUND: Duration = Duration::from_millis(100);

/// How often the log is made to last, and the status is written.
const SECOND: Duration = Duration::from_secs(1);

/// How long the end is waited for, once it was asked for.
const LAST_ROUNDS: Duration = Duration::from_secs(5);

/// What the daemon writes besides the log.
pub(crate) struct Outputs {
    pub(crate) anchorage: Anchorage,
    /// Lines from one anchor to the next.
    pub(crate) anchor_every: u64,
    pub(crate) status: PathBuf,
}

/// Reads records and writes the log.
pub(crate) struct Recorder<S, N> {
    source: S,
    names: N,
    log: Log,
    order: Order,
    /// What is not in the log yet.
    pending: VecDeque<Logged>,
    outputs: Outputs,
    /// Why the log cannot be written.
    trouble: Option<String>,
    /// Records that were lost when the trouble began.
    lost_before: u64,
    /// File, line and time of the last anchor that was due by number.
    anchored: (u64, u64, Duration),
    ticked: Duration,
    status_failed: bool,
    /// What was reported of records that cannot be read.
    malformed: BTreeSet<String>,
}

impl<S: Source, N: Names> Recorder<S, N> {
    /// Begins; the log has its first line.
    pub(crate) fn new(source: S, names: N, opened: Opened, outputs: Outputs) -> Self {
        let Opened { log, begin, notes } = opened;
        let order = Order::new(log.counters(None).seq, begin);
        let mut recorder = Self {
            source,
            names,
            log,
            order,
            pending: VecDeque::new(),
            outputs,
            trouble: None,
            lost_before: 0,
            anchored: (0, 0, Duration::ZERO),
            ticked: Duration::ZERO,
            status_failed: false,
            malformed: BTreeSet::new(),
        };
        notes.iter().for_each(|note| recorder.outputs.anchorage.say(note));
        recorder.drop_anchors();
        recorder.write_status(false);
        recorder
    }

    /// Goes on until `is_over`, then writes what is outstanding and the closing line.
    ///
    /// # Errors
    ///
    /// If the rings cannot be read, or if the log could not be written at the end.
    pub(crate) fn run(&mut self, mut is_over: impl FnMut() -> bool) -> Result<()> {
        while !is_over() {
            self.round()?;
        }
        self.finish()
    }

    /// Waits for records and writes them.
    fn round(&mut self) -> Result<()> {
        if self.trouble.is_some() {
            // Waiting for a record would not wait: there are some.
            std::thread::sleep(ROUND);
        } else {
            self.source.wait(ROUND);
        }
        self.take()?;
        self.tick();
        Ok(())
    }

    /// Takes records, unless there are some that are not in the log yet.
    fn take(&mut self) -> Result<()> {
        if !self.write() {
            return Ok(());
        }
        let Taken { records, malformed, is_all } = self.source.take()?;
        self.source.beat();
        malformed.iter().for_each(|malformed| self.malformed(malformed));
        let has_refused = records.iter().any(|record| record.verdict == Verdict::Denied);
        self.order.push(records, is_all);
        let next = self.order.ready(self.source.now(), self.source.sums().lost);
        self.queue(next);
        if self.write() && has_refused {
            self.sync();
        }
        Ok(())
    }

    /// Reports what is no record, once for each thing that is wrong. Its number becomes a gap of its own.
    fn malformed(&mut self, Malformed { seq, error }: &Malformed) {
        // A number that the kernel has not given yet is none.
        if let Some(seq) = seq.filter(|seq| *seq < self.source.sums().seq) {
            self.order.push_malformed(seq);
        }
        if self.malformed.insert(error.to_string()) {
            self.outputs.anchorage.say(&format!("a record cannot be read, and is a gap in the log: {error}"));
        }
    }

    fn queue(&mut self, next: Vec<Next>) {
        let names = &self.names;
        self.pending.extend(next.into_iter().map(|next| match next {
            Next::Record(record) => Logged::Record(Line::of(&record, names)),
            Next::Gap(gap) => Logged::Gap(gap),
        }));
    }

    /// Writes what is pending. Returns whether all of it is in the log.
    fn write(&mut self) -> bool {
        let now = self.time();
        let mut written = self.log.append(&mut self.pending, &now);
        if self.trouble.is_some() {
            written = written.and_then(|()| self.log.sync());
        }
        self.settle(written.map_err(|error| error.to_string()));
        if self.trouble.is_some() {
            return false;
        }
        self.drop_anchors();
        true
    }

    fn sync(&mut self) {
        let synced = self.log.sync();
        self.settle(synced.map_err(|error| error.to_string()));
    }

    /// Reports that the log cannot be written, or that it can be again, once.
    fn settle(&mut self, result: Result<(), String>) {
        let path = self.log.path().display();
        match (result, self.trouble.take()) {
            (Ok(()), None) => {}
            (Ok(()), Some(_)) => {
                let lost = self.lost().saturating_sub(self.lost_before);
                let message = format!("{path} can be written again; {lost} records did not fit the rings meanwhile");
                self.outputs.anchorage.say(&message);
            }
            (Err(error), before) => {
                let trouble = format!("cannot write {path}: {error}");
                if before.is_none() {
                    self.lost_before = self.lost();
                    let message = format!(
                        "{trouble}; nothing is read until that is mended: records stay in the rings, and those that do not fit are counted"
                    );
                    self.outputs.anchorage.say(&message);
                }
                self.trouble = Some(trouble);
            }
        }
    }

    fn lost(&self) -> u64 {
        self.source.sums().lost.iter().sum()
    }

    /// Anchors the ends of files, and every so many lines, but at most every second: the kernel's log takes ten messages in five
    /// seconds (`kernel/printk/printk.c`, `devkmsg_write`).
    fn drop_anchors(&mut self) {
        let ends = self.log.take_anchors();
        ends.iter().for_each(|anchor| self.outputs.anchorage.drop(anchor));
        let last = self.log.anchor();
        let (file, line, time) = self.anchored;
        let (since, now) = (if last.file == file { line } else { 0 }, self.source.now());
        if last.line - since < self.outputs.anchor_every || now.saturating_sub(time) < SECOND {
            return;
        }
        let mut counters = VecDeque::from([Logged::Counters(self.log.counters(self.source.counters().ok()))]);
        let is_anchored = self.log.append(&mut counters, &self.time()).and_then(|()| self.log.sync());
        if is_anchored.is_ok() {
            let anchor = self.log.anchor();
            self.anchored = (anchor.file, anchor.line, now);
            self.outputs.anchorage.drop(&anchor);
        }
    }

    /// What is done every second.
    fn tick(&mut self) {
        let now = self.source.now();
        if now.saturating_sub(self.ticked) >= SECOND {
            self.ticked = now;
            if self.trouble.is_none() {
                self.sync();
            }
            self.write_status(false);
        }
    }

    fn write_status(&mut self, stopped: bool) {
        let (counters, anchor, sums) = (self.log.counters(None), self.log.anchor(), self.source.sums());
        let status = Status {
            pid: std::process::id(),
            boot_id: anchor.boot_id,
            boot_ns: u64::try_from(self.source.now().as_nanos()).unwrap_or(u64::MAX),
            stopped,
            log: self.log.path().to_owned(),
            file: anchor.file,
            line: anchor.line,
            bytes: self.log.bytes(),
            chain: anchor.chain.to_hex(),
            trouble: self.trouble.clone(),
            seq: counters.seq,
            read: counters.read,
            lost: counters.lost,
            waiting: self.order.waiting(),
            kernel_seq: sums.seq,
            kernel_lost: sums.lost.iter().sum(),
        };
        let result = status.write(&self.outputs.status);
        if let (Err(error), false) = (&result, self.status_failed) {
            eprintln!("bpf-guard: cannot write {}: {error}", self.outputs.status.display());
        }
        self.status_failed = result.is_err();
    }

    /// Reads what was recorded up to now, and writes the closing line.
    fn finish(&mut self) -> Result<()> {
        let asked = self.source.now();
        let last = self.source.sums().seq;
        while self.log.counters(None).seq < last && self.source.now().saturating_sub(asked) < LAST_ROUNDS {
            self.take()?;
            if self.trouble.is_some() {
                break;
            }
            self.source.wait(Duration::from_millis(10));
        }
        let lost = self.source.sums().lost;
        let mut next = self.order.flush(lost);
        next.extend(self.order.gap_to(last, lost));
        self.queue(next);
        let end = |recorder: &mut Self| {
            let (now, kernel) = (recorder.time(), recorder.source.counters().ok());
            recorder.log.end(now, kernel)
        };
        let is_closed = self.write() && end(self).map_err(|error| self.settle(Err(error.to_string()))).is_ok();
        self.drop_ends();
        self.write_status(true);
        if !is_closed {
            bail!("{}", self.unwritten());
        }
        Ok(())
    }

    fn drop_ends(&mut self) {
        self.log.take_anchors().iter().for_each(|anchor| self.outputs.anchorage.drop(anchor));
    }

    /// What is lost as the log cannot be written at the end.
    fn unwritten(&self) -> String {
        let numbers = self.pending.iter().filter_map(|logged| match logged {
            Logged::Record(line) => Some(line.seq),
            _ => None,
        });
        let (first, last, count) = (numbers.clone().min(), numbers.clone().max(), numbers.count());
        let trouble = self.trouble.as_deref().unwrap_or("cannot write the closing line");
        match (first, last) {
            (Some(first), Some(last)) => {
                format!("{trouble}; {count} records that were read are not in the log, from {first} to {last}")
            }
            _ => format!("{trouble}; the log has no closing line"),
        }
    }

    fn time(&self) -> Time {
        Time::of(u64::try_from(self.source.now().as_nanos()).unwrap_or(u64::MAX), self.names.epoch_ns())
    }
}
