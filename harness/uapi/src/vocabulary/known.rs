//! The names of several kernels combined, so that scenario files can be checked before any kernel is built.

use thiserror::Error;

use crate::vocabulary::{Kind, NameTable, UnknownName, Vocabulary, lookup};

/// Why a committed vocabulary cannot be read.
#[derive(Debug, Error)]
#[error(
    "the committed vocabulary of kernel {kernel} cannot be read; regenerate it with `{} kernel names {kernel} --write`",
    harness_program::NAME
)]
pub struct KnownNamesError {
    kernel: String,
    source: serde_json::Error,
}

/// Every name that at least one of several kernels knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownNames {
    tables: [NameTable; 4],
}

impl KnownNames {
    /// The union of these vocabularies, oldest kernel first. If two kernels name a number differently, the later name is
    /// shown and both are accepted.
    pub fn of<'a>(vocabularies: impl IntoIterator<Item = &'a Vocabulary>) -> Self {
        let mut tables = Kind::ALL.map(NameTable::new);
        for vocabulary in vocabularies {
            for table in &mut tables {
                table.merge(vocabulary.table(table.kind()));
            }
        }
        Self { tables }
    }

    /// The union of committed vocabularies, given as pairs of a kernel's name and its file's text.
    pub fn from_json<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, KnownNamesError> {
        let read = |(kernel, text): (&str, &str)| {
            serde_json::from_str::<Vocabulary>(text)
                .map_err(|source| KnownNamesError { kernel: kernel.to_owned(), source })
        };
        let vocabularies: Vec<Vocabulary> = files.into_iter().map(read).collect::<Result<_, _>>()?;
        Ok(Self::of(&vocabularies))
    }

    /// The table of one kind.
    pub fn table(&self, kind: Kind) -> &NameTable {
        let [cmds, maps, progs, attachs] = &self.tables;
        match kind {
            Kind::Cmd => cmds,
            Kind::Map => maps,
            Kind::Prog => progs,
            Kind::Attach => attachs,
        }
    }

    /// The number of a name, spelled in any of the ways people write it (see [`NameTable::number`]).
    pub fn lookup(&self, kind: Kind, text: &str) -> Result<u32, UnknownName> {
        lookup(|kind| self.table(kind), kind, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_is_reported_with_the_command_that_regenerates_it() {
        let error = KnownNames::from_json([("6.12", "{}")]).unwrap_err();
        insta::assert_snapshot!(
            error.to_string().replace(harness_program::NAME.as_str(), "PROGRAM"),
            @"the committed vocabulary of kernel 6.12 cannot be read; regenerate it with `PROGRAM kernel names 6.12 --write`"
        );
    }

    const COMMITTED: [(&str, &str); 2] = [
        ("6.12", include_str!("../../../../kernels/vocabulary/6.12.json")),
        ("7.3", include_str!("../../../../kernels/vocabulary/7.3.json")),
    ];

    #[test]
    fn the_committed_kernels_have_the_names_their_sources_have() {
        let known = KnownNames::from_json(COMMITTED).unwrap();
        let numbers = [
            (Kind::Cmd, "prog_load", 5),
            (Kind::Cmd, "BPFProgStreamReadByFd", 37),
            (Kind::Map, "cgroup_storage", 19),
            (Kind::Map, "BPF_MAP_TYPE_ARENA", 33),
            (Kind::Prog, "netfilter", 32),
            (Kind::Attach, "xdp", 37),
        ];
        for (kind, name, number) in numbers {
            assert_eq!(known.lookup(kind, name), Ok(number), "{name}");
        }
        assert_eq!(known.table(Kind::Map).name(19), Some("cgroup_storage_deprecated"));
        let flag = known.lookup(Kind::Cmd, "common_attrs").unwrap_err();
        assert_eq!(flag.sentinel.as_deref(), Some("BPF_COMMON_ATTRS"));
        assert_eq!(known.lookup(Kind::Cmd, "hash").unwrap_err().elsewhere, [Kind::Map]);
    }

    #[test]
    fn lenient_lookup_confuses_no_two_names() {
        for file in COMMITTED {
            let known = KnownNames::from_json([file]).unwrap();
            for table in Kind::ALL.map(|kind| known.table(kind)) {
                for named in table.iter() {
                    for name in std::iter::once(&named.name).chain(&named.aliases) {
                        let spelled = [name.clone(), name.to_uppercase(), format!("{}{name}", table.kind().prefix())];
                        assert!(spelled.iter().all(|text| table.number(text) == Some(named.number)), "{name}");
                    }
                }
            }
        }
    }

    #[test]
    fn without_kernels_there_are_no_names() {
        assert!(Kind::ALL.iter().all(|kind| KnownNames::of([]).table(*kind).is_empty()));
    }
}
