//! The Markdown reference of the result lines and their keys, generated from their JSON Schema.

use std::fmt::Write;

use serde_json::Value;

/// Writes a section for each kind of line and for each object type that lines contain.
pub fn keys(schema: &Value) -> String {
    let mut text = String::new();
    for line in schema["oneOf"].as_array().into_iter().flatten() {
        let kind = line["properties"]["kind"]["const"].as_str().unwrap_or_default();
        section(&mut text, &format!("`\"kind\": \"{kind}\"`"), line);
    }
    for (name, part) in schema["$defs"].as_object().into_iter().flatten() {
        if part["properties"].is_object() {
            section(&mut text, &format!("`{name}`"), part);
        } else if part["oneOf"].is_array() {
            words(&mut text, name, part);
        }
    }
    text
}

fn section(text: &mut String, title: &str, part: &Value) {
    let _ = writeln!(text, "### {title}\n\n{}\n\n| key | kind | meaning |\n| --- | --- | --- |", describe(part));
    let required: Vec<&str> = part["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (key, member) in part["properties"].as_object().into_iter().flatten().filter(|(key, _)| *key != "kind") {
        let optional = if required.contains(&key.as_str()) { "" } else { ", optional" };
        let _ = writeln!(text, "| `{key}` | {}{optional} | {} |", kind(member), describe(member).replace('|', "\\|"));
    }
    text.push('\n');
}

/// Writes a table of the values that a key can have.
fn words(text: &mut String, name: &str, part: &Value) {
    let _ = writeln!(text, "### `{name}`\n\n{}\n\n| word | meaning |\n| --- | --- |", describe(part));
    for word in part["oneOf"].as_array().into_iter().flatten() {
        let _ = writeln!(text, "| `\"{}\"` | {} |", word["const"].as_str().unwrap_or_default(), describe(word));
    }
    text.push('\n');
}

fn kind(member: &Value) -> String {
    let referred = member["$ref"].as_str().and_then(|reference| reference.rsplit('/').next());
    match (referred, member["type"].as_str()) {
        (Some("ImageName" | "KernelName" | "ScenarioName"), _) => "string".to_owned(),
        (Some(name), _) => format!("`{name}`"),
        (None, Some("array")) => format!("list of {}", kind(&member["items"])),
        (None, Some("boolean")) => "true or false".to_owned(),
        (None, Some("integer")) => "number".to_owned(),
        (None, other) => other.unwrap_or("any").to_owned(),
    }
}

fn describe(part: &Value) -> &str {
    part["description"].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::results_schema;

    #[test]
    fn every_key_of_every_kind_has_its_meaning() {
        let text = keys(&results_schema());
        for kind in ["start", "attempt", "judged", "skipped", "crash", "fault", "end"] {
            assert!(text.contains(&format!("### `\"kind\": \"{kind}\"`")), "{kind} is not in\n{text}");
        }
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| `")).collect();
        assert!(rows.len() > 50, "{text}");
        assert!(!text.contains("|  |") && !text.contains("| any"), "{text}");
        assert!(text.contains("| `errno` | string, optional |"), "{text}");
    }
}
