//! Findings as a SARIF 2.1.0 log, which code hosts and editors show beside the text.
//!
//! The format: <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>.

use serde_json::{Value, json};

use super::{ConfigurationReport, KernelReport, PROOF};
use crate::{
    code::Code,
    finding::{Edit, Finding},
};

/// The log of these judgements, of a tool of this version.
///
/// # Errors
/// If it cannot be written as JSON, which nothing in it prevents.
pub fn log(judgements: &[ConfigurationReport], version: &str) -> serde_json::Result<String> {
    let rules: Vec<Value> = Code::ALL.iter().map(|code| rule(*code)).chain([rule_of_proofs()]).collect();
    let each = |judgement: &ConfigurationReport| {
        let findings = judgement.findings.iter().map(|one| result(one, judgement));
        findings.chain(judgement.kernels.iter().flat_map(|one| proof(one, judgement))).collect::<Vec<_>>()
    };
    let results: Vec<Value> = judgements.iter().flat_map(each).collect();
    serde_json::to_string_pretty(&json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "bpf-token-harness", "version": version, "rules": rules } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    }))
}

fn rule(code: Code) -> Value {
    json!({
        "id": code.id(),
        "shortDescription": { "text": code.title() },
        "fullDescription": { "text": code.explanation() },
        "defaultConfiguration": { "level": code.level().name() },
    })
}

fn rule_of_proofs() -> Value {
    json!({
        "id": PROOF,
        "shortDescription": { "text": "what a kernel made of it in a VM" },
        "defaultConfiguration": { "level": "note" },
    })
}

/// What a kernel made of it, and apart from that where it disagrees with what was judged.
fn proof(kernel: &KernelReport, judgement: &ConfigurationReport) -> Vec<Value> {
    let Some(proved) = &kernel.proved else { return Vec::new() };
    let told = |level: &str, kind: &str, lines: &[String]| {
        json!({
            "ruleId": PROOF,
            "ruleIndex": Code::ALL.len(),
            "level": level,
            "kind": kind,
            "message": { "text": format!("On {}: {}.", kernel.name, lines.join("; ")) },
            "locations": [{ "physicalLocation": {
                "artifactLocation": { "uri": uri(judgement.sources.get(0).label()) },
            }}],
        })
    };
    // Only what fails has a level (SARIF 2.1.0, 3.27.10).
    let mut results = vec![told("none", "informational", &proved.lines())];
    if !proved.disagreements.is_empty() {
        results.push(told("error", "fail", &proved.disagreements));
    }
    results
}

fn result(finding: &Finding, judgement: &ConfigurationReport) -> Value {
    let index = Code::ALL.iter().position(|code| *code == finding.code);
    let mut result = json!({
        "ruleId": finding.code.id(),
        "ruleIndex": index,
        "level": finding.level.name(),
        "message": { "text": text(finding) },
        "locations": [location(finding, judgement)],
    });
    if let Some(fix) = finding.fix.as_ref().filter(|fix| !fix.edits.is_empty()) {
        let changes: Vec<Value> = fix.edits.iter().map(|edit| change(edit, judgement)).collect();
        result["fixes"] = json!([{ "description": { "text": fix.words }, "artifactChanges": changes }]);
    }
    result
}

fn text(finding: &Finding) -> String {
    let kernels: Vec<&str> = finding.kernels.iter().map(|name| name.as_str()).collect();
    let on = if kernels.is_empty() { String::new() } else { format!(" Kernels: {}.", kernels.join(", ")) };
    let fix = finding.fix.as_ref().map(|fix| format!(" Fix: {}.", fix.words)).unwrap_or_default();
    format!("{}. Why: {}.{fix}{on}", finding.message, finding.why)
}

fn location(finding: &Finding, judgement: &ConfigurationReport) -> Value {
    match &finding.location {
        Some(location) => json!({ "physicalLocation": {
            "artifactLocation": { "uri": uri(judgement.sources.get(location.source).label()) },
            "region": region(location, judgement),
        }}),
        None => json!({ "physicalLocation": { "artifactLocation": { "uri": uri(judgement.sources.get(0).label()) } } }),
    }
}

fn region(location: &harness_frontend::Location, judgement: &ConfigurationReport) -> Value {
    let (line, column) = judgement.sources.position(location);
    let text = judgement.sources.text(location);
    let lines = text.matches('\n').count();
    let last = text.rsplit('\n').next().unwrap_or_default().chars().count();
    let end = if lines == 0 { column + last } else { last + 1 };
    json!({ "startLine": line, "startColumn": column, "endLine": line + lines, "endColumn": end })
}

fn change(edit: &Edit, judgement: &ConfigurationReport) -> Value {
    json!({
        "artifactLocation": { "uri": uri(judgement.sources.get(edit.location.source).label()) },
        "replacements": [{
            "deletedRegion": region(&edit.location, judgement),
            "insertedContent": { "text": edit.text },
        }],
    })
}

/// A path as a reference to a resource: bytes that are not for a path are written as percent and two digits (RFC 3986).
fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b'@' => {
                uri.push(char::from(byte))
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}
