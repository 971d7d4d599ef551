//! How each front-end spells the names of BPF's enumerations.

use harness_uapi::{
    delegation::ParsedElement,
    vocabulary::{Kind, KnownNames, UnknownName},
};

use crate::configuration::Meaning;

/// Which names a systemd knows. It has them from the `linux/bpf.h` it was built with (`src/include/uapi/linux/bpf.h`,
/// `src/core/generate-bpf-delegate-configs.py`), whatever kernel it runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemdRelease {
    /// Its number, such as 262.
    pub number: u32,
    /// For each kind, in the order of [`Kind::ALL`], the first number that is not in its header.
    pub bounds: [u32; 4],
    /// Enumerators of its header that it passes over: those with a comment on their line, since its generator takes lines
    /// that are nothing but `NAME,`. Its table has no gap for them, so that each name behind one stands for the bit before
    /// its own.
    pub skipped: &'static [(Kind, u32)],
}

impl SystemdRelease {
    /// systemd 262, as Debian forky has it. `BPF_PROG_TYPE_SYSCALL` has a comment on its line: there is no
    /// `BPFProgTypeSyscall`, and `BPFProgTypeNetfilter` delegates `syscall`.
    pub const V262: Self = Self { number: 262, bounds: [39, 36, 33, 62], skipped: &[(Kind::Prog, 31)] };

    /// The newest one that is known.
    pub const NEWEST: Self = Self::V262;

    /// The bit that it takes the name of a number for.
    fn bit(self, kind: Kind, number: u32) -> Option<u32> {
        let skipped = || self.skipped.iter().filter(|(of, _)| *of == kind).map(|(_, number)| *number);
        let known = number < self.bounds[kind as usize] && !skipped().any(|skipped| skipped == number);
        known.then(|| number - skipped().filter(|skipped| *skipped < number).count() as u32)
    }
}

/// The names that kernels know, and those of them that a systemd knows.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    kernel: &'a KnownNames,
    systemd: SystemdRelease,
}

impl<'a> Names<'a> {
    /// The names of these kernels, of which this systemd has those below its bounds.
    pub const fn new(kernel: &'a KnownNames, systemd: SystemdRelease) -> Self {
        Self { kernel, systemd }
    }

    /// The systemd whose names these are.
    pub const fn systemd_release(&self) -> SystemdRelease {
        self.systemd
    }

    /// The kernels' name of a number, as mount options take it.
    pub fn kernel(&self, kind: Kind, number: u32) -> Option<&'a str> {
        self.kernel.table(kind).name(number)
    }

    /// systemd's name of a number, if it takes it for that number.
    pub fn systemd(&self, kind: Kind, number: u32) -> Option<String> {
        self.systemd.bit(kind, number).filter(|bit| *bit == number).and_then(|_| self.spelled(kind, number))
    }

    /// The bit that systemd takes a word for; letter case matters, and there are no aliases.
    pub fn systemd_bit(&self, kind: Kind, word: &str) -> Option<u32> {
        let number = self.kernel.table(kind).number(word)?;
        self.systemd.bit(kind, number).filter(|_| self.spelled(kind, number).as_deref() == Some(word))
    }

    /// The name that systemd shows for a bit, right or wrong.
    pub fn systemd_shown(&self, kind: Kind, bit: u32) -> Option<String> {
        (bit..64)
            .find(|number| self.systemd.bit(kind, *number) == Some(bit))
            .and_then(|number| self.spelled(kind, number))
    }

    /// How systemd spells the name of a number: the C enumerator with a capital at the start of each word but the first and
    /// without underscores, `BPF_MAP_TYPE_LRU_HASH` being `BPFMapTypeLruHash`; the first name of those with several, for an
    /// enumerator with a value of its own is passed over (`src/core/generate-bpf-delegate-configs.py`).
    pub fn spelled(&self, kind: Kind, number: u32) -> Option<String> {
        let name = self.kernel.table(kind).name(number)?;
        let enumerator = format!("{}{}", kind.prefix(), name.to_ascii_uppercase());
        let mut words = enumerator.split('_');
        let first = words.next().unwrap_or_default().to_owned();
        Some(words.fold(first, |spelled, word| spelled + &capitalised(word)))
    }

    /// What somebody who wrote this meant: a name in any of its spellings, `any`, or a number as the kernel reads one; in
    /// any letter case, and with blanks around it.
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

    /// What a kernel with these names makes of an element of a mount option.
    pub fn kernel_reading(&self, kind: Kind, element: &str) -> Option<ParsedElement> {
        ParsedElement::of(element, self.kernel.table(kind))
    }

    /// Why this is no name of a kernel's, with those of its names that are like it; `None` if it is one.
    pub fn unknown(&self, kind: Kind, text: &str) -> Option<UnknownName> {
        self.kernel.lookup(kind, text.trim()).err()
    }

    /// The same with the names that are like it as systemd spells them; those that it does not take are left out.
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
    fn a_name_behind_one_that_is_skipped_is_taken_for_another() {
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
    fn similar_names_are_told_in_the_spelling_of_the_reader() {
        let known = known();
        let names = Names::new(&known, SystemdRelease::V262);
        let kernel = names.unknown(Kind::Map, "hashh").unwrap().to_string();
        assert!(kernel.contains("did you mean `hash`"), "{kernel}");
        let systemd = names.unknown_to_systemd(Kind::Map, "BPFMapTypeHashh").unwrap().to_string();
        assert!(systemd.contains("did you mean `BPFMapTypeHash`"), "{systemd}");
        assert_eq!(names.unknown(Kind::Prog, "netfiler").unwrap().suggestions, ["netfilter"]);
        assert!(names.unknown_to_systemd(Kind::Prog, "BPFProgTypeNetfiler").unwrap().suggestions.is_empty());
        assert_eq!(names.unknown_to_systemd(Kind::Map, "hash"), None);
    }
}
