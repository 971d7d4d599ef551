//! The delegation that mount options request, by the rules of the kernel's parser.

use harness_protocol::{
    errno::Errno,
    mount_option::{LONGEST_VALUE, MountOption, OPTIONS},
};
use thiserror::Error;

use crate::{
    delegation::{AttachMask, CmdMask, Delegation, MapMask, ProgMask},
    vocabulary::{Kind, NameTable, Vocabulary},
};

/// A mount option that the kernel refuses, together with the call that sets it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RefusedOption {
    /// An element of its value is neither a name nor a number.
    #[error("`{element}` in the mount option {key} is neither a name this kernel knows nor a 64-bit number")]
    Element {
        /// The option, such as `delegate_maps`.
        key: String,
        /// The element as written.
        element: String,
    },
    /// Its value is longer than [`LONGEST_VALUE`].
    #[error("the value of the mount option {key} is {length} bytes long; fsconfig(2) takes at most {LONGEST_VALUE}")]
    TooLong {
        /// The option.
        key: String,
        /// The length of its value in bytes.
        length: usize,
    },
}

impl RefusedOption {
    /// The kernel's errno: `ERANGE` if the element begins with a number of more than 64 bits, whatever follows it
    /// (`kstrtoull` in `lib/kstrtox.c`), `EINVAL` otherwise.
    pub fn errno(&self) -> Errno {
        match self {
            Self::Element { element, .. } if is_out_of_range(element) => Errno::ERANGE,
            Self::Element { .. } | Self::TooLong { .. } => Errno::EINVAL,
        }
    }
}

impl Delegation {
    /// The delegation that these options add up to, set one after the other, on a kernel with this vocabulary
    /// (`kernel/bpf/inode.c`, `bpf_parse_param`).
    ///
    /// Within one value, a name adds its bit and a number replaces the mask so far. Repeated options add up. Other
    /// options delegate nothing.
    ///
    /// # Errors
    /// [`RefusedOption`] for the first option that the kernel refuses.
    pub fn requested(options: &[MountOption], vocabulary: &Vocabulary) -> Result<Self, RefusedOption> {
        let mut all = Self::default().masks();
        for option in options {
            if option.value.len() > LONGEST_VALUE {
                return Err(RefusedOption::TooLong { key: option.key.clone(), length: option.value.len() });
            }
            let masks = Self::shown(std::slice::from_ref(option), vocabulary)?.masks();
            all.iter_mut().zip(masks).for_each(|(all, mask)| *all |= mask);
        }
        Ok(Self::from_masks(all))
    }

    /// The delegation that a mount's shown options describe. Their values may be longer than any that can be set
    /// (`bpf_show_options` in `kernel/bpf/inode.c`).
    ///
    /// # Errors
    /// [`RefusedOption`] for a value that the kernel does not print.
    pub fn shown(options: &[MountOption], vocabulary: &Vocabulary) -> Result<Self, RefusedOption> {
        let mut masks = [0; 4];
        for option in options {
            if let Some(at) = OPTIONS.iter().position(|key| *key == option.key) {
                masks[at] |= mask(option, vocabulary.table(Kind::ALL[at]))?;
            }
        }
        Ok(Self::from_masks(masks))
    }

    /// A delegation with these masks, in the order of [`Kind::ALL`].
    pub const fn from_masks([cmds, maps, progs, attachs]: [u64; 4]) -> Self {
        Self {
            cmds: CmdMask::from_bits(cmds),
            maps: MapMask::from_bits(maps),
            progs: ProgMask::from_bits(progs),
            attachs: AttachMask::from_bits(attachs),
        }
    }

    /// The four masks, in the order of [`Kind::ALL`].
    pub const fn masks(&self) -> [u64; 4] {
        [self.cmds.bits(), self.maps.bits(), self.progs.bits(), self.attachs.bits()]
    }

    /// Mount options that set exactly these masks, as numbers. An empty mask needs no option.
    pub fn numeric_options(&self) -> Vec<MountOption> {
        let set = OPTIONS.into_iter().zip(self.masks()).filter(|(_, bits)| *bits != 0);
        set.map(|(key, bits)| MountOption::numeric(key, bits)).collect()
    }
}

/// The mount option that sets the mask of this kind.
pub const fn option_of(kind: Kind) -> &'static str {
    OPTIONS[kind as usize]
}

/// The bits of all named enumerators: a kernel shows `any` if all of them are set
/// (`kernel/bpf/inode.c`, `bpf_show_options`; `kernel/bpf/token.c`, `bpf_token_show_fdinfo`).
pub fn known_bits(table: &NameTable) -> u64 {
    let bound = table.sentinels().iter().find(|sentinel| sentinel.name.starts_with("__MAX_"));
    let last = table.iter().map(|named| named.number + 1).max().unwrap_or(0);
    match bound.map_or(last, |bound| bound.number) {
        count @ 0..64 => (1 << count) - 1,
        _ => u64::MAX,
    }
}

/// How the kernel reads one element of an option's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParsedElement {
    /// `any`: all 64 bits.
    Any,
    /// A name: its bit is added to the mask.
    Bit(u32),
    /// A number: it replaces the mask so far.
    Number(u64),
}

impl ParsedElement {
    /// Parses an element as a kernel with these names does (`kernel/bpf/inode.c`, `bpf_parse_param`); `None` if the
    /// kernel refuses it.
    pub fn of(element: &str, table: &NameTable) -> Option<Self> {
        if element == "any" {
            return Some(Self::Any);
        }
        // x86 takes a shift count modulo 64: BPF_COMMON_ATTRS, 1 << 16, is read as bit 0.
        let bit = enumerator(element, table).map(|value| Self::Bit(value % 64));
        bit.or_else(|| number(element).map(Self::Number))
    }

    /// Returns the mask after this element is applied to `mask`.
    pub const fn applied_to(self, mask: u64) -> u64 {
        match self {
            Self::Any => u64::MAX,
            Self::Bit(bit) => mask | 1 << bit,
            Self::Number(number) => number,
        }
    }
}

fn mask(option: &MountOption, table: &NameTable) -> Result<u64, RefusedOption> {
    let unreadable = |element: &str| RefusedOption::Element { key: option.key.clone(), element: element.to_owned() };
    option.value.split(':').try_fold(0, |mask, element| {
        ParsedElement::of(element, table).map(|parsed| parsed.applied_to(mask)).ok_or_else(|| unreadable(element))
    })
}

/// The value of an enumerator, written without its prefix in upper or lower case; flags of the enumeration included
/// (`find_btf_enum_const`).
fn enumerator(text: &str, table: &NameTable) -> Option<u32> {
    let is_meant = |name: &str| name.eq_ignore_ascii_case(text);
    let named = table.iter().find(|named| is_meant(&named.name) || named.aliases.iter().any(|alias| is_meant(alias)));
    let flag = || table.sentinels().iter().find(|s| s.name.strip_prefix(table.kind().prefix()).is_some_and(is_meant));
    named.map(|named| named.number).or_else(|| flag().map(|flag| flag.number))
}

/// A number as `kstrtou64` reads it with base 0: decimal, hexadecimal after `0x`, octal after `0`; one leading `+` and
/// one trailing line feed are skipped (`lib/kstrtox.c`).
fn number(text: &str) -> Option<u64> {
    let (digits, radix) = digits_of(text.strip_suffix('\n').unwrap_or(text));
    // Rust would accept another sign.
    let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if plain { u64::from_str_radix(digits, radix).ok() } else { None }
}

/// The digits after the sign and the prefix, and the radix that the prefix gives.
fn digits_of(text: &str) -> (&str, u32) {
    let text = text.strip_prefix('+').unwrap_or(text);
    match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    }
}

/// Whether the text begins with a number of more than 64 bits.
fn is_out_of_range(text: &str) -> bool {
    let (digits, radix) = digits_of(text);
    let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    end > 0 && u64::from_str_radix(&digits[..end], radix).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary() -> Vocabulary {
        serde_json::from_str(include_str!("../../../../kernels/vocabulary/7.3.json")).unwrap()
    }

    fn requested(options: &[(&str, &str)]) -> Result<[u64; 4], String> {
        let option = |(key, value): &(&str, &str)| MountOption { key: (*key).into(), value: (*value).into() };
        let options: Vec<MountOption> = options.iter().map(option).collect();
        Delegation::requested(&options, &vocabulary()).map(|d| d.masks()).map_err(|error| error.to_string())
    }

    fn cmds(value: &str) -> u64 {
        requested(&[("delegate_cmds", value)]).unwrap()[0]
    }

    #[test]
    fn names_add_up_and_a_number_replaces_them() {
        assert_eq!(cmds("map_create:prog_load"), 0x21);
        assert_eq!(cmds("prog_load:0x1"), 0x1);
        assert_eq!(cmds("0x1:prog_load"), 0x21);
        assert_eq!(cmds("any:0x1"), 0x1);
        assert_eq!(cmds("0x1:any"), u64::MAX);
        assert_eq!(cmds("map_create:0"), 0);
    }

    #[test]
    fn repeated_options_add_up() {
        let both = [("delegate_cmds", "prog_load"), ("delegate_cmds", "0x1"), ("delegate_maps", "hash")];
        assert_eq!(requested(&both), Ok([0x21, 2, 0, 0]));
        assert_eq!(requested(&[("delegate_foo", "any"), ("mode", "0700")]), Ok([0; 4]));
    }

    #[test]
    fn names_are_read_as_the_kernel_reads_them() {
        assert_eq!(cmds("PROG_LOAD"), 0x20);
        assert_eq!(cmds("prog_run"), 1 << 10);
        assert_eq!(requested(&[("delegate_maps", "cgroup_storage")]), Ok([0, 1 << 19, 0, 0]));
        // Not below the enumeration's bound, but still a name.
        assert_eq!(cmds("common_attrs"), 1);
        let wrong = ["ANY", "BPF_PROG_LOAD", "progload", "", ":prog_load", "prog_load:", "prog-load"];
        let errors = wrong.map(|value| requested(&[("delegate_cmds", value)]).unwrap_err());
        insta::assert_snapshot!(errors.join("\n"), @"
        `ANY` in the mount option delegate_cmds is neither a name this kernel knows nor a 64-bit number
        `BPF_PROG_LOAD` in the mount option delegate_cmds is neither a name this kernel knows nor a 64-bit number
        `progload` in the mount option delegate_cmds is neither a name this kernel knows nor a 64-bit number
        `` in the mount option delegate_cmds is neither a name this kernel knows nor a 64-bit number
        `` in the mount option delegate_cmds is neither a name this kernel knows nor a 64-bit number
        `` in the mount option delegate_cmds is neither a name this kernel knows nor a 64-bit number
        `prog-load` in the mount option delegate_cmds is neither a name this kernel knows nor a 64-bit number
        ");
    }

    #[test]
    fn numbers_are_read_as_the_kernel_reads_them() {
        for (text, value) in [("32", 32), ("0x20", 32), ("0X20", 32), ("040", 32), ("+32", 32), ("32\n", 32), ("0", 0)]
        {
            assert_eq!(number(text), Some(value), "{text:?}");
        }
        for wrong in ["", "+", "0x", "0b1", "-1", "++1", "0x+1", " 1", "1 ", "08", "18446744073709551616"] {
            assert_eq!(number(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn refused_options_have_the_errno_of_the_kernel() {
        let refused = |value: &str| {
            let option = MountOption { key: "delegate_cmds".to_owned(), value: value.to_owned() };
            Delegation::requested(&[option], &vocabulary()).unwrap_err().errno()
        };
        for beyond in
            ["18446744073709551616", "0x1ffffffffffffffff:any", "+99999999999999999999x", "any:07777777777777777777777"]
        {
            assert_eq!(refused(beyond), Errno::ERANGE, "{beyond}");
        }
        for wrong in ["", "0x", "x99999999999999999999", "-1", &"0x1:".repeat(64)] {
            assert_eq!(refused(wrong), Errno::EINVAL, "{wrong}");
        }
        let long = "x".repeat(LONGEST_VALUE + 1);
        insta::assert_snapshot!(
            requested(&[("delegate_foo", &long)]).unwrap_err(),
            @"the value of the mount option delegate_foo is 256 bytes long; fsconfig(2) takes at most 255"
        );
        assert_eq!(requested(&[("delegate_foo", &long[1..])]), Ok([0; 4]));
    }

    #[test]
    fn shown_options_may_be_longer_than_set_ones() {
        let value = (0..40).map(|number| vocabulary().attachs.name(number).unwrap().to_owned());
        let value = value.collect::<Vec<_>>().join(":");
        let option = [MountOption { key: "delegate_attachs".to_owned(), value }];
        assert!(option[0].value.len() > LONGEST_VALUE);
        assert_eq!(Delegation::shown(&option, &vocabulary()).unwrap().masks(), [0, 0, 0, (1 << 40) - 1]);
        assert!(Delegation::requested(&option, &vocabulary()).is_err());
    }

    #[test]
    fn numeric_options_restore_their_delegation() {
        let masks = [1 << 63 | 1, 0, 5, u64::MAX];
        let options = Delegation::from_masks(masks).numeric_options();
        assert_eq!(options.len(), 3);
        assert_eq!(Delegation::requested(&options, &vocabulary()).unwrap().masks(), masks);
    }

    #[test]
    fn known_bits_end_at_the_bound() {
        assert_eq!(known_bits(&vocabulary().cmds), (1 << 39) - 1);
        assert_eq!(known_bits(&vocabulary().attachs), (1 << 62) - 1);
    }
}
