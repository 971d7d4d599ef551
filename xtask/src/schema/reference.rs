//! Markdown for generated pages: the reference of all keys, the list of scenarios, and the recorded differences.

use std::{collections::BTreeSet, fmt::Write};

use serde_json::Value;

use guard_policy::group::GROUPS;
use harness_planner::{checked::Checked, feature, recipe};
use harness_protocol::name::ScenarioName;
use harness_snapshot::reasons::Reasons;

/// A key that this many operations share with the same meaning is documented once for all of them.
const SHARED_BY: usize = 3;

/// Returns the reference: a section for the file, for each table in it, and for each operation.
pub(super) fn keys(schema: &Value) -> String {
    let reference = Reference { root: schema };
    let mut text = String::new();
    reference.table(&mut text, "The file", "", schema, &BTreeSet::new());
    for (title, pointer) in [
        ("`[vm]`", "/$defs/Vm"),
        ("`[delegate]`, and `delegate` of a named container", "/$defs/Delegate"),
        ("`[container]`", "/$defs/ContainerSpec"),
        ("`[containers.NAME]`", "/$defs/NamedContainer"),
        ("`[sweep]`", "/$defs/Sweep"),
    ] {
        let part = schema.pointer(pointer).unwrap_or(&Value::Null);
        reference.table(&mut text, title, describe(part), part, &BTreeSet::new());
    }
    reference.operations(&mut text);
    flags(&mut text);
    features(&mut text);
    text
}

/// Returns the reference of policies of the guard: a section for the file and for each table in it, and the groups.
pub(super) fn policy(schema: &Value) -> String {
    let reference = Reference { root: schema };
    let mut text = String::new();
    reference.table(&mut text, "The file", "", schema, &BTreeSet::new());
    for (title, pointer) in [
        ("`[guard]`", "/$defs/GuardKeys"),
        ("`[profiles.NAME]`", "/$defs/ProfileKeys"),
        ("An element of `progs`", "/$defs/ProgKeys"),
        ("`maps`", "/$defs/MapKeys"),
        ("`[loaders.NAME]`", "/$defs/LoaderKeys"),
        ("`[[rule]]`", "/$defs/RuleKeys"),
    ] {
        let part = schema.pointer(pointer).unwrap_or(&Value::Null);
        reference.table(&mut text, title, describe(part), part, &BTreeSet::new());
    }
    text.push_str("### Groups\n\n| group | of | members | meaning |\n| --- | --- | --- | --- |\n");
    for group in GROUPS {
        let members: Vec<String> = group.members.iter().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(text, "| `{}` | {}s | {} | {} |", group.name, group.family, members.join(", "), group.about);
    }
    text
}

/// Returns the list of scenarios: what each proves, and on which kernels it runs.
pub(super) fn scenarios<'a>(all: impl IntoIterator<Item = &'a Checked>) -> String {
    let mut text = "| scenario | proves | kernels |\n| --- | --- | --- |\n".to_owned();
    for scenario in all {
        let kernels = scenario.kernels().map_or("all".to_owned(), |range| format!("`{range}`"));
        let (link, summary) = (scenario_link(scenario.name()), cell(scenario.summary()));
        let _ = writeln!(text, "| {link} | {summary} | {kernels} |");
    }
    text
}

/// Returns the recorded differences: the reason, the kernels or images, and the scenarios.
pub(super) fn differences(reasons: &Reasons) -> String {
    let mut text = "| reason | kernels or images | scenarios | commit |\n| --- | --- | --- | --- |\n".to_owned();
    for (explanation, owners, scenarios) in reasons.iter() {
        let owners: Vec<String> = owners.iter().map(|name| format!("`{name}`")).collect();
        let scenarios: Vec<String> = scenarios.iter().map(scenario_link).collect();
        let commit = explanation.commit.as_ref().map(|commit| format!("`{}`", commit.short())).unwrap_or_default();
        let (reason, owners, scenarios) = (cell(&explanation.reason), owners.join(", "), scenarios.join(", "));
        let _ = writeln!(text, "| {reason} | {owners} | {scenarios} | {commit} |");
    }
    text
}

/// Returns a link from a page of `docs/` to a scenario file.
fn scenario_link(name: &ScenarioName) -> String {
    scenario_link_as(&format!("`{name}`"), name.as_str())
}

/// Returns such a link with another text than the scenario's name.
pub(super) fn scenario_link_as(text: &str, name: &str) -> String {
    format!("[{text}](../scenarios/{name}.toml)")
}

struct Reference<'s> {
    root: &'s Value,
}

impl<'s> Reference<'s> {
    fn resolve(&self, schema: &'s Value) -> &'s Value {
        let pointer = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
        pointer.and_then(|pointer| self.root.pointer(pointer)).unwrap_or(schema)
    }

    fn operations(&self, text: &mut String) {
        let operations = self.root["$defs"]["Attempt"]["oneOf"].as_array().map_or(&[][..], Vec::as_slice);
        let shared = shared_keys(operations);
        let _ = writeln!(text, "### `[[attempt]]`\n\nEvery attempt has an `op`. Keys that several operations have:\n");
        self.heading(text);
        for key in &shared {
            let of: Vec<&Value> = operations.iter().filter(|operation| has_shared(operation, key)).collect();
            let member = &of[0]["properties"][&key.0];
            let kind = self.kind(member);
            let _ = writeln!(text, "| `{}` | {kind} | {} | {} |", key.0, optional(member), cell(describe(member)));
        }
        text.push('\n');
        self.values(text, "expect", &self.root["$defs"]["Expect"]);
        for operation in operations {
            self.operation(text, operation, &shared);
        }
    }

    fn operation(&self, text: &mut String, operation: &'s Value, shared: &BTreeSet<(String, String)>) {
        let name = operation["properties"]["op"]["const"].as_str().unwrap_or_default();
        let mut hidden: BTreeSet<&str> =
            shared.iter().filter(|key| has_shared(operation, key)).map(|(key, _)| key.as_str()).collect();
        let listed: Vec<String> = hidden.iter().map(|key| format!("`{key}`")).collect();
        hidden.insert("op");
        self.table(text, &format!("`op = \"{name}\"`"), describe(operation), operation, &hidden);
        let _ = writeln!(text, "Also {}.\n", listed.join(", "));
    }

    fn table(&self, text: &mut String, title: &str, about: &str, schema: &'s Value, hidden: &BTreeSet<&str>) {
        let _ = writeln!(text, "### {title}\n");
        if !about.is_empty() {
            let _ = writeln!(text, "{about}\n");
        }
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let properties = || schema["properties"].as_object().into_iter().flatten();
        let mut shown = properties().filter(|(key, _)| !hidden.contains(key.as_str())).peekable();
        if shown.peek().is_none() {
            return;
        }
        self.heading(text);
        for (key, member) in shown {
            let default = if required.contains(&key.as_str()) { "required".to_owned() } else { optional(member) };
            let _ = writeln!(text, "| `{key}` | {} | {default} | {} |", self.kind(member), cell(describe(member)));
        }
        text.push('\n');
        for (key, member) in properties().filter(|(key, _)| !hidden.contains(key.as_str())) {
            self.values(text, key, self.enumeration(member));
        }
    }

    fn heading(&self, text: &mut String) {
        text.push_str("| key | value | default | meaning |\n| --- | --- | --- | --- |\n");
    }

    /// Returns the schema of the words that a key accepts, directly or in a list.
    fn enumeration(&self, member: &'s Value) -> &'s Value {
        let member = self.resolve(member);
        member.get("items").map_or(member, |items| self.resolve(items))
    }

    /// Lists the meaning of each word that a key accepts.
    fn values(&self, text: &mut String, key: &str, schema: &Value) {
        let described: Vec<String> = schema["oneOf"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|word| Some(format!("- `\"{}\"`: {}", word["const"].as_str()?, describe(word))))
            .collect();
        if !described.is_empty() {
            let _ = writeln!(text, "Values of `{key}`:\n\n{}\n", described.join("\n"));
        }
    }

    /// Describes the kind of value that a key accepts.
    fn kind(&self, schema: &'s Value) -> String {
        let schema = self.resolve(schema);
        if let Some(branches) = ["oneOf", "anyOf"].iter().find_map(|keyword| schema[keyword].as_array()) {
            let kinds: Vec<String> = branches.iter().map(|branch| self.kind(branch)).collect();
            return kinds.join(" or ");
        }
        if let Some(words) = schema["const"].as_str().map(|word| vec![word]).or_else(|| words(&schema["enum"])) {
            let quoted: Vec<String> = words.iter().map(|word| format!("`\"{word}\"`")).collect();
            return quoted.join(" or ");
        }
        match &schema["type"] {
            Value::Array(types) => types.iter().filter_map(Value::as_str).map(plain).collect::<Vec<_>>().join(" or "),
            name if name == "array" => self.list(schema),
            name if name == "integer" => range(schema),
            name => plain(name.as_str().unwrap_or_default()).to_owned(),
        }
    }

    fn list(&self, schema: &'s Value) -> String {
        match self.kind(&schema["items"]) {
            kind if kind.starts_with("table") => "list of tables".to_owned(),
            kind => format!("list of {}", kind.replacen("string", "strings", 1).replacen("number", "numbers", 1)),
        }
    }
}

/// Returns keys that several operations share, with their documentation: the same name may have two meanings.
fn shared_keys(operations: &[Value]) -> BTreeSet<(String, String)> {
    let described = |operation: &Value| -> Vec<(String, String)> {
        let properties = operation["properties"].as_object().into_iter().flatten();
        properties.map(|(key, member)| (key.clone(), describe(member).to_owned())).collect()
    };
    let all: Vec<(String, String)> = operations.iter().flat_map(described).collect();
    let often = |key: &&(String, String)| key.0 != "op" && all.iter().filter(|other| other == key).count() >= SHARED_BY;
    all.iter().filter(often).cloned().collect()
}

fn has_shared(operation: &Value, (key, description): &(String, String)) -> bool {
    operation["properties"].get(key).is_some_and(|member| describe(member) == description)
}

fn words(list: &Value) -> Option<Vec<&str>> {
    Some(list.as_array()?.iter().filter_map(Value::as_str).collect())
}

fn plain(json_type: &str) -> &str {
    match json_type {
        "object" => "table",
        "array" => "list of tables",
        "integer" => "number",
        "boolean" => "true or false",
        other => other,
    }
}

fn range(schema: &Value) -> String {
    match (schema["minimum"].as_i64(), schema["maximum"].as_i64()) {
        (Some(least), Some(most)) if most < i64::from(i32::MAX) => format!("number, {least} to {most}"),
        _ => "number".to_owned(),
    }
}

/// Returns the default of an optional key, if it is a plain value.
fn optional(member: &Value) -> String {
    match &member["default"] {
        Value::Null | Value::Object(_) => String::new(),
        Value::Array(items) if items.is_empty() => String::new(),
        default => format!("`{default}`"),
    }
}

fn describe(schema: &Value) -> &str {
    schema["description"].as_str().unwrap_or_default()
}

/// Escapes text for a cell of a Markdown table.
pub(super) fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn flags(text: &mut String) {
    let names =
        |table: &[(&str, u32)]| table.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let _ = writeln!(text, "### Flags\n");
    let _ = writeln!(text, "`map_create` accepts {}.\n", names(&recipe::MAP_FLAGS));
    let _ = writeln!(text, "`prog_load` accepts {}.", names(&recipe::PROG_FLAGS));
}

fn features(text: &mut String) {
    let _ = writeln!(text, "\n### Features of `verify`\n\n| feature | the program |\n| --- | --- |");
    for feature in &feature::ALL {
        let _ = writeln!(text, "| `{}` | {} |", feature.name, feature.about);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness_scenario::schema::scenario_schema;

    #[test]
    fn documents_every_key_of_every_table() {
        let schema = scenario_schema();
        let text = keys(schema);
        let mut count = 0;
        let tables = schema["$defs"]["Attempt"]["oneOf"].as_array().unwrap().iter().chain([schema]);
        for (key, member) in tables.flat_map(|table| table["properties"].as_object().unwrap()) {
            assert!(key == "op" || text.contains(&format!("| `{key}` |")), "{key}");
            assert!(key == "op" || !describe(member).is_empty(), "{key} has no documentation");
            count += 1;
        }
        assert!(count > 50, "{count}");
    }

    #[test]
    fn describes_kinds_of_values_in_plain_words() {
        let text = keys(scenario_schema());
        for row in [
            "| `deadline` | number, 1 to 300 | `20` |",
            "| `isolation` | `\"shared\"` or `\"vm\"` | `\"shared\"` |",
            "| `caps` | `\"all\"` or list of strings | `\"all\"` |",
            "| `token` | true or false or string |",
            "| `options` | list of strings | required |",
            "- `\"o_path\"`: The descriptor",
        ] {
            assert!(text.contains(row), "{row} is not in\n{text}");
        }
    }
}
