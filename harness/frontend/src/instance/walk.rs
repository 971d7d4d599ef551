//! The `config` mappings in a YAML file, each value with its location.

use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use crate::{source::Location, text::Text};

/// The maximum nesting depth.
const MOST_DEPTH: usize = 64;
/// The maximum number of instances and profiles in one file.
const MOST_ITEMS: usize = 500;

/// One instance or profile.
#[derive(Debug, Default)]
pub(super) struct Item {
    pub(super) name: Option<String>,
    pub(super) config: Vec<Entry>,
    has_config: bool,
}

/// A key of `config` and its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: Text,
    /// Key and value.
    pub(super) location: Location,
}

/// Why a file cannot be read, and where.
#[derive(Debug)]
pub(super) struct WalkError {
    pub(super) why: String,
    pub(super) span: Range<usize>,
}

/// Reads all mappings that have a `config`: the document itself, and those in a list under one of its keys, as in a preseed.
pub(super) fn items(source: usize, file: &str) -> Result<Vec<Item>, WalkError> {
    let mut walker = Walker { source, file, bytes: Bytes::of(file), stack: Vec::new(), done: Vec::new() };
    for event in Parser::new_from_str(file) {
        let (event, span) = event.map_err(|error| {
            let at = walker.bytes.at(error.marker().index());
            WalkError { why: error.info().to_owned(), span: at..at }
        })?;
        walker.take(event, span)?;
    }
    Ok(walker.done)
}

/// The role of a collection.
#[derive(Debug)]
enum CollectionRole {
    /// A mapping that may have a `config`.
    Item(Item),
    /// The `config` of the item around it.
    Config,
    /// A list of items.
    List,
    /// Anything else.
    Other,
}

/// An open collection.
#[derive(Debug)]
struct Open {
    role: CollectionRole,
    /// The key whose value comes next, in a mapping.
    key: Option<(String, Range<usize>)>,
    is_mapping: bool,
}

struct Walker<'a> {
    source: usize,
    file: &'a str,
    bytes: Bytes,
    stack: Vec<Open>,
    done: Vec<Item>,
}

impl Walker<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), WalkError> {
        let span = self.bytes.at(span.start.index())..self.bytes.at(span.end.index());
        match event {
            Event::MappingStart(..) => self.open(true, span)?,
            Event::SequenceStart(..) => self.open(false, span)?,
            Event::MappingEnd | Event::SequenceEnd => self.close(span)?,
            Event::Scalar(value, style, ..) => self.scalar(&value, style, span),
            // Anchors are not resolved: neither program prints any.
            Event::Alias(_) => self.scalar("", ScalarStyle::Plain, span.start..span.start),
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, is_mapping: bool, span: Range<usize>) -> Result<(), WalkError> {
        if self.stack.len() == MOST_DEPTH {
            return Err(WalkError { why: format!("more than {MOST_DEPTH} levels of nesting"), span });
        }
        let key = self.stack.last_mut().and_then(|open| open.key.take()).map(|(key, _)| key);
        let role = match (self.stack.last_mut().map(|open| &mut open.role), key.as_deref(), is_mapping) {
            (None, _, true) | (Some(CollectionRole::List), _, true) => CollectionRole::Item(Item::default()),
            (Some(CollectionRole::Item(item)), Some("config"), true) => {
                item.has_config = true;
                CollectionRole::Config
            }
            (Some(CollectionRole::Item(_)), Some("profiles" | "instances" | "containers"), false) => {
                CollectionRole::List
            }
            _ => CollectionRole::Other,
        };
        self.stack.push(Open { role, key: None, is_mapping });
        Ok(())
    }

    fn close(&mut self, span: Range<usize>) -> Result<(), WalkError> {
        let closed = self.stack.pop().map(|open| open.role);
        if let Some(CollectionRole::Item(item)) = closed
            && item.has_config
        {
            if self.done.len() == MOST_ITEMS {
                return Err(WalkError { why: format!("more than {MOST_ITEMS} instances and profiles"), span });
            }
            self.done.push(item);
        }
        Ok(())
    }

    fn scalar(&mut self, value: &str, style: ScalarStyle, span: Range<usize>) {
        let span = exact(self.file, style, span);
        let Some(open) = self.stack.last_mut().filter(|open| open.is_mapping) else { return };
        let Some((key, key_span)) = open.key.take() else {
            open.key = Some((value.to_owned(), span));
            return;
        };
        match &mut open.role {
            CollectionRole::Item(item) if key == "name" => item.name = Some(value.to_owned()),
            CollectionRole::Config if key.starts_with("security.") || key.starts_with("raw.") => {
                let location = Location { source: self.source, span: key_span.start..span.end.max(key_span.end) };
                let value = aligned(self.source, self.file, value, style, span);
                self.config().push(Entry { key, value, location });
            }
            _ => {}
        }
    }

    /// Returns the entries of the item whose `config` is open.
    fn config(&mut self) -> &mut Vec<Entry> {
        let item = self.stack.iter_mut().rev().find_map(|open| match &mut open.role {
            CollectionRole::Item(item) => Some(&mut item.config),
            _ => None,
        });
        item.expect("a config is in an item")
    }
}

/// Returns where a scalar ends: the parser includes a comment after it.
fn exact(file: &str, style: ScalarStyle, span: Range<usize>) -> Range<usize> {
    let raw = file.get(span.clone()).unwrap_or_default();
    let length = match style {
        ScalarStyle::DoubleQuoted => closed(raw, b'"', b'\\'),
        // A quote in it is doubled; the first one serves as the escape character.
        ScalarStyle::SingleQuoted => closed(raw, b'\'', b'\''),
        ScalarStyle::Plain => {
            Some(raw.find(" #").or_else(|| raw.find("\t#")).unwrap_or(raw.len())).map(|end| raw[..end].trim_end().len())
        }
        _ => None,
    };
    span.start..span.start + length.unwrap_or(raw.len())
}

/// Returns the length of a quoted string including its quotes; `None` if it is not one.
fn closed(raw: &str, quote: u8, escape: u8) -> Option<usize> {
    let bytes = raw.as_bytes();
    let mut at = 1;
    if bytes.first() != Some(&quote) {
        return None;
    }
    while let Some(byte) = bytes.get(at) {
        match (*byte == escape, bytes.get(at + 1)) {
            (true, Some(next)) if escape != quote || *next == quote => at += 2,
            _ if *byte == quote => return Some(at + 1),
            _ => at += 1,
        }
    }
    None
}

/// Returns the value of a scalar with the locations of its parts. They are exact for literal text, quoted or not, and for
/// the words of folded text or text with escapes; words that have escapes themselves get the location of the whole scalar.
fn aligned(source: usize, file: &str, value: &str, style: ScalarStyle, span: Range<usize>) -> Text {
    let inner = match style {
        // A string that is not closed may end within a character.
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted
            if span.len() >= 2 && file.is_char_boundary(span.end - 1) && file.is_char_boundary(span.start + 1) =>
        {
            span.start + 1..span.end - 1
        }
        _ => span.clone(),
    };
    let raw = file.get(inner.clone()).unwrap_or_default();
    if raw == value {
        return Text::verbatim(source, file, inner);
    }
    let mut text = Text::empty(source, inner.start);
    let mut cursor = 0;
    for run in value.split_inclusive(|c: char| !is_word(c)) {
        let word = run.trim_end_matches(|c: char| !is_word(c));
        let Some(at) = raw[cursor..].find(word) else {
            let mut whole = Text::empty(source, inner.start);
            whole.push(value, inner);
            return whole;
        };
        let found = inner.start + cursor + at;
        text.push(word, found..found + word.len());
        cursor += at + word.len();
        let gap = inner.start + cursor;
        text.push(&run[word.len()..], gap..gap);
    }
    text
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/')
}

/// The byte offsets of the characters of a text, which the parser counts.
struct Bytes(Option<Vec<u32>>, usize);

impl Bytes {
    fn of(file: &str) -> Self {
        let starts = || file.char_indices().map(|(at, _)| u32::try_from(at).unwrap_or(u32::MAX)).collect();
        Self((!file.is_ascii()).then(starts), file.len())
    }

    fn at(&self, index: usize) -> usize {
        match &self.0 {
            Some(starts) => starts.get(index).map_or(self.1, |at| *at as usize),
            None => index.min(self.1),
        }
    }
}
