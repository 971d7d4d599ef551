//! Findings as one JSON document with a schema.

use std::collections::BTreeMap;

use harness_uapi::{delegation::option_of, vocabulary::Kind};
use schemars::{JsonSchema, Schema, schema_for};
use serde::Serialize;

use super::{ConfigurationReport, KernelReport, Proved, TriedUnit};
use crate::finding::{Finding, Fix, Safety};

/// The version of the document; it increases when readers of the previous one would misread the new one.
const FORMAT: u32 = 1;

/// The output of `cargo xtask validate --format json`.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "Findings")]
struct Document<'a> {
    /// The version of this format.
    format: u32,
    /// Each configuration, in the order of the command line and of its file.
    configurations: Vec<OneConfiguration<'a>>,
}

/// A configuration.
#[derive(Serialize, JsonSchema)]
struct OneConfiguration<'a> {
    /// The unit, instance, profile or mount point, or else the file.
    name: String,
    /// The front-end, such as `systemd`; of a policy of the guard, `guard-policy`.
    front_end: String,
    /// The files it was read from.
    files: Vec<String>,
    /// Whether a finding is an error.
    refused: bool,
    /// How each kernel treats it, by the kernel's name.
    kernels: BTreeMap<String, OneKernel<'a>>,
    /// How it was tried, if systemd started it in a VM.
    #[serde(rename = "rehearsal", skip_serializing_if = "Option::is_none")]
    vm_unit: Option<OneVmUnit>,
    /// The findings, in the order of the text.
    findings: Vec<OneFinding>,
}

/// How a unit was tried.
#[derive(Serialize, JsonSchema)]
struct OneVmUnit {
    /// The image whose systemd started it.
    image: String,
    /// What differs from the unit as it is written.
    changes: Vec<OneChange>,
}

/// Something that differs in the VM from what is written.
#[derive(Serialize, JsonSchema)]
struct OneChange {
    /// Where it is written.
    place: OnePlace,
    /// The setting or assignment.
    what: String,
    /// What replaces it; absent if it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    instead: Option<String>,
    /// Why.
    why: String,
}

/// How a kernel treats a configuration.
#[derive(Serialize, JsonSchema)]
struct OneKernel<'a> {
    /// MAJOR.MINOR.
    release: String,
    /// Whether a token can be created; absent if a value is not in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<bool>,
    /// The options as the kernel shows them, such as `delegate_cmds`; absent if the kernel omits them.
    delegation: BTreeMap<String, String>,
    /// The capabilities of the container that `bpf(2)` checks, such as `bpf`.
    capabilities: Vec<String>,
    /// The result in a VM, if it was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<&'a Proved>,
}

/// A finding.
#[derive(Serialize, JsonSchema)]
struct OneFinding {
    /// Its stable code.
    code: String,
    /// `error`, `warning` or `note`.
    level: String,
    /// What is wrong.
    message: String,
    /// The rule behind it.
    why: String,
    /// Where, unless it is about the whole configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<OnePlace>,
    /// The kernels it applies to; empty if it does not depend on the kernel.
    kernels: Vec<String>,
    /// How to fix it.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<OneFix>,
}

/// A location in a file.
#[derive(Serialize, JsonSchema)]
struct OnePlace {
    /// The file.
    file: String,
    /// Counted from 1.
    line: usize,
    /// In characters, counted from 1.
    column: usize,
    /// The first byte.
    start: usize,
    /// The byte after the last.
    end: usize,
}

/// How to fix a finding.
#[derive(Serialize, JsonSchema)]
struct OneFix {
    /// What to do.
    words: String,
    /// Whether `--fix` applies it.
    safe: bool,
    /// The same as edits of the text.
    edits: Vec<OneEdit>,
}

/// A text that replaces another.
#[derive(Serialize, JsonSchema)]
struct OneEdit {
    /// What it replaces.
    place: OnePlace,
    /// The new text.
    text: String,
}

/// Returns the document of these reports.
///
/// # Errors
/// If it cannot be written as JSON, which nothing in it prevents.
pub fn document(reports: &[ConfigurationReport]) -> serde_json::Result<String> {
    let configurations = reports.iter().map(configuration).collect();
    serde_json::to_string_pretty(&Document { format: FORMAT, configurations })
}

/// Returns the schema of the document.
pub fn schema() -> Schema {
    schema_for!(Document<'static>)
}

fn configuration(report: &ConfigurationReport) -> OneConfiguration<'_> {
    OneConfiguration {
        name: report.name().to_owned(),
        front_end: report.front_end().to_owned(),
        files: report.sources.iter().map(|source| source.label().to_owned()).collect(),
        refused: report.is_refused(),
        kernels: report.kernels.iter().map(|one| (one.name.to_string(), kernel(one))).collect(),
        vm_unit: report.tried_unit.as_ref().map(|one| vm_unit(one, report)),
        findings: report.findings.iter().map(|one| finding(one, report)).collect(),
    }
}

fn vm_unit(tried: &TriedUnit, report: &ConfigurationReport) -> OneVmUnit {
    let changes = tried.changes.iter().map(|change| OneChange {
        place: location(&change.location, report),
        what: change.what.clone(),
        instead: change.instead.clone(),
        why: change.why.to_owned(),
    });
    OneVmUnit { image: tried.image.clone(), changes: changes.collect() }
}

fn kernel(kernel: &KernelReport) -> OneKernel<'_> {
    let set = Kind::ALL.iter().zip(&kernel.shown).filter(|(_, names)| !names.is_empty());
    let inside = kernel.grant.capabilities.iter();
    OneKernel {
        release: kernel.release.to_string(),
        token: kernel.is_known.then(|| kernel.makes_token()),
        delegation: set.map(|(kind, names)| (option_of(*kind).to_owned(), names.clone())).collect(),
        capabilities: inside.map(|capability| capability.name().to_owned()).collect(),
        proof: kernel.proved.as_ref(),
    }
}

fn finding(finding: &Finding, report: &ConfigurationReport) -> OneFinding {
    OneFinding {
        code: finding.code.to_string(),
        level: finding.level.to_string(),
        message: finding.message.clone(),
        why: finding.why.clone(),
        place: finding.location.as_ref().map(|one| location(one, report)),
        kernels: finding.kernels.iter().map(ToString::to_string).collect(),
        fix: finding.fix.as_ref().map(|one| fix(one, report)),
    }
}

fn location(location: &harness_frontend::Location, report: &ConfigurationReport) -> OnePlace {
    let (line, column) = report.sources.position(location);
    let file = report.sources.get(location.source).label().to_owned();
    OnePlace { file, line, column, start: location.span.start, end: location.span.end }
}

fn fix(fix: &Fix, report: &ConfigurationReport) -> OneFix {
    let edit =
        |edit: &crate::finding::Edit| OneEdit { place: location(&edit.location, report), text: edit.text.clone() };
    OneFix { words: fix.words.clone(), safe: fix.safety == Safety::Safe, edits: fix.edits.iter().map(edit).collect() }
}
