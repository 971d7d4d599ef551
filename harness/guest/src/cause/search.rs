//! The search itself, without a kernel: from what was tried to the cause, or to what must be tried next.

use std::collections::BTreeMap;

use harness_protocol::{
    mount_option::OPTIONS,
    outcome::{Cause, Change},
};

/// The capabilities to try first: `CAP_BPF`, `CAP_PERFMON`, `CAP_NET_ADMIN`, `CAP_SYS_ADMIN` (`capabilities(7)`).
const LIKELY_CAPS: [u32; 4] = [39, 38, 12, 21];

/// The setting that may deny maps and programs to processes without capabilities (`bpf(2)`).
pub(super) const SETTING: (&str, &str) = ("kernel.unprivileged_bpf_disabled", "0");

/// What an actor is given in addition to what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Retry {
    /// A token of its own bpffs, or that bpffs itself, if the attempt has none or another one.
    pub(super) own: bool,
    /// Additional bits to delegate, in the order of [`OPTIONS`].
    pub(super) bits: [u64; 4],
    /// Additional capabilities, as a mask.
    pub(super) caps: u64,
    /// Whether [`SETTING`] is applied.
    pub(super) setting: bool,
    /// Whether the system call filter is left out.
    pub(super) unfiltered: bool,
}

/// No change.
pub(super) const NOTHING: Retry = Retry { own: false, bits: [0; 4], caps: 0, setting: false, unfiltered: false };

/// Every change to the container, at once.
const EVERYTHING: Retry = Retry { own: true, bits: [u64::MAX; 4], caps: u64::MAX, setting: false, unfiltered: true };

/// Whether the kernel allowed it, by retry.
pub(super) type Retried = BTreeMap<Retry, bool>;

/// What must be tried before the search can go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NextRetries(pub(super) Vec<Retry>);

/// Searches for the smallest change that suffices.
///
/// `likely` are the bits of the four masks to try first, alone.
pub(super) fn search(tried: &Retried, likely: &Likely) -> Result<Cause, NextRetries> {
    Search { tried, likely }.cause()
}

/// Bit numbers, in the order of [`OPTIONS`].
pub(super) type Likely = [Vec<u32>; 4];

struct Search<'t> {
    tried: &'t Retried,
    likely: &'t Likely,
}

impl Search<'_> {
    fn cause(&self) -> Result<Cause, NextRetries> {
        self.known(&[NOTHING, EVERYTHING])?;
        if self.works(NOTHING)? {
            return Ok(Cause::Unknown("the kernel allowed the same call when it was made again".to_owned()));
        }
        let everything = match self.works(EVERYTHING)? {
            true => EVERYTHING,
            false => Retry { setting: true, ..EVERYTHING },
        };
        if !self.works(everything)? {
            return Ok(Cause::NotDelegable);
        }
        let enough = match self.single()? {
            Some(single) => single,
            None => self.without_what_can_go(everything)?,
        };
        Ok(Cause::Missing(changes(self.smallest(enough)?)))
    }

    fn known(&self, retries: &[Retry]) -> Result<(), NextRetries> {
        let unknown: Vec<Retry> = retries.iter().copied().filter(|retry| !self.tried.contains_key(retry)).collect();
        if unknown.is_empty() { Ok(()) } else { Err(NextRetries(unknown)) }
    }

    fn works(&self, retry: Retry) -> Result<bool, NextRetries> {
        self.tried.get(&retry).copied().ok_or_else(|| NextRetries(vec![retry]))
    }

    /// Returns one kind of change that suffices, if there is one.
    fn single(&self) -> Result<Option<Retry>, NextRetries> {
        let own = Retry { own: true, ..NOTHING };
        let caps = Retry { caps: u64::MAX, ..NOTHING };
        let setting = Retry { setting: true, ..NOTHING };
        let unfiltered = Retry { unfiltered: true, ..NOTHING };
        let bits = (0..OPTIONS.len()).map(|at| with_bits(NOTHING, at, u64::MAX));
        for retry in [own, caps].into_iter().chain(bits).chain([setting, unfiltered]) {
            if self.works(retry)? {
                return Ok(Some(retry));
            }
        }
        Ok(None)
    }

    /// Removes one kind of change after the other as long as the rest suffices.
    fn without_what_can_go(&self, from: Retry) -> Result<Retry, NextRetries> {
        let mut enough = from;
        if self.works(Retry { unfiltered: false, ..enough })? {
            enough.unfiltered = false;
        }
        if enough.setting && self.works(Retry { setting: false, ..enough })? {
            enough.setting = false;
        }
        for at in (0..OPTIONS.len()).rev() {
            let less = with_bits(enough, at, 0);
            if self.works(less)? {
                enough = less;
            }
        }
        if self.works(Retry { caps: 0, ..enough })? {
            enough.caps = 0;
        }
        if self.works(Retry { own: false, ..enough })? {
            enough.own = false;
        }
        Ok(enough)
    }

    /// Removes single capabilities and bits as long as the rest suffices.
    fn smallest(&self, enough: Retry) -> Result<Retry, NextRetries> {
        let mut retry = enough;
        let likely_caps: Vec<u64> = LIKELY_CAPS.iter().map(|cap| 1 << cap).collect();
        retry.caps = self.smallest_mask(retry.caps, &likely_caps, |caps| Retry { caps, ..retry })?;
        for (at, numbers) in self.likely.iter().enumerate() {
            let likely: Vec<u64> = numbers.iter().filter_map(|bit| 1u64.checked_shl(*bit)).collect();
            retry.bits[at] = self.smallest_mask(retry.bits[at], &likely, |mask| with_bits(retry, at, mask))?;
        }
        Ok(retry)
    }

    /// Returns a part of a mask that suffices and of which no bit can be left out.
    fn smallest_mask(&self, mask: u64, likely: &[u64], retry: impl Fn(u64) -> Retry) -> Result<u64, NextRetries> {
        if mask.count_ones() < 2 {
            return Ok(mask);
        }
        for single in likely.iter().copied().filter(|single| mask & single != 0) {
            if self.works(retry(single))? {
                return Ok(single);
            }
        }
        let mut enough = mask;
        let mut width = u64::BITS / 2;
        while width > 0 {
            for part in parts(width) {
                let less = enough & !part;
                if less != enough && less != 0 && self.works(retry(less))? {
                    enough = less;
                }
            }
            width /= 2;
        }
        Ok(enough)
    }
}

fn with_bits(retry: Retry, at: usize, mask: u64) -> Retry {
    let mut bits = retry.bits;
    bits[at] = mask;
    Retry { bits, ..retry }
}

/// Returns runs of this many bits, the highest first, so that among equals the lowest remains.
fn parts(width: u32) -> impl Iterator<Item = u64> {
    let part = u64::MAX >> (u64::BITS - width);
    (0..u64::BITS / width).rev().map(move |at| part << (at * width))
}

fn changes(retry: Retry) -> Vec<Change> {
    let of_mask = |mask: u64| (0..u64::BITS).filter(move |bit| mask & (1 << bit) != 0);
    let own = retry.own.then_some(Change::Token);
    let bits = OPTIONS.into_iter().zip(retry.bits);
    let bits = bits
        .flat_map(|(option, mask)| of_mask(mask).map(move |bit| Change::Delegate { option: option.to_owned(), bit }));
    let caps = of_mask(retry.caps).map(Change::Capability);
    let (name, value) = SETTING;
    let setting = retry.setting.then(|| Change::Sysctl { name: name.to_owned(), value: value.to_owned() });
    let filter = retry.unfiltered.then_some(Change::NoSeccomp);
    own.into_iter().chain(bits).chain(caps).chain(setting).chain(filter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches in a kernel that behaves like this. Also returns how often it was asked.
    fn found(numbers: [Option<u32>; 4], kernel: impl Fn(Retry) -> bool) -> (Cause, usize) {
        let mut tried = Retried::new();
        let likely = numbers.map(|number| number.into_iter().collect());
        loop {
            match search(&tried, &likely) {
                Ok(cause) => return (cause, tried.len()),
                Err(NextRetries(retries)) => {
                    assert!(retries.iter().all(|retry| !tried.contains_key(retry)), "asked twice");
                    tried.extend(retries.into_iter().map(|retry| (retry, kernel(retry))));
                }
            }
        }
    }

    fn has(mask: u64, bit: u32) -> bool {
        mask & (1 << bit) != 0
    }

    fn bit(option: &str, bit: u32) -> Change {
        Change::Delegate { option: option.to_owned(), bit }
    }

    #[test]
    fn one_change_that_is_enough_is_the_cause() {
        let (cause, tries) = found([Some(0), Some(2), None, None], |retry| retry.own);
        assert_eq!((cause, tries), (Cause::Missing(vec![Change::Token]), 3));
        let (cause, _) = found([Some(0), Some(2), None, None], |retry| has(retry.bits[1], 2));
        assert_eq!(cause, Cause::Missing(vec![bit("delegate_maps", 2)]));
        let (cause, _) = found([None; 4], |retry| has(retry.caps, 38));
        assert_eq!(cause, Cause::Missing(vec![Change::Capability(38)]));
        let (cause, _) = found([None; 4], |retry| retry.setting);
        assert!(matches!(cause, Cause::Missing(changes) if matches!(changes[..], [Change::Sysctl { .. }])));
    }

    #[test]
    fn the_cause_may_be_a_bit_that_nobody_expects() {
        let (cause, tries) = found([Some(0), Some(2), None, None], |retry| has(retry.bits[1], 17));
        assert_eq!(cause, Cause::Missing(vec![bit("delegate_maps", 17)]));
        assert!(tries < 30, "{tries}");
        let (cause, _) = found([None; 4], |retry| has(retry.caps, 7));
        assert_eq!(cause, Cause::Missing(vec![Change::Capability(7)]));
        let (cause, _) = found([None; 4], |retry| retry.bits.iter().any(|mask| *mask != 0));
        assert_eq!(cause, Cause::Missing(vec![bit("delegate_cmds", 0)]));
    }

    #[test]
    fn several_changes_are_reported_only_if_none_can_be_left_out() {
        let both = |retry: Retry| retry.own && (has(retry.caps, 39) || has(retry.caps, 21));
        assert_eq!(found([None; 4], both).0, Cause::Missing(vec![Change::Token, Change::Capability(39)]));
        let caps = |retry: Retry| has(retry.caps, 39) && has(retry.caps, 12);
        let expected = Cause::Missing(vec![Change::Capability(12), Change::Capability(39)]);
        assert_eq!(found([None; 4], caps).0, expected);
        let filtered = |retry: Retry| retry.own && retry.unfiltered;
        assert_eq!(found([None; 4], filtered).0, Cause::Missing(vec![Change::Token, Change::NoSeccomp]));
        let all = |retry: Retry| retry.own && has(retry.bits[0], 5) && has(retry.bits[3], 47) && has(retry.caps, 38);
        let changes = [Change::Token, bit("delegate_cmds", 5), bit("delegate_attachs", 47), Change::Capability(38)];
        assert_eq!(found([Some(5), None, None, Some(47)], all).0, Cause::Missing(changes.to_vec()));
    }

    #[test]
    fn what_no_change_allows_is_not_delegable_and_what_needs_no_change_is_unknown() {
        assert_eq!(found([None; 4], |_| false), (Cause::NotDelegable, 3));
        assert!(matches!(found([None; 4], |_| true).0, Cause::Unknown(_)));
    }

    #[test]
    fn parts_cover_a_mask_once() {
        for width in [1, 2, 32] {
            assert_eq!(parts(width).fold(0u64, |all, part| all ^ part), u64::MAX);
        }
    }
}
