//! An entry in the list of front-ends: its description, and the functions of its module.

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
    /// A short description of what is read.
    pub(crate) reads: &'static str,
    /// Whether it recognizes the file by its name.
    pub(crate) has_name: fn(&File<'_>) -> bool,
    /// How sure it is of the file by its contents.
    pub(crate) has_contents: fn(&File<'_>) -> Option<Confidence>,
    pub(crate) read: Read,
    /// A short description of what is written for it, and the function; `None` if nothing can be written.
    pub(crate) write: Option<(&'static str, Write)>,
}

/// Reads all configurations in files. An error is about the first file that is not in the front-end's language at all.
pub(crate) type Read = fn(Frontend, &Sources, &Names<'_>) -> Result<Vec<Configuration>, Report>;
/// Writes a configuration, and returns what is lost.
pub(crate) type Write = fn(&ConversionInput<'_>, &Names<'_>) -> (String, Vec<ConversionLoss>);

/// How sure a front-end is of a file. The surest one reads it; of equally sure ones, the first in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Confidence {
    /// A word that any file can have.
    Hint,
    /// The shape of a line.
    Line,
    /// A word that only its files have.
    Word,
    /// The beginning of the file.
    Beginning,
}

/// The name and text by which a file is recognized.
pub(crate) struct File<'a> {
    /// Its path as it was given.
    pub(crate) path: &'a str,
    pub(crate) text: &'a str,
}

impl<'a> File<'a> {
    /// Returns the last part of its path.
    pub(crate) fn name(&self) -> &'a str {
        self.path.rsplit('/').next().unwrap_or(self.path)
    }

    /// Returns its name after the last dot, or all of it.
    pub(crate) fn suffix(&self) -> &'a str {
        self.name().rsplit_once('.').map_or(self.name(), |(_, suffix)| suffix)
    }

    /// Returns its lines, trimmed, without empty ones and comments.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &'a str> {
        self.text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';']))
    }

    /// Returns the first of [`File::lines`].
    pub(crate) fn first_line(&self) -> &'a str {
        self.lines().next().unwrap_or_default()
    }
}
