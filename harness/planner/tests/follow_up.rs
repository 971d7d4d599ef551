//! A mistake in the structure of a scenario file is reported once: nothing else is reported because of it.

mod common;

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use harness_diagnostics::node::{Node, Shape};
use harness_planner::check::check;
use harness_scenario::file;

use common::known;

/// Scenarios with much that depends on other keys: saved objects, containers, settings, a matrix, a unit and a sweep.
const SCENARIOS: [&str; 8] = [
    "capabilities/token-that-lacks-a-bit",
    "confinement/seccomp-refuses-a-command",
    "links/cgroup-skb-of-another",
    "mount/separators",
    "objects/pinning",
    "sweeps/map-types",
    "systemd/all-options",
    "sysctl/who-writes-them",
];

fn folder() -> PathBuf {
    // At run time, because the compiled test may have been moved.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&package).join("../../scenarios")
}

/// The positions of all keys, and of all values that are not tables or lists.
fn positions(node: &Node, keys: &mut Vec<Range<usize>>, values: &mut Vec<Range<usize>>) {
    match &node.shape {
        Shape::Table(entries) => {
            for entry in entries.values() {
                keys.push(entry.key_span.clone());
                positions(&entry.node, keys, values);
            }
        }
        Shape::Array(items) => items.iter().for_each(|item| positions(item, keys, values)),
        _ => values.push(node.span.clone()),
    }
}

/// Replaces a part of the text. If that is a mistake in the structure, returns all problems that are not.
fn follow_ups(text: &str, span: &Range<usize>, replacement: &str) -> Vec<String> {
    let wrong = format!("{}{replacement}{}", &text[..span.start], &text[span.end..]);
    let Ok(file) = file::parse("x.toml", "x".parse().unwrap(), &wrong) else { return Vec::new() };
    if file.problems().is_empty() {
        return Vec::new();
    }
    let report = check(&file, &known()).unwrap_err();
    let others = report.problems().iter().filter(|problem| !file.problems().contains(problem));
    others.map(|problem| format!("{replacement} for {}: {}", &text[span.clone()], problem.message())).collect()
}

#[test]
fn one_wrong_key_or_value_causes_no_other_problem() {
    let mut tried = 0;
    for name in SCENARIOS {
        let text = fs::read_to_string(folder().join(format!("{name}.toml"))).unwrap();
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        positions(&Node::read(&text).unwrap(), &mut keys, &mut values);
        for span in keys {
            let misspelt = format!("{}x", &text[span.clone()]);
            for replacement in [misspelt.as_str(), "zzz"] {
                assert_eq!(follow_ups(&text, &span, replacement), Vec::<String>::new(), "{name}");
                tried += 1;
            }
        }
        for span in values {
            for replacement in ["1.5", "{}", "[1979-05-27]"] {
                assert_eq!(follow_ups(&text, &span, replacement), Vec::<String>::new(), "{name}");
                tried += 1;
            }
        }
    }
    assert!(tried > 100, "only {tried}");
}
