//! A TOML file that people write, checked against the schema of its type.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    limits::MOST_BYTES,
    node::Node,
    report::{Problem, Report},
    structure,
};

/// A file that fits its schema, with the problems found so far.
pub struct Document<T> {
    /// Its text.
    pub text: Arc<str>,
    /// What it says, without what does not fit the schema.
    pub root: Node,
    /// The same as a value.
    pub file: T,
    /// What does not fit the schema, and what else is found later.
    pub problems: Vec<Problem>,
}

impl<T: DeserializeOwned> Document<T> {
    /// Parses a file; messages call it `label`.
    ///
    /// # Errors
    /// [`Report`] if it is too large, no text, no TOML, or so far from its schema that it has no value.
    pub fn read(label: &str, bytes: &[u8], schema: &Value) -> Result<Self, Report> {
        let whole = |message: String| Report::new(label, "".into(), vec![Problem::new(0..0, message)]);
        if bytes.len() > MOST_BYTES {
            return Err(whole(format!("the file is larger than {MOST_BYTES} bytes, the limit")));
        }
        let text: Arc<str> =
            std::str::from_utf8(bytes).map_err(|error| whole(format!("the file is not UTF-8 text: {error}")))?.into();
        let report = |problems| Report::new(label, text.clone(), problems);
        let document = Node::read(&text).map_err(report)?;
        let (root, problems) = structure::fitting(&document, schema);
        let file: T = serde_json::from_value(root.to_json()).map_err(|error| {
            let unexpected = Problem::new(root.span.clone(), error.to_string());
            report(if problems.is_empty() { vec![unexpected] } else { problems.clone() })
        })?;
        Ok(Self { text, root, file, problems })
    }
}
