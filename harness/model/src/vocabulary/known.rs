//! The names of several kernels together: enough to check a scenario file before any kernel is built.

use thiserror::Error;

use super::{Kind, NameTable, UnknownName, Vocabulary, lookup};

/// Why committed vocabularies could not be read.
#[derive(Debug, Error)]
#[error(
    "the vocabulary of kernel {kernel} is damaged; write it again with `cargo xtask kernel names {kernel} --write`"
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
    /// The union of these vocabularies, oldest kernel first: where two kernels call a number by different names, the
    /// later one's is shown and both are accepted.
    pub fn of<'a>(vocabularies: impl IntoIterator<Item = &'a Vocabulary>) -> Self {
        let mut tables = Kind::ALL.map(NameTable::new);
        for vocabulary in vocabularies {
            for table in &mut tables {
                table.merge(vocabulary.table(table.kind()));
            }
        }
        Self { tables }
    }

    /// The union of vocabularies as they are committed: pairs of a kernel's name and its file's text.
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
    fn a_damaged_file_is_named_with_the_command_that_mends_it() {
        let error = KnownNames::from_json([("6.12", "{}")]).unwrap_err();
        assert!(error.to_string().contains("kernel names 6.12 --write"), "{error}");
    }

    #[test]
    fn no_kernel_knows_no_name() {
        assert!(Kind::ALL.iter().all(|kind| KnownNames::of([]).table(*kind).is_empty()));
    }
}
