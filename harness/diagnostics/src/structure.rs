//! Checks a document against a JSON Schema and reports everything that does not fit.
//!
//! The schema is generated from the types of scenario files, so the check cannot drift from them. This module supports
//! only the keywords that the schema uses; a test in `harness-scenario` proves that it uses no others. A general
//! validator would report that a wrong `op` matches none of the alternatives; this one names the alternative that is
//! meant.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    node::{Dropped, Entry, Node, Shape},
    report::Problem,
    suggest::{closest, did_you_mean, list, one_of},
};

/// Returns the part of the document that fits the schema, and a problem for everything else.
///
/// A value that does not fit is dropped, and so is a table without a required key; [`Node::dropped`] records it in the
/// table or array around it. The document itself is always kept. So the rest can be checked further, and a check that
/// misses something can see whether it was dropped.
pub fn fitting(root: &Node, schema: &Value) -> (Node, Vec<Problem>) {
    let mut walk = Walk { root: schema, problems: Vec::new() };
    let (node, _) = walk.members(root, walk.resolve(schema));
    (node, walk.problems)
}

struct Walk<'s> {
    root: &'s Value,
    problems: Vec<Problem>,
}

/// Methods that check a value return what fits of it, or `None` if the value must be dropped.
impl<'s> Walk<'s> {
    fn node(&mut self, node: &Node, schema: &'s Value) -> Option<Node> {
        let schema = self.resolve(schema);
        if let Some(branches) = branches(schema) {
            return self.branches(node, branches);
        }
        if !self.is_type_ok(node, schema) {
            return None;
        }
        match &node.shape {
            Shape::Table(_) => self.table(node, schema),
            Shape::Array(items) => self.array(node, items, schema),
            Shape::String(text) => self.word(node, text, schema),
            Shape::Integer(number) => self.integer(node, *number, schema),
            Shape::Boolean(_) | Shape::Other(_) => Some(node.clone()),
        }
    }

    /// Follows references into `$defs`.
    fn resolve(&self, mut schema: &'s Value) -> &'s Value {
        while let Some(pointer) = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
            schema = self.root.pointer(pointer).unwrap_or(&Value::Null);
        }
        schema
    }

    fn is_type_ok(&mut self, node: &Node, schema: &Value) -> bool {
        let wanted = types(schema);
        let ok = wanted.is_empty() || wanted.contains(&json_type(&node.shape));
        if !ok {
            self.wrong_type(node, &wanted);
        }
        ok
    }

    fn wrong_type(&mut self, node: &Node, wanted: &[&str]) -> Option<Node> {
        let wanted: Vec<&str> = wanted.iter().map(|name| with_article(name)).collect();
        let message = format!("expected {}, found {}", list(&wanted, "or"), with_article(json_type(&node.shape)));
        self.problems.push(Problem::new(node.span.clone(), message));
        None
    }

    /// Checks against the alternative that is meant, by the tag of a table or else by the type of the value.
    fn branches(&mut self, node: &Node, branches: &'s [Value]) -> Option<Node> {
        let resolved: Vec<&'s Value> = branches.iter().map(|branch| self.resolve(branch)).collect();
        if resolved.iter().all(|branch| branch["const"].is_string()) {
            return self.words(node, resolved.iter().filter_map(|branch| branch["const"].as_str()).collect());
        }
        if let Some(tag) = tag_of(&resolved) {
            return self.tagged(node, tag, &resolved);
        }
        let found = json_type(&node.shape);
        match resolved.iter().find(|branch| types(branch).contains(&found)) {
            Some(branch) => self.node(node, branch),
            None => self.wrong_type(node, &resolved.iter().flat_map(|branch| types(branch)).collect::<Vec<_>>()),
        }
    }

    fn tagged(&mut self, node: &Node, tag: &str, branches: &[&'s Value]) -> Option<Node> {
        let Shape::Table(entries) = &node.shape else { return self.wrong_type(node, &["object"]) };
        let names: Vec<&str> =
            branches.iter().filter_map(|branch| branch["properties"][tag]["const"].as_str()).collect();
        let Some(entry) = entries.get(tag) else {
            let message = format!("the key `{tag}` is missing");
            self.problems.push(Problem::new(node.span.clone(), message).help(one_of(names)));
            return None;
        };
        let Shape::String(written) = &entry.node.shape else { return self.wrong_type(&entry.node, &["string"]) };
        match branches.iter().find(|branch| branch["properties"][tag]["const"] == written.as_str()) {
            Some(branch) => self.table(node, branch),
            None => self.words(&entry.node, names),
        }
    }

    fn table(&mut self, node: &Node, schema: &'s Value) -> Option<Node> {
        let (kept, is_usable) = self.members(node, schema);
        is_usable.then_some(kept)
    }

    /// Returns the table without the keys that do not fit, and whether it has every required key and not too many.
    fn members(&mut self, node: &Node, schema: &'s Value) -> (Node, bool) {
        let Shape::Table(entries) = &node.shape else { return (node.clone(), false) };
        let properties = schema["properties"].as_object();
        let (mut kept, mut dropped) = (BTreeMap::new(), Dropped::default());
        for (key, entry) in entries {
            match properties.and_then(|properties| properties.get(key)).or(member_schema(schema)) {
                Some(member) => match self.node(&entry.node, member) {
                    Some(node) => drop(kept.insert(key.clone(), Entry { key_span: entry.key_span.clone(), node })),
                    None => drop(dropped.keys.insert(key.clone())),
                },
                None => {
                    let meant = closest(key, keys(schema));
                    dropped.keys.extend(meant.map(str::to_owned));
                    dropped.others |= meant.is_none();
                    self.problems.push(unknown_key(key, entry.key_span.clone(), schema));
                }
            }
        }
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for key in required.iter().filter(|key| !kept.contains_key(**key) && !dropped.keys.contains(**key)) {
            self.problems.push(Problem::new(node.span.clone(), format!("the key `{key}` is missing")));
        }
        let is_bounded = self.is_bounded(node, entries.len(), "maxProperties", schema);
        let is_usable = is_bounded && required.iter().all(|key| kept.contains_key(*key));
        (Node { span: node.span.clone(), shape: Shape::Table(kept), dropped }, is_usable)
    }

    fn array(&mut self, node: &Node, items: &[Node], schema: &'s Value) -> Option<Node> {
        let too_short = schema["minItems"].as_u64().is_some_and(|least| (items.len() as u64) < least);
        if too_short {
            self.problems.push(Problem::new(node.span.clone(), "this list is empty"));
        }
        let is_bounded = self.is_bounded(node, items.len(), "maxItems", schema);
        let kept: Vec<Node> = match schema.get("items") {
            Some(member) => items.iter().filter_map(|item| self.node(item, member)).collect(),
            None => items.to_vec(),
        };
        let dropped = Dropped { others: kept.len() < items.len(), ..Dropped::default() };
        (!too_short && is_bounded).then(|| Node { span: node.span.clone(), shape: Shape::Array(kept), dropped })
    }

    fn is_bounded(&mut self, node: &Node, count: usize, keyword: &str, schema: &Value) -> bool {
        let Some(most) = schema[keyword].as_u64().filter(|most| count as u64 > *most) else { return true };
        let message = format!("{count} entries, more than the limit of {most}");
        self.problems.push(Problem::new(node.span.start..node.span.start, message));
        false
    }

    fn word(&mut self, node: &Node, text: &str, schema: &Value) -> Option<Node> {
        let constant = schema["const"].as_str().into_iter();
        let listed = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let allowed: Vec<&str> = constant.chain(listed).collect();
        if allowed.is_empty() || allowed.contains(&text) { Some(node.clone()) } else { self.words(node, allowed) }
    }

    fn words(&mut self, node: &Node, allowed: Vec<&str>) -> Option<Node> {
        let Shape::String(text) = &node.shape else { return self.wrong_type(node, &["string"]) };
        if allowed.contains(&text.as_str()) {
            return Some(node.clone());
        }
        let advice = did_you_mean(text, allowed.iter().copied()).unwrap_or_else(|| one_of(allowed.iter().copied()));
        let message = format!("`{}` is not a value of this key", text.escape_debug());
        self.problems.push(Problem::new(node.span.clone(), message).help(advice));
        None
    }

    fn integer(&mut self, node: &Node, number: i64, schema: &Value) -> Option<Node> {
        let least = schema["minimum"].as_i64().unwrap_or(i64::MIN);
        let most = schema["maximum"].as_i64().unwrap_or(i64::MAX);
        if (least..=most).contains(&number) {
            return Some(node.clone());
        }
        let message = format!("{number} is not in the range {least} to {most}");
        self.problems.push(Problem::new(node.span.clone(), message));
        None
    }
}

/// Returns the keys that a table can have.
fn keys(schema: &Value) -> impl Iterator<Item = &str> {
    schema["properties"].as_object().into_iter().flat_map(|properties| properties.keys().map(String::as_str))
}

fn unknown_key(key: &str, span: std::ops::Range<usize>, schema: &Value) -> Problem {
    let advice = did_you_mean(key, keys(schema)).unwrap_or_else(|| one_of(keys(schema)));
    let key = key.escape_debug();
    let message = match schema["properties"]["op"]["const"].as_str() {
        Some(op) => format!("`{op}` has no key `{key}`"),
        None => format!("unknown key `{key}`"),
    };
    Problem::new(span, message).labelled("unknown key").help(advice)
}

/// Returns the schema of the members of a table with arbitrary keys.
fn member_schema(schema: &Value) -> Option<&Value> {
    schema.get("additionalProperties").filter(|member| member.is_object())
}

fn branches(schema: &Value) -> Option<&[Value]> {
    ["oneOf", "anyOf"].iter().find_map(|keyword| schema[keyword].as_array()).map(Vec::as_slice)
}

/// Returns the key that distinguishes alternatives that are all tables.
fn tag_of<'s>(branches: &[&'s Value]) -> Option<&'s str> {
    let (name, _) =
        branches.first()?["properties"].as_object()?.iter().find(|(_, member)| member["const"].is_string())?;
    branches.iter().all(|branch| branch["properties"][name]["const"].is_string()).then_some(name)
}

fn types(schema: &Value) -> Vec<&str> {
    match &schema["type"] {
        Value::String(name) => vec![name],
        names => names.as_array().into_iter().flatten().filter_map(Value::as_str).collect(),
    }
}

fn json_type(shape: &Shape) -> &'static str {
    match shape {
        Shape::Table(_) => "object",
        Shape::Array(_) => "array",
        Shape::String(_) => "string",
        Shape::Integer(_) => "integer",
        Shape::Boolean(_) => "boolean",
        Shape::Other(name) => name,
    }
}

/// Returns what TOML calls a type of JSON.
fn with_article(json_type: &str) -> &str {
    match json_type {
        "object" => "a table",
        "array" => "a list",
        "string" => "a string",
        "integer" => "a whole number",
        "boolean" => "a boolean",
        other => other,
    }
}
