//! Sets of small numbers.

use crate::layout::HELPERS;

/// A set of numbers below 256.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Bits([u64; HELPERS / 64]);

impl Bits {
    /// The empty set.
    pub const NONE: Self = Self([0; HELPERS / 64]);
    /// All numbers, those that have no name yet included.
    pub const ALL: Self = Self([u64::MAX; HELPERS / 64]);

    /// The set of these numbers; larger ones are left out.
    pub fn of(numbers: impl IntoIterator<Item = u32>) -> Self {
        let mut bits = Self::NONE;
        numbers.into_iter().for_each(|number| bits.insert(number));
        bits
    }

    /// Adds a number, unless it is 256 or more.
    pub fn insert(&mut self, number: u32) {
        if let Some(word) = self.0.get_mut(number as usize / 64) {
            *word |= 1 << (number % 64);
        }
    }

    /// Whether the number is in it.
    pub fn contains(&self, number: u32) -> bool {
        contains(&self.0, number)
    }

    /// All numbers but these.
    pub fn inverted(&self) -> Self {
        Self(self.0.map(|word| !word))
    }

    /// The numbers of both.
    pub fn union(&self, other: &Self) -> Self {
        let mut bits = *self;
        bits.0.iter_mut().zip(other.0).for_each(|(word, more)| *word |= more);
        bits
    }

    /// Whether all numbers of the other set are in it.
    pub fn covers(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).all(|(word, other)| other & !word == 0)
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Its first words of 64 numbers each.
    pub fn words<const N: usize>(&self) -> [u64; N] {
        std::array::from_fn(|at| self.0.get(at).copied().unwrap_or(0))
    }

    /// The numbers below 64.
    pub fn word(&self) -> u64 {
        self.0[0]
    }
}

/// Whether the bit of a number is set; one beyond the words has none.
pub fn contains(words: &[u64], number: u32) -> bool {
    words.get(number as usize / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
}

impl std::fmt::Debug for Bits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries((0..256).filter(|number| self.contains(*number))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_from_256_up_are_in_no_set() {
        let bits = Bits::of([0, 63, 64, 255, 256]);
        assert_eq!(format!("{bits:?}"), "{0, 63, 64, 255}");
        assert!(!bits.contains(256) && !Bits::ALL.contains(256) && !bits.inverted().contains(255));
        assert!(Bits::ALL.covers(&bits) && !bits.covers(&Bits::ALL) && Bits::NONE.is_empty());
        assert_eq!((bits.word(), bits.words::<2>()), (1 << 63 | 1, [1 << 63 | 1, 1]));
        assert_eq!(Bits::of([1]).union(&Bits::of([2])), Bits::of([1, 2]));
    }
}
