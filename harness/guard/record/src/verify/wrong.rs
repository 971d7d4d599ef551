//! What can be wrong with a log.

use std::fmt;

use thiserror::Error;

use crate::anchor::Anchor;

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Name of the file.
    pub file: String,
    /// Number of the line, from 1; 0 for the file as a whole.
    pub line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(to, "{}", self.file),
            line => write!(to, "{}, line {line}", self.file),
        }
    }
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{place}: {wrong}")]
pub struct Finding {
    /// The line.
    pub place: Place,
    /// What is wrong with it.
    pub wrong: Wrong,
}

/// A line's record in a sentence.
struct Subject(Option<u64>);

impl fmt::Display for Subject {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(seq) => write!(to, "record {seq}"),
            None => write!(to, "this line"),
        }
    }
}

/// Several records in a sentence.
struct Records(u64, u64);

impl fmt::Display for Records {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == self.1 { write!(to, "record {}", self.0) } else { write!(to, "records {} to {}", self.0, self.1) }
    }
}

/// What is wrong with a line or a file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Wrong {
    /// The line is not what was written.
    #[error("{} was edited: its chain does not fit", Subject(*seq))]
    Edited {
        /// Its record.
        seq: Option<u64>,
    },
    /// The line is none of a log.
    #[error("this is no line of a log ({why}): it was edited")]
    Unreadable {
        /// Why.
        why: String,
    },
    /// The line has too many bytes.
    #[error("the line has more than {} bytes: it is none of a log", crate::LONGEST_LINE)]
    TooLong,
    /// Lines are gone.
    #[error("{} cut before this line: its chain does not fit the line before", Cut(*.first, *.last))]
    Cut {
        /// First record that is gone.
        first: u64,
        /// Last record that is gone.
        last: u64,
    },
    /// The line is intact, but stands elsewhere.
    #[error("{} is out of order: its place is after line {after} of {file}", Subject(*seq))]
    Moved {
        /// Its record.
        seq: Option<u64>,
        /// Where the line before it stands.
        after: u64,
        /// In which file.
        file: String,
    },
    /// The line is intact, and stands twice.
    #[error("{} stands here again: it is at line {first} of {file}", Subject(*seq))]
    Twice {
        /// Its record.
        seq: Option<u64>,
        /// Where it stands, too.
        first: u64,
        /// In which file.
        file: String,
    },
    /// Records that come before the line follow it.
    #[error("this line is out of order: {} before it, but {} after it", Early(*.first, *.last), if .first == .last { "stands" } else { "stand" })]
    Early {
        /// First record that comes before.
        first: u64,
        /// Last record that comes before.
        last: u64,
    },
    /// Lines before this one do not belong there.
    #[error("the lines between line {after} and this one were inserted: this one's place is after line {after}")]
    Inserted {
        /// Where the line before stands.
        after: u64,
    },
    /// The line is of another boot.
    #[error("{} comes from another boot ({found} instead of {boot})", Subject(*seq))]
    OtherBoot {
        /// Its record.
        seq: Option<u64>,
        /// Boot that the line names.
        found: String,
        /// Boot of the file.
        boot: String,
    },
    /// The chain fits, but numbers are missing.
    #[error("{} missing before this line, and no line says why", Missing(*.first, *.last))]
    Missing {
        /// First record that is missing.
        first: u64,
        /// Last record that is missing.
        last: u64,
    },
    /// The chain fits, but the number has been there.
    #[error("record {seq} stands where record {expected} is due")]
    OutOfOrder {
        /// The record.
        seq: u64,
        /// The one that is due.
        expected: u64,
    },
    /// The chain fits, but the counters are wrong.
    #[error("the counters say {said}, but up to here the log has {found}")]
    Counters {
        /// What the line says.
        said: String,
        /// What the lines before add up to.
        found: String,
    },
    /// The first line does not begin a file.
    #[error("the file does not begin with a starting line: its beginning was cut")]
    NoStart,
    /// A file begins within a file.
    #[error("a starting line in the middle of a file")]
    StartWithin,
    /// Of another version.
    #[error("the log is of version {0}, which this program does not know")]
    Version(u32),
    /// Lines after the closing line.
    #[error("there are lines after the closing line")]
    AfterEnd,
    /// The last line has no end.
    #[error("the last line is not finished: the file was cut, or its writer died")]
    Torn,
    /// The last file has no closing line.
    #[error("the log has no closing line after {}: its tail was cut, or its daemon was killed or is still running", Subject(*seq))]
    NotClosed {
        /// Its last record.
        seq: Option<u64>,
    },
    /// The file does not follow the one before it.
    #[error("the file does not follow {before}: {why}")]
    Order {
        /// File before it.
        before: String,
        /// What speaks against it.
        why: String,
    },
    /// The file has no line.
    #[error("the file is empty")]
    Empty,
    /// An anchor says otherwise.
    #[error("this line was anchored with another chain: it or a line before it was rewritten")]
    Anchored,
    /// An anchored line is not there.
    #[error("line {} of file {} (before record {}) was anchored, but is not there: the tail was cut", .0.line, .0.file, .0.seq)]
    AnchoredTail(Anchor),
    /// An anchored file is not there.
    #[error("line {} of file {} of boot {} was anchored, but no file given has it: the log was replaced, or give that file, too", .0.line, .0.file, .0.boot_id)]
    AnchoredElsewhere(Anchor),
}

/// Records that were cut, in a sentence.
struct Cut(u64, u64);

impl fmt::Display for Cut {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} {}", Records(self.0, self.1), if self.0 == self.1 { "was" } else { "were" })
    }
}

/// Records that are missing, in a sentence.
struct Missing(u64, u64);

impl fmt::Display for Missing {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} {}", Records(self.0, self.1), if self.0 == self.1 { "is" } else { "are" })
    }
}

/// Records that come before a line, in a sentence.
struct Early(u64, u64);

impl fmt::Display for Early {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} {}", Records(self.0, self.1), if self.0 == self.1 { "comes" } else { "come" })
    }
}
