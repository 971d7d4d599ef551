//! What a bpffs instance delegates: four masks, and the mount options that set them.

mod requested;

use std::fmt;

use serde::{Deserialize, Serialize};

use harness_protocol::mount_option::{LONGEST_VALUE, MountOption, OPTIONS};

pub use requested::{ParsedElement, RefusedOption, known_bits, option_of};

macro_rules! mask_type {
    ($(#[$meta:meta])* $name:ident, $option:expr) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            /// Nothing delegated.
            pub const NONE: Self = Self(0);
            /// What the option value `any` sets: all 64 bits, including those without a name
            /// (`kernel/bpf/inode.c`, `bpf_parse_param`).
            pub const ANY: Self = Self(u64::MAX);
            /// The mount option that sets this mask.
            pub const OPTION: &'static str = $option;

            /// A mask with exactly these bits, unknown ones included.
            pub const fn from_bits(bits: u64) -> Self {
                Self(bits)
            }

            /// The bits.
            pub const fn bits(self) -> u64 {
                self.0
            }

            /// Whether the bit of this enumerator is set; numbers from 64 up have no bit.
            pub const fn contains(self, number: u32) -> bool {
                number < 64 && self.0 & (1 << number) != 0
            }

            /// Returns this mask with the bit of this enumerator set, or `None` if the number is 64 or more.
            pub const fn with(self, number: u32) -> Option<Self> {
                if number < 64 { Some(Self(self.0 | (1 << number))) } else { None }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }
    };
}

mask_type!(
    /// Delegated `bpf(2)` commands: bit N is `enum bpf_cmd` value N.
    CmdMask, OPTIONS[0]
);
mask_type!(
    /// Delegated map types: bit N is `enum bpf_map_type` value N.
    MapMask, OPTIONS[1]
);
mask_type!(
    /// Delegated program types: bit N is `enum bpf_prog_type` value N.
    ProgMask, OPTIONS[2]
);
mask_type!(
    /// Delegated attach types: bit N is `enum bpf_attach_type` value N.
    AttachMask, OPTIONS[3]
);

/// The four masks of one bpffs instance, and of each token made from it (`struct bpf_mount_opts` and `struct bpf_token`
/// in `include/linux/bpf.h`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delegation {
    /// Commands.
    pub cmds: CmdMask,
    /// Map types.
    pub maps: MapMask,
    /// Program types.
    pub progs: ProgMask,
    /// Attach types.
    pub attachs: AttachMask,
}

/// The numbers of the bits set in a mask, in ascending order.
pub fn numbers(mask: u64) -> impl Iterator<Item = u32> {
    (0..u64::BITS).filter(move |number| mask & (1 << number) != 0)
}

/// The mount options that set a mask to these names: several if the names exceed [`LONGEST_VALUE`], because repeated
/// options add up (`kernel/bpf/inode.c`, `bpf_parse_param`).
pub fn options_of<'a>(key: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<MountOption> {
    let mut values: Vec<String> = Vec::new();
    for name in names {
        match values.last_mut() {
            Some(value) if value.len() + 1 + name.len() <= LONGEST_VALUE => {
                value.push(':');
                value.push_str(name);
            }
            _ => values.push(name.to_owned()),
        }
    }
    values.into_iter().map(|value| MountOption { key: key.to_owned(), value }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_keeps_unknown_bits_and_refuses_numbers_without_one() {
        let mask = MapMask::from_bits(1 << 63).with(1).unwrap();
        assert!(mask.contains(63) && mask.contains(1) && !mask.contains(2) && !mask.contains(64));
        assert_eq!(mask.with(64), None);
        assert_eq!(numbers(mask.bits()).collect::<Vec<_>>(), [1, 63]);
        assert_eq!(format!("{mask:?}"), "MapMask(0x8000000000000002)");
    }

    #[test]
    fn long_lists_are_split_where_the_kernel_would_refuse_them() {
        let names: Vec<String> = (0..64).map(|n| format!("attach_type_{n:02}")).collect();
        let options = options_of(AttachMask::OPTION, names.iter().map(String::as_str));
        assert!(options.len() > 1 && options.iter().all(|o| o.value.len() <= LONGEST_VALUE));
        let joined: Vec<&str> = options.iter().flat_map(|o| o.value.split(':')).collect();
        assert_eq!(joined, names);
        assert_eq!(options_of("delegate_cmds", ["any"]).len(), 1);
        assert!(options_of("delegate_cmds", []).is_empty());
    }
}
