//! Findings as a SARIF 2.1.0 log, which code hosts and editors show next to the text.
//!
//! The format: <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>.

use serde_json::{Value, json};

use super::{ConfigurationReport, KernelReport, PROOF};
use crate::{
    code::Code,
    finding::{Edit, Finding},
};

/// Returns the log of these reports, for this version of the program.
///
/// # Errors
/// If it cannot be written as JSON, which nothing in it prevents.
pub fn log(reports: &[ConfigurationReport], version: &str) -> serde_json::Result<String> {
    let rules: Vec<Value> = Code::ALL.iter().map(|code| rule(*code)).chain([rule_of_proofs()]).collect();
    let each = |report: &ConfigurationReport| {
        let findings = report.findings.iter().map(|one| result(one, report));
        findings.chain(report.kernels.iter().flat_map(|one| proof(one, report))).collect::<Vec<_>>()
    };
    let results: Vec<Value> = reports.iter().flat_map(each).collect();
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
        "shortDescription": { "text": "result on a kernel in a VM" },
        "defaultConfiguration": { "level": "note" },
    })
}

/// Returns the result on a kernel, and separately where it disagrees with the prediction.
fn proof(kernel: &KernelReport, report: &ConfigurationReport) -> Vec<Value> {
    let Some(proved) = &kernel.proved else { return Vec::new() };
    let trial = |level: &str, kind: &str, lines: &[String]| {
        json!({
            "ruleId": PROOF,
            "ruleIndex": Code::ALL.len(),
            "level": level,
            "kind": kind,
            "message": { "text": format!("On {}: {}.", kernel.name, lines.join("; ")) },
            "locations": [{ "physicalLocation": {
                "artifactLocation": { "uri": uri(report.sources.get(0).label()) },
            }}],
        })
    };
    // Only failures have a level (SARIF 2.1.0, 3.27.10).
    let mut results = vec![trial("none", "informational", &proved.lines())];
    if !proved.disagreements.is_empty() {
        results.push(trial("error", "fail", &proved.disagreements));
    }
    results
}

fn result(finding: &Finding, report: &ConfigurationReport) -> Value {
    let index = Code::ALL.iter().position(|code| *code == finding.code);
    let mut result = json!({
        "ruleId": finding.code.id(),
        "ruleIndex": index,
        "level": finding.level.name(),
        "message": { "text": text(finding) },
        "locations": [location(finding, report)],
    });
    if let Some(fix) = finding.fix.as_ref().filter(|fix| !fix.edits.is_empty()) {
        let changes: Vec<Value> = fix.edits.iter().map(|edit| change(edit, report)).collect();
        result["fixes"] = json!([{ "description": { "text": fix.words }, "artifactChanges": changes }]);
    }
    result
}

fn text(finding: &Finding) -> String {
    let kernels: Vec<&str> = finding.kernels.iter().map(|name| name.as_str()).collect();
    let on = if kernels.is_empty() { String::new() } else { format!(" Kernels: {}.", kernels.join(", ")) };
    let fix = finding.fix.as_ref().map(|fix| format!(" Fix: {}", sentence(&fix.words))).unwrap_or_default();
    format!("{} Why: {}{fix}{on}", sentence(&finding.message), sentence(&finding.why))
}

/// Ends a text with a full stop unless it is a question.
fn sentence(text: &str) -> String {
    if text.ends_with('?') { text.to_owned() } else { format!("{text}.") }
}

fn location(finding: &Finding, report: &ConfigurationReport) -> Value {
    match &finding.location {
        Some(location) => json!({ "physicalLocation": {
            "artifactLocation": { "uri": uri(report.sources.get(location.source).label()) },
            "region": region(location, report),
        }}),
        None => json!({ "physicalLocation": { "artifactLocation": { "uri": uri(report.sources.get(0).label()) } } }),
    }
}

fn region(location: &harness_frontend::Location, report: &ConfigurationReport) -> Value {
    let (line, column) = report.sources.position(location);
    let text = report.sources.text(location);
    let lines = text.matches('\n').count();
    let last = text.rsplit('\n').next().unwrap_or_default().chars().count();
    let end = if lines == 0 { column + last } else { last + 1 };
    json!({ "startLine": line, "startColumn": column, "endLine": line + lines, "endColumn": end })
}

fn change(edit: &Edit, report: &ConfigurationReport) -> Value {
    json!({
        "artifactLocation": { "uri": uri(report.sources.get(edit.location.source).label()) },
        "replacements": [{
            "deletedRegion": region(&edit.location, report),
            "insertedContent": { "text": edit.text },
        }],
    })
}

/// Encodes a path as a URI reference: bytes that a path cannot have become a percent sign and two digits (RFC 3986).
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
