//! `CapabilityBoundingSet=` and `AmbientCapabilities=` (`src/basic/parse-util.c`, `parse_capability_set`).

use harness_uapi::capability;

use super::words::{self, Word};
use crate::execution_context::CapabilitySet;

/// A set while assignments add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Capabilities {
    /// What systemd starts with; a value that equals it counts as unset.
    initial: u64,
    current: u64,
}

/// The highest number that systemd takes (`src/basic/capability-util.h`, `CAP_LIMIT`).
const LIMIT: u32 = 62;

impl Capabilities {
    /// The bounding set at first: all 63 that there can be (`CAP_MASK_ALL`).
    pub(super) const BOUNDING: Self = Self { initial: u64::MAX >> 1, current: u64::MAX >> 1 };
    /// The ambient set at first.
    pub(super) const AMBIENT: Self = Self { initial: 0, current: 0 };

    /// The set now.
    pub(super) const fn set(self) -> CapabilitySet {
        CapabilitySet(self.current & CapabilitySet::ALL.0)
    }

    /// Takes an assignment; the words that are no capability, which systemd drops without a word, are the result.
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
            true if self.starts_anew(parsed) => CapabilitySet::ALL.0 & !parsed,
            true => self.current & !parsed,
            false if self.starts_anew(parsed) => parsed,
            false => self.current | parsed,
        };
        let shifted = |word: Word| Word { span: word.span.start + skipped..word.span.end + skipped, ..word };
        unknown.into_iter().map(shifted).collect()
    }

    const fn starts_anew(self, parsed: u64) -> bool {
        parsed == 0 || self.current == self.initial
    }
}

/// A name with `CAP_`, in any letter case, or a number.
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
    fn assignments_add_up_and_an_empty_one_starts_anew() {
        assert_eq!(bounding(&[]), CapabilitySet::ALL.0);
        assert_eq!(bounding(&["CAP_BPF"]), BPF);
        assert_eq!(bounding(&["CAP_BPF", "cap_net_admin"]), BPF | NET_ADMIN);
        assert_eq!(bounding(&["~CAP_BPF", "~12"]), CapabilitySet::ALL.0 & !BPF & !NET_ADMIN);
        assert_eq!(bounding(&["CAP_BPF CAP_NET_ADMIN", "~CAP_BPF"]), NET_ADMIN);
        assert_eq!(bounding(&["CAP_BPF", ""]), 0);
        assert_eq!(bounding(&["CAP_BPF", "~"]), CapabilitySet::ALL.0);
    }

    #[test]
    fn what_is_no_capability_is_told() {
        let mut set = Capabilities::AMBIENT;
        let unknown = set.assign("~CAP_FOO bpf \"CAP_BPF\"");
        assert_eq!(
            unknown.iter().map(|word| (word.text.as_str(), word.span.clone())).collect::<Vec<_>>(),
            [("CAP_FOO", 1..8), ("bpf", 9..12)]
        );
        assert_eq!(set.set().0, CapabilitySet::ALL.0 & !BPF);
    }
}
