//! Findings as one JSON document with a schema.

use std::collections::BTreeMap;

use harness_uapi::{delegation::option_of, vocabulary::Kind};
use schemars::{JsonSchema, Schema, schema_for};
use serde::Serialize;

use super::{ConfigurationReport, KernelReport, Proved, TriedUnit};
use crate::finding::{Finding, Fix, Safety};

/// The version of the document; it grows when a reader of the former would misread the new.
const FORMAT: u32 = 1;

/// What `cargo xtask validate --format json` prints.
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
    /// The unit, instance, profile or mount point, or the file.
    name: String,
    /// Who reads it, such as `systemd`.
    front_end: String,
    /// The files it was read from.
    files: Vec<String>,
    /// Whether something is wrong enough to refuse it.
    refused: bool,
    /// What each kernel makes of it, by the kernel's name.
    kernels: BTreeMap<String, OneKernel<'a>>,
    /// How it was tried, if systemd started it in a VM.
    #[serde(skip_serializing_if = "Option::is_none")]
    vm_unit: Option<OneRehearsal>,
    /// What was found, in the order of the text.
    findings: Vec<OneFinding>,
}

/// How a unit was tried.
#[derive(Serialize, JsonSchema)]
struct OneRehearsal {
    /// The image whose systemd started it.
    image: String,
    /// What of the unit is not there as it is written.
    changes: Vec<OneChange>,
}

/// Something of a unit that is otherwise in the VM.
#[derive(Serialize, JsonSchema)]
struct OneChange {
    /// Where it is written.
    place: OnePlace,
    /// The setting or assignment.
    what: String,
    /// What is there instead; left out where nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    instead: Option<String>,
    /// Why.
    why: String,
}

/// What a kernel makes of a configuration.
#[derive(Serialize, JsonSchema)]
struct OneKernel<'a> {
    /// MAJOR.MINOR.
    release: String,
    /// Whether a token can be made.
    token: bool,
    /// The options as the kernel shows them, such as `delegate_cmds`; those it does not show are left out.
    delegation: BTreeMap<String, String>,
    /// The capabilities inside that `bpf(2)` asks for, such as `bpf`.
    capabilities: Vec<String>,
    /// What came of it in a VM, if it was tried.
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
    /// What.
    message: String,
    /// The rule behind it.
    why: String,
    /// Where, unless it is about all of the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<OnePlace>,
    /// The kernels it holds for; all if there is none.
    kernels: Vec<String>,
    /// What would mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<OneFix>,
}

/// A place in a file.
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

/// What would mend a finding.
#[derive(Serialize, JsonSchema)]
struct OneFix {
    /// What to do.
    words: String,
    /// Whether `--fix` does it.
    safe: bool,
    /// The same as texts that replace others.
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

/// The document of these judgements.
///
/// # Errors
/// If it cannot be written as JSON, which nothing in it prevents.
pub fn document(judgements: &[ConfigurationReport]) -> serde_json::Result<String> {
    let configurations = judgements.iter().map(configuration).collect();
    serde_json::to_string_pretty(&Document { format: FORMAT, configurations })
}

/// The schema of the document.
pub fn schema() -> Schema {
    schema_for!(Document<'static>)
}

fn configuration(judgement: &ConfigurationReport) -> OneConfiguration<'_> {
    OneConfiguration {
        name: judgement.name().to_owned(),
        front_end: judgement.configuration.frontend.to_string(),
        files: judgement.sources.iter().map(|source| source.label().to_owned()).collect(),
        refused: judgement.is_refused(),
        kernels: judgement.kernels.iter().map(|one| (one.name.to_string(), kernel(one))).collect(),
        vm_unit: judgement.rehearsed.as_ref().map(|one| vm_unit(one, judgement)),
        findings: judgement.findings.iter().map(|one| finding(one, judgement)).collect(),
    }
}

fn vm_unit(rehearsed: &TriedUnit, judgement: &ConfigurationReport) -> OneRehearsal {
    let changes = rehearsed.changes.iter().map(|change| OneChange {
        place: location(&change.location, judgement),
        what: change.what.clone(),
        instead: change.instead.clone(),
        why: change.why.to_owned(),
    });
    OneRehearsal { image: rehearsed.image.clone(), changes: changes.collect() }
}

fn kernel(kernel: &KernelReport) -> OneKernel<'_> {
    let set = Kind::ALL.iter().zip(&kernel.shown).filter(|(_, names)| !names.is_empty());
    let inside = kernel.grant.capabilities.iter();
    OneKernel {
        release: kernel.release.to_string(),
        token: kernel.makes_token(),
        delegation: set.map(|(kind, names)| (option_of(*kind).to_owned(), names.clone())).collect(),
        capabilities: inside.map(|capability| capability.name().to_owned()).collect(),
        proof: kernel.proved.as_ref(),
    }
}

fn finding(finding: &Finding, judgement: &ConfigurationReport) -> OneFinding {
    OneFinding {
        code: finding.code.to_string(),
        level: finding.level.to_string(),
        message: finding.message.clone(),
        why: finding.why.clone(),
        place: finding.location.as_ref().map(|one| location(one, judgement)),
        kernels: finding.kernels.iter().map(ToString::to_string).collect(),
        fix: finding.fix.as_ref().map(|one| fix(one, judgement)),
    }
}

fn location(location: &harness_frontend::Location, judgement: &ConfigurationReport) -> OnePlace {
    let (line, column) = judgement.sources.position(location);
    let file = judgement.sources.get(location.source).label().to_owned();
    OnePlace { file, line, column, start: location.span.start, end: location.span.end }
}

fn fix(fix: &Fix, judgement: &ConfigurationReport) -> OneFix {
    let edit =
        |edit: &crate::finding::Edit| OneEdit { place: location(&edit.location, judgement), text: edit.text.clone() };
    OneFix { words: fix.words.clone(), safe: fix.safety == Safety::Safe, edits: fix.edits.iter().map(edit).collect() }
}
