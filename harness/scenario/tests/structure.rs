//! Checks the structure of scenario files against the schema of their types.

use std::fmt::Write;

use harness_diagnostics::{node::Node, report::Report, structure::fitting};
use harness_scenario::schema::scenario_schema;
use serde_json::Value;

/// Fails if the types need a keyword of JSON Schema that the check would ignore.
#[test]
fn every_keyword_is_supported() {
    fn check(schema: &Value, inside_properties: bool) {
        const KNOWN: [&str; 20] = [
            "$schema",
            "$defs",
            "$ref",
            "title",
            "description",
            "default",
            "type",
            "properties",
            "required",
            "items",
            "additionalProperties",
            "oneOf",
            "anyOf",
            "const",
            "enum",
            "minimum",
            "maximum",
            "minItems",
            "maxItems",
            "maxProperties",
        ];
        match schema {
            Value::Object(members) => {
                for (key, member) in members {
                    assert!(inside_properties || KNOWN.contains(&key.as_str()), "unknown keyword {key}");
                    if !matches!(key.as_str(), "default" | "const" | "enum") || inside_properties {
                        check(member, !inside_properties && matches!(key.as_str(), "properties" | "$defs"));
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| check(item, false)),
            _ => {}
        }
    }
    check(scenario_schema(), false);
}

#[test]
fn what_fits_is_kept_and_everything_else_is_reported() {
    let text = include_str!("fixtures/structure.toml");
    let (kept, problems) = fitting(&Node::read(text).unwrap(), scenario_schema());
    let mut shown = Report::new("structure.toml", text.into(), problems).to_string();
    let _ = write!(shown, "\n\nkept: {:#}", kept.to_json());
    insta::assert_snapshot!("structure", shown);
}
