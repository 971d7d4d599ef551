//! What the list of front-ends has of each: its description, and the functions of its module.

use harness_diagnostics::report::Report;

use crate::{
    configuration::Configuration,
    frontend::Frontend,
    names::Names,
    source::Sources,
    write::{ConversionInput, ConversionLoss},
};

/// A front-end in the list.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) frontend: Frontend,
    /// Whether the file is its own by its name.
    pub(crate) has_name: fn(&File<'_>) -> bool,
    /// How sure it is by its contents that the file is its own.
    pub(crate) has_contents: fn(&File<'_>) -> Option<Confidence>,
    pub(crate) read: Read,
    /// What is written for it, in a few words, and how; `None` if nothing can be.
    pub(crate) write: Option<(&'static str, Write)>,
}

/// Reads all configurations in files. An error is about the first file that is not in the front-end's language at all.
pub(crate) type Read = fn(Frontend, &Sources, &Names<'_>) -> Result<Vec<Configuration>, Report>;
/// Writes a configuration, and says what of it cannot be written.
pub(crate) type Write = fn(&ConversionInput<'_>, &Names<'_>) -> (String, Vec<ConversionLoss>);

/// How sure a sign is. Of several front-ends the surest reads the file, and of those as sure the first of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Confidence {
    /// A word that can be in any file.
    Hint,
    /// The shape of a line.
    Line,
    /// A word of its own.
    Word,
    /// How the file begins.
    Beginning,
}

/// What a file is recognized by.
pub(crate) struct File<'a> {
    /// Its name as it was given, with folders.
    pub(crate) path: &'a str,
    pub(crate) text: &'a str,
}

impl<'a> File<'a> {
    /// The last part of its path.
    pub(crate) fn name(&self) -> &'a str {
        self.path.rsplit('/').next().unwrap_or(self.path)
    }

    /// What stands behind the last dot of its name, or all of it.
    pub(crate) fn suffix(&self) -> &'a str {
        self.name().rsplit_once('.').map_or(self.name(), |(_, suffix)| suffix)
    }

    /// Its lines, trimmed, without empty ones and comments.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &'a str> {
        self.text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';']))
    }

    /// The first of [`File::lines`].
    pub(crate) fn first_line(&self) -> &'a str {
        self.lines().next().unwrap_or_default()
    }
}
