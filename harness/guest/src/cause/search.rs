//! The search itself, without a kernel: given what was tried, the cause, or what has to be tried next.

use std::collections::BTreeMap;

use harness_protocol::{
    mount_option::OPTIONS,
    outcome::{Cause, Change},
};

/// What capabilities are tried first: `CAP_BPF`, `CAP_PERFMON`, `CAP_NET_ADMIN`, `CAP_SYS_ADMIN` (`capabilities(7)`).
const LIKELY_CAPS: [u32; 4] = [39, 38, 12, 21];

/// What a setting could stand in the way of: maps and programs of those without any capability (`bpf(2)`).
pub(super) const SETTING: (&str, &str) = ("kernel.unprivileged_bpf_disabled", "0");

/// What an actor is given on top of what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Retry {
    /// A token of its own bpffs, or that bpffs itself, if the attempt has none or another one.
    pub(super) own: bool,
    /// Bits delegated besides, in the order of [`OPTIONS`].
    pub(super) bits: [u64; 4],
    /// Capabilities, as a mask.
    pub(super) caps: u64,
    /// [`SETTING`].
    pub(super) setting: bool,
    /// No filter of system calls.
    pub(super) unfiltered: bool,
}

/// Nothing.
pub(super) const NOTHING: Retry = Retry { own: false, bits: [0; 4], caps: 0, setting: false, unfiltered: false };

/// Everything that belongs to the container, at once.
const EVERYTHING: Retry = Retry { own: true, bits: [u64::MAX; 4], caps: u64::MAX, setting: false, unfiltered: true };

/// Whether the kernel did it, by trial.
pub(super) type Retried = BTreeMap<Retry, bool>;

/// What has to be tried before the search can go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NextRetries(pub(super) Vec<Retry>);

/// Looks for the smallest change that is enough.
///
/// `likely` are the bits of the four masks that are tried first, alone.
pub(super) fn search(tried: &Retried, likely: &Likely) -> Result<Cause, NextRetries> {
    Search { tried, likely }.cause()
}

/// Numbers of bits, in the order of [`OPTIONS`].
pub(super) type Likely = [Vec<u32>; 4];

struct Search<'t> {
    tried: &'t Retried,
    likely: &'t Likely,
}

impl Search<'_> {
    fn cause(&self) -> Result<Cause, NextRetries> {
        self.known(&[NOTHING, EVERYTHING])?;
        if self.works(NOTHING)? {
            return Ok(Cause::Unknown("the kernel did it when it was asked again".to_owned()));
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

    fn known(&self, trials: &[Retry]) -> Result<(), NextRetries> {
        let unknown: Vec<Retry> = trials.iter().copied().filter(|trial| !self.tried.contains_key(trial)).collect();
        if unknown.is_empty() { Ok(()) } else { Err(NextRetries(unknown)) }
    }

    fn works(&self, trial: Retry) -> Result<bool, NextRetries> {
        self.tried.get(&trial).copied().ok_or_else(|| NextRetries(vec![trial]))
    }

    /// One kind of change that is enough, if there is one.
    fn single(&self) -> Result<Option<Retry>, NextRetries> {
        let own = Retry { own: true, ..NOTHING };
        let caps = Retry { caps: u64::MAX, ..NOTHING };
        let setting = Retry { setting: true, ..NOTHING };
        let unfiltered = Retry { unfiltered: true, ..NOTHING };
        let bits = (0..OPTIONS.len()).map(|at| with_bits(NOTHING, at, u64::MAX));
        for trial in [own, caps].into_iter().chain(bits).chain([setting, unfiltered]) {
            if self.works(trial)? {
                return Ok(Some(trial));
            }
        }
        Ok(None)
    }

    /// Takes one kind of change after the other away as long as the rest is enough.
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

    /// Takes single capabilities and bits away as long as the rest is enough.
    fn smallest(&self, enough: Retry) -> Result<Retry, NextRetries> {
        let mut trial = enough;
        let likely_caps: Vec<u64> = LIKELY_CAPS.iter().map(|cap| 1 << cap).collect();
        trial.caps = self.smallest_mask(trial.caps, &likely_caps, |caps| Retry { caps, ..trial })?;
        for (at, numbers) in self.likely.iter().enumerate() {
            let likely: Vec<u64> = numbers.iter().filter_map(|bit| 1u64.checked_shl(*bit)).collect();
            trial.bits[at] = self.smallest_mask(trial.bits[at], &likely, |mask| with_bits(trial, at, mask))?;
        }
        Ok(trial)
    }

    /// A part of a mask that is enough and of which nothing can be left out.
    fn smallest_mask(&self, mask: u64, likely: &[u64], trial: impl Fn(u64) -> Retry) -> Result<u64, NextRetries> {
        if mask.count_ones() < 2 {
            return Ok(mask);
        }
        for single in likely.iter().copied().filter(|single| mask & single != 0) {
            if self.works(trial(single))? {
                return Ok(single);
            }
        }
        let mut enough = mask;
        let mut width = u64::BITS / 2;
        while width > 0 {
            for part in parts(width) {
                let less = enough & !part;
                if less != enough && less != 0 && self.works(trial(less))? {
                    enough = less;
                }
            }
            width /= 2;
        }
        Ok(enough)
    }
}

fn with_bits(trial: Retry, at: usize, mask: u64) -> Retry {
    let mut bits = trial.bits;
    bits[at] = mask;
    Retry { bits, ..trial }
}

/// Stretches of this many bits, the highest first, so that of equals the lowest stays.
fn parts(width: u32) -> impl Iterator<Item = u64> {
    let part = u64::MAX >> (u64::BITS - width);
    (0..u64::BITS / width).rev().map(move |at| part << (at * width))
}

fn changes(trial: Retry) -> Vec<Change> {
    let of_mask = |mask: u64| (0..u64::BITS).filter(move |bit| mask & (1 << bit) != 0);
    let own = trial.own.then_some(Change::Token);
    let bits = OPTIONS.into_iter().zip(trial.bits);
    let bits = bits
        .flat_map(|(option, mask)| of_mask(mask).map(move |bit| Change::Delegate { option: option.to_owned(), bit }));
    let caps = of_mask(trial.caps).map(Change::Capability);
    let (name, value) = SETTING;
    let setting = trial.setting.then(|| Change::Sysctl { name: name.to_owned(), value: value.to_owned() });
    let filter = trial.unfiltered.then_some(Change::NoSeccomp);
    own.into_iter().chain(bits).chain(caps).chain(setting).chain(filter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches in a kernel that behaves like this; how often it was asked.
    fn found(numbers: [Option<u32>; 4], kernel: impl Fn(Retry) -> bool) -> (Cause, usize) {
        let mut tried = Retried::new();
        let likely = numbers.map(|number| number.into_iter().collect());
        loop {
            match search(&tried, &likely) {
                Ok(cause) => return (cause, tried.len()),
                Err(NextRetries(trials)) => {
                    assert!(trials.iter().all(|trial| !tried.contains_key(trial)), "asked twice");
                    tried.extend(trials.into_iter().map(|trial| (trial, kernel(trial))));
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
        let (cause, tries) = found([Some(0), Some(2), None, None], |trial| trial.own);
        assert_eq!((cause, tries), (Cause::Missing(vec![Change::Token]), 3));
        let (cause, _) = found([Some(0), Some(2), None, None], |trial| has(trial.bits[1], 2));
        assert_eq!(cause, Cause::Missing(vec![bit("delegate_maps", 2)]));
        let (cause, _) = found([None; 4], |trial| has(trial.caps, 38));
        assert_eq!(cause, Cause::Missing(vec![Change::Capability(38)]));
        let (cause, _) = found([None; 4], |trial| trial.setting);
        assert!(matches!(cause, Cause::Missing(changes) if matches!(changes[..], [Change::Sysctl { .. }])));
    }

    #[test]
    fn the_kernel_may_want_something_nobody_expects() {
        let (cause, tries) = found([Some(0), Some(2), None, None], |trial| has(trial.bits[1], 17));
        assert_eq!(cause, Cause::Missing(vec![bit("delegate_maps", 17)]));
        assert!(tries < 30, "{tries}");
        let (cause, _) = found([None; 4], |trial| has(trial.caps, 7));
        assert_eq!(cause, Cause::Missing(vec![Change::Capability(7)]));
        let (cause, _) = found([None; 4], |trial| trial.bits.iter().any(|mask| *mask != 0));
        assert_eq!(cause, Cause::Missing(vec![bit("delegate_cmds", 0)]));
    }

    #[test]
    fn several_changes_are_told_only_if_none_can_be_left_out() {
        let both = |trial: Retry| trial.own && (has(trial.caps, 39) || has(trial.caps, 21));
        assert_eq!(found([None; 4], both).0, Cause::Missing(vec![Change::Token, Change::Capability(39)]));
        let caps = |trial: Retry| has(trial.caps, 39) && has(trial.caps, 12);
        let expected = Cause::Missing(vec![Change::Capability(12), Change::Capability(39)]);
        assert_eq!(found([None; 4], caps).0, expected);
        let filtered = |trial: Retry| trial.own && trial.unfiltered;
        assert_eq!(found([None; 4], filtered).0, Cause::Missing(vec![Change::Token, Change::NoSeccomp]));
        let all = |trial: Retry| trial.own && has(trial.bits[0], 5) && has(trial.bits[3], 47) && has(trial.caps, 38);
        let changes = [Change::Token, bit("delegate_cmds", 5), bit("delegate_attachs", 47), Change::Capability(38)];
        assert_eq!(found([Some(5), None, None, Some(47)], all).0, Cause::Missing(changes.to_vec()));
    }

    #[test]
    fn what_nothing_turns_is_not_delegable_and_what_turned_by_itself_is_not_known() {
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
