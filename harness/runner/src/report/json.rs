//! Verdicts for programs: one JSON object a line.

use harness_model::{
    grid::{Grid, Part},
    judgement::Row,
    name::{ImageName, KernelName, ScenarioName},
    snapshot,
    verdict::{Class, Expect, Verdict},
};
use serde::Serialize;

use super::{Finding, Omission, Standing, numbered, omissions};

/// One attempt, as `--format json` prints it.
#[derive(Debug, Serialize)]
pub struct AttemptLine<'a> {
    kernel: &'a KernelName,
    image: &'a ImageName,
    scenario: &'a ScenarioName,
    case: &'a str,
    container: &'a str,
    attempt: usize,
    op: &'a str,
    text: &'a str,
    verdict: Class,
    errno: Option<String>,
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    row: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arm: Option<&'a str>,
    expect: Option<Expect>,
    matches: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    steps: Vec<StepLine<'a>>,
}

/// One call of libbpf's for an object, or something it lost, within an [`AttemptLine`].
#[derive(Debug, Serialize)]
struct StepLine<'a> {
    text: &'a str,
    result: String,
}

/// A scenario without verdicts, as `--format json` prints it.
#[derive(Debug, Serialize)]
pub struct ScenarioLine<'a> {
    kernel: &'a KernelName,
    image: &'a ImageName,
    scenario: &'a ScenarioName,
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'a str>,
}

/// Scenarios that were not run on a kernel, as `--format json` prints them: one line a cause.
#[derive(Debug, Serialize)]
pub struct OmissionLine<'a> {
    kernel: &'a KernelName,
    image: &'a ImageName,
    not_run: &'a str,
    scenarios: Vec<&'a ScenarioName>,
}

/// One JSON object a line: an attempt, or a scenario that was skipped or could not be judged; then what was not run on a
/// kernel, a line a cause.
///
/// An attempt of a sweep also names its row and its arm. `matches` is true if the verdict is what its author expects and the scenario's text is as recorded.
pub fn json_lines(image: &ImageName, findings: &[Finding]) -> Result<String, serde_json::Error> {
    let mut text = String::new();
    for finding in findings {
        let (kernel, scenario) = (&finding.kernel, &finding.scenario);
        let bare = ScenarioLine { kernel, image, scenario, skipped: None, fault: None };
        match &finding.standing {
            Standing::Skipped { reason } => push(&mut text, &ScenarioLine { skipped: Some(reason), ..bare })?,
            Standing::Fault { message } => push(&mut text, &ScenarioLine { fault: Some(message), ..bare })?,
            // They are told together below.
            Standing::NotRun { .. } => {}
            Standing::Judged { judgement, recorded } => {
                let now = snapshot::render(judgement);
                let as_recorded = recorded.as_deref().is_some_and(|text| snapshot::same(text, &now));
                for (case, index, row) in numbered(judgement) {
                    let cell = cell(judgement.grid.as_deref(), row.part);
                    let line = attempt_line(finding, image, (case, index), row, as_recorded);
                    push(
                        &mut text,
                        &AttemptLine { row: cell.map(|(row, _)| row), arm: cell.map(|(_, arm)| arm), ..line },
                    )?;
                }
            }
        }
    }
    for Omission { kernel, cause, scenarios } in omissions(findings) {
        push(&mut text, &OmissionLine { kernel, image, not_run: cause, scenarios })?;
    }
    Ok(text)
}

/// What the row and the column of a cell are called.
fn cell(grid: Option<&Grid>, part: Part) -> Option<(&str, &str)> {
    let (grid, Part::Cell { row, column }) = (grid?, part) else { return None };
    Some((grid.rows.get(row)?, &grid.columns.get(column)?.name))
}

fn attempt_line<'a>(
    finding: &'a Finding,
    image: &'a ImageName,
    (case, attempt): (&'a str, usize),
    row: &'a Row,
    as_recorded: bool,
) -> AttemptLine<'a> {
    let detail = match &row.verdict {
        Verdict::Allowed { detail } => detail.as_deref(),
        Verdict::Unsupported { reason, .. } => Some(reason.as_str()),
        Verdict::Denied(refusal) | Verdict::Malformed(refusal) => refusal.step.as_deref(),
        Verdict::Crashed => None,
    };
    AttemptLine {
        kernel: &finding.kernel,
        image,
        scenario: &finding.scenario,
        case,
        container: &row.container,
        attempt,
        op: &row.op,
        text: &row.text,
        verdict: row.verdict.class(),
        errno: row.verdict.errno().map(|errno| errno.to_string()),
        detail,
        cause: row.cause.as_ref().map(ToString::to_string),
        row: None,
        arm: None,
        expect: row.expect,
        matches: row.matches() && as_recorded,
        steps: row.steps.iter().map(|step| StepLine { text: &step.text, result: step.result.to_string() }).collect(),
    }
}

fn push(text: &mut String, line: &impl Serialize) -> Result<(), serde_json::Error> {
    text.push_str(&serde_json::to_string(line)?);
    text.push('\n');
    Ok(())
}
