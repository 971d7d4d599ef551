//! `CapabilityBoundingSet=` and `AmbientCapabilities=` (`src/basic/parse-util.c`, `parse_capability_set`).

use harness_uapi::capability;

use super::words::{self, Word};
use crate::execution_context::CapabilitySet;

/// A set while assignments are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Capabilities {
    /// The initial value in systemd; a set that equals it counts as unset.
    initial: u64,
    current: u64,
}

/// The highest number that systemd accepts (`src/basic/capability-util.h`, `CAP_LIMIT`).
const LIMIT: u32 = 62;

impl Capabilities {
    /// The initial bounding set: all 63 possible capabilities (`CAP_MASK_ALL`).
    pub(super) const BOUNDING: Self = Self { initial: u64::MAX >> 1, current: u64::MAX >> 1 };
    /// The initial ambient set.
    pub(super) const AMBIENT: Self = Self { initial: 0, current: 0 };

    /// Returns the current set.
    pub(super) const fn set(self) -> CapabilitySet {
        CapabilitySet(self.current & CapabilitySet::ALL.0)
    }

    /// Applies an assignment, and returns the words that are not capabilities, which systemd drops without a warning.
    pub(super) fn assign(&mut self, value: &str) -> Vec<Word> {
        if value.is_empty() {
            self.current = 0;
            return Vec::new();
        }
        let (inverted, list) = value.strip_prefix('~').map_or((false, value), |list| (true, list));
        let skipped = value.len() - list.len();
        let (known, unknown): (Vec<_>, Vec<_>) =
            words::unquoted(list).into_iter().partition(|word| number(word).is_some());
        let parsed = known.iter().filter_map(number).fold(0, |set, number| set | 1 << number);
        self.current = match inverted {
            true if self.starts_over(parsed) => CapabilitySet::ALL.0 & !parsed,
            true => self.current & !parsed,
            false if self.starts_over(parsed) => parsed,
            false => self.current | parsed,
        };
        let shifted = |word: Word| Word { span: word.span.start + skipped..word.span.end + skipped, ..word };
        unknown.into_iter().map(shifted).collect()
    }

    const fn starts_over(self, parsed: u64) -> bool {
        parsed == 0 || self.current == self.initial
    }
}

/// Parses a name with `CAP_`, in any letter case, or a number.
fn number(word: &Word) -> Option<u32> {
    let named =
        || word.text.get(..4).filter(|p| p.eq_ignore_ascii_case("cap_")).and_then(|_| capability::number(&word.text));
    word.text.parse().ok().filter(|number| *number <= LIMIT).or_else(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounding(values: &[&str]) -> u64 {
        let mut set = Capabilities::BOUNDING;
        values.iter().for_each(|value| drop(set.assign(value)));
        set.set().0
    }

    const BPF: u64 = 1 << 39;
    const NET_ADMIN: u64 = 1 << 12;

    #[test]
    fn assignments_add_up_and_an_empty_one_starts_over() {
        assert_eq!(bounding(&[]), CapabilitySet::ALL.0);
        assert_eq!(bounding(&["CAP_BPF"]), BPF);
        assert_eq!(bounding(&["CAP_BPF", "cap_net_admin"]), BPF | NET_ADMIN);
        assert_eq!(bounding(&["~CAP_BPF", "~12"]), CapabilitySet::ALL.0 & !BPF & !NET_ADMIN);
        assert_eq!(bounding(&["CAP_BPF CAP_NET_ADMIN", "~CAP_BPF"]), NET_ADMIN);
        assert_eq!(bounding(&["CAP_BPF", ""]), 0);
        assert_eq!(bounding(&["CAP_BPF", "~"]), CapabilitySet::ALL.0);
    }

    #[test]
    fn words_that_are_not_capabilities_are_returned() {
        let mut set = Capabilities::AMBIENT;
        let unknown = set.assign("~CAP_FOO bpf \"CAP_BPF\"");
        assert_eq!(
            unknown.iter().map(|word| (word.text.as_str(), word.span.clone())).collect::<Vec<_>>(),
            [("CAP_FOO", 1..8), ("bpf", 9..12)]
        );
        assert_eq!(set.set().0, CapabilitySet::ALL.0 & !BPF);
    }
}
