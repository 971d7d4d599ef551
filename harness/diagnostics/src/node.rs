//! A TOML document as a tree in which every key and value has its position in the text.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use toml::{
    Spanned,
    de::{DeInteger, DeTable, DeValue},
};

use crate::report::Problem;

/// The longest string in a scenario, in bytes.
pub const LONGEST_STRING: usize = 4096;

/// A value and its position in the text.
#[derive(Clone, Debug)]
pub struct Node {
    /// The bytes of the value in the text.
    pub span: Range<usize>,
    /// The value.
    pub shape: Shape,
    /// What [`structure::fitting`](crate::structure::fitting) dropped from it.
    pub dropped: Dropped,
}

/// The keys or elements that were dropped from a table or array, because they do not fit the schema.
#[derive(Clone, Debug, Default)]
pub struct Dropped {
    /// Keys with a wrong value, and the known keys that unknown ones resemble.
    pub keys: BTreeSet<String>,
    /// Whether there were others: elements, or unknown keys that resemble none.
    pub others: bool,
}

impl Dropped {
    /// Whether nothing was dropped.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && !self.others
    }
}

/// A value of a document.
#[derive(Clone, Debug)]
pub enum Shape {
    /// A table by its keys.
    Table(BTreeMap<String, Entry>),
    /// An array.
    Array(Vec<Node>),
    /// A string.
    String(String),
    /// An integer.
    Integer(i64),
    /// `true` or `false`.
    Boolean(bool),
    /// A float or a date, by its TOML name: valid TOML, but no key of a scenario takes one.
    Other(&'static str),
}

/// A key of a table with its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The bytes of the key.
    pub key_span: Range<usize>,
    /// The value.
    pub node: Node,
}

/// One step of a [`KeyPath`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathSegment {
    /// A key of a table.
    Key(String),
    /// An index into an array, counted from 0.
    Index(usize),
}

/// The path of a value in a document, such as `attempt`, 3, `map`. The default is the document itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPath(Vec<PathSegment>);

impl KeyPath {
    /// Returns the path of a key of the table at this path.
    pub fn key(&self, key: &str) -> Self {
        self.with(PathSegment::Key(key.to_owned()))
    }

    /// Returns the path of an element of the array at this path, counted from 0.
    pub fn index(&self, index: usize) -> Self {
        self.with(PathSegment::Index(index))
    }

    fn with(&self, segment: PathSegment) -> Self {
        Self(self.0.iter().cloned().chain([segment]).collect())
    }
}

impl Node {
    /// Reads the document in this text.
    ///
    /// # Errors
    /// Every syntax error, or every string and number that is too large.
    pub fn read(text: &str) -> Result<Self, Vec<Problem>> {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut problems: Vec<Problem> = errors.iter().map(|error| syntax_problem(text, error)).collect();
        if !problems.is_empty() {
            return Err(problems);
        }
        let span = 0..text.len().min(1);
        let node = Self { span, shape: table_shape(table.into_inner(), &mut problems), dropped: Dropped::default() };
        if problems.is_empty() { Ok(node) } else { Err(problems) }
    }

    /// Returns the value at this path.
    pub fn get(&self, key_path: &KeyPath) -> Option<&Node> {
        key_path.0.iter().try_fold(self, |node, segment| node.child(segment))
    }

    /// Returns the bytes of the value at this path. If there is none, these are the bytes of the innermost table or
    /// array on the path that exists.
    pub fn span_of(&self, key_path: &KeyPath) -> Range<usize> {
        self.innermost(key_path).span.clone()
    }

    /// Whether nothing was dropped at this path: neither a part of the value nor, in the table around it, a key that
    /// could be the last one of the path. An unknown key that resembles no other could be any.
    pub fn is_complete(&self, key_path: &KeyPath) -> bool {
        let (mut node, mut could_be_other) = (self, false);
        for segment in &key_path.0 {
            if matches!(segment, PathSegment::Key(key) if node.dropped.keys.contains(key)) {
                return false;
            }
            could_be_other = matches!(segment, PathSegment::Key(_)) && node.dropped.others;
            match node.child(segment) {
                Some(child) => node = child,
                None => return !node.dropped.others,
            }
        }
        let is_scalar = !matches!(node.shape, Shape::Table(_) | Shape::Array(_));
        node.dropped.is_empty() && (is_scalar || !could_be_other)
    }

    /// Whether there is no value at this path, but one may have been dropped there.
    pub fn may_be_dropped(&self, key_path: &KeyPath) -> bool {
        self.get(key_path).is_none() && !self.is_complete(key_path)
    }

    /// Like [`Node::is_complete`], but the answer also covers everything below the value at this path.
    pub fn is_whole(&self, key_path: &KeyPath) -> bool {
        self.is_complete(key_path) && self.get(key_path).is_none_or(Node::has_everything)
    }

    fn has_everything(&self) -> bool {
        let members = match &self.shape {
            Shape::Table(entries) => entries.values().all(|entry| entry.node.has_everything()),
            Shape::Array(items) => items.iter().all(Node::has_everything),
            Shape::String(_) | Shape::Integer(_) | Shape::Boolean(_) | Shape::Other(_) => true,
        };
        members && self.dropped.is_empty()
    }

    fn innermost(&self, key_path: &KeyPath) -> &Node {
        let mut node = self;
        for segment in &key_path.0 {
            match node.child(segment) {
                Some(child) => node = child,
                None => break,
            }
        }
        node
    }

    fn child(&self, segment: &PathSegment) -> Option<&Node> {
        match (&self.shape, segment) {
            (Shape::Table(entries), PathSegment::Key(key)) => entries.get(key).map(|entry| &entry.node),
            (Shape::Array(items), PathSegment::Index(index)) => items.get(*index),
            _ => None,
        }
    }

    /// Converts the value to JSON, without positions. A float or date becomes null.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.shape {
            Shape::Table(entries) => entries
                .iter()
                .map(|(key, entry)| (key.clone(), entry.node.to_json()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            Shape::Array(items) => items.iter().map(Node::to_json).collect(),
            Shape::String(text) => text.as_str().into(),
            Shape::Integer(number) => (*number).into(),
            Shape::Boolean(flag) => (*flag).into(),
            Shape::Other(_) => serde_json::Value::Null,
        }
    }
}

fn syntax_problem(text: &str, error: &toml::de::Error) -> Problem {
    let span = error.span().unwrap_or(0..0);
    let span = span.start.min(text.len())..span.end.min(text.len());
    Problem::new(span, format!("invalid TOML: {}", error.message()))
}

fn table_shape(table: DeTable<'_>, problems: &mut Vec<Problem>) -> Shape {
    let entry = |key: Spanned<std::borrow::Cow<'_, str>>, value: Spanned<DeValue<'_>>, problems: &mut Vec<Problem>| {
        let key_span = key.span();
        (key.into_inner().into_owned(), Entry { key_span, node: node(value, problems) })
    };
    Shape::Table(table.into_iter().map(|(key, value)| entry(key, value, problems)).collect())
}

fn node(value: Spanned<DeValue<'_>>, problems: &mut Vec<Problem>) -> Node {
    let span = value.span();
    let shape = match value.into_inner() {
        DeValue::String(text) => string_shape(&text, &span, problems),
        DeValue::Integer(number) => integer_shape(&number, &span, problems),
        DeValue::Boolean(flag) => Shape::Boolean(flag),
        DeValue::Float(_) => Shape::Other("a float"),
        DeValue::Datetime(_) => Shape::Other("a date or time"),
        DeValue::Array(items) => Shape::Array(items.into_iter().map(|item| node(item, problems)).collect()),
        DeValue::Table(table) => table_shape(table, problems),
    };
    Node { span, shape, dropped: Dropped::default() }
}

fn string_shape(text: &str, span: &Range<usize>, problems: &mut Vec<Problem>) -> Shape {
    if text.len() > LONGEST_STRING {
        let message = format!("this string has {} bytes, more than the limit of {LONGEST_STRING}", text.len());
        problems.push(Problem::new(span.start..span.start, message));
    }
    Shape::String(text.to_owned())
}

fn integer_shape(number: &DeInteger<'_>, span: &Range<usize>, problems: &mut Vec<Problem>) -> Shape {
    match i64::from_str_radix(number.as_str(), number.radix()) {
        Ok(number) => Shape::Integer(number),
        Err(_) => {
            problems.push(Problem::new(span.clone(), "this number does not fit into 64 bits"));
            Shape::Integer(0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Report;

    #[test]
    fn a_path_leads_to_a_value_or_to_the_innermost_table_that_exists() {
        let text = "a = [1, 22]\n[t]\nk = 'v'\n";
        let node = Node::read(text).unwrap();
        let slice = |key_path: &KeyPath| &text[node.span_of(key_path)];
        let root = KeyPath::default();
        assert_eq!(slice(&root.key("a").index(1)), "22");
        assert_eq!(slice(&root.key("t").key("k")), "'v'");
        assert_eq!(slice(&root.key("t").key("missing").key("deep")), "[t]");
        assert!(node.get(&root.key("t").key("k")).is_some() && node.get(&root.key("missing")).is_none());
        assert_eq!(node.to_json(), serde_json::json!({"a": [1, 22], "t": {"k": "v"}}));
    }

    fn report(text: &str) -> String {
        Report::new("x.toml", text.into(), Node::read(text).unwrap_err()).to_string()
    }

    #[test]
    fn every_syntax_error_is_reported() {
        insta::assert_snapshot!(report("a = = 1\nb = [\n"), @"
        x.toml:1:5: invalid TOML: extra `=`, expected nothing
        x.toml:1:7: invalid TOML: unexpected key or value, expected newline, `#`
        x.toml:2:6: invalid TOML: unclosed array, expected `]`
        ");
    }

    #[test]
    fn every_value_that_is_too_large_is_reported() {
        let text = format!("a = 99999999999999999999\nb = '{}'\n", "x".repeat(LONGEST_STRING + 1));
        insta::assert_snapshot!(report(&text), @"
        x.toml:1:5: this number does not fit into 64 bits
        x.toml:2:5: this string has 4097 bytes, more than the limit of 4096
        ");
    }
}
