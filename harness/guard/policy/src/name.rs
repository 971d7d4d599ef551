//! The names that a policy is written in, and their numbers.

use std::{collections::HashMap, fmt, sync::LazyLock};

use harness_diagnostics::{
    report::Problem,
    suggest::{did_you_mean, list},
};
use harness_uapi::{capability, names, vocabulary::Kind};

/// A family of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Commands of `bpf(2)`.
    Cmd,
    /// Program types.
    Prog,
    /// Attach types.
    Attach,
    /// Map types.
    Map,
    /// Helpers.
    Helper,
    /// Capabilities.
    Capability,
}

impl Family {
    /// All families.
    pub const ALL: [Self; 6] = [Self::Cmd, Self::Prog, Self::Attach, Self::Map, Self::Helper, Self::Capability];

    /// The kind of an enumeration that BPF tokens know; helpers and capabilities have none.
    pub const fn kind(self) -> Option<Kind> {
        match self {
            Self::Cmd => Some(Kind::Cmd),
            Self::Prog => Some(Kind::Prog),
            Self::Attach => Some(Kind::Attach),
            Self::Map => Some(Kind::Map),
            Self::Helper | Self::Capability => None,
        }
    }

    /// The prefixes of its names in C, the longest first.
    const fn prefixes(self) -> &'static [&'static str] {
        match self {
            Self::Cmd | Self::Attach => &["bpf"],
            Self::Prog => &["bpfprogtype"],
            Self::Map => &["bpfmaptype"],
            Self::Helper => &["bpffunc", "bpf"],
            Self::Capability => &["cap"],
        }
    }

    /// The number of a name, in any letter case, with or without its prefix in C, `_` and `-`: `prog_load`,
    /// `BPF_PROG_LOAD` and `BPFProgLoad` are the same name.
    pub fn number(self, text: &str) -> Option<u32> {
        self.index().get(&self.fold(text)).copied()
    }

    /// The name of a number, or the number itself if it has none.
    pub fn shown(self, number: u32) -> String {
        match (self.kind(), self) {
            (Some(kind), _) => names::shown(kind, number),
            (None, Self::Helper) => names::helper(number),
            (None, _) => {
                let name = usize::try_from(number).ok().and_then(|number| capability::NAMES.get(number));
                name.map_or_else(|| number.to_string(), |name| (*name).to_owned())
            }
        }
    }

    /// All of its names with their numbers, aliases included.
    pub fn names(self) -> Vec<(&'static str, u32)> {
        let table = names::all();
        match (self.kind(), self) {
            (Some(kind), _) => table.list(kind).iter().flat_map(spellings).collect(),
            (None, Self::Helper) => table.helpers().map(|(number, name)| (name, number)).collect(),
            (None, _) => capability::NAMES.iter().copied().zip(0..).collect(),
        }
    }

    /// Why this text is none of its names.
    pub(crate) fn unknown(self, text: &str, span: std::ops::Range<usize>) -> Problem {
        let shown: String = text.chars().take(100).collect::<String>().escape_debug().to_string();
        let others: Vec<String> = Self::ALL
            .into_iter()
            .filter(|other| *other != self && other.number(text).is_some())
            .map(Self::with_article)
            .collect();
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        let what = self.with_article();
        if others.is_empty() {
            let names = self.names();
            let advice = did_you_mean(text, names.iter().map(|(name, _)| *name));
            return Problem::new(span, format!("`{shown}` is not {what}")).maybe_help(advice);
        }
        Problem::new(span, format!("`{shown}` is not {what} but {}", list(&others, "or")))
    }

    fn with_article(self) -> String {
        let article = if self == Self::Attach { "an" } else { "a" };
        format!("{article} {self}")
    }

    fn index(self) -> &'static HashMap<String, u32> {
        static INDEX: LazyLock<HashMap<Family, HashMap<String, u32>>> = LazyLock::new(|| {
            let names =
                |family: Family| family.names().into_iter().map(move |(name, number)| (family.fold(name), number));
            Family::ALL.into_iter().map(|family| (family, names(family).collect())).collect()
        });
        &INDEX[&self]
    }

    /// A text without what lookup ignores.
    fn fold(self, text: &str) -> String {
        let folded: String = text.chars().filter(|c| !matches!(c, '_' | '-')).map(|c| c.to_ascii_lowercase()).collect();
        let short = self.prefixes().iter().find_map(|prefix| folded.strip_prefix(prefix));
        short.filter(|short| !short.is_empty()).map(str::to_owned).unwrap_or(folded)
    }
}

fn spellings(name: &'static names::Name) -> impl Iterator<Item = (&'static str, u32)> {
    std::iter::once(&name.name).chain(&name.aliases).map(|text| (text.as_str(), name.number))
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = match self {
            Self::Helper => "helper",
            Self::Capability => "capability",
            Self::Cmd | Self::Prog | Self::Attach | Self::Map => self.kind().map_or("", Kind::noun),
        };
        f.pad(noun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_does_not_matter() {
        for family in Family::ALL {
            for (name, number) in family.names() {
                let spelled = [name.to_owned(), name.to_uppercase(), name.replace('_', "-")];
                for text in spelled {
                    assert_eq!(family.number(&text), Some(number), "{family} {text}");
                }
                assert!(!family.shown(number).is_empty());
            }
        }
        let prefixed = [
            (Family::Cmd, "BPF_PROG_LOAD", 5),
            (Family::Prog, "BPF_PROG_TYPE_XDP", 6),
            (Family::Map, "bpf_map_type_hash", 1),
            (Family::Attach, "BPF_XDP", 37),
            (Family::Helper, "BPF_FUNC_map_lookup_elem", 1),
            (Family::Helper, "bpf_sys_bpf", 166),
            (Family::Capability, "CAP_BPF", 39),
        ];
        for (family, text, number) in prefixed {
            assert_eq!(family.number(text), Some(number), "{text}");
        }
        for text in ["", "_", "BPF_MAP_TYPE_", "hashh", "ha sh", "хэш"] {
            assert!(Family::ALL.iter().all(|family| family.number(text).is_none()), "{text}");
        }
    }

    #[test]
    fn an_unknown_name_is_explained() {
        let texts =
            [(Family::Map, "hassh"), (Family::Cmd, "xdp"), (Family::Helper, "\u{1b}zzz")].map(|(family, text)| {
                let problem = family.unknown(text, 0..1);
                format!("{} {:?}", problem.message(), problem.advice())
            });
        insta::assert_snapshot!(texts.join("\n"), @r#"
        `hassh` is not a map type Some("did you mean `hash`?")
        `xdp` is not a bpf command but a program type or an attach type None
        `\u{1b}zzz` is not a helper None
        "#);
    }
}
