//! A line of a table, in pieces of one tone each.

use harness_verdict::verdict::Class;

/// What a piece of text is, so that a terminal can show it as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Nothing special.
    Plain,
    /// Beside the point: heads, legends.
    Dim,
    /// A verdict of this class.
    Verdict(Class),
    /// A verdict that is not what was expected.
    Wrong,
}

/// A stretch of text in one tone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The text.
    pub text: String,
    /// What it is.
    pub tone: Tone,
}

/// A line in pieces; the last has no white space at its end.
pub type Line = Vec<Piece>;

pub(super) fn one(text: String, tone: Tone) -> Line {
    vec![Piece { text, tone }]
}

pub(super) fn line(title: &str, first: usize, words: Vec<(String, Tone)>, widths: &[usize]) -> Line {
    let last = words.len().saturating_sub(1);
    let mut pieces = one(format!("{title:<first$}"), Tone::Plain);
    for (at, (word, tone)) in words.into_iter().enumerate() {
        let padding = if at < last { widths[at].saturating_sub(word.chars().count()) } else { 0 };
        pieces.push(Piece { text: "  ".to_owned(), tone: Tone::Plain });
        pieces.push(Piece { text: word, tone });
        pieces.push(Piece { text: " ".repeat(padding), tone: Tone::Plain });
    }
    pieces
}
