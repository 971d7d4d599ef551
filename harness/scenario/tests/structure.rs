//! The structure of a scenario file is checked against the schema of its types.

use harness_diagnostics::{node::Node, structure::problems};
use harness_scenario::schema::scenario_schema;
use serde_json::Value;

fn messages(text: &str) -> Vec<String> {
    let node = Node::read(text).unwrap();
    let problems = problems(&node, scenario_schema());
    problems.iter().map(|p| format!("{} ({})", p.message(), p.advice().unwrap_or(""))).collect()
}

/// Fails as soon as the types need a part of JSON Schema that the walk would silently pass over.
#[test]
fn keywords_are_understood() {
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
fn one_pass_tells_all() {
    let found = messages(
        "sumary = 'x'\nisolation = 'vn'\ndeadline = 0\n[container]\nuid = '1'\ncaps = 5\n[[attempt]]\nop = 'map_creat'\n\
         [[attempt]]\nop = 'btf_load'\ntype = 'hash'\n[[attempt]]\ntype = 'hash'\n[[attempt]]\nop = 'map_create'\n\
         expect = 'alowed'\ntype = 1.5\n",
    );
    let expected = [
        "`op`",
        "`sumary` is no key (did you mean `summary`?)",
        "`summary` is missing",
        "`vn`",
        "0 is outside 1 to 300",
        "expected a whole number, found a string",
        "expected a string or a list, found a whole number",
        "did you mean `map_create`?",
        "`type` is no key of `btf_load`",
        "did you mean `allowed`?",
        "expected a string, found a float",
    ];
    for part in expected {
        assert!(found.iter().any(|message| message.contains(part)), "{part} is not in {found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}
