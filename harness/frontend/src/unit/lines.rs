//! The lines of a unit file as systemd joins them (`src/shared/conf-parser.c`, `config_parse`).
//!
//! No crate that reads INI files keeps the locations of values or has systemd's rules of continuation.

use std::ops::Range;

use super::words::BLANKS;
use crate::{source::Source, text::Text};

const BYTE_ORDER_MARK: &str = "\u{feff}";

/// A line, continued ones joined, that is neither empty nor a comment.
#[derive(Debug)]
pub(super) struct Line {
    /// The text, trimmed. Backslashes that continue a line are replaced by spaces.
    pub(super) text: Text,
    /// Whether it is UTF-8.
    pub(super) is_utf8: bool,
}

/// Iterates over the lines of a file.
pub(super) struct Lines<'a> {
    source: usize,
    file: &'a Source,
    at: usize,
    end: usize,
    marked: bool,
}

impl<'a> Lines<'a> {
    pub(super) fn of(source: usize, file: &'a Source) -> Self {
        Self::of_part(source, file, 0..file.text().len())
    }

    /// Returns the lines of a part of a file.
    pub(super) fn of_part(source: usize, file: &'a Source, part: Range<usize>) -> Self {
        Self { source, file, at: part.start, end: part.end, marked: false }
    }

    /// Returns the next physical line, as the bytes between line ends.
    fn physical(&mut self) -> Option<Range<usize>> {
        let rest = self.file.text().as_bytes().get(self.at..self.end).filter(|rest| !rest.is_empty())?;
        let length = rest.iter().position(|byte| is_end(*byte)).unwrap_or(rest.len());
        let span = self.at..self.at + length;
        self.at = span.end + end_length(&rest[length..]);
        Some(span)
    }

    fn without_mark(&mut self, span: Range<usize>) -> Range<usize> {
        let text = &self.file.text()[span.clone()];
        if !self.marked && text.starts_with(BYTE_ORDER_MARK) {
            self.marked = true;
            return span.start + BYTE_ORDER_MARK.len()..span.end;
        }
        span
    }

    fn finish(&self, text: &Text) -> Option<Line> {
        let text = text.trimmed(&BLANKS);
        let whole = text.whole().span;
        let broken = self.file.not_utf8();
        let is_utf8 = broken.get(broken.partition_point(|at| *at < whole.start)).is_none_or(|at| *at >= whole.end);
        (!text.as_str().is_empty()).then_some(Line { text, is_utf8 })
    }
}

impl Iterator for Lines<'_> {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        let mut joined: Option<Text> = None;
        while let Some(span) = self.physical() {
            let file = self.file.text();
            // A comment does not end a continued line.
            if file[span.clone()].trim_start_matches(BLANKS).starts_with(['#', ';']) {
                continue;
            }
            let span = self.without_mark(span);
            let text = joined.get_or_insert_with(|| Text::empty(self.source, span.start));
            let backslashes = file[span.clone()].bytes().rev().take_while(|byte| *byte == b'\\').count();
            if backslashes % 2 == 1 {
                text.push(&file[span.start..span.end - 1], span.start..span.end - 1);
                text.push(" ", span.end - 1..span.end);
                continue;
            }
            text.push(&file[span.clone()], span);
            let line = joined.take().and_then(|text| self.finish(&text));
            if line.is_some() {
                return line;
            }
        }
        joined.and_then(|text| self.finish(&text))
    }
}

fn is_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r' | 0)
}

/// Returns how many bytes end a line: each of the three at most once, and none after a NUL (`src/basic/fileio.c`,
/// `read_line_full`).
fn end_length(rest: &[u8]) -> usize {
    let mut seen = Vec::with_capacity(3);
    for byte in rest.iter().take(3) {
        if !is_end(*byte) || seen.contains(byte) || seen.last() == Some(&0) {
            break;
        }
        seen.push(*byte);
    }
    seen.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Sources;

    fn lines(bytes: &[u8]) -> Vec<(String, bool)> {
        let sources = Sources::of("x", bytes).unwrap();
        Lines::of(0, sources.get(0)).map(|line| (line.text.as_str().to_owned(), line.is_utf8)).collect()
    }

    fn texts(text: &str) -> Vec<String> {
        lines(text.as_bytes()).into_iter().map(|(text, _)| text).collect()
    }

    #[test]
    fn lines_are_joined_around_comments() {
        let text = "a=b\\\n# no \\\n ; neither\n  c \\\\\n\nd=e\\\\\\\nf\n";
        assert_eq!(texts(text), ["a=b   c \\\\", "d=e\\\\ f"]);
    }

    #[test]
    fn a_last_line_is_never_continued() {
        assert_eq!(texts("a=b\\"), ["a=b"]);
        assert_eq!(texts("a=b\\\n"), ["a=b"]);
    }

    #[test]
    fn all_kinds_of_line_ends_are_known() {
        assert_eq!(texts("a\r\nb\n\rc\0d\r\re"), ["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn a_byte_order_mark_hides_only_a_comment() {
        assert_eq!(texts("\u{feff}[A]\n\u{feff}b"), ["[A]", "\u{feff}b"]);
        assert_eq!(texts("\u{feff}# a"), ["# a"]);
    }

    #[test]
    fn lines_that_are_not_utf8_are_known() {
        assert_eq!(lines(b"a\xff\nb"), [("a?".to_owned(), false), ("b".to_owned(), true)]);
    }

    #[test]
    fn locations_in_continued_lines_are_those_of_the_file() {
        let sources = Sources::of("x", b"K=ab,\\\n# c\n  cd").unwrap();
        let line = Lines::of(0, sources.get(0)).next().unwrap();
        let at = line.text.as_str().find("cd").unwrap();
        assert_eq!(sources.text(&line.text.location(at..at + 2)), "cd");
    }

    #[test]
    fn a_million_continued_lines_take_no_time() {
        let text = "\\\n".repeat(500_000);
        assert!(texts(&text).is_empty());
    }
}
