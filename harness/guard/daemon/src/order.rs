//! Puts the records of two rings into one order, and finds out which are missing.
//!
//! The kernel numbers a record before it has a place in a ring, so one may come after records with greater numbers. A gap is
//! waited for; if the kernel has counted enough losses, it is taken for one of them at once. While a ring may still have
//! what is missing, as one is read faster than the other, nothing is taken for lost.

use std::{collections::BTreeMap, time::Duration};

use guard_record::{Gap, GapReason, Record, Verdict};

/// How long a gap that the kernel has not counted as a loss is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// The most records that wait for those before them.
const MOST_WAITING: usize = 65_536;

/// What comes next in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Record(Box<Record>),
    Gap(Gap),
}

/// Records that wait for those before them.
pub(crate) struct Order {
    /// The number that comes next.
    next: u64,
    /// `None` for one that is malformed.
    waiting: BTreeMap<u64, Option<Box<Record>>>,
    /// When the gap before the first of them was seen.
    since: Option<Duration>,
    /// Why the first records may be missing, until there is one.
    begin: Option<GapReason>,
    /// By ring: losses up to its first record, which the log's beginning explains.
    before: [Option<u64>; 2],
    /// By ring: the greatest number that it had.
    greatest: [Option<u64>; 2],
    /// By ring: whether nothing was left in it.
    is_all: [bool; 2],
    /// Losses that gaps stand for.
    explained: u64,
}

impl Order {
    /// Begins with this number. A gap before the first record is for the reason `begin`.
    pub(crate) fn new(next: u64, begin: GapReason) -> Self {
        Self {
            next,
            waiting: BTreeMap::new(),
            since: None,
            begin: Some(begin),
            before: [None; 2],
            greatest: [None; 2],
            is_all: [true; 2],
            explained: 0,
        }
    }

    /// Takes records in any order. `is_all`: nothing was left in the rings, `denials` and `calls`.
    pub(crate) fn push(&mut self, records: Vec<Record>, is_all: [bool; 2]) {
        self.is_all = is_all;
        for record in records {
            let ring = usize::from(record.verdict != Verdict::Denied);
            self.before[ring].get_or_insert(record.lost.into());
            self.greatest[ring] = self.greatest[ring].max(Some(record.seq));
            self.waiting.insert(record.seq, Some(Box::new(record)));
        }
    }

    /// Takes the number of a record that cannot be read.
    pub(crate) fn push_malformed(&mut self, seq: u64) {
        self.waiting.entry(seq).or_insert(None);
    }

    /// Returns how many records wait for those before them.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Returns what comes next, as far as it is known. `lost` is what the kernel has counted, of `denials` and of `calls`.
    pub(crate) fn ready(&mut self, now: Duration, lost: [u64; 2]) -> Vec<Next> {
        let mut next = Vec::new();
        while let Some((&seq, _)) = self.waiting.first_key_value() {
            if seq > self.next && !self.is_over(seq, now, lost) {
                break;
            }
            self.gaps_before(seq, lost, &mut next);
            let (_, record) = self.waiting.pop_first().expect("it has one");
            let is_late = seq < self.next;
            if is_late {
                self.explained = self.explained.saturating_sub(1);
            }
            self.next = self.next.max(seq.saturating_add(1));
            self.begin = None;
            self.since = None;
            match record {
                Some(record) => next.push(Next::Record(record)),
                None if is_late => {}
                None => push_malformed(seq, &mut next),
            }
        }
        next
    }

    /// Returns everything that waits, whatever is missing before it.
    pub(crate) fn flush(&mut self, lost: [u64; 2]) -> Vec<Next> {
        self.is_all = [true; 2];
        self.ready(Duration::MAX, lost)
    }

    /// Returns the gap up to a number that the kernel has given, once nothing is in the rings any more.
    pub(crate) fn gap_to(&mut self, seq: u64, lost: [u64; 2]) -> Vec<Next> {
        let mut next = Vec::new();
        self.gaps_before(seq, lost, &mut next);
        self.next = self.next.max(seq);
        next
    }

    /// Whether the gap before a record is not waited for any longer.
    fn is_over(&mut self, seq: u64, now: Duration, lost: [u64; 2]) -> bool {
        let since = *self.since.get_or_insert(now);
        let missing = seq - self.next;
        let is_lost = self.begin.is_none() && missing <= self.unexplained(lost);
        let may_come = self.greatest.iter().zip(self.is_all).any(|(greatest, is_all)| !is_all && *greatest < Some(seq));
        let is_known = is_lost || now.saturating_sub(since) >= PATIENCE;
        is_known && !may_come || self.waiting.len() > MOST_WAITING
    }

    /// Losses that no gap stands for.
    fn unexplained(&self, lost: [u64; 2]) -> u64 {
        let new = |(lost, before): (u64, &Option<u64>)| lost.saturating_sub(before.unwrap_or(0));
        lost.into_iter().zip(&self.before).map(new).sum::<u64>().saturating_sub(self.explained)
    }

    fn gaps_before(&mut self, seq: u64, lost: [u64; 2], next: &mut Vec<Next>) {
        let missing = seq.saturating_sub(self.next);
        let (begin, lost) = match self.begin {
            Some(why) => (Some((missing, why)), 0),
            None => (None, missing.min(self.unexplained(lost))),
        };
        self.explained += lost;
        let absent = if begin.is_some() { 0 } else { missing - lost };
        let all = begin.into_iter().chain([(lost, GapReason::Lost), (absent, GapReason::Absent)]);
        for (count, why) in all.filter(|(count, _)| *count > 0) {
            next.push(Next::Gap(Gap { first: self.next, count, why }));
            self.next += count;
        }
    }
}

/// Adds a gap for a malformed record, or makes the one before it longer.
fn push_malformed(seq: u64, next: &mut Vec<Next>) {
    match next.last_mut() {
        Some(Next::Gap(Gap { first, count, why: GapReason::Malformed })) if *first + *count == seq => *count += 1,
        _ => next.push(Next::Gap(Gap { first: seq, count: 1, why: GapReason::Malformed })),
    }
}

#[cfg(test)]
mod tests {
    use guard_record::Hook;

    use super::*;

    const NONE: [u64; 2] = [0, 0];
    const ALL: [bool; 2] = [true, true];

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn records(seqs: &[u64]) -> Vec<Record> {
        seqs.iter().map(|seq| Record::of(*seq, Hook::Bpf)).collect()
    }

    /// `3` for a record, `4-6 lost` for a gap.
    fn shown(next: &[Next]) -> Vec<String> {
        let show = |next: &Next| match next {
            Next::Record(record) => record.seq.to_string(),
            Next::Gap(Gap { first, count, why }) => format!("{first}-{} {why:?}", first + count - 1),
        };
        next.iter().map(show).collect()
    }

    fn begun() -> Order {
        let mut order = Order::new(0, GapReason::Begin);
        order.push(records(&[0]), ALL);
        assert_eq!(shown(&order.ready(at(0), NONE)), ["0"]);
        order
    }

    #[test]
    fn records_of_two_rings_become_one_order() {
        let mut order = begun();
        order.push(records(&[2, 5, 1]), ALL);
        assert_eq!(shown(&order.ready(at(1), NONE)), ["1", "2"]);
        order.push(records(&[3, 4]), ALL);
        assert_eq!(shown(&order.ready(at(1), NONE)), ["3", "4", "5"]);
        assert_eq!(order.waiting(), 0);
    }

    #[test]
    fn a_gap_is_waited_for_and_then_reported() {
        let mut order = begun();
        order.push(records(&[4]), ALL);
        assert_eq!(shown(&order.ready(at(1), NONE)), [""; 0]);
        assert_eq!(shown(&order.ready(at(2), NONE)), ["1-3 Absent", "4"]);
        order.push(records(&[8]), ALL);
        assert_eq!(shown(&order.ready(at(2), NONE)), [""; 0], "the next gap has its own time");
        assert_eq!(shown(&order.ready(at(3), [0, 1])), ["5-5 Lost", "6-7 Absent", "8"]);
    }

    #[test]
    fn what_the_kernel_counts_as_lost_is_not_waited_for() {
        let mut order = begun();
        order.push(records(&[3]), ALL);
        assert_eq!(shown(&order.ready(at(1), [1, 1])), ["1-2 Lost", "3"]);
        order.push(records(&[5]), ALL);
        assert_eq!(shown(&order.ready(at(1), [1, 1])), [""; 0], "both losses are explained");
        assert_eq!(shown(&order.ready(at(1), [1, 2])), ["4-4 Lost", "5"]);
    }

    #[test]
    fn a_record_that_comes_late_is_not_dropped() {
        let mut order = begun();
        order.push(records(&[2]), ALL);
        assert_eq!(shown(&order.ready(at(1), [0, 1])), ["1-1 Lost", "2"]);
        order.push(records(&[1, 4]), ALL);
        assert_eq!(shown(&order.ready(at(1), [0, 1])), ["1", "3-3 Lost", "4"], "the loss was another one");
    }

    #[test]
    fn records_before_the_log_are_no_loss() {
        let mut order = Order::new(10, GapReason::Restart);
        let first = Record { lost: 7, ..Record::of(15, Hook::Bpf) };
        order.push(vec![first], ALL);
        assert_eq!(shown(&order.ready(at(0), [0, 7])), [""; 0], "they may come yet");
        assert_eq!(shown(&order.ready(at(1), [0, 7])), ["10-14 Restart", "15"]);
        order.push(records(&[17]), ALL);
        assert_eq!(shown(&order.ready(at(1), [0, 7])), [""; 0], "the kernel has lost nothing since");
        assert_eq!(shown(&order.flush([0, 7])), ["16-16 Absent", "17"]);
        assert_eq!(shown(&order.gap_to(20, [0, 8])), ["18-18 Lost", "19-19 Absent"]);
        assert_eq!(shown(&order.gap_to(20, [0, 9])), [""; 0]);
    }

    #[test]
    fn what_may_still_be_in_a_ring_is_not_taken_for_lost() {
        let denial = |seq| vec![Record { verdict: Verdict::Denied, ..Record::of(seq, Hook::Bpf) }];
        let mut order = begun();
        order.push(denial(5), [true, false]);
        assert_eq!(shown(&order.ready(at(9), [0, 50])), [""; 0]);
        order.push(records(&[1, 2]), [true, false]);
        assert_eq!(shown(&order.ready(at(19), [0, 50])), ["1", "2"]);
        order.push(records(&[7]), [true, false]);
        assert_eq!(shown(&order.ready(at(19), [0, 50])), ["3-4 Lost", "5", "6-6 Lost", "7"]);
        order.push(denial(9), [true, false]);
        assert_eq!(shown(&order.ready(at(20), [0, 50])), [""; 0]);
        order.push(Vec::new(), ALL);
        assert_eq!(shown(&order.ready(at(20), [0, 50])), ["8-8 Lost", "9"]);
    }

    #[test]
    fn a_malformed_record_is_a_gap_of_its_own() {
        let mut order = begun();
        [2, 3, 5].into_iter().for_each(|seq| order.push_malformed(seq));
        order.push(records(&[1, 4, 7]), ALL);
        assert_eq!(shown(&order.ready(at(1), NONE)), ["1", "2-3 Malformed", "4", "5-5 Malformed"]);
        assert_eq!(shown(&order.ready(at(2), NONE)), ["6-6 Absent", "7"]);
        order.push_malformed(6);
        assert_eq!(shown(&order.ready(at(2), NONE)), [""; 0], "that it is missing is said already");
    }

    #[test]
    fn a_flood_with_a_gap_takes_bounded_memory() {
        let mut order = begun();
        order.push((2..=65_538).map(|seq| Record::of(seq, Hook::Bpf)).collect(), ALL);
        assert_eq!(order.ready(at(1), NONE).len(), 65_538);
        assert_eq!(order.waiting(), 0);
    }
}
