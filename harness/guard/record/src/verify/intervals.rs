//! Numbers of records, as intervals.

use std::collections::BTreeMap;

/// The most intervals that are remembered: the memory that a log of anybody may take.
const MOST: usize = 100_000;

/// A set of numbers.
#[derive(Debug, Default)]
pub(super) struct Intervals(BTreeMap<u64, u64>);

impl Intervals {
    /// Adds numbers greater than all that are there.
    pub(super) fn push(&mut self, first: u64, last: u64) {
        self.0.insert(first, last);
        if self.0.len() > MOST {
            self.0.pop_first();
        }
    }

    /// Removes a number, and returns whether it was there.
    pub(super) fn take(&mut self, number: u64) -> bool {
        let Some((&first, &last)) = self.0.range(..=number).next_back().filter(|(_, last)| **last >= number) else {
            return false;
        };
        self.0.remove(&first);
        if first < number {
            self.0.insert(first, number - 1);
        }
        if number < last {
            self.0.insert(number + 1, last);
        }
        true
    }

    /// Returns whether one of these numbers is there.
    pub(super) fn meets(&self, first: u64, last: u64) -> bool {
        self.0.range(..=last).next_back().is_some_and(|(_, end)| *end >= first)
    }

    /// Removes the interval that begins with this number.
    pub(super) fn forget(&mut self, first: u64) {
        self.0.remove(&first);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_taken_once_from_any_place() {
        let mut set = Intervals::default();
        set.push(3, 6);
        set.push(9, 9);
        assert!(set.meets(0, 3) && set.meets(6, 20) && !set.meets(7, 8) && !set.meets(0, 2));
        for number in [4, 3, 6, 5, 9] {
            assert!(set.take(number) && !set.take(number), "{number}");
        }
        assert!(!set.meets(0, u64::MAX));
    }
}
