//! Formats what objects need, for people and for programs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
};

use anyhow::Result;
use harness_findings::report::alike;
use harness_objects::{Loss, Needs, Note, Object, Obstacle, Reason, SizeOrigin, Undelegable};
use harness_proof::minimizer::{FailedObject, Minimal};
use harness_runner::{
    proof::needs::{Computed, Proved},
    report::counted,
};
use harness_uapi::{delegation::option_of, names, permission::Element};
use schemars::JsonSchema;
use serde::Serialize;

use crate::screen::wrapped;

/// The version of the JSON document; it increases when readers of the previous one would misread the new one.
const FORMAT: u32 = 1;

/// Formats a table for each group of kernels that agree, and the text to paste if the objects load on any kernel. Only the
/// tables are wrapped.
pub(super) fn human(computed: &[Computed], pasted: Option<&str>) -> String {
    let texts = computed.iter().map(|one| (&one.kernel, kernel_text(one)));
    let tables = alike(texts).into_iter().map(|(kernels, table)| format!("on {kernels}:\n{table}\n"));
    let never = never_load(computed).map(|never| never + "\n");
    let to_paste = pasted.map(|pasted| {
        let on = if never.is_some() { format!(" on {}", kernels(computed, false)) } else { String::new() };
        format!("to paste{on}:\n{}", indented(pasted))
    });
    wrapped(&tables.chain(never).collect::<String>()) + &to_paste.unwrap_or_default()
}

/// Returns the sentence about kernels on which nothing makes the objects load, if there are any.
pub(super) fn never_load(computed: &[Computed]) -> Option<String> {
    let on = kernels(computed, true);
    (!on.is_empty()).then(|| format!("no delegation makes the objects load on {on}"))
}

/// Lists the kernels on which the objects never load, or the others.
fn kernels(computed: &[Computed], never: bool) -> String {
    let listed = computed.iter().filter(|one| one.never_load() == never);
    listed.map(|one| one.kernel.as_str()).collect::<Vec<_>>().join(", ")
}

fn kernel_text(computed: &Computed) -> String {
    let mut text = String::new();
    needed(&mut text, &computed.needs);
    computed.proved.iter().for_each(|proved| proof(&mut text, proved));
    text
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

fn needed(text: &mut String, needs: &Needs) {
    let width = needs.elements.keys().map(|element| element.to_string().len()).max().unwrap_or(0);
    for (element, reasons) in &needs.elements {
        let _ = writeln!(text, "    {:width$}  {}", element.to_string(), reasons_of(reasons));
    }
    for (element, reasons) in &needs.attaching {
        let _ = writeln!(text, "    {element}, to attach: {}", reasons_of(reasons));
    }
    for what in unique(&needs.undelegable) {
        let _ = writeln!(text, "    not delegable: {what}");
    }
    for loss in &needs.losses {
        let kept: Vec<String> = loss.kept_by.iter().map(ToString::to_string).collect();
        let kept = match kept.is_empty() {
            true => "no delegation restores it".to_owned(),
            false => format!("to keep it, grant {}", kept.join(", ")),
        };
        let _ = writeln!(text, "    {}: {} silently drops {} ({kept})", loss.object, loss.loader.library, loss.feature);
    }
    for (object, note) in &needs.notes {
        let _ = writeln!(text, "    {object}: {note}");
    }
    if let Some(least) = &needs.least_release {
        let _ = writeln!(text, "    from Linux {least} on");
    }
    let loaders: Vec<String> = needs.loaders.iter().map(ToString::to_string).collect();
    let _ = writeln!(text, "    as {} loads it", loaders.join(" and "));
}

/// Returns what cannot be granted, each once, with everything that needs it.
fn unique(undelegable: &[Undelegable]) -> Vec<String> {
    let mut by: BTreeMap<&Obstacle, BTreeSet<String>> = BTreeMap::new();
    for what in undelegable {
        by.entry(&what.obstacle).or_default().insert(format!("{} of {}", what.by, what.object));
    }
    by.into_iter()
        .map(|(obstacle, of)| format!("{obstacle}: {}", of.into_iter().collect::<Vec<_>>().join(", ")))
        .collect()
}

/// Lists a few reasons for an element, and the number of others.
fn reasons_of(reasons: &[Reason]) -> String {
    const SHOWN: usize = 3;
    let mut texts: Vec<String> = Vec::new();
    for reason in reasons {
        let one = format!("{} ({})", reason.by, reason.why.what);
        if !texts.contains(&one) {
            texts.push(one);
        }
    }
    let more = texts.len().saturating_sub(SHOWN);
    texts.truncate(SHOWN);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    texts.join(", ") + &rest
}

fn proof(text: &mut String, proved: &Proved) {
    match proved {
        Proved::Minimal { minimal, beyond, expected } => {
            let result = if beyond.is_empty() && minimal.superfluous.is_empty() {
                "proved: it loads with this, and with no element removed".to_owned()
            } else if *expected {
                "proved, but the verifier also requires CAP_PERFMON".to_owned()
            } else {
                format!("bug: the kernel disagrees: it requires {}", changed(minimal, beyond))
            };
            let _ = writeln!(
                text,
                "    {result} ({} in {})",
                counted(minimal.loads as usize, "load"),
                counted(minimal.rounds as usize, "round")
            );
            failures(text, &minimal.needed);
        }
        Proved::Insufficient(needs) => {
            let result = if proved.is_for_nobody() { "not even root can load it" } else { "bug: the kernel disagrees" };
            let _ = writeln!(text, "    {result}:");
            needs.iter().for_each(|need| failure(text, need));
        }
        Proved::Unknown(why) => {
            let _ = writeln!(text, "    not proved: {why}");
        }
    }
}

/// Describes elements that are needed but were not computed, and the reverse.
fn changed(minimal: &Minimal, beyond: &BTreeSet<Element>) -> String {
    let more = beyond.iter().map(|element| format!("{element} too"));
    let less = minimal.superfluous.iter().map(|element| format!("no {element}"));
    more.chain(less).collect::<Vec<_>>().join(", ")
}

fn failures(text: &mut String, needed: &BTreeMap<Element, Vec<FailedObject>>) {
    for (element, needs) in needed {
        let _ = writeln!(text, "      without {element}:");
        needs.iter().for_each(|need| failure(text, need));
    }
}

fn failure(text: &mut String, need: &FailedObject) {
    let _ = writeln!(text, "        {}: {}", need.object, need.defect);
}

/// The output of `cargo xtask caps --format json`.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "Needs")]
pub(crate) struct Document {
    /// The version of this format.
    format: u32,
    /// The objects, by name.
    objects: Vec<String>,
    /// The sizes of maps that are set before the objects are loaded.
    sizes: Vec<OneSize>,
    /// What they need, by the kernel's name.
    kernels: BTreeMap<String, OneKernel>,
}

/// The size of a map that is set before its object is loaded.
#[derive(Serialize, JsonSchema)]
struct OneSize {
    /// The object.
    object: String,
    /// The map.
    map: String,
    /// Its `max_entries`.
    max_entries: u32,
    /// Whether it was assumed, because the object has none; otherwise `--set` gave it.
    assumed: bool,
}

/// What objects need on a kernel.
#[derive(Serialize, JsonSchema)]
struct OneKernel {
    /// The least grant under which all of them load.
    elements: Vec<OneElement>,
    /// What is needed in addition to attach the programs.
    to_attach: Vec<OneElement>,
    /// What no grant provides, in words.
    not_delegable: Vec<String>,
    /// What their loader silently does without.
    lost: Vec<OneLoss>,
    /// Who loads them, each with its version.
    loaders: Vec<String>,
    /// Further notes.
    notes: Vec<OneNote>,
    /// The first release whose kernel accepts everything; null if none is known to.
    least_release: Option<String>,
    /// The result in a VM; null without `--prove`.
    proof: Option<OneProof>,
}

/// An element of a grant.
#[derive(Serialize, JsonSchema)]
struct OneElement {
    /// `OPTION NAME`, or a capability.
    element: String,
    /// What needs it.
    reasons: Vec<OneReason>,
}

/// Why an element is needed.
#[derive(Serialize, JsonSchema)]
struct OneReason {
    /// The object.
    object: String,
    /// The part of it.
    by: String,
    /// What the kernel requires it for.
    r#for: String,
    /// Where in the kernel that is.
    source: String,
}

/// A feature that a loader does without.
#[derive(Serialize, JsonSchema)]
struct OneLoss {
    /// The object.
    object: String,
    /// The feature.
    what: String,
    /// What would keep it; nothing if no grant does.
    kept_by: Vec<String>,
}

/// A note about an object.
#[derive(Serialize, JsonSchema)]
struct OneNote {
    /// The object.
    object: String,
    /// The note.
    note: String,
}

/// The result in a VM.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "result")]
enum OneProof {
    /// They load with the computed grant, and with no element removed.
    #[serde(rename = "minimal")]
    Minimal(OneMinimal),
    /// They load with another grant than the computed one.
    #[serde(rename = "reduced")]
    Reduced(OneMinimal),
    /// Not even root can load them.
    #[serde(rename = "for nobody")]
    ForNobody(OneFailure),
    /// They do not load with the computed grant.
    #[serde(rename = "insufficient")]
    Insufficient(OneFailure),
    /// There is no result.
    #[serde(rename = "unknown")]
    Unknown {
        /// Why.
        why: String,
    },
}

/// A least grant that a kernel confirmed.
#[derive(Serialize, JsonSchema)]
struct OneMinimal {
    /// Computed elements that are not needed.
    superfluous: Vec<String>,
    /// Needed elements that were not computed.
    beyond: Vec<String>,
    /// The number of loads.
    loads: u64,
    /// The number of rounds.
    rounds: u64,
    /// What fails without each element.
    without: Vec<OneWithout>,
}

/// What fails without an element.
#[derive(Serialize, JsonSchema)]
struct OneWithout {
    /// The element.
    element: String,
    /// The objects that do not load.
    fails: Vec<OneFailedObject>,
}

/// What does not load.
#[derive(Serialize, JsonSchema)]
struct OneFailure {
    /// The objects.
    fails: Vec<OneFailedObject>,
}

/// An object that does not load.
#[derive(Serialize, JsonSchema)]
struct OneFailedObject {
    /// The object.
    object: String,
    /// How it fails.
    how: String,
}

/// Returns the JSON document.
///
/// # Errors
/// If it cannot be written as JSON, which nothing in it prevents.
pub(super) fn json(objects: &[(String, Object)], computed: &[Computed]) -> Result<String> {
    let sizes = objects.iter().flat_map(|(object, parsed)| {
        parsed.sizes.iter().map(move |size| OneSize {
            object: object.clone(),
            map: size.map.clone(),
            max_entries: size.max_entries,
            assumed: size.origin == SizeOrigin::Assumed,
        })
    });
    let sizes = sizes.collect();
    let objects = objects.iter().map(|(name, _)| name.clone()).collect();
    let kernels = computed.iter().map(|one| (one.kernel.to_string(), kernel(&one.needs, one.proved.as_ref())));
    Ok(serde_json::to_string_pretty(&Document { format: FORMAT, objects, sizes, kernels: kernels.collect() })?)
}

fn kernel(needs: &Needs, proved: Option<&Proved>) -> OneKernel {
    let loss = |loss: &Loss| OneLoss {
        object: loss.object.to_string(),
        what: loss.feature.to_string(),
        kept_by: loss.kept_by.iter().map(name).collect(),
    };
    let note = |(object, note): &(Arc<str>, Note)| OneNote { object: object.to_string(), note: note.to_string() };
    OneKernel {
        elements: needs.elements.iter().map(|(element, reasons)| self::element(element, reasons)).collect(),
        to_attach: needs.attaching.iter().map(|(element, reasons)| self::element(element, reasons)).collect(),
        not_delegable: unique(&needs.undelegable),
        lost: needs.losses.iter().map(loss).collect(),
        loaders: needs.loaders.iter().map(ToString::to_string).collect(),
        notes: needs.notes.iter().map(note).collect(),
        least_release: needs.least_release.map(|least| least.release.to_string()),
        proof: proved.map(proof_of),
    }
}

fn element(element: &Element, reasons: &[Reason]) -> OneElement {
    let reason = |reason: &Reason| OneReason {
        object: reason.object.to_string(),
        by: reason.by.to_string(),
        r#for: reason.why.what.to_string(),
        source: reason.why.source.to_string(),
    };
    OneElement { element: name(element), reasons: reasons.iter().map(reason).collect() }
}

/// Formats an element as `OPTION NAME` or `CAP_NAME`.
fn name(element: &Element) -> String {
    match element {
        Element::Bit(bit) => format!("{} {}", option_of(bit.kind), names::shown(bit.kind, bit.number)),
        Element::Capability(capability) => capability.to_string(),
    }
}

fn proof_of(proved: &Proved) -> OneProof {
    match proved {
        Proved::Minimal { minimal, beyond, .. } => {
            let without = |(element, needs): (&Element, &Vec<FailedObject>)| OneWithout {
                element: name(element),
                fails: failed(needs),
            };
            let document = OneMinimal {
                superfluous: minimal.superfluous.iter().map(name).collect(),
                beyond: beyond.iter().map(name).collect(),
                loads: u64::from(minimal.loads),
                rounds: u64::from(minimal.rounds),
                without: minimal.needed.iter().map(without).collect(),
            };
            if proved.agrees() { OneProof::Minimal(document) } else { OneProof::Reduced(document) }
        }
        Proved::Insufficient(needs) => {
            let failure = OneFailure { fails: failed(needs) };
            if proved.is_for_nobody() { OneProof::ForNobody(failure) } else { OneProof::Insufficient(failure) }
        }
        Proved::Unknown(why) => OneProof::Unknown { why: why.clone() },
    }
}

fn failed(needs: &[FailedObject]) -> Vec<OneFailedObject> {
    let one = |need: &FailedObject| OneFailedObject { object: need.object.to_string(), how: need.defect.to_string() };
    needs.iter().map(one).collect()
}
