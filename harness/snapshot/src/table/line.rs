//! A line of a table, as pieces with one emphasis each.

use harness_verdict::verdict::Class;

/// The role of a piece of text, which a terminal shows by its style.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emphasis {
    /// Nothing special.
    Plain,
    /// Less important: heads, legends.
    Dim,
    /// A verdict of this class.
    Verdict(Class),
    /// A verdict that is not what was expected.
    Wrong,
}

/// A stretch of text in one emphasis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StyledText {
    /// The text.
    pub text: String,
    /// Its role.
    pub emphasis: Emphasis,
}

/// A line in pieces; the last has no white space at its end.
pub type Line = Vec<StyledText>;

pub(super) fn one(text: String, emphasis: Emphasis) -> Line {
    vec![StyledText { text, emphasis }]
}

pub(super) fn line(title: &str, first: usize, words: Vec<(String, Emphasis)>, widths: &[usize]) -> Line {
    let last = words.len().saturating_sub(1);
    let mut pieces = one(format!("{title:<first$}"), Emphasis::Plain);
    for (at, (word, emphasis)) in words.into_iter().enumerate() {
        let padding = if at < last { widths[at].saturating_sub(word.chars().count()) } else { 0 };
        pieces.push(StyledText { text: "  ".to_owned(), emphasis: Emphasis::Plain });
        pieces.push(StyledText { text: word, emphasis });
        pieces.push(StyledText { text: " ".repeat(padding), emphasis: Emphasis::Plain });
    }
    pieces
}
