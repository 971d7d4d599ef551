//! What a YAML file has that can delegate: `config` mappings, scripts, units, mounts; each value with its location.

use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use crate::{source::Location, text::Text};

/// The maximum nesting depth.
const MOST_DEPTH: usize = 64;
/// The maximum number of instances and profiles in one file.
const MOST_ITEMS: usize = 500;

/// One instance or profile.
#[derive(Debug, Default)]
pub(crate) struct Item {
    pub(crate) name: Option<String>,
    pub(crate) config: Vec<Entry>,
    /// Words that can stand for any key and value, such as a variable of a shell.
    pub(crate) unknown: Vec<Text>,
}

/// A key of `config` and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) value: Text,
    /// Key and value.
    pub(crate) location: Location,
}

/// What a YAML file has.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// Mappings that have a `config`, or keys that delegate.
    pub(crate) items: Vec<Item>,
    /// Scripts, each where a scalar has it unchanged.
    pub(crate) scripts: Vec<Range<usize>>,
    /// Scripts in scalars with quotes or joined lines.
    pub(crate) joined: Vec<Text>,
    /// Lists of words that may be a command or a line of fstab.
    pub(crate) lists: Vec<Vec<Text>>,
    /// Unit files, each with its name if the mapping around it has one.
    pub(crate) units: Vec<(Range<usize>, Option<String>)>,
    /// Options of mounts of a bpffs, each with the mount point.
    pub(crate) mounts: Vec<(Text, String)>,
}

/// Why a file cannot be read, and where.
#[derive(Debug)]
pub(crate) struct WalkError {
    pub(crate) why: String,
    pub(crate) span: Range<usize>,
}

/// Reads a part of a file as YAML.
pub(crate) fn contents(source: usize, file: &str, part: Range<usize>) -> Result<Contents, WalkError> {
    let bytes = Bytes::of(&file[part.clone()]);
    let mut walker = Walker { source, file, base: part.start, bytes, stack: Vec::new(), done: Contents::default() };
    for event in Parser::new_from_str(&file[part]) {
        let (event, span) = event.map_err(|error| {
            let at = walker.at(error.marker().index());
            WalkError { why: error.info().to_owned(), span: at..at }
        })?;
        walker.take(event, span)?;
    }
    Ok(walker.done)
}

/// An open collection.
#[derive(Debug, Default)]
struct Open {
    is_mapping: bool,
    /// The key whose value comes next, in a mapping.
    key: Option<(String, Range<usize>)>,
    /// The key that it is the value of itself.
    of: Option<String>,
    name: Option<String>,
    /// Its own entries that matter.
    entries: Vec<Entry>,
    /// The entries of its `config`, and whether they include those of its profiles.
    config: Option<(bool, Vec<Entry>)>,
    /// The words of a list.
    words: Vec<Text>,
    /// The file that a `content` is for.
    path: Option<String>,
    /// Where it has a unit file, and the key of that.
    unit: Option<(Range<usize>, String)>,
    is_bpf: bool,
    options: Option<Text>,
}

/// Prefixes of keys that matter.
const PREFIXES: [&str; 3] = ["security.", "raw.", "environment.LIBBPF_"];
/// Prefixes of keys that delegate.
pub(super) const DELEGATING: [&str; 2] = ["security.bpffs.", "security.delegate_bpf"];
/// Words of a script that may delegate.
const OF_SCRIPTS: [&str; 4] = ["mount", "systemd-run", "incus", "lxc"];
/// The maximum number of words of a list that are kept.
const MOST_LISTED: usize = 1000;
/// The maximum number of scripts, lists and units in one file.
const MOST_PARTS: usize = 100;

struct Walker<'a> {
    source: usize,
    file: &'a str,
    /// Where the part begins in the file.
    base: usize,
    bytes: Bytes,
    stack: Vec<Open>,
    done: Contents,
}

impl Walker<'_> {
    fn at(&self, index: usize) -> usize {
        self.base + self.bytes.at(index)
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), WalkError> {
        let span = self.at(span.start.index())..self.at(span.end.index());
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
        let of = self.stack.last_mut().and_then(|open| open.key.take()).map(|(key, _)| key);
        self.stack.push(Open { is_mapping, of, ..Open::default() });
        Ok(())
    }

    fn close(&mut self, span: Range<usize>) -> Result<(), WalkError> {
        let Some(mut open) = self.stack.pop() else { return Ok(()) };
        let has_room = |length: usize| length < MOST_PARTS;
        if open.words.len() > 1 && has_room(self.done.lists.len()) {
            self.done.lists.push(open.words);
        }
        if let (Some(options), true, true) = (open.options, open.is_bpf, has_room(self.done.mounts.len())) {
            self.done.mounts.push((options, open.path.clone().unwrap_or_default()));
        }
        if let (Some((unit, key)), true) = (open.unit, has_room(self.done.units.len())) {
            let named =
                [open.name.as_deref(), Some(key.as_str())].into_iter().flatten().find(|name| name.contains('.'));
            self.done.units.push((unit, open.path.or_else(|| named.map(str::to_owned))));
        }
        let is_config = open.is_mapping && matches!(open.of.as_deref(), Some("config" | "expanded_config"));
        if let Some(parent) = self.stack.last_mut().filter(|parent| is_config && parent.is_mapping) {
            // Those of the profiles are included in the expanded ones, wherever these are.
            let expanded = open.of.as_deref() == Some("expanded_config");
            if expanded || parent.config.as_ref().is_none_or(|(before, _)| !before) {
                parent.config = Some((expanded, open.entries));
            }
            return Ok(());
        }
        let delegates = |entry: &Entry| DELEGATING.iter().any(|prefix| entry.key.starts_with(prefix));
        let config = open.config.take().map(|(_, entries)| entries);
        let config = config.or_else(|| open.entries.iter().any(delegates).then_some(open.entries));
        if let Some(config) = config {
            if self.done.items.len() == MOST_ITEMS {
                return Err(WalkError { why: format!("more than {MOST_ITEMS} instances and profiles"), span });
            }
            self.done.items.push(Item { name: open.name, config, unknown: Vec::new() });
        }
        Ok(())
    }

    fn scalar(&mut self, value: &str, style: ScalarStyle, span: Range<usize>) {
        let span = exact(self.file, style, span);
        let (source, file) = (self.source, self.file);
        let Some(open) = self.stack.last_mut() else { return };
        let key = match (open.is_mapping, open.key.take()) {
            (true, None) => {
                open.key = Some((value.to_owned(), span));
                return;
            }
            (_, key) => key,
        };
        let has_command = OF_SCRIPTS.iter().any(|word| value.contains(word)) && value.contains([' ', '\n']);
        // The script of `sh -c` is read with the list that it is in.
        let flag = |word: &Text| word.as_str().starts_with('-') && word.as_str().ends_with('c');
        let is_script = has_command && (open.is_mapping || !open.words.last().is_some_and(flag));
        if let Some(unit) = unit_in(file, value, style, &span) {
            open.unit = Some((unit, key.as_ref().map(|(key, _)| key.clone()).unwrap_or_default()));
        } else if is_script && self.done.scripts.len() + self.done.joined.len() < MOST_PARTS {
            match style {
                ScalarStyle::Literal => self.done.scripts.push(span.clone()),
                _ => self.done.joined.push(aligned(source, file, value, style, span.clone())),
            }
        }
        let Some((key, key_span)) = key else {
            if open.words.len() < MOST_LISTED {
                open.words.push(aligned(source, file, value, style, span));
            }
            return;
        };
        match key.as_str() {
            "name" => open.name = Some(value.to_owned()),
            "path" | "dest" | "target" | "destination" => value.clone_into(open.path.get_or_insert_default()),
            "fstype" | "type" | "fs_type" => open.is_bpf |= value == "bpf",
            "opts" | "o" | "options" if value.contains("delegate_") => {
                open.options = Some(aligned(source, file, value, style, span));
            }
            _ if PREFIXES.iter().any(|prefix| key.starts_with(prefix)) => {
                let location = Location { source, span: key_span.start..span.end.max(key_span.end) };
                let value = aligned(source, file, value, style, span);
                open.entries.push(Entry { key, value, location });
            }
            _ => {}
        }
    }
}

/// Returns where a scalar has the lines of a unit file, if it is one.
fn unit_in(file: &str, value: &str, style: ScalarStyle, span: &Range<usize>) -> Option<Range<usize>> {
    let is_unit = style == ScalarStyle::Literal
        && ["[Unit]", "[Service]", "[Socket]", "[Mount]"].iter().any(|header| value.contains(header));
    let header = file.get(span.clone()).filter(|_| is_unit)?.find('[')?;
    Some(span.start + header..span.end)
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
