//! Compares the names that two kernels know, and what the mount option `any` covers on each.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use harness_uapi::{
    delegation::known_bits,
    vocabulary::{Kind, Vocabulary},
};

/// A family of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Commands of `bpf(2)`.
    Cmds,
    /// Map types.
    Maps,
    /// Program types.
    Progs,
    /// Attach types.
    Attachs,
    /// Helpers.
    Helpers,
    /// Enumerators that are flags beyond the last name, such as `BPF_COMMON_ATTRS`.
    Flags,
    /// Members of `union bpf_attr`.
    Attributes,
    /// Structures that `BPF_OBJ_GET_INFO_BY_FD` fills.
    Infos,
}

impl Family {
    /// The plural noun for names of this family.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Cmds => "commands",
            Self::Maps => "map types",
            Self::Progs => "program types",
            Self::Attachs => "attach types",
            Self::Helpers => "helpers",
            Self::Flags => "flags among the names",
            Self::Attributes => "members of union bpf_attr",
            Self::Infos => "info structures",
        }
    }
}

/// A name that differs between the kernels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameChange {
    /// Its family.
    pub family: Family,
    /// The name.
    pub name: String,
    /// How it differs.
    pub fate: NameStatus,
}

/// How a name differs. Members and structures have no numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameStatus {
    /// Only the second kernel knows it.
    Added(Option<u32>),
    /// Only the first kernel knows it.
    Removed(Option<u32>),
    /// It has another number: a mask written as a number grants something else.
    Renumbered {
        /// The number on the first kernel.
        before: u32,
        /// The number on the second kernel.
        after: u32,
    },
}

/// All names that differ, by family and number.
pub fn differences(before: &Vocabulary, after: &Vocabulary) -> Vec<NameChange> {
    let (before, after) = (families(before), families(after));
    before.into_iter().zip(after).flat_map(|((family, one), (_, other))| of_family(family, &one, &other)).collect()
}

type Names = BTreeMap<String, Option<u32>>;

fn families(vocabulary: &Vocabulary) -> Vec<(Family, Names)> {
    let numbered = |kind: Kind| -> Names {
        let all = vocabulary.table(kind).iter();
        all.flat_map(|named| {
            std::iter::once(&named.name).chain(&named.aliases).map(|name| (name.clone(), Some(named.number)))
        })
        .collect()
    };
    let flags = Kind::ALL.into_iter().flat_map(|kind| vocabulary.table(kind).sentinels());
    let bounds = ["__MAX_", "MAX_"];
    let flags = flags.filter(|flag| !bounds.iter().any(|bound| flag.name.starts_with(bound)));
    let bare = |names: &mut dyn Iterator<Item = &str>| names.map(|name| (name.to_owned(), None)).collect::<Names>();
    vec![
        (Family::Cmds, numbered(Kind::Cmd)),
        (Family::Maps, numbered(Kind::Map)),
        (Family::Progs, numbered(Kind::Prog)),
        (Family::Attachs, numbered(Kind::Attach)),
        (Family::Helpers, vocabulary.helpers.iter().map(|(id, name)| (name.to_owned(), Some(id))).collect()),
        (Family::Flags, flags.map(|flag| (flag.name.clone(), Some(flag.number))).collect()),
        (Family::Attributes, bare(&mut vocabulary.attr_members())),
        (Family::Infos, bare(&mut vocabulary.info_structs())),
    ]
}

fn of_family(family: Family, before: &Names, after: &Names) -> Vec<NameChange> {
    let gone = before.iter().filter(|(name, _)| !after.contains_key(*name));
    let mut changes: Vec<(&String, NameStatus)> =
        gone.map(|(name, number)| (name, NameStatus::Removed(*number))).collect();
    for (name, number) in after {
        match (before.get(name), number) {
            (None, _) => changes.push((name, NameStatus::Added(*number))),
            (Some(Some(was)), Some(is)) if was != is => {
                changes.push((name, NameStatus::Renumbered { before: *was, after: *is }));
            }
            _ => {}
        }
    }
    changes.sort_by_key(|(_, status)| status.rank());
    changes.into_iter().map(|(name, fate)| NameChange { family, name: name.clone(), fate }).collect()
}

impl NameStatus {
    /// The sort key: renumbered names first, then removed ones, then new ones.
    fn rank(self) -> (u8, u32) {
        match self {
            Self::Renumbered { after, .. } => (0, after),
            Self::Removed(number) => (1, number.unwrap_or(0)),
            Self::Added(number) => (2, number.unwrap_or(0)),
        }
    }
}

/// What `any` in a mount option covers: it sets all 64 bits, of which only those with a name have a meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// The kind of the option.
    pub kind: Kind,
    /// The bits that have a name on the first kernel.
    pub before: u64,
    /// The bits that have a name on the second kernel.
    pub after: u64,
    /// Names that `any` covers on the second kernel only.
    pub gained: Vec<String>,
    /// Names that `any` covers on the first kernel only.
    pub lost: Vec<String>,
}

/// What `any` covers on each kernel by its BTF, for each option where that differs. The mount itself shows `any` on both.
/// Returns nothing if a kernel has no tokens, because it ignores the option.
pub fn coverage(before: &Vocabulary, after: &Vocabulary) -> Vec<Coverage> {
    if [before, after].iter().any(|vocabulary| vocabulary.table(Kind::Cmd).number("token_create").is_none()) {
        return Vec::new();
    }
    let of_kind = |kind: Kind| {
        let (one, other) = (before.table(kind), after.table(kind));
        let names = |bits: u64, of: &Vocabulary| -> Vec<String> {
            let numbers = (0..u64::BITS).filter(|bit| bits >> bit & 1 == 1);
            numbers.filter_map(|bit| of.table(kind).name(bit).map(str::to_owned)).collect()
        };
        let (was, is) = (known_bits(one), known_bits(other));
        let (gained, lost) = (names(is & !was, after), names(was & !is, before));
        Coverage { kind, before: was, after: is, gained, lost }
    };
    Kind::ALL.into_iter().map(of_kind).filter(|coverage| coverage.before != coverage.after).collect()
}
