//! The names of one kind, their numbers, and lenient lookup of what people write.

use serde::{Deserialize, Serialize};

use crate::vocabulary::Kind;

/// The most suggestions for an unknown name.
const SUGGESTIONS: usize = 3;
/// The least similarity, from 0 to 1, for a name to be suggested.
const SIMILAR_ENOUGH: f64 = 0.8;

/// A number and its names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedNumber {
    /// The value of the enumerator.
    pub number: u32,
    /// The name the kernel shows in mount options: the first enumerator with that value, in lower case without its
    /// prefix (`kernel/bpf/inode.c`, `seq_print_delegate_opts`).
    pub name: String,
    /// Further names the kernel accepts for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
}

/// An enumerator that is not a name: the bound of the enumeration, or a flag beyond it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sentinel {
    /// The enumerator as written in C, such as `__MAX_BPF_CMD`.
    pub name: String,
    /// Its value.
    pub number: u32,
}

/// All names of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NameTable {
    kind: Kind,
    names: Vec<NamedNumber>,
    sentinels: Vec<Sentinel>,
}

impl NameTable {
    /// An empty table.
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, names: Vec::new(), sentinels: Vec::new() }
    }

    /// Sorts the enumerators of a C enumeration, given in declaration order, into names, aliases and sentinels.
    ///
    /// Sentinels are the bound `__MAX_…` and all values from it up, which have no bit in a delegation mask
    /// (`BPF_COMMON_ATTRS`, 1 << 16, is a flag for the first argument of `bpf(2)`).
    pub(super) fn of_enumerators(kind: Kind, enumerators: &[(String, u32)]) -> Self {
        let bound =
            enumerators.iter().find(|(name, _)| name.starts_with("__MAX_")).map_or(u32::MAX, |(_, value)| *value);
        let mut table = Self::new(kind);
        for (name, number) in enumerators {
            match name.strip_prefix(kind.prefix()) {
                Some(short) if *number < bound => table.add(*number, &short.to_ascii_lowercase()),
                _ => table.sentinels.push(Sentinel { name: name.clone(), number: *number }),
            }
        }
        table
    }

    /// Adds a name, as an alias if the number already has one.
    fn add(&mut self, number: u32, name: &str) {
        match self.names.iter_mut().find(|known| known.number == number) {
            Some(known) => known.aliases.push(name.to_owned()),
            None => self.names.push(NamedNumber { number, name: name.to_owned(), aliases: Vec::new() }),
        }
    }

    /// Adds the names of a later kernel; if both kernels name a number, the later name comes first.
    pub(super) fn merge(&mut self, other: &Self) {
        for theirs in &other.names {
            match self.names.iter_mut().find(|ours| ours.number == theirs.number) {
                Some(ours) => *ours = merged(ours, theirs),
                None => self.names.push(theirs.clone()),
            }
        }
        self.names.sort_by_key(|known| known.number);
        let new = other.sentinels.iter().filter(|sentinel| !self.sentinels.contains(sentinel));
        self.sentinels.extend(new.cloned().collect::<Vec<_>>());
    }

    /// Adds a number with its names, unless it has some.
    pub(super) fn insert(&mut self, named: NamedNumber) {
        if self.name(named.number).is_none() {
            self.names.push(named);
            self.names.sort_by_key(|known| known.number);
        }
    }

    /// The kind of these names.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The number of a name or alias. Lookup ignores case, `_`, `-` and the C prefix: `prog_load`, `PROG_LOAD`,
    /// `BPF_PROG_LOAD` and `BPFProgLoad` are the same name.
    pub fn number(&self, text: &str) -> Option<u32> {
        let wanted = self.fold(text);
        self.spellings().find(|(name, _)| fold(name) == wanted).map(|(_, number)| number)
    }

    /// The name the kernel shows for a number.
    pub fn name(&self, number: u32) -> Option<&str> {
        self.names.iter().find(|known| known.number == number).map(|known| known.name.as_str())
    }

    /// All named numbers, in the order of the enumeration.
    pub fn iter(&self) -> impl Iterator<Item = &NamedNumber> {
        self.names.iter()
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether the table has no names.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The enumerators that are not names.
    pub fn sentinels(&self) -> &[Sentinel] {
        &self.sentinels
    }

    /// The sentinel with this name, looked up as leniently as a name.
    pub fn sentinel(&self, text: &str) -> Option<&Sentinel> {
        let wanted = self.fold(text);
        self.sentinels.iter().find(|sentinel| self.fold(&sentinel.name) == wanted)
    }

    /// The names most similar to this text, best first.
    pub(super) fn similar(&self, text: &str) -> Vec<String> {
        let wanted = self.fold(&text.chars().take(100).collect::<String>());
        let mut scored: Vec<(f64, &str)> = self
            .spellings()
            .map(|(name, _)| (strsim::normalized_damerau_levenshtein(&wanted, &fold(name)), name))
            .map(|(edits, name)| (edits.max(strsim::jaro_winkler(&wanted, &fold(name)) * 0.95), name))
            .filter(|(score, _)| *score >= SIMILAR_ENOUGH)
            .collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0));
        scored.into_iter().take(SUGGESTIONS).map(|(_, name)| name.to_owned()).collect()
    }

    fn spellings(&self) -> impl Iterator<Item = (&str, u32)> {
        self.names.iter().flat_map(|known| {
            let all = std::iter::once(&known.name).chain(&known.aliases);
            all.map(|name| (name.as_str(), known.number))
        })
    }

    /// A text without its C prefix, and without the differences that lookup ignores.
    fn fold(&self, text: &str) -> String {
        let folded = fold(text);
        match folded.strip_prefix(&fold(self.kind.prefix())) {
            Some(short) if !short.is_empty() => short.to_owned(),
            _ => folded,
        }
    }
}

/// A text in lower case without separators.
fn fold(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '_' | '-')).map(|c| c.to_ascii_lowercase()).collect()
}

/// Merges one number's names from two kernels, the newer kernel's first.
fn merged(ours: &NamedNumber, theirs: &NamedNumber) -> NamedNumber {
    let mut result = theirs.clone();
    for name in std::iter::once(&ours.name).chain(&ours.aliases) {
        if *name != result.name && !result.aliases.contains(name) {
            result.aliases.push(name.clone());
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(kind: Kind, enumerators: &[(&str, u32)]) -> NameTable {
        let owned: Vec<_> = enumerators.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        NameTable::of_enumerators(kind, &owned)
    }

    fn cmds() -> NameTable {
        table(
            Kind::Cmd,
            &[
                ("BPF_MAP_CREATE", 0),
                ("BPF_PROG_TEST_RUN", 10),
                ("BPF_PROG_RUN", 10),
                ("__MAX_BPF_CMD", 39),
                ("BPF_COMMON_ATTRS", 1 << 16),
            ],
        )
    }

    #[test]
    fn names_aliases_and_sentinels_are_distinguished() {
        let cmds = cmds();
        assert_eq!(cmds.len(), 2);
        assert_eq!((cmds.name(10), cmds.number("prog_run")), (Some("prog_test_run"), Some(10)));
        assert_eq!((cmds.name(39), cmds.name(1 << 16)), (None, None));
        assert_eq!((cmds.number("common_attrs"), cmds.number("__MAX_BPF_CMD")), (None, None));
        assert_eq!(cmds.sentinel("common_attrs").unwrap().number, 1 << 16);
        assert_eq!(cmds.sentinel("__max_bpf_cmd").unwrap().number, 39);
    }

    #[test]
    fn an_enumeration_without_a_bound_has_names_only() {
        let old = table(Kind::Cmd, &[("BPF_MAP_CREATE", 0), ("BPF_PROG_BIND_MAP", 35)]);
        assert_eq!((old.len(), old.sentinels().len()), (2, 0));
    }

    #[test]
    fn spelling_does_not_matter() {
        for text in ["map_create", "MAP_CREATE", "BPF_MAP_CREATE", "bpf_map_create", "BPFMapCreate", "map-create"] {
            assert_eq!(cmds().number(text), Some(0), "{text}");
        }
        let maps = table(Kind::Map, &[("BPF_MAP_TYPE_HASH", 1)]);
        for text in ["hash", "Hash", "BPF_MAP_TYPE_HASH", "BPFMapTypeHash"] {
            assert_eq!(maps.number(text), Some(1), "{text}");
        }
        for text in ["", "_", "bpf", "BPF_", "BPF_MAP_TYPE_", "hashh", "ha sh", "хэш"] {
            assert_eq!(maps.number(text), None, "{text}");
        }
    }

    #[test]
    fn similar_names_are_suggested_and_strange_ones_are_not() {
        assert_eq!(cmds().similar("map_crate"), ["map_create"]);
        assert_eq!(cmds().similar("prog_test_rum")[0], "prog_test_run");
        assert!(cmds().similar("xyzzy").is_empty());
        assert!(cmds().similar(&"m".repeat(1_000_000)).is_empty());
    }

    #[test]
    fn a_newer_kernel_renames_and_adds() {
        let mut old = table(Kind::Map, &[("BPF_MAP_TYPE_HASH", 1), ("BPF_MAP_TYPE_CGROUP_STORAGE", 19)]);
        let new =
            [("BPF_MAP_TYPE_CGROUP_STORAGE_DEPRECATED", 19), ("BPF_MAP_TYPE_ARENA", 33), ("__MAX_BPF_MAP_TYPE", 34)];
        old.merge(&table(Kind::Map, &new));
        assert_eq!(old.name(19), Some("cgroup_storage_deprecated"));
        assert_eq!(
            (old.number("cgroup_storage"), old.number("arena"), old.number("hash")),
            (Some(19), Some(33), Some(1))
        );
        assert_eq!(old.sentinels().len(), 1);
    }
}
