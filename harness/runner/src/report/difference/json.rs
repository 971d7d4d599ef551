//! What differs between two kernels, for programs: one JSON document, nothing left out.

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

/// Raised when a program that reads the document would misread a new one.
const FORMAT: u32 = 2;

/// What `cargo xtask diff A B --format json` prints.
#[derive(Debug, Serialize, JsonSchema)]
struct Document<'a> {
    /// The version of this format, raised when an old reader would misread a new document.
    format: u32,
    /// The first kernel.
    before: Kernel<'a>,
    /// The second kernel.
    after: Kernel<'a>,
    /// The scenarios judged on both kernels, those without a change included.
    scenarios: Vec<Scenario<'a>>,
    /// The scenarios not judged on both kernels, except those that are meant for neither.
    uncompared: Vec<Sides<'a>>,
    /// Scenarios on kernels whose verdicts are not as recorded.
    unrecorded: Vec<Unrecorded<'a>>,
    /// Names that are not the same by the kernels' type information.
    names: Vec<Name<'a>>,
    /// What the mount option value `any` covers, where that differs: it sets all 64 bits of a mask, of which those with a
    /// name mean something.
    any: Vec<Any<'a>>,
}

/// A kernel.
#[derive(Debug, Serialize, JsonSchema)]
struct Kernel<'a> {
    /// Its name.
    kernel: &'a KernelName,
    /// What `uname -r` says in it.
    release: &'a str,
}

/// A scenario judged on both kernels.
#[derive(Debug, Serialize, JsonSchema)]
struct Scenario<'a> {
    /// Which.
    scenario: &'a ScenarioName,
    /// The root file system of its guests.
    image: &'a ImageName,
    /// Why its verdicts are known to differ.
    reasons: Vec<Why<'a>>,
    /// What differs.
    changes: Vec<Changed<'a>>,
}

/// A reason.
#[derive(Debug, Serialize, JsonSchema)]
struct Why<'a> {
    /// One sentence.
    reason: &'a str,
    /// The commit of Linux that made the difference, where it is known.
    commit: Option<String>,
}

/// One thing that is not the same.
#[derive(Debug, Serialize, JsonSchema)]
struct Changed<'a> {
    /// What it is to those who rely on permissions.
    effect: Effect,
    /// The combination of the scenario's matrix; empty without one.
    case: &'a str,
    /// What changed.
    what: ChangedItem<'a>,
    /// What the first kernel said; null if it was not asked.
    before: Option<Answer<'a>>,
    /// What the second kernel said; null if it was not asked.
    after: Option<Answer<'a>>,
}

/// What changed.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ChangedItem<'a> {
    /// An attempt: its words, who made it, and which of several that read the same, from 1.
    Attempt { text: &'a str, container: &'a str, occurrence: usize },
    /// A call libbpf made in an attempt, likewise.
    Step { attempt: &'a str, text: &'a str, occurrence: usize },
    /// An attempt of a sweep.
    Cell { row: &'a str, arm: &'a str },
    /// A name of a sweep's kind that is not attempted.
    Absent { row: &'a str },
    /// A helper in programs of the type that is the row.
    Helper { helper: &'a str, row: &'a str, arm: &'a str },
    /// The mount of a container's bpffs.
    Mount { container: &'a str },
    /// Where what was to be delegated and what the kernel tells about it differ.
    Disagreements {},
}

/// What a kernel said.
#[derive(Debug, Serialize, JsonSchema)]
struct Answer<'a> {
    /// The verdict; null where something else is told than a verdict.
    verdict: Option<Class>,
    /// The errno, if there was one.
    errno: Option<String>,
    /// Why it was denied, if that was found out.
    cause: Option<&'a str>,
    /// What else was said.
    detail: Option<&'a str>,
}

/// What came of a scenario on each kernel.
#[derive(Debug, Serialize, JsonSchema)]
struct Sides<'a> {
    /// Which.
    scenario: &'a ScenarioName,
    /// On the first kernel.
    before: ScenarioState<'a>,
    /// On the second kernel.
    after: ScenarioState<'a>,
}

/// What came of a scenario on a kernel.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ScenarioState<'a> {
    /// It was judged.
    Judged {},
    /// It is not meant for the kernel.
    Skipped { reason: &'a str },
    /// It could not be judged.
    Fault { message: &'a str },
    /// The VM died or hung.
    Crashed { how: &'a str },
}

/// A scenario on a kernel whose verdicts are not as recorded.
#[derive(Debug, Serialize, JsonSchema)]
struct Unrecorded<'a> {
    scenario: &'a ScenarioName,
    kernel: &'a KernelName,
}

/// A name that is not the same.
#[derive(Debug, Serialize, JsonSchema)]
struct Name<'a> {
    /// What it is a name of.
    family: Family,
    /// The name.
    name: &'a str,
    /// What became of it.
    fate: Word,
    /// Its number on the first kernel, if it is there and has one.
    before: Option<u32>,
    /// Its number on the second kernel, if it is there and has one.
    after: Option<u32>,
}

/// What became of a name.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Word {
    /// Only the second kernel knows it.
    Added,
    /// Only the first kernel knows it.
    Removed,
    /// It stands for another number.
    Renumbered,
}

/// What `any` covers in one mount option.
#[derive(Debug, Serialize, JsonSchema)]
struct Any<'a> {
    /// The option.
    option: &'static str,
    /// The bits with a name on the first kernel, hexadecimal.
    before: String,
    /// The bits with a name on the second kernel, hexadecimal.
    after: String,
    /// Names covered on the second kernel only.
    gained: &'a [String],
    /// Names covered on the first kernel only.
    lost: &'a [String],
}

/// The document.
///
/// # Errors
/// If `serde_json` cannot write it.
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

/// The JSON Schema of the document (2020-12).
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

fn answer(told: &KernelAnswer) -> Answer<'_> {
    Answer {
        verdict: told.class,
        errno: told.errno.map(|errno| errno.to_string()),
        cause: told.cause.as_deref(),
        detail: told.detail.as_deref(),
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
        State::Crashed(how) => ScenarioState::Crashed { how },
    }
}

fn name(change: &NameChange) -> Name<'_> {
    let (fate, before, after) = match change.fate {
        NameStatus::Added(number) => (Word::Added, None, number),
        NameStatus::Removed(number) => (Word::Removed, number, None),
        NameStatus::Renumbered { before, after } => (Word::Renumbered, Some(before), Some(after)),
    };
    Name { family: change.family, name: &change.name, fate, before, after }
}

fn any(coverage: &Coverage) -> Any<'_> {
    let hex = |bits: u64| format!("{bits:#x}");
    let (gained, lost) = (&*coverage.gained, &*coverage.lost);
    let option = option_of(coverage.kind);
    Any { option, before: hex(coverage.before), after: hex(coverage.after), gained, lost }
}
