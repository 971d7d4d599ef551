//! A failure of a run, and whether an earlier run had it.

use schemars::JsonSchema;
use serde::Serialize;

/// Whether a failure was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It was not there.
    New,
    /// It was there, and is gone.
    Mended,
    /// It was there.
    Still,
}

impl Standing {
    /// All, in the order of reports.
    pub const ALL: [Self; 3] = [Self::New, Self::Mended, Self::Still];

    /// Returns the word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Mended => "mended",
            Self::Still => "still",
        }
    }
}

/// A failure of either run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Failure {
    /// Whether it was there before.
    pub standing: Standing,
    /// The kernel's name.
    pub kernel: String,
    /// The image's name.
    pub image: String,
    /// The scenario's name.
    pub scenario: String,
    /// What is wrong, on one line and safe to print.
    pub what: String,
}
