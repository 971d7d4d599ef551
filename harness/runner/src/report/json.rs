//! Verdicts for programs: one JSON object a line. `docs/results.md` describes them, from the documentation here.

use std::fmt::Write;

use harness_model::{
    grid::{Grid, Part},
    judgement::{Judgement, Row},
    name::{ImageName, KernelName, ScenarioName},
    scenario::schema,
    snapshot,
    verdict::{Class, Expect, Verdict},
};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Counts, Finding, HARNESS, Outcome, Results, Standing, difference, guest_text::is_invisible_order, numbered,
    problem_lines,
};

/// Raised when a key or a kind goes away or changes its meaning; new ones may come without that.
pub const FORMAT: u32 = 2;

/// One line of the results. A key without a value is left out.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schemars(title = "Line of results")]
enum Line<'a> {
    /// The first line: what follows, and what it was found on.
    Start {
        /// The version of these lines.
        format: u32,
        /// The version of the harness.
        harness: &'a str,
        /// The root file system of the guests.
        image: &'a ImageName,
        /// The kernels that were selected.
        kernels: Vec<Kernel<'a>>,
    },
    /// One attempt and its verdict.
    Attempt {
        /// On which kernel.
        kernel: &'a KernelName,
        /// Of which scenario.
        scenario: &'a ScenarioName,
        /// The combination of the scenario's matrix, such as `type=hash`; empty without a matrix.
        case: &'a str,
        /// Who made it: the name of a container, or `host`.
        container: &'a str,
        /// Its number within its case, counted from 1.
        attempt: usize,
        /// Its operation, such as `map_create`.
        op: &'a str,
        /// The attempt in a few words. They may change between versions of the harness.
        text: &'a str,
        /// What it was.
        verdict: Class,
        /// The errno, if the kernel gave one: its name, or its number if it has none.
        #[serde(skip_serializing_if = "Option::is_none")]
        errno: Option<String>,
        /// What the kernel answered besides, which call of several failed, or why the kernel cannot know it.
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<&'a str>,
        /// Why it was denied, if that was found out.
        #[serde(skip_serializing_if = "Option::is_none")]
        cause: Option<String>,
        /// Of an attempt of a sweep: what it was made with, such as `hash`.
        #[serde(skip_serializing_if = "Option::is_none")]
        row: Option<&'a str>,
        /// Of an attempt of a sweep: under which circumstances, such as `no_token`.
        #[serde(skip_serializing_if = "Option::is_none")]
        arm: Option<&'a str>,
        /// What the scenario's author wants the verdict to be, if that is written.
        #[serde(skip_serializing_if = "Option::is_none")]
        expect: Option<Expect>,
        /// Whether the verdict is what its author wants, or one that may stand where nothing is written. Whether it is
        /// as recorded is told of the whole scenario, in `judged`.
        matches: bool,
        /// The calls it consists of, if libbpf loaded an object.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        steps: Vec<Step<'a>>,
    },
    /// A scenario that was judged on a kernel; its attempts stand before it.
    Judged {
        /// On which kernel.
        kernel: &'a KernelName,
        /// Which scenario.
        scenario: &'a ScenarioName,
        /// What it proves.
        summary: &'a str,
        /// Whether everything about it is right.
        standing: Held,
        /// How its verdicts compare with the snapshot that holds for this kernel.
        record: Record,
        /// Seconds it took in the guest, if that is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        seconds: Option<f64>,
        /// What is wrong with it whatever is recorded, a sentence each.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        problems: Vec<String>,
        /// The lines in which it differs from its snapshot, as a unified diff.
        #[serde(skip_serializing_if = "Option::is_none")]
        difference: Option<String>,
    },
    /// A scenario that is not for this kernel.
    Skipped {
        /// On which kernel.
        kernel: &'a KernelName,
        /// Which scenario.
        scenario: &'a ScenarioName,
        /// What it proves.
        summary: &'a str,
        /// Why.
        reason: &'a str,
    },
    /// A scenario during which the VM died or hung; its attempts stand before it.
    Crash {
        /// On which kernel.
        kernel: &'a KernelName,
        /// Which scenario.
        scenario: &'a ScenarioName,
        /// What it proves.
        summary: &'a str,
        /// Whether the VM died or hung, and after how long.
        how: &'a str,
        /// The last lines of its console.
        console: &'a [String],
    },
    /// A scenario without verdicts on this kernel: the harness, the VM or a build failed, or it was not run.
    Fault {
        /// On which kernel.
        kernel: &'a KernelName,
        /// Which scenario.
        scenario: &'a ScenarioName,
        /// What it proves.
        summary: &'a str,
        /// Why.
        message: &'a str,
    },
    /// The last line: without it the results are not whole.
    End {
        /// Scenarios judged, over all kernels, crashes among them.
        judged: usize,
        /// Those of them that are not as recorded or not as their authors expect, crashes among them.
        differing: usize,
        /// Scenarios skipped.
        skipped: usize,
        /// Scenarios without verdicts.
        faults: usize,
        /// Attempts by verdict.
        attempts: Attempts,
    },
}

/// A kernel.
#[derive(Debug, Serialize, JsonSchema)]
struct Kernel<'a> {
    /// Its name here.
    name: &'a KernelName,
    /// What `uname -r` says in it, if it is built.
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<&'a str>,
}

/// One call of libbpf's for an object, or something it lost.
#[derive(Debug, Serialize, JsonSchema)]
struct Step<'a> {
    /// What it is about.
    text: &'a str,
    /// What came of it: `allowed`, `denied ERRNO`, `refused ERRNO`, `lost` or `not told`.
    result: String,
}

/// Whether everything about a scenario is right.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Held {
    /// It is as recorded, and each verdict is what its author wants.
    AsRecorded,
    /// Something is not.
    Differs,
}

/// How verdicts compare with a snapshot.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Record {
    /// They are the same.
    Same,
    /// They are others.
    Other,
    /// Nothing is recorded.
    None,
}

/// How many attempts had each verdict.
#[derive(Debug, Serialize, JsonSchema)]
struct Attempts {
    /// The kernel did it.
    allowed: usize,
    /// The kernel refused it to this actor, and does it for one with every permission.
    denied: usize,
    /// The kernel cannot know or do it.
    unsupported: usize,
    /// The kernel refuses it to everybody although it knows it.
    malformed: usize,
    /// The kernel died or hung before it was answered.
    crashed: usize,
}

/// The JSON Schema of one line, from the types.
pub fn results_schema() -> serde_json::Value {
    schema::settings().for_serialize().into_generator().into_root_schema_for::<Line<'static>>().to_value()
}

/// The results as lines of JSON: one that starts, each attempt, each scenario on each kernel once, and one that ends.
///
/// # Errors
/// If a line cannot be written as JSON.
pub fn json_lines(results: &Results) -> Result<String, serde_json::Error> {
    let mut text = String::new();
    let kernels = results.kernels.iter();
    let kernels = kernels.map(|kernel| Kernel { name: &kernel.name, release: kernel.release.as_deref() }).collect();
    push(&mut text, &Line::Start { format: FORMAT, harness: HARNESS, image: &results.image, kernels })?;
    for finding in &results.findings {
        if let Standing::Judged { judgement, .. } = &finding.standing {
            for (case, number, row) in numbered(judgement) {
                push(&mut text, &attempt(finding, judgement.grid.as_deref(), (case, number), row))?;
            }
        }
        push(&mut text, &standing(finding))?;
    }
    push(&mut text, &end(results.counts()))?;
    Ok(text)
}

fn attempt<'a>(
    finding: &'a Finding,
    grid: Option<&'a Grid>,
    (case, attempt): (&'a str, usize),
    row: &'a Row,
) -> Line<'a> {
    let cell = cell(grid, row.part);
    Line::Attempt {
        kernel: &finding.kernel,
        scenario: &finding.scenario,
        case,
        container: &row.container,
        attempt,
        op: &row.op,
        text: &row.text,
        verdict: row.verdict.class(),
        errno: row.verdict.errno().map(|errno| errno.to_string()),
        detail: detail(&row.verdict),
        cause: row.cause.as_ref().map(ToString::to_string),
        row: cell.map(|(row, _)| row),
        arm: cell.map(|(_, arm)| arm),
        expect: row.expect,
        matches: row.matches(),
        steps: row.steps.iter().map(|step| Step { text: &step.text, result: step.result.to_string() }).collect(),
    }
}

fn detail(verdict: &Verdict) -> Option<&str> {
    match verdict {
        Verdict::Allowed { detail } => detail.as_deref(),
        Verdict::Unsupported { reason, .. } => Some(reason),
        Verdict::Denied(refusal) | Verdict::Malformed(refusal) => refusal.step.as_deref(),
        Verdict::Crashed => None,
    }
}

/// What the row and the column of a cell are called.
fn cell(grid: Option<&Grid>, part: Part) -> Option<(&str, &str)> {
    let (grid, Part::Cell { row, column }) = (grid?, part) else { return None };
    Some((grid.rows.get(row)?, &grid.columns.get(column)?.name))
}

fn standing(finding: &Finding) -> Line<'_> {
    let Finding { kernel, scenario, summary, .. } = finding;
    match &finding.standing {
        Standing::Skipped { reason } => Line::Skipped { kernel, scenario, summary, reason },
        Standing::Fault { message } => Line::Fault { kernel, scenario, summary, message },
        Standing::Judged { judgement, recorded } => match &judgement.crash {
            Some(crash) => Line::Crash { kernel, scenario, summary, how: &crash.how, console: &crash.console },
            None => judged(finding, judgement, recorded.as_deref()),
        },
    }
}

fn judged<'a>(finding: &'a Finding, judgement: &Judgement, recorded: Option<&str>) -> Line<'a> {
    let now = snapshot::render(judgement);
    let record = match recorded {
        None => Record::None,
        Some(text) if snapshot::same(text, &now) => Record::Same,
        Some(_) => Record::Other,
    };
    Line::Judged {
        kernel: &finding.kernel,
        scenario: &finding.scenario,
        summary: &finding.summary,
        standing: if finding.outcome() == Outcome::AsRecorded { Held::AsRecorded } else { Held::Differs },
        seconds: finding.took.map(|took| took.as_secs_f64()),
        problems: problem_lines(judgement),
        difference: recorded.filter(|_| matches!(record, Record::Other)).map(|text| difference(text, &now)),
        record,
    }
}

fn end(counts: Counts) -> Line<'static> {
    let of = |class: Class| counts.attempts[class as usize];
    Line::End {
        judged: counts.judged,
        differing: counts.differing,
        skipped: counts.skipped,
        faults: counts.faults,
        attempts: Attempts {
            allowed: of(Class::Allowed),
            denied: of(Class::Denied),
            unsupported: of(Class::Unsupported),
            malformed: of(Class::Malformed),
            crashed: of(Class::Crashed),
        },
    }
}

/// Adds a line. Characters that command a terminal, and the sign of GitHub's older commands, are written as JSON escapes:
/// the value stays the same.
fn push(text: &mut String, line: &Line<'_>) -> Result<(), serde_json::Error> {
    for c in serde_json::to_string(line)?.replace("##[", "#\\u0023[").chars() {
        if c.is_control() || is_invisible_order(c) {
            let _ = write!(text, "\\u{:04x}", u32::from(c));
        } else {
            text.push(c);
        }
    }
    text.push('\n');
    Ok(())
}
