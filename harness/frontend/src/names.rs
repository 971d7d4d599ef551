//! The spelling of BPF names in each front-end.

use harness_uapi::{
    delegation::ParsedElement,
    vocabulary::{Kind, KnownNames, UnknownName},
};

use crate::configuration::Meaning;

/// The names that a systemd release knows. They come from the `linux/bpf.h` it was built with
/// (`src/include/uapi/linux/bpf.h`, `src/core/generate-bpf-delegate-configs.py`), whatever kernel it runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemdRelease {
    /// Its number, such as 262.
    pub number: u32,
    /// For each kind, in the order of [`Kind::ALL`], the first number that is not in its header.
    pub bounds: [u32; 4],
    /// Enumerators of its header that it skips: those with a comment on their line, because its generator only accepts
    /// lines of the form `NAME,`. Its table has no gap for them, so each later name stands for the bit before its own.
    pub skipped: &'static [(Kind, u32)],
}

impl SystemdRelease {
    /// systemd 262, as Debian forky has it. `BPF_PROG_TYPE_SYSCALL` has a comment on its line: there is no
    /// `BPFProgTypeSyscall`, and `BPFProgTypeNetfilter` delegates `syscall`.
    pub const V262: Self = Self { number: 262, bounds: [39, 36, 33, 62], skipped: &[(Kind::Prog, 31)] };

    /// The newest known release.
    pub const NEWEST: Self = Self::V262;

    /// Returns the bit that it sets for the name of a number.
    fn bit(self, kind: Kind, number: u32) -> Option<u32> {
        let skipped = || self.skipped.iter().filter(|(of, _)| *of == kind).map(|(_, number)| *number);
        let known = number < self.bounds[kind as usize] && !skipped().any(|skipped| skipped == number);
        known.then(|| number - skipped().filter(|skipped| *skipped < number).count() as u32)
    }
}

/// The names that kernels know, and which of them a systemd release knows.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    kernel: &'a KnownNames,
    systemd: SystemdRelease,
}

impl<'a> Names<'a> {
    /// Returns the names of these kernels and of this systemd.
    pub const fn new(kernel: &'a KnownNames, systemd: SystemdRelease) -> Self {
        Self { kernel, systemd }
    }

    /// Returns the systemd release.
    pub const fn systemd_release(&self) -> SystemdRelease {
        self.systemd
    }

    /// Returns the kernels' name of a number, as mount options accept it.
    pub fn kernel(&self, kind: Kind, number: u32) -> Option<&'a str> {
        self.kernel.table(kind).name(number)
    }

    /// Returns systemd's name of a number, if systemd sets the right bit for it.
    pub fn systemd(&self, kind: Kind, number: u32) -> Option<String> {
        self.systemd.bit(kind, number).filter(|bit| *bit == number).and_then(|_| self.spelled(kind, number))
    }

    /// Returns the bit that systemd sets for a word; letter case matters, and there are no aliases.
    pub fn systemd_bit(&self, kind: Kind, word: &str) -> Option<u32> {
        let number = self.kernel.table(kind).number(word)?;
        self.systemd.bit(kind, number).filter(|_| self.spelled(kind, number).as_deref() == Some(word))
    }

    /// Returns the name that systemd shows for a bit, right or wrong.
    pub fn systemd_shown(&self, kind: Kind, bit: u32) -> Option<String> {
        (bit..64)
            .find(|number| self.systemd.bit(kind, *number) == Some(bit))
            .and_then(|number| self.spelled(kind, number))
    }

    /// Returns systemd's spelling of a number: the C enumerator without underscores, each word after the first
    /// capitalized, as in `BPFMapTypeLruHash` for `BPF_MAP_TYPE_LRU_HASH`. If there are several names, it is the first,
    /// because the generator skips enumerators with an explicit value (`src/core/generate-bpf-delegate-configs.py`).
    pub fn spelled(&self, kind: Kind, number: u32) -> Option<String> {
        let name = self.kernel.table(kind).name(number)?;
        let enumerator = format!("{}{}", kind.prefix(), name.to_ascii_uppercase());
        let mut words = enumerator.split('_');
        let first = words.next().unwrap_or_default().to_owned();
        Some(words.fold(first, |spelled, word| spelled + &capitalised(word)))
    }

    /// Returns what a text means: a name in any of its spellings, `any`, or a number as the kernel reads one; in any
    /// letter case, and with whitespace around it.
    pub fn meaning(&self, kind: Kind, text: &str) -> Meaning {
        let text = text.trim();
        if text.eq_ignore_ascii_case("any") {
            return Meaning::Any;
        }
        if let Some(number) = self.kernel.table(kind).number(text) {
            return Meaning::Name(number);
        }
        self.kernel_reading(kind, &text.to_ascii_lowercase()).map_or(Meaning::Unreadable, Meaning::from)
    }

    /// Parses an element of a mount option as a kernel with these names does.
    pub fn kernel_reading(&self, kind: Kind, element: &str) -> Option<ParsedElement> {
        ParsedElement::of(element, self.kernel.table(kind))
    }

    /// Returns an error with similar names if no kernel has this name; `None` if one does.
    pub fn unknown(&self, kind: Kind, text: &str) -> Option<UnknownName> {
        self.kernel.lookup(kind, text.trim()).err()
    }

    /// Like [`Names::unknown`], with similar names in systemd's spelling, without those that systemd does not accept.
    pub fn unknown_to_systemd(&self, kind: Kind, text: &str) -> Option<UnknownName> {
        let mut unknown = self.unknown(kind, text)?;
        let systemd = |name: &String| self.systemd(kind, self.kernel.table(kind).number(name)?);
        unknown.suggestions = unknown.suggestions.iter().filter_map(systemd).collect();
        unknown.suggestions.dedup();
        Some(unknown)
    }
}

impl From<ParsedElement> for Meaning {
    fn from(reading: ParsedElement) -> Self {
        match reading {
            ParsedElement::Any => Self::Any,
            ParsedElement::Bit(bit) => Self::Name(bit),
            ParsedElement::Number(number) => Self::Number(number),
        }
    }
}

fn capitalised(word: &str) -> String {
    let lower = word.to_ascii_lowercase();
    let mut letters = lower.chars();
    letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::known;

    #[test]
    fn systemd_spells_by_one_rule() {
        let known = known();
        let names = Names::new(&known, SystemdRelease::V262);
        let spelled = [
            (Kind::Cmd, 19, "BPFBtfGetFdById"),
            (Kind::Map, 9, "BPFMapTypeLruHash"),
            (Kind::Map, 19, "BPFMapTypeCgroupStorageDeprecated"),
            (Kind::Prog, 19, "BPFProgTypeLwtSeg6local"),
            (Kind::Attach, 8, "BPFCgroupInet4Bind"),
        ];
        for (kind, number, name) in spelled {
            assert_eq!(names.systemd(kind, number).as_deref(), Some(name));
            assert_eq!(names.meaning(kind, name), Meaning::Name(number));
        }
        assert_eq!(names.systemd(Kind::Prog, 33), None);
    }

    #[test]
    fn names_beyond_a_release_are_not_its_own() {
        let known = known();
        let older = SystemdRelease { number: 258, bounds: [37, 34, 33, 58], skipped: &[] };
        assert_eq!(Names::new(&known, older).systemd(Kind::Map, 34), None);
        assert!(Names::new(&known, SystemdRelease::V262).systemd(Kind::Map, 34).is_some());
    }

    #[test]
    fn a_name_after_a_skipped_one_is_taken_for_another() {
        let known = known();
        let names = Names::new(&known, SystemdRelease::V262);
        assert_eq!(names.systemd_bit(Kind::Prog, "BPFProgTypeSyscall"), None);
        assert_eq!(names.systemd_bit(Kind::Prog, "BPFProgTypeNetfilter"), Some(31));
        assert_eq!(names.systemd_bit(Kind::Prog, "BPFProgTypeSkLookup"), Some(30));
        assert_eq!((names.systemd(Kind::Prog, 31), names.systemd(Kind::Prog, 32)), (None, None));
        assert_eq!(names.systemd_shown(Kind::Prog, 31).as_deref(), Some("BPFProgTypeNetfilter"));
    }

    #[test]
    fn every_spelling_means_the_same() {
        let known = known();
        let names = Names::new(&known, SystemdRelease::V262);
        for text in ["hash", "HASH", "BPF_MAP_TYPE_HASH", "bpfmaptypehash", "BPFMapTypeHash", " hash "] {
            assert_eq!(names.meaning(Kind::Map, text), Meaning::Name(1), "{text:?}");
        }
        for text in ["0x20", "32", "040", "0X20"] {
            assert_eq!(names.meaning(Kind::Map, text), Meaning::Number(32), "{text:?}");
        }
        assert_eq!(names.meaning(Kind::Map, "ANY"), Meaning::Any);
        assert_eq!(names.meaning(Kind::Map, "hashh"), Meaning::Unreadable);
    }

    #[test]
    fn similar_names_are_suggested_in_the_accepted_spelling() {
        let known = known();
        let names = Names::new(&known, SystemdRelease::V262);
        assert_eq!(names.unknown(Kind::Map, "hashh").unwrap().suggestions[0], "hash");
        assert_eq!(names.unknown_to_systemd(Kind::Map, "BPFMapTypeHashh").unwrap().suggestions[0], "BPFMapTypeHash");
        assert_eq!(names.unknown(Kind::Prog, "netfiler").unwrap().suggestions, ["netfilter"]);
        assert!(names.unknown_to_systemd(Kind::Prog, "BPFProgTypeNetfiler").unwrap().suggestions.is_empty());
        assert_eq!(names.unknown_to_systemd(Kind::Map, "hash"), None);
    }
}
