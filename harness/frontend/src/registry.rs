//! The list of all front-ends: recognizes files, reads and writes them.

use std::str::FromStr;

use harness_diagnostics::report::Report;
use thiserror::Error;

use crate::{
    bpftool,
    configuration::Configuration,
    embedded,
    entry::{Entry, File, Write},
    frontend::Frontend,
    lxc, mount,
    names::Names,
    source::{Source, Sources},
    systemd_run, terraform,
    unit::{self, SYSTEMD},
    write::{ConversionInput, ConversionLoss},
};

/// Every front-end, in the order of messages and help texts.
const ENTRIES: [&Entry; 10] = [
    &unit::ENTRY,
    &embedded::ENTRY_OF_SCRIPT,
    &systemd_run::ENTRY,
    &embedded::ENTRY_OF_INCUS,
    &embedded::ENTRY_OF_LXD,
    &lxc::ENTRY,
    &terraform::ENTRY,
    &mount::ENTRY,
    &mount::ENTRY_OF_MOUNTINFO,
    &bpftool::ENTRY,
];

impl Frontend {
    /// Returns all of them.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> + Clone {
        ENTRIES.into_iter().map(|entry| entry.frontend)
    }

    /// Describes what is read in a few words.
    pub fn reads(self) -> &'static str {
        self.entry().reads
    }

    /// Recognizes the front-end of a file by its name or else its contents; `None` if neither is conclusive.
    pub fn detect(source: &Source) -> Option<Self> {
        let file = File { path: source.label(), text: source.text() };
        if let Some(named) = ENTRIES.into_iter().find(|entry| (entry.has_name)(&file)) {
            return Some(named.frontend);
        }
        file.lines().next()?;
        let candidates = ENTRIES.into_iter().filter_map(|entry| Some(((entry.has_contents)(&file)?, entry.frontend)));
        // `max_by_key` returns the last of several maxima, here the first in the list.
        candidates.rev().max_by_key(|(confidence, _)| *confidence).map(|(_, frontend)| frontend)
    }

    fn entry(self) -> &'static Entry {
        ENTRIES.into_iter().find(|entry| entry.frontend == self).expect("every front-end is in the list")
    }
}

/// A name that no front-end has.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("unknown front-end `{0}`; expected {words}", words = words(Frontend::all(), "or"))]
pub struct UnknownFrontend(String);

impl FromStr for Frontend {
    type Err = UnknownFrontend;

    fn from_str(text: &str) -> Result<Self, UnknownFrontend> {
        Self::all().find(|frontend| frontend.name == text).ok_or_else(|| UnknownFrontend(short(text)))
    }
}

/// A front-end that a configuration can be written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WritableFrontend(Frontend);

impl WritableFrontend {
    /// A drop-in of a service.
    pub const SYSTEMD: Self = Self(SYSTEMD);

    /// Returns all of them.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> + Clone {
        ENTRIES.into_iter().filter(|entry| entry.write.is_some()).map(|entry| Self(entry.frontend))
    }

    /// Returns their names as `a, b or c`, with this word before the last.
    pub fn words(last: &str) -> String {
        words(Self::all().map(Self::frontend), last)
    }

    /// Describes what is written in a few words.
    pub fn writes(self) -> &'static str {
        self.entry().0
    }

    fn entry(self) -> (&'static str, Write) {
        self.0.entry().write.expect("a target can be written")
    }

    /// Returns the front-end.
    pub const fn frontend(self) -> Frontend {
        self.0
    }
}

/// A name of something that no configuration can be written for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("cannot write a configuration for `{0}`; expected {words}", words = WritableFrontend::words("or"))]
pub struct UnknownTarget(String);

impl FromStr for WritableFrontend {
    type Err = UnknownTarget;

    fn from_str(text: &str) -> Result<Self, UnknownTarget> {
        Self::all().find(|target| target.0.name == text).ok_or_else(|| UnknownTarget(short(text)))
    }
}

fn words(all: impl DoubleEndedIterator<Item = Frontend>, last: &str) -> String {
    let mut names: Vec<&str> = all.map(|frontend| frontend.name).collect();
    let end = names.pop().unwrap_or_default();
    format!("{} {last} {end}", names.join(", "))
}

fn short(text: &str) -> String {
    text.chars().take(100).collect()
}

/// Reads all configurations in these files as this front-end does. The files of a unit are recognized by their labels,
/// which must be paths.
///
/// # Errors
/// A [`Report`] about the first file that is not in the front-end's language at all. What the front-end refuses or ignores
/// is in [`Configuration::problems`] instead.
pub fn read(frontend: Frontend, sources: &Sources, names: &Names<'_>) -> Result<Vec<Configuration>, Report> {
    (frontend.entry().read)(frontend, sources, names)
}

/// Writes a configuration with names, and a mask for bits without a name. Also returns what is lost.
///
/// The text ends in a line feed. For systemd it also has what a token needs besides the delegation: a user namespace, and a
/// mount namespace that belongs to it.
pub fn write(
    target: WritableFrontend,
    wanted: &ConversionInput<'_>,
    names: &Names<'_>,
) -> (String, Vec<ConversionLoss>) {
    (target.entry().1)(wanted, names)
}

#[cfg(test)]
mod tests;
