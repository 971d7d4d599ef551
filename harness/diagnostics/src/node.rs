//! A TOML document as a tree in which every key and value knows its place in the text.

use std::{collections::BTreeMap, ops::Range};

use toml::{
    Spanned,
    de::{DeInteger, DeTable, DeValue},
};

use crate::report::Problem;

/// A string in a scenario has at most this many bytes.
pub const LONGEST_STRING: usize = 4096;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its bytes in the text.
    pub span: Range<usize>,
    /// What it is.
    pub shape: Shape,
}

/// The kinds of values a scenario can hold.
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
    /// A float or a date, by its TOML name: valid TOML that no key of a scenario takes.
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

/// One step of a way into a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathSegment {
    /// Into a table.
    Key(String),
    /// Into an array, counted from 0.
    Index(usize),
}

/// A way into a document, such as `attempt`, 3, `map`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPath(Vec<PathSegment>);

impl KeyPath {
    /// The value of a key of the table at this place.
    pub fn key(&self, key: &str) -> Self {
        self.step(PathSegment::Key(key.to_owned()))
    }

    /// An element of the array at this place, counted from 0.
    pub fn index(&self, index: usize) -> Self {
        self.step(PathSegment::Index(index))
    }

    fn step(&self, step: PathSegment) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }
}

impl Node {
    /// The document in this text, or everything its syntax has wrong.
    pub fn read(text: &str) -> Result<Self, Vec<Problem>> {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut problems: Vec<Problem> = errors.iter().map(|error| syntax_problem(text, error)).collect();
        if !problems.is_empty() {
            return Err(problems);
        }
        let span = 0..text.len().min(1);
        let node = Self { span, shape: table_shape(table.into_inner(), &mut problems) };
        if problems.is_empty() { Ok(node) } else { Err(problems) }
    }

    /// The bytes of the value at this place, or of the innermost table or list on the way that exists.
    pub fn span_of(&self, key_path: &KeyPath) -> Range<usize> {
        let mut node = self;
        for step in &key_path.0 {
            match node.child(step) {
                Some(child) => node = child,
                None => break,
            }
        }
        node.span.clone()
    }

    fn child(&self, step: &PathSegment) -> Option<&Node> {
        match (&self.shape, step) {
            (Shape::Table(entries), PathSegment::Key(key)) => entries.get(key).map(|entry| &entry.node),
            (Shape::Array(items), PathSegment::Index(index)) => items.get(*index),
            _ => None,
        }
    }

    /// The same value without places; what no scenario holds becomes null.
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
    Problem::new(span, format!("this is no TOML: {}", error.message()))
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
    Node { span, shape }
}

fn string_shape(text: &str, span: &Range<usize>, problems: &mut Vec<Problem>) -> Shape {
    if text.len() > LONGEST_STRING {
        let message = format!("this string has {} bytes; {LONGEST_STRING} are allowed", text.len());
        problems.push(Problem::new(span.start..span.start, message));
    }
    Shape::String(text.to_owned())
}

fn integer_shape(number: &DeInteger<'_>, span: &Range<usize>, problems: &mut Vec<Problem>) -> Shape {
    match i64::from_str_radix(number.as_str(), number.radix()) {
        Ok(number) => Shape::Integer(number),
        Err(_) => {
            problems.push(Problem::new(span.clone(), "this number does not fit 64 bits"));
            Shape::Integer(0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_lead_to_values_or_to_what_holds_them() {
        let text = "a = [1, 22]\n[t]\nk = 'v'\n";
        let node = Node::read(text).unwrap();
        let slice = |key_path: &KeyPath| &text[node.span_of(key_path)];
        let root = KeyPath::default();
        assert_eq!(slice(&root.key("a").index(1)), "22");
        assert_eq!(slice(&root.key("t").key("k")), "'v'");
        assert_eq!(slice(&root.key("t").key("missing").key("deep")), "[t]");
        assert_eq!(node.to_json(), serde_json::json!({"a": [1, 22], "t": {"k": "v"}}));
    }

    #[test]
    fn syntax_errors_and_huge_values_are_all_told() {
        let problems = Node::read("a = = 1\nb = [\n").unwrap_err();
        assert!(!problems.is_empty() && problems.iter().all(|p| p.message().starts_with("this is no TOML")));
        let long = format!("a = 99999999999999999999\nb = '{}'\n", "x".repeat(LONGEST_STRING + 1));
        let messages: Vec<String> = Node::read(&long).unwrap_err().iter().map(|p| p.message().to_owned()).collect();
        assert_eq!(messages.len(), 2, "{messages:?}");
    }
}
