//! All known BPF names with their numbers and the releases that introduced them: a table that `cargo xtask codegen` writes
//! from the kernels' committed vocabularies.
//!
//! Numbers and names are kernel ABI: a number keeps its meaning forever, and when a later kernel renames it the old name
//! stays as an alias (`include/uapi/linux/bpf.h`).

use std::{collections::BTreeMap, fmt, sync::LazyLock};

use thiserror::Error;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::{
    release::Release,
    vocabulary::{Kind, Vocabulary},
};

/// The committed table, as JSON.
pub const TABLE: &str = include_str!("names/table.json");

static NAMES: LazyLock<Names> = LazyLock::new(|| {
    serde_json::from_str(TABLE).expect("the committed table is generated from the committed vocabularies")
});

/// The names of several kernels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Names {
    cmds: Vec<Name>,
    maps: Vec<Name>,
    progs: Vec<Name>,
    attachs: Vec<Name>,
    helpers: BTreeMap<u32, String>,
}

/// A number and its names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Name {
    /// The value of the enumerator.
    pub number: u32,
    /// The name that the newest kernel shows.
    pub name: String,
    /// Other names that some kernel accepts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// The release that introduced it.
    pub first: First,
}

/// Why the first release of a name cannot be narrowed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("the first release of the {kind} {name} is wrong: {why}")]
pub struct FirstError {
    kind: Kind,
    name: String,
    why: String,
}

/// When a number was introduced, as far as the table's kernels show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct First {
    /// The oldest kernel in the table that has it.
    #[serde(with = "release")]
    pub seen: Release,
    /// The newest kernel in the table that is older and lacks it; `None` if there is none.
    #[serde(default, with = "maybe_release", skip_serializing_if = "Option::is_none")]
    pub not_in: Option<Release>,
}

impl First {
    /// Whether a kernel of this release has it; `None` if unknown.
    pub fn is_in(self, release: Release) -> Option<bool> {
        match self.not_in {
            _ if release >= self.seen => Some(true),
            Some(last) if release <= last => Some(false),
            _ => None,
        }
    }
}

impl fmt::Display for First {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.not_in {
            None => write!(f, "{} or before", self.seen),
            Some(last) if last.is_followed_by(self.seen) => write!(f, "{}", self.seen),
            Some(last) => write!(f, "{} or before, after {last}", self.seen),
        }
    }
}

impl Names {
    /// The names of these kernels.
    pub fn of<'a>(vocabularies: impl IntoIterator<Item = (Release, &'a Vocabulary)>) -> Self {
        let mut kernels: Vec<(Release, &Vocabulary)> = vocabularies.into_iter().collect();
        kernels.sort_by_key(|(release, _)| *release);
        let mut names = Self::default();
        let mut before = None;
        for (release, vocabulary) in kernels {
            for kind in Kind::ALL {
                add(names.list_mut(kind), vocabulary, kind, First { seen: release, not_in: before });
            }
            names.helpers.extend(vocabulary.helpers.iter().map(|(number, name)| (number, name.to_owned())));
            before = Some(release);
        }
        names
    }

    /// Narrows when a name was introduced.
    ///
    /// # Errors
    /// [`FirstError`] if there is no such name, or if the kernels of the table contradict it.
    pub fn narrow(&mut self, kind: Kind, name: &str, first: First) -> Result<(), FirstError> {
        let wrong = |why: String| FirstError { kind, name: name.to_owned(), why };
        let found = self.list_mut(kind).iter_mut().find(|known| known.name == name);
        let found = found.ok_or_else(|| wrong("no kernel has it".to_owned()))?;
        let within = first.seen <= found.first.seen && first.not_in >= found.first.not_in;
        if !within || first.not_in.is_some_and(|last| last >= first.seen) {
            return Err(wrong(format!("the kernels say {}", found.first)));
        }
        found.first = first;
        Ok(())
    }

    /// The names of one kind, ordered by number.
    pub fn list(&self, kind: Kind) -> &[Name] {
        match kind {
            Kind::Cmd => &self.cmds,
            Kind::Map => &self.maps,
            Kind::Prog => &self.progs,
            Kind::Attach => &self.attachs,
        }
    }

    /// The names of helpers without `bpf_`, ordered by number.
    pub fn helpers(&self) -> impl Iterator<Item = (u32, &str)> {
        self.helpers.iter().map(|(number, name)| (*number, name.as_str()))
    }

    fn list_mut(&mut self, kind: Kind) -> &mut Vec<Name> {
        match kind {
            Kind::Cmd => &mut self.cmds,
            Kind::Map => &mut self.maps,
            Kind::Prog => &mut self.progs,
            Kind::Attach => &mut self.attachs,
        }
    }
}

fn add(names: &mut Vec<Name>, vocabulary: &Vocabulary, kind: Kind, first: First) {
    for named in vocabulary.table(kind).iter() {
        let texts = std::iter::once(&named.name).chain(&named.aliases);
        match names.binary_search_by_key(&named.number, |known| known.number) {
            Ok(at) => names[at].add_newer(texts),
            Err(at) => {
                let (number, name, aliases) = (named.number, named.name.clone(), named.aliases.clone());
                names.insert(at, Name { number, name, aliases, first });
            }
        }
    }
}

impl Name {
    /// Adds the names that a later kernel has; the first of them becomes the shown name.
    fn add_newer<'a>(&mut self, texts: impl Iterator<Item = &'a String>) {
        let mut all: Vec<String> = texts.cloned().collect();
        let known = std::iter::once(std::mem::take(&mut self.name)).chain(std::mem::take(&mut self.aliases));
        for text in known {
            if !all.contains(&text) {
                all.push(text);
            }
        }
        self.name = all.remove(0);
        self.aliases = all;
    }
}

/// The committed table.
pub fn all() -> &'static Names {
    &NAMES
}

/// The entry of a number.
pub fn entry(kind: Kind, number: u32) -> Option<&'static Name> {
    let list = NAMES.list(kind);
    list.binary_search_by_key(&number, |name| name.number).ok().map(|at| &list[at])
}

/// The name of a number.
pub fn name(kind: Kind, number: u32) -> Option<&'static str> {
    entry(kind, number).map(|entry| entry.name.as_str())
}

/// The number of a name that some kernel accepts, in lower case and without its prefix.
pub fn number(kind: Kind, name: &str) -> Option<u32> {
    let is_meant = |entry: &&Name| entry.name == name || entry.aliases.iter().any(|alias| alias == name);
    NAMES.list(kind).iter().find(is_meant).map(|entry| entry.number)
}

/// A number as it is shown to people: its name, or the number itself if it has none.
pub fn shown(kind: Kind, number: u32) -> String {
    name(kind, number).map_or_else(|| number.to_string(), str::to_owned)
}

/// The name of a helper without `bpf_`, or its number if the name is not known.
pub fn helper(number: u32) -> String {
    NAMES.helpers.get(&number).cloned().unwrap_or_else(|| number.to_string())
}

/// Adds the names that a kernel of this release has to a vocabulary of an earlier one. Returns those of which it is not
/// known whether the release has them.
pub fn complete(vocabulary: &mut Vocabulary, release: Release) -> Vec<(Kind, &'static str)> {
    let mut unknown = Vec::new();
    for kind in Kind::ALL {
        for name in NAMES.list(kind) {
            match name.first.is_in(release) {
                Some(true) => vocabulary.add(kind, name.number, &name.name, &name.aliases),
                Some(false) => {}
                None => unknown.push((kind, name.name.as_str())),
            }
        }
    }
    unknown
}

mod release {
    use super::*;

    pub(super) fn serialize<S: Serializer>(release: &Release, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(release)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Release, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

mod maybe_release {
    use super::*;

    pub(super) fn serialize<S: Serializer>(release: &Option<Release>, serializer: S) -> Result<S::Ok, S::Error> {
        release.map(|release| release.to_string()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Release>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = include_str!("../../../kernels/vocabulary/6.1-debian.json");
    const NEW: &str = include_str!("../../../kernels/vocabulary/7.3.json");

    fn release(text: &str) -> Release {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_was_introduced_by_the_first_kernel_that_has_it() {
        let [old, new] = [OLD, NEW].map(|text| serde_json::from_str::<Vocabulary>(text).unwrap());
        let names = Names::of([(release("7.3"), &new), (release("6.1"), &old)]);
        let token = names.list(Kind::Cmd).iter().find(|name| name.name == "token_create").unwrap();
        assert_eq!(token.first, First { seen: release("7.3"), not_in: Some(release("6.1")) });
        assert_eq!(token.first.to_string(), "7.3 or before, after 6.1");
        let known = |text| token.first.is_in(release(text));
        assert_eq!((known("6.1"), known("6.9"), known("7.3")), (Some(false), None, Some(true)));
        assert_eq!(names.list(Kind::Cmd)[0].first.to_string(), "6.1 or before");
        // Renamed in between: both names are known, and the new one is shown.
        let storage = names.list(Kind::Map).iter().find(|name| name.number == 19).unwrap();
        assert_eq!(
            (storage.name.as_str(), &storage.aliases[..]),
            ("cgroup_storage_deprecated", &["cgroup_storage".to_owned()][..])
        );
    }

    #[test]
    fn the_committed_table_is_read() {
        assert_eq!((name(Kind::Map, 1), number(Kind::Map, "cgroup_storage")), (Some("hash"), Some(19)));
        assert_eq!(
            (shown(Kind::Attach, 9999), helper(6), helper(9999)),
            ("9999".into(), "trace_printk".into(), "9999".into())
        );
        assert_eq!(entry(Kind::Map, 34).unwrap().first, First { seen: release("6.19"), not_in: Some(release("6.18")) });
    }

    #[test]
    fn a_first_release_is_narrowed_but_not_against_what_kernels_say() {
        let [old, new] = [OLD, NEW].map(|text| serde_json::from_str::<Vocabulary>(text).unwrap());
        let mut names = Names::of([(release("7.3"), &new), (release("6.1"), &old)]);
        let first = |seen, not_in| First { seen: release(seen), not_in: Some(release(not_in)) };
        names.narrow(Kind::Map, "arena", first("6.9", "6.8")).unwrap();
        let arena = names.list(Kind::Map).iter().find(|name| name.name == "arena").unwrap();
        assert_eq!(arena.first.to_string(), "6.9");
        for wrong in [first("6.1", "6.0"), first("7.4", "7.3"), first("6.9", "6.9"), first("6.9", "5.9")] {
            assert!(names.narrow(Kind::Map, "rhash", wrong).is_err(), "{wrong:?}");
        }
        assert!(names.narrow(Kind::Map, "nothing", first("6.9", "6.8")).is_err());
        assert_eq!(first("7.0", "6.19").to_string(), "7.0");
    }

    #[test]
    fn a_release_without_a_vocabulary_has_the_names_up_to_it() {
        let of = |text: &str| {
            let mut vocabulary = serde_json::from_str::<Vocabulary>(OLD).unwrap();
            let unknown = complete(&mut vocabulary, release(text));
            let has = |kind, name| vocabulary.table(kind).number(name).is_some();
            (has(Kind::Map, "arena"), has(Kind::Attach, "trace_kprobe_session"), unknown.len())
        };
        assert!(!of("6.8").0);
        assert_eq!(of("6.9"), (true, false, 0));
        assert_eq!(of("6.10"), (true, true, 0));
        // Between 6.3 and 6.9 no source is exact, and no kernel has tokens.
        assert!(of("6.5").2 > 0);
        for exact in ["7.0", "7.1", "7.2", "7.3"] {
            assert_eq!(of(exact).2, 0, "{exact}");
        }
    }
}
