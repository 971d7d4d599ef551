//! The files that were read: labels, texts, and places in them.

use std::{ops::Range, sync::Arc};

use harness_diagnostics::report::{Problem, Report, position};
use thiserror::Error;

/// The longest file that is read, in bytes: what systemd takes for one line (`src/basic/fileio.h`, `LONG_LINE_MAX`).
pub const MOST_BYTES: usize = 1 << 20;
/// The most that is read at once, in bytes.
pub const MOST_BYTES_TOGETHER: usize = 4 << 20;
/// The most files that are read at once.
pub const MOST_SOURCES: usize = 1000;

/// Bytes of one of the files that were read together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    /// Which file, as an index into [`Sources`].
    pub source: usize,
    /// The bytes of its text.
    pub span: Range<usize>,
}

/// One file.
#[derive(Clone, Debug)]
pub struct Source {
    label: String,
    text: Arc<str>,
    not_utf8: Vec<usize>,
}

impl Source {
    /// Its name as it was given; a path, where the rules of drop-ins are to be told from it.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Its text. Bytes that are no UTF-8 are question marks in it, so that places hold.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where it had bytes that are no UTF-8, in order.
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
    #[error("{label}: {bytes} bytes, but a configuration of more than {MOST_BYTES} is not read")]
    TooLong {
        /// The file.
        label: String,
        /// How long it is.
        bytes: usize,
    },
    /// All together are longer than [`MOST_BYTES_TOGETHER`] or more than [`MOST_SOURCES`].
    #[error(
        "{label}: with it there would be more than {MOST_SOURCES} files or {MOST_BYTES_TOGETHER} bytes; read fewer files \
         at once"
    )]
    TooMany {
        /// The file that was too much.
        label: String,
    },
}

impl Sources {
    /// One file.
    ///
    /// # Errors
    /// [`SourceError`] if it is too long.
    pub fn of(label: &str, bytes: &[u8]) -> Result<Self, SourceError> {
        let mut sources = Self::default();
        sources.add(label, bytes)?;
        Ok(sources)
    }

    /// Adds a file; its index is that of the last.
    ///
    /// # Errors
    /// [`SourceError`] if it is too long, or too much together with the others.
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
        self.0.push(Source { label, text: text.into(), not_utf8 });
        Ok(())
    }

    /// All files.
    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The file of this index.
    pub fn get(&self, source: usize) -> &Source {
        &self.0[source]
    }

    /// The text at a place.
    pub fn text(&self, location: &Location) -> &str {
        self.0[location.source].text.get(location.span.clone()).unwrap_or_default()
    }

    /// Line and column of a place, both counted from 1.
    pub fn position(&self, location: &Location) -> (usize, usize) {
        position(&self.0[location.source].text, location.span.start)
    }

    /// A place as `FILE:LINE:COLUMN`.
    pub fn shown(&self, location: &Location) -> String {
        let (line, column) = self.position(location);
        format!("{}:{line}:{column}", self.0[location.source].label)
    }

    /// A report about one file.
    pub fn report(&self, source: usize, problems: Vec<Problem>) -> Report {
        let source = &self.0[source];
        Report::new(&source.label, Arc::clone(&source.text), problems)
    }
}

/// The text of these bytes, and where they are no UTF-8.
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
    fn bytes_that_are_no_text_keep_their_places() {
        let sources = Sources::of("x", b"a\xffb\xc3\xa4\xe2\x82c").unwrap();
        let source = sources.get(0);
        assert_eq!((source.text(), source.not_utf8()), ("a?b\u{e4}??c", &[1, 5, 6][..]));
        assert_eq!(sources.text(&Location { source: 0, span: 3..5 }), "\u{e4}");
    }

    #[test]
    fn what_is_too_long_is_not_read() {
        assert!(Sources::of("x", &vec![b'a'; MOST_BYTES]).is_ok());
        let error = Sources::of("x", &vec![b'a'; MOST_BYTES + 1]).unwrap_err();
        assert_eq!(error, SourceError::TooLong { label: "x".into(), bytes: MOST_BYTES + 1 });
        let mut sources = Sources::default();
        let added = (0..5).map(|_| sources.add("y", &vec![b'a'; MOST_BYTES])).filter(Result::is_ok).count();
        assert_eq!(added, MOST_BYTES_TOGETHER / MOST_BYTES);
    }

    #[test]
    fn places_are_shown_by_line_and_column() {
        let sources = Sources::of("a.service", b"[Service]\nPrivateBPF=yes\n").unwrap();
        assert_eq!(sources.shown(&Location { source: 0, span: 21..24 }), "a.service:2:12");
    }
}
