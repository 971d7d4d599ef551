//! Differences between two kernels for programs: one JSON document, unabridged.

use std::collections::BTreeMap;

use harness_protocol::name::{ImageName, KernelName, ScenarioName};
use harness_snapshot::{
    difference::{
        Change, Effect, ItemKind, KernelAnswer,
        groups::Compared,
        names::{Coverage, Family, NameChange, NameStatus},
    },
    reasons::Explanation,
};
use harness_uapi::delegation::option_of;
use harness_verdict::verdict::Class;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::Serialize;

use super::{Difference, State, Uncompared};

/// The format's version. Raised when a program that reads the old format would misread the new one.
const FORMAT: u32 = 2;

/// The output of `cargo xtask diff A B --format json`.
#[derive(Debug, Serialize, JsonSchema)]
struct Document<'a> {
    /// The version of this format, raised when an old reader would misread a new document.
    format: u32,
    /// The first kernel.
    before: Kernel<'a>,
    /// The second kernel.
    after: Kernel<'a>,
    /// The scenarios judged on both kernels, including those without a change.
    scenarios: Vec<Scenario<'a>>,
    /// The scenarios not judged on both kernels, except those meant for neither.
    uncompared: Vec<Sides<'a>>,
    /// Scenarios whose verdicts are not as recorded, each with the kernel.
    unrecorded: Vec<Unrecorded<'a>>,
    /// Names that differ in the kernels' type information.
    names: Vec<Name<'a>>,
    /// What the mount option value `any` covers, if that differs. `any` sets all 64 bits of a mask; only bits with a
    /// name have a meaning.
    any: Vec<Any<'a>>,
}

/// A kernel.
#[derive(Debug, Serialize, JsonSchema)]
struct Kernel<'a> {
    /// The kernel's name.
    kernel: &'a KernelName,
    /// The output of `uname -r` in the guest.
    release: &'a str,
}

/// A scenario judged on both kernels.
#[derive(Debug, Serialize, JsonSchema)]
struct Scenario<'a> {
    /// The scenario's name.
    scenario: &'a ScenarioName,
    /// The image of its guests.
    image: &'a ImageName,
    /// The recorded reasons for which its verdicts differ.
    reasons: Vec<Why<'a>>,
    /// The differences.
    changes: Vec<Changed<'a>>,
}

/// A reason for a difference.
#[derive(Debug, Serialize, JsonSchema)]
struct Why<'a> {
    /// The reason, in one sentence.
    reason: &'a str,
    /// The Linux commit that made the difference, if known.
    commit: Option<String>,
}

/// One difference.
#[derive(Debug, Serialize, JsonSchema)]
struct Changed<'a> {
    /// What the change means to those who rely on permissions.
    effect: Effect,
    /// The case: a combination of the scenario's matrix; empty without a matrix.
    case: &'a str,
    /// The item that changed.
    what: ChangedItem<'a>,
    /// The first kernel's answer; null if it was not asked.
    before: Option<Answer<'a>>,
    /// The second kernel's answer; null if it was not asked.
    after: Option<Answer<'a>>,
}

/// The item that changed.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ChangedItem<'a> {
    /// An attempt: its description, its actor, and its number among attempts with the same description, from 1.
    Attempt { text: &'a str, container: &'a str, occurrence: usize },
    /// A call that libbpf made in an attempt, likewise.
    Step { attempt: &'a str, text: &'a str, occurrence: usize },
    /// An attempt of a sweep.
    Cell { row: &'a str, arm: &'a str },
    /// A name that the sweep covers but does not attempt.
    Absent { row: &'a str },
    /// A helper in programs of the type that the row names.
    Helper { helper: &'a str, row: &'a str, arm: &'a str },
    /// The mount of a container's bpffs.
    Mount { container: &'a str },
    /// Differences between the requested delegation and what the kernel shows of it.
    Disagreements {},
}

/// A kernel's answer.
#[derive(Debug, Serialize, JsonSchema)]
struct Answer<'a> {
    /// The verdict; null if the answer is not a verdict.
    verdict: Option<Class>,
    /// The errno, if there is one.
    errno: Option<String>,
    /// Why it was denied, if known.
    cause: Option<&'a str>,
    /// Further details.
    detail: Option<&'a str>,
}

/// The status of a scenario on each kernel.
#[derive(Debug, Serialize, JsonSchema)]
struct Sides<'a> {
    /// The scenario's name.
    scenario: &'a ScenarioName,
    /// Its status on the first kernel.
    before: ScenarioState<'a>,
    /// Its status on the second kernel.
    after: ScenarioState<'a>,
}

/// The status of a scenario on a kernel.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ScenarioState<'a> {
    /// It was judged.
    Judged {},
    /// It is not meant for the kernel.
    Skipped { reason: &'a str },
    /// It could not be judged.
    Fault { message: &'a str },
    /// The kernel printed a splat that is not allowed.
    Splat { text: &'a str },
    /// The VM died or hung.
    Crashed { how: &'a str },
}

/// A scenario on a kernel whose verdicts are not as recorded.
#[derive(Debug, Serialize, JsonSchema)]
struct Unrecorded<'a> {
    scenario: &'a ScenarioName,
    kernel: &'a KernelName,
}

/// A name that differs.
#[derive(Debug, Serialize, JsonSchema)]
struct Name<'a> {
    /// The kind of name.
    family: Family,
    /// The name.
    name: &'a str,
    /// How the name changed.
    fate: NameChangeKind,
    /// Its number on the first kernel, if it exists there and has one.
    before: Option<u32>,
    /// Its number on the second kernel, if it exists there and has one.
    after: Option<u32>,
}

/// How a name changed.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum NameChangeKind {
    /// Only the second kernel knows it.
    Added,
    /// Only the first kernel knows it.
    Removed,
    /// Its number differs.
    Renumbered,
}

/// What `any` covers in one mask.
#[derive(Debug, Serialize, JsonSchema)]
struct Any<'a> {
    /// The mount option.
    option: &'static str,
    /// The bits with a name on the first kernel, hexadecimal.
    before: String,
    /// The bits with a name on the second kernel, hexadecimal.
    after: String,
    /// Names covered only on the second kernel.
    gained: &'a [String],
    /// Names covered only on the first kernel.
    lost: &'a [String],
}

/// Returns the document.
///
/// # Errors
/// If the document cannot be serialized.
pub fn json(difference: &Difference) -> Result<String, serde_json::Error> {
    let document = Document {
        format: FORMAT,
        before: Kernel { kernel: &difference.before.0, release: &difference.before.1 },
        after: Kernel { kernel: &difference.after.0, release: &difference.after.1 },
        scenarios: difference.compared.iter().filter_map(|compared| scenario(compared, &difference.images)).collect(),
        uncompared: difference.uncompared.iter().map(sides).collect(),
        unrecorded: difference.unrecorded.iter().map(|(scenario, kernel)| Unrecorded { scenario, kernel }).collect(),
        names: difference.names.iter().map(name).collect(),
        any: difference.coverage.iter().map(any).collect(),
    };
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

/// Returns the JSON Schema of the document (2020-12).
pub fn schema() -> serde_json::Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    settings.into_generator().into_root_schema_for::<Document<'_>>().to_value()
}

fn scenario<'a>(compared: &'a Compared, images: &'a BTreeMap<ScenarioName, ImageName>) -> Option<Scenario<'a>> {
    let why = |explanation: &'_ Explanation| explanation.commit.as_ref().map(ToString::to_string);
    Some(Scenario {
        scenario: &compared.scenario,
        image: images.get(&compared.scenario)?,
        reasons: compared.reasons.iter().map(|one| Why { reason: &one.reason, commit: why(one) }).collect(),
        changes: compared.changes.iter().map(changed).collect(),
    })
}

fn changed(change: &Change) -> Changed<'_> {
    let what = match &change.subject.what {
        ItemKind::Attempt { text, container, occurrence } => {
            ChangedItem::Attempt { text, container, occurrence: *occurrence }
        }
        ItemKind::Step { attempt, step, occurrence } => {
            ChangedItem::Step { attempt, text: step, occurrence: *occurrence }
        }
        ItemKind::Cell { row, arm } => ChangedItem::Cell { row, arm },
        ItemKind::Absent { row } => ChangedItem::Absent { row },
        ItemKind::Helper { helper, row, arm } => ChangedItem::Helper { helper, row, arm },
        ItemKind::Mount { container } => ChangedItem::Mount { container: container.as_str() },
        ItemKind::Disagreements => ChangedItem::Disagreements {},
    };
    let (before, after) = (change.before.as_ref().map(answer), change.after.as_ref().map(answer));
    Changed { effect: change.effect, case: &change.subject.case, what, before, after }
}

fn answer(answer: &KernelAnswer) -> Answer<'_> {
    Answer {
        verdict: answer.class,
        errno: answer.errno.map(|errno| errno.to_string()),
        cause: answer.cause.as_deref(),
        detail: answer.detail.as_deref(),
    }
}

fn sides(one: &Uncompared) -> Sides<'_> {
    Sides { scenario: &one.scenario, before: status(&one.before), after: status(&one.after) }
}

fn status(state: &State) -> ScenarioState<'_> {
    match state {
        State::Judged => ScenarioState::Judged {},
        State::Skipped(reason) => ScenarioState::Skipped { reason },
        State::Fault(message) => ScenarioState::Fault { message },
        State::Splat(text) => ScenarioState::Splat { text },
        State::Crashed(how) => ScenarioState::Crashed { how },
    }
}

fn name(change: &NameChange) -> Name<'_> {
    let (fate, before, after) = match change.fate {
        NameStatus::Added(number) => (NameChangeKind::Added, None, number),
        NameStatus::Removed(number) => (NameChangeKind::Removed, number, None),
        NameStatus::Renumbered { before, after } => (NameChangeKind::Renumbered, Some(before), Some(after)),
    };
    Name { family: change.family, name: &change.name, fate, before, after }
}

fn any(coverage: &Coverage) -> Any<'_> {
    let hex = |bits: u64| format!("{bits:#x}");
    let (gained, lost) = (&*coverage.gained, &*coverage.lost);
    let option = option_of(coverage.kind);
    Any { option, before: hex(coverage.before), after: hex(coverage.after), gained, lost }
}
