//! The files that are read: labels, texts, and locations in them.

use std::{ops::Range, sync::Arc};

use harness_diagnostics::report::{Problem, Report};
use thiserror::Error;

/// The maximum length of a file in bytes: systemd's limit for one line (`src/basic/fileio.h`, `LONG_LINE_MAX`).
pub const MOST_BYTES: usize = 1 << 20;
/// The maximum length of all files together, in bytes.
pub const MOST_BYTES_TOGETHER: usize = 4 << 20;
/// The maximum number of files.
pub const MOST_SOURCES: usize = 1000;

/// A range of bytes in one of the files that were read together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    /// The file, as an index into [`Sources`].
    pub source: usize,
    /// The bytes of its text.
    pub span: Range<usize>,
}

/// A file.
#[derive(Clone, Debug)]
pub struct Source {
    label: String,
    text: Arc<str>,
    not_utf8: Arc<[usize]>,
    lines: Arc<LineIndex>,
}

impl Source {
    /// Returns its name as it was given. The rules of drop-ins need a path.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Returns its text. Bytes that are not UTF-8 are replaced by question marks, so that locations stay valid.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the offsets of bytes that are not UTF-8, in order.
    pub fn not_utf8(&self) -> &[usize] {
        &self.not_utf8
    }
}

/// The files that were read together, such as a unit with its drop-ins.
#[derive(Clone, Debug, Default)]
pub struct Sources(Vec<Source>);

/// Why a file cannot be read at all.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SourceError {
    /// It is longer than [`MOST_BYTES`].
    #[error("{label}: the file has {bytes} bytes, but the limit is {MOST_BYTES}")]
    TooLong {
        /// The file.
        label: String,
        /// Its length.
        bytes: usize,
    },
    /// All files together are longer than [`MOST_BYTES_TOGETHER`] or more than [`MOST_SOURCES`].
    #[error(
        "{label}: with this file there are more than {MOST_SOURCES} files or {MOST_BYTES_TOGETHER} bytes; read fewer files \
         at once"
    )]
    TooMany {
        /// The file that exceeds the limit.
        label: String,
    },
}

impl Sources {
    /// Returns a single file.
    ///
    /// # Errors
    /// [`SourceError`] if it is too long.
    pub fn of(label: &str, bytes: &[u8]) -> Result<Self, SourceError> {
        let mut sources = Self::default();
        sources.add(label, bytes)?;
        Ok(sources)
    }

    /// Adds a file after the others.
    ///
    /// # Errors
    /// [`SourceError`] if it, or all files together, exceed a limit.
    pub fn add(&mut self, label: &str, bytes: &[u8]) -> Result<(), SourceError> {
        let label = label.to_owned();
        if bytes.len() > MOST_BYTES {
            return Err(SourceError::TooLong { label, bytes: bytes.len() });
        }
        let together: usize = self.0.iter().map(|source| source.text.len()).sum();
        if together + bytes.len() > MOST_BYTES_TOGETHER || self.0.len() == MOST_SOURCES {
            return Err(SourceError::TooMany { label });
        }
        let (text, not_utf8) = text_of(bytes);
        let lines = LineIndex::of(&text).into();
        self.0.push(Source { label, text: text.into(), not_utf8: not_utf8.into(), lines });
        Ok(())
    }

    /// Iterates over all files.
    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.0.iter()
    }

    /// Returns the number of files.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the file of this index.
    pub fn get(&self, source: usize) -> &Source {
        &self.0[source]
    }

    /// Returns the text at a location.
    pub fn text(&self, location: &Location) -> &str {
        self.0[location.source].text.get(location.span.clone()).unwrap_or_default()
    }

    /// Returns line and column of a location, both counted from 1, the column in characters.
    pub fn position(&self, location: &Location) -> (usize, usize) {
        let source = &self.0[location.source];
        source.lines.position(&source.text, location.span.start)
    }

    /// Formats a location as `FILE:LINE:COLUMN`.
    pub fn shown(&self, location: &Location) -> String {
        let (line, column) = self.position(location);
        format!("{}:{line}:{column}", self.0[location.source].label)
    }

    /// Returns a report about one file.
    pub fn report(&self, source: usize, problems: Vec<Problem>) -> Report {
        let source = &self.0[source];
        Report::new(&source.label, Arc::clone(&source.text), problems)
    }
}

/// The positions of every [`LineIndex::STEP`]th byte of a text, so that the position of any byte is found without reading
/// the text from its start.
#[derive(Clone, Debug)]
struct LineIndex(Vec<(usize, usize)>);

impl LineIndex {
    const STEP: usize = 256;

    fn of(text: &str) -> Self {
        let mut position = (1, 1);
        let after = |chunk: &[u8]| {
            let start = position;
            position = advanced(position, chunk);
            start
        };
        Self(text.as_bytes().chunks(Self::STEP).map(after).collect())
    }

    /// Returns line and column of a byte, both counted from 1, the column in characters.
    fn position(&self, text: &str, offset: usize) -> (usize, usize) {
        let offset = offset.min(text.len());
        let block = (offset / Self::STEP).min(self.0.len().saturating_sub(1));
        self.0.get(block).map_or((1, 1), |start| advanced(*start, &text.as_bytes()[block * Self::STEP..offset]))
    }
}

/// Returns the position after these bytes.
fn advanced((mut line, mut column): (usize, usize), bytes: &[u8]) -> (usize, usize) {
    for byte in bytes {
        match byte {
            b'\n' => (line, column) = (line + 1, 1),
            // The first byte of a character (UTF-8 continues it with 0b10xxxxxx).
            byte if byte & 0xc0 != 0x80 => column += 1,
            _ => {}
        }
    }
    (line, column)
}

/// Returns the text of these bytes, and the offsets of those that are not UTF-8.
fn text_of(bytes: &[u8]) -> (String, Vec<usize>) {
    let mut text = String::with_capacity(bytes.len());
    let mut not_utf8 = Vec::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for _ in chunk.invalid() {
            not_utf8.push(text.len());
            text.push('?');
        }
    }
    (text, not_utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_not_utf8_keep_their_offsets() {
        let sources = Sources::of("x", b"a\xffb\xc3\xa4\xe2\x82c").unwrap();
        let source = sources.get(0);
        assert_eq!((source.text(), source.not_utf8()), ("a?b\u{e4}??c", &[1, 5, 6][..]));
        assert_eq!(sources.text(&Location { source: 0, span: 3..5 }), "\u{e4}");
    }

    #[test]
    fn positions_are_those_of_reading_from_the_start() {
        let text = "a\u{e4}\u{20ac}b\n".repeat(200) + &"\u{1f600}x".repeat(200) + "\n";
        let sources = Sources::of("x", text.as_bytes()).unwrap();
        for start in 0..=text.len() + 1 {
            let found = sources.position(&Location { source: 0, span: start..start });
            assert_eq!(found, harness_diagnostics::report::position(&text, start), "byte {start}");
        }
        assert_eq!(Sources::of("x", b"").unwrap().position(&Location { source: 0, span: 0..0 }), (1, 1));
    }

    #[test]
    fn what_is_too_long_is_not_read() {
        assert!(Sources::of("x", &vec![b'a'; MOST_BYTES]).is_ok());
        let error = Sources::of("x", &vec![b'a'; MOST_BYTES + 1]).unwrap_err();
        insta::assert_snapshot!(error, @r#"x: the file has 1048577 bytes, but the limit is 1048576"#);
        let mut sources = Sources::default();
        let added = (0..5).map(|_| sources.add("y", &vec![b'a'; MOST_BYTES])).filter(Result::is_ok).count();
        assert_eq!(added, MOST_BYTES_TOGETHER / MOST_BYTES);
        insta::assert_snapshot!(sources.add("z", &vec![b'a'; MOST_BYTES]).unwrap_err(), @r#"z: with this file there are more than 1000 files or 4194304 bytes; read fewer files at once"#);
    }

    #[test]
    fn locations_are_shown_by_line_and_column() {
        let sources = Sources::of("a.service", b"[Service]\nPrivateBPF=yes\n").unwrap();
        assert_eq!(sources.shown(&Location { source: 0, span: 21..24 }), "a.service:2:12");
    }
}
