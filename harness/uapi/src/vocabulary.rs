//! The names a kernel knows: its commands, map types, program types, attach types and helpers, and other facts from its
//! BTF that verdicts depend on.
//!
//! They are read from the kernel's own BTF ([`Vocabulary::from_btf`]), never written by hand: a kernel resolves the names in
//! `delegate_*` options the same way (`kernel/bpf/inode.c`, `find_btf_enum_const`).

mod helper;
mod known;
mod read;
mod table;

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use helper::HelperNames;
pub use known::{KnownNames, KnownNamesError};
pub use read::VocabularyError;
pub use table::{NameTable, NamedNumber, Sentinel};

/// One of the four families of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A command of `bpf(2)`: `enum bpf_cmd`.
    Cmd,
    /// A map type: `enum bpf_map_type`.
    Map,
    /// A program type: `enum bpf_prog_type`.
    Prog,
    /// An attach type: `enum bpf_attach_type`.
    Attach,
}

impl Kind {
    /// All kinds, in the order of the `delegate_*` options.
    pub const ALL: [Self; 4] = [Self::Cmd, Self::Map, Self::Prog, Self::Attach];

    /// The C enumeration the names come from (`include/uapi/linux/bpf.h`).
    pub const fn enumeration(self) -> &'static str {
        match self {
            Self::Cmd => "bpf_cmd",
            Self::Map => "bpf_map_type",
            Self::Prog => "bpf_prog_type",
            Self::Attach => "bpf_attach_type",
        }
    }

    /// The prefix that the kernel strips from a C enumerator to get the name it reads and shows (`kernel/bpf/inode.c`,
    /// `bpf_parse_param`).
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Cmd | Self::Attach => "BPF_",
            Self::Map => "BPF_MAP_TYPE_",
            Self::Prog => "BPF_PROG_TYPE_",
        }
    }

    /// The plural in the option's name, as in `delegate_cmds`.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Cmd => "cmds",
            Self::Map => "maps",
            Self::Prog => "progs",
            Self::Attach => "attachs",
        }
    }

    /// The noun for one of these, as in a sentence.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Cmd => "bpf command",
            Self::Map => "map type",
            Self::Prog => "program type",
            Self::Attach => "attach type",
        }
    }
}

impl Kind {
    /// The noun with its indefinite article.
    fn with_article(self) -> String {
        let article = if self == Self::Attach { "an" } else { "a" };
        format!("{article} {self}")
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.noun())
    }
}

/// A name that is not in the table of its kind.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}{}", self.message(), self.advice().map(|advice| format!("; {advice}")).unwrap_or_default())]
pub struct UnknownName {
    /// The text that was looked up.
    pub text: String,
    /// The kind it was looked up as.
    pub kind: Kind,
    /// The enumerator with this name, if it is a bound or a flag.
    pub sentinel: Option<String>,
    /// Other kinds that have this name.
    pub elsewhere: Vec<Kind>,
    /// Similar names, the most similar first.
    pub suggestions: Vec<String>,
}

impl UnknownName {
    /// The error message, without advice.
    pub fn message(&self) -> String {
        let Self { text, kind, sentinel, elsewhere, .. } = self;
        let kind = kind.with_article();
        match (sentinel, elsewhere.first()) {
            (Some(sentinel), _) => {
                format!("`{text}` is not {kind}: {sentinel} is a bound or a flag of the enumeration")
            }
            (None, Some(other)) => format!("`{text}` is not {kind} but {}", other.with_article()),
            (None, None) => format!("`{text}` is not {kind}"),
        }
    }

    /// A suggestion of similar names, if there are any and no other kind has the name.
    pub fn advice(&self) -> Option<String> {
        if self.sentinel.is_some() || !self.elsewhere.is_empty() {
            return None;
        }
        match self.suggestions.as_slice() {
            [] => None,
            [one] => Some(format!("did you mean `{one}`?")),
            [first, rest @ ..] => Some(format!("did you mean `{first}` (or {})?", rest.join(", "))),
        }
    }
}

/// Everything that one kernel's BTF says about BPF names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vocabulary {
    /// Commands.
    pub cmds: NameTable,
    /// Map types.
    pub maps: NameTable,
    /// Program types.
    pub progs: NameTable,
    /// Attach types.
    pub attachs: NameTable,
    /// The helpers that programs may call; empty in vocabularies from before helpers were recorded.
    #[serde(default)]
    pub helpers: HelperNames,
    /// The names of all members of `union bpf_attr` and of the structures nested in it: `prog_token_fd` is among them if
    /// this kernel accepts a token for program loads.
    attr_members: BTreeSet<String>,
    /// The structures this kernel can fill for `BPF_OBJ_GET_INFO_BY_FD`, such as `bpf_token_info`.
    info_structs: BTreeSet<String>,
}

impl Vocabulary {
    /// Reads the vocabulary from raw BTF, as in `/sys/kernel/btf/vmlinux` or the `.BTF` section of a `vmlinux`.
    pub fn from_btf(bytes: &[u8]) -> Result<Self, VocabularyError> {
        read::vocabulary(bytes)
    }

    /// The table of one kind.
    pub fn table(&self, kind: Kind) -> &NameTable {
        match kind {
            Kind::Cmd => &self.cmds,
            Kind::Map => &self.maps,
            Kind::Prog => &self.progs,
            Kind::Attach => &self.attachs,
        }
    }

    /// Adds a number with its names, unless it has some.
    pub(crate) fn add(&mut self, kind: Kind, number: u32, name: &str, aliases: &[String]) {
        let table = match kind {
            Kind::Cmd => &mut self.cmds,
            Kind::Map => &mut self.maps,
            Kind::Prog => &mut self.progs,
            Kind::Attach => &mut self.attachs,
        };
        table.insert(NamedNumber { number, name: name.to_owned(), aliases: aliases.to_vec() });
    }

    /// The number of a name in any spelling that [`NameTable::number`] accepts.
    pub fn lookup(&self, kind: Kind, text: &str) -> Result<u32, UnknownName> {
        lookup(|kind| self.table(kind), kind, text)
    }

    /// Whether `union bpf_attr` or a structure nested in it has this member.
    pub fn has_attr_member(&self, name: &str) -> bool {
        self.attr_members.contains(name)
    }

    /// The names of all members of `union bpf_attr`, sorted.
    pub fn attr_members(&self) -> impl Iterator<Item = &str> {
        self.attr_members.iter().map(String::as_str)
    }

    /// The structures the kernel can fill for `BPF_OBJ_GET_INFO_BY_FD`, sorted.
    pub fn info_structs(&self) -> impl Iterator<Item = &str> {
        self.info_structs.iter().map(String::as_str)
    }

    /// Whether the kernel has this structure for `BPF_OBJ_GET_INFO_BY_FD`, such as `bpf_token_info`.
    pub fn has_info_struct(&self, name: &str) -> bool {
        self.info_structs.contains(name)
    }
}

/// Looks a name up in one of four tables; on a miss, all four explain it.
fn lookup<'a>(table: impl Fn(Kind) -> &'a NameTable, kind: Kind, text: &str) -> Result<u32, UnknownName> {
    table(kind).number(text).ok_or_else(|| UnknownName {
        text: text.chars().take(100).collect(),
        kind,
        sentinel: table(kind).sentinel(text).map(|sentinel| sentinel.name.clone()),
        elsewhere: Kind::ALL.into_iter().filter(|other| table(*other).number(text).is_some()).collect(),
        suggestions: table(kind).similar(text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(sentinel: Option<&str>, elsewhere: &[Kind], suggestions: &[&str]) -> String {
        UnknownName {
            text: "x".to_owned(),
            kind: Kind::Cmd,
            sentinel: sentinel.map(str::to_owned),
            elsewhere: elsewhere.to_vec(),
            suggestions: suggestions.iter().map(|s| (*s).to_owned()).collect(),
        }
        .to_string()
    }

    #[test]
    fn unknown_names_are_explained() {
        let texts = [
            explained(None, &[], &[]),
            explained(None, &[], &["y"]),
            explained(None, &[], &["y", "z"]),
            explained(None, &[Kind::Attach], &["y"]),
            explained(Some("__MAX_BPF_CMD"), &[], &["y"]),
        ];
        insta::assert_snapshot!(texts.join("\n"), @"
        `x` is not a bpf command
        `x` is not a bpf command; did you mean `y`?
        `x` is not a bpf command; did you mean `y` (or z)?
        `x` is not a bpf command but an attach type
        `x` is not a bpf command: __MAX_BPF_CMD is a bound or a flag of the enumeration
        ");
    }
}
