//! A piece of a file as the front-end sees it: lines joined, quotes and escapes resolved, with the location of each byte.

use std::ops::Range;

use crate::source::Location;

/// Text with the locations of its parts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Text {
    source: usize,
    text: String,
    pieces: Vec<Piece>,
    /// Its offset if it is empty.
    at: usize,
}

#[derive(Clone, Debug)]
struct Piece {
    /// Its start in the text; it ends where the next one starts.
    start: usize,
    /// The bytes of the file: as many as in the text, or else they correspond to it as a whole.
    file: Range<usize>,
}

impl Text {
    /// Returns an empty text at a byte of a file.
    pub(crate) fn empty(source: usize, at: usize) -> Self {
        Self { source, at, ..Self::default() }
    }

    /// Returns a word that is not in any file.
    pub(crate) fn synthetic(text: &str) -> Self {
        let mut synthetic = Self::default();
        synthetic.push(text, 0..0);
        synthetic
    }

    /// Returns these bytes of a file unchanged.
    pub(crate) fn verbatim(source: usize, file: &str, span: Range<usize>) -> Self {
        let mut text = Self::empty(source, span.start);
        text.push(&file[span.clone()], span);
        text
    }

    /// Adds the text that these bytes of the file stand for.
    pub(crate) fn push(&mut self, text: &str, file: Range<usize>) {
        if text.is_empty() {
            return;
        }
        let start = self.text.len();
        match self.pieces.last_mut() {
            Some(last)
                if last.file.len() == start - last.start && last.file.end == file.start && file.len() == text.len() =>
            {
                last.file.end = file.end;
            }
            _ => self.pieces.push(Piece { start, file }),
        }
        self.text.push_str(text);
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns a part of it.
    pub(crate) fn slice(&self, span: Range<usize>) -> Self {
        let mut part = Self::empty(self.source, self.location(span.clone()).span.start);
        let first = self.pieces.partition_point(|piece| piece.start <= span.start).saturating_sub(1);
        for index in first..self.pieces.len() {
            let piece = &self.pieces[index];
            let (from, to) = (piece.start.max(span.start), self.end_of(index).min(span.end));
            if piece.start >= span.end {
                break;
            }
            if from < to {
                part.push(&self.text[from..to], self.file(index, from)..self.file_end(index, to));
            }
        }
        part
    }

    /// Returns it without these characters at both ends.
    pub(crate) fn trimmed(&self, blanks: &[char]) -> Self {
        let start = self.text.len() - self.text.trim_start_matches(blanks).len();
        let end = start + self.text[start..].trim_end_matches(blanks).len();
        self.slice(start..end)
    }

    /// Returns the location of a part.
    pub(crate) fn location(&self, span: Range<usize>) -> Location {
        let index = self.pieces.partition_point(|piece| piece.start <= span.start).saturating_sub(1);
        let start = match self.pieces.get(index) {
            Some(_) if span.start < self.text.len() => self.file(index, span.start),
            Some(_) => self.pieces.last().map_or(self.at, |last| last.file.end),
            None => self.at,
        };
        let last = self.pieces.partition_point(|piece| piece.start < span.end).saturating_sub(1);
        let end = if span.is_empty() || self.pieces.is_empty() { start } else { self.file_end(last, span.end) };
        Location { source: self.source, span: start..end.max(start) }
    }

    /// Returns the location of the whole.
    pub(crate) fn whole(&self) -> Location {
        self.location(0..self.text.len())
    }

    fn end_of(&self, index: usize) -> usize {
        self.pieces.get(index + 1).map_or(self.text.len(), |next| next.start)
    }

    fn is_verbatim(&self, index: usize) -> bool {
        self.pieces[index].file.len() == self.end_of(index) - self.pieces[index].start
    }

    fn file(&self, index: usize, at: usize) -> usize {
        let piece = &self.pieces[index];
        if self.is_verbatim(index) { piece.file.start + (at - piece.start) } else { piece.file.start }
    }

    fn file_end(&self, index: usize, end: usize) -> usize {
        let piece = &self.pieces[index];
        if self.is_verbatim(index) { piece.file.start + (end - piece.start) } else { piece.file.end }
    }
}

/// Whether a text has a variable of a shell or a placeholder of a template, so that its value is not in the file.
pub(crate) fn has_variable(text: &str) -> bool {
    let starts = |c: char| c.is_ascii_alphanumeric() || "_{(*@#?!-".contains(c);
    let dollar = |rest: &str| rest.is_empty() || rest.starts_with(starts);
    text.split('$').skip(1).any(dollar) || text.contains('`') || has_placeholder(text)
}

/// Whether a text has a placeholder of a template: Jinja's and Go's `{{ }}` and `{% %}`, ERB's `<%`, autoconf's `@NAME@`.
pub(crate) fn has_placeholder(text: &str) -> bool {
    let name =
        |part: &&str| part.len() > 1 && part.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    let parts: Vec<&str> = text.split('@').collect();
    let between = parts.get(1..parts.len().saturating_sub(1)).unwrap_or_default();
    ["{{", "{%", "<%"].iter().any(|open| text.contains(open)) || between.iter().any(name)
}

/// Shortens a text for messages.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 100;
    let mut short: String = text.chars().take(MOST).collect();
    if text.chars().nth(MOST).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_joined_lines_keep_their_locations() {
        let file = "ab \\\n cd\\x65f";
        let mut text = Text::verbatim(0, file, 0..3);
        text.push(" ", 3..4);
        text.push(" cd", 5..8);
        text.push("e", 8..12);
        text.push("f", 12..13);
        assert_eq!(text.as_str(), "ab   cdef");
        assert_eq!((text.location(0..2).span, text.location(5..7).span), (0..2, 6..8));
        assert_eq!((text.location(5..8).span, text.location(8..9).span), (6..12, 12..13));
        let part = text.slice(1..9);
        assert_eq!((part.as_str(), part.location(0..1).span, part.location(4..8).span), ("b   cdef", 1..2, 6..13));
        assert_eq!((text.location(9..9).span, text.location(2..2).span), (13..13, 2..2));
        assert_eq!(text.slice(2..5).trimmed(&[' ']).whole().span.len(), 0);
    }

    #[test]
    fn an_empty_text_has_a_location() {
        let nothing = Text::empty(3, 7);
        assert_eq!(nothing.whole(), Location { source: 3, span: 7..7 });
        assert_eq!(nothing.slice(0..0).trimmed(&[' ']).whole().span, 7..7);
    }
}
