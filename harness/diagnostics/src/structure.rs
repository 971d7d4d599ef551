//! Holds a document against the JSON Schema of a scenario and reports everything that does not fit.
//!
//! The schema is generated from the types of scenario files, so the check cannot drift from them. Only what that schema uses is
//! understood; a test of `harness-scenario` proves that it uses nothing else. A general validator would say of a wrong `op` that
//! it matches none of thirteen alternatives; this one names the alternative that is meant.

use serde_json::Value;

use crate::{
    node::{Node, Shape},
    report::Problem,
    suggest::{did_you_mean, one_of},
};

/// Everything in the document that does not fit the schema.
pub fn problems(root: &Node, schema: &Value) -> Vec<Problem> {
    let mut walk = Walk { root: schema, problems: Vec::new() };
    walk.node(root, schema);
    walk.problems
}

struct Walk<'s> {
    root: &'s Value,
    problems: Vec<Problem>,
}

impl<'s> Walk<'s> {
    fn node(&mut self, node: &Node, schema: &'s Value) {
        let schema = self.resolve(schema);
        if let Some(branches) = branches(schema) {
            return self.branches(node, branches);
        }
        if !self.is_type_ok(node, schema) {
            return;
        }
        match &node.shape {
            Shape::Table(_) => self.table(node, schema),
            Shape::Array(items) => self.array(node, items, schema),
            Shape::String(text) => self.word(node, text, schema),
            Shape::Integer(number) => self.integer(node, *number, schema),
            Shape::Boolean(_) | Shape::Other(_) => {}
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

    fn wrong_type(&mut self, node: &Node, wanted: &[&str]) {
        let wanted: Vec<&str> = wanted.iter().map(|name| with_article(name)).collect();
        let message = format!("expected {}, found {}", wanted.join(" or "), with_article(json_type(&node.shape)));
        self.problems.push(Problem::new(node.span.clone(), message));
    }

    /// Goes on with the one alternative that is meant, by the tag of a table or else by the type of the value.
    fn branches(&mut self, node: &Node, branches: &'s [Value]) {
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

    fn tagged(&mut self, node: &Node, tag: &str, branches: &[&'s Value]) {
        let Shape::Table(entries) = &node.shape else { return self.wrong_type(node, &["object"]) };
        let names: Vec<&str> =
            branches.iter().filter_map(|branch| branch["properties"][tag]["const"].as_str()).collect();
        let Some(entry) = entries.get(tag) else {
            let message = format!("the key `{tag}` is missing");
            self.problems.push(Problem::new(node.span.clone(), message).help(one_of(names)));
            return;
        };
        let Shape::String(written) = &entry.node.shape else { return self.wrong_type(&entry.node, &["string"]) };
        match branches.iter().find(|branch| branch["properties"][tag]["const"] == written.as_str()) {
            Some(branch) => self.table(node, branch),
            None => self.words(&entry.node, names),
        }
    }

    fn table(&mut self, node: &Node, schema: &'s Value) {
        let Shape::Table(entries) = &node.shape else { return };
        let properties = schema["properties"].as_object();
        for (key, entry) in entries {
            match properties.and_then(|properties| properties.get(key)).or(member_schema(schema)) {
                Some(member) => self.node(&entry.node, member),
                None => self.problems.push(unknown_key(key, entry.key_span.clone(), schema)),
            }
        }
        for key in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !entries.contains_key(key) {
                self.problems.push(Problem::new(node.span.clone(), format!("the key `{key}` is missing")));
            }
        }
        self.limit(node, entries.len(), "maxProperties", schema);
    }

    fn array(&mut self, node: &Node, items: &[Node], schema: &'s Value) {
        if schema["minItems"].as_u64().is_some_and(|least| (items.len() as u64) < least) {
            self.problems.push(Problem::new(node.span.clone(), "this list is empty"));
        }
        self.limit(node, items.len(), "maxItems", schema);
        if let Some(member) = schema.get("items") {
            items.iter().for_each(|item| self.node(item, member));
        }
    }

    fn limit(&mut self, node: &Node, count: usize, keyword: &str, schema: &Value) {
        if let Some(most) = schema[keyword].as_u64().filter(|most| count as u64 > *most) {
            let message = format!("{count} entries where {most} are allowed");
            self.problems.push(Problem::new(node.span.start..node.span.start, message));
        }
    }

    fn word(&mut self, node: &Node, text: &str, schema: &Value) {
        let constant = schema["const"].as_str().into_iter();
        let listed = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let allowed: Vec<&str> = constant.chain(listed).collect();
        if !allowed.is_empty() && !allowed.contains(&text) {
            self.words(node, allowed);
        }
    }

    fn words(&mut self, node: &Node, allowed: Vec<&str>) {
        let Shape::String(text) = &node.shape else { return self.wrong_type(node, &["string"]) };
        if !allowed.contains(&text.as_str()) {
            let advice = did_you_mean(text, allowed.iter().copied()).unwrap_or_else(|| one_of(allowed.iter().copied()));
            let message = format!("`{}` is not a value of this key", text.escape_debug());
            self.problems.push(Problem::new(node.span.clone(), message).help(advice));
        }
    }

    fn integer(&mut self, node: &Node, number: i64, schema: &Value) {
        let least = schema["minimum"].as_i64().unwrap_or(i64::MIN);
        let most = schema["maximum"].as_i64().unwrap_or(i64::MAX);
        if !(least..=most).contains(&number) {
            let message = format!("{number} is outside {least} to {most}");
            self.problems.push(Problem::new(node.span.clone(), message));
        }
    }
}

fn unknown_key(key: &str, span: std::ops::Range<usize>, schema: &Value) -> Problem {
    let known =
        || schema["properties"].as_object().into_iter().flat_map(|properties| properties.keys().map(String::as_str));
    let of = schema["properties"]["op"]["const"].as_str().map(|op| format!(" of `{op}`")).unwrap_or_default();
    let advice = did_you_mean(key, known()).unwrap_or_else(|| one_of(known()));
    Problem::new(span, format!("`{}` is no key{of}", key.escape_debug())).labelled("unknown key").help(advice)
}

/// The schema of the members of a table whose keys are free.
fn member_schema(schema: &Value) -> Option<&Value> {
    schema.get("additionalProperties").filter(|member| member.is_object())
}

fn branches(schema: &Value) -> Option<&[Value]> {
    ["oneOf", "anyOf"].iter().find_map(|keyword| schema[keyword].as_array()).map(Vec::as_slice)
}

/// The key by which alternatives that are all tables are told apart.
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

/// What TOML calls a type of JSON.
fn with_article(json_type: &str) -> &str {
    match json_type {
        "object" => "a table",
        "array" => "a list",
        "string" => "a string",
        "integer" => "a whole number",
        "boolean" => "true or false",
        other => other,
    }
}
