//! Verdicts for people and for programs: a table with a column a kernel, and one JSON object an attempt.

use std::{collections::HashMap, fmt::Write};

use anstyle::{AnsiColor, Style};
use harness_model::{
    judgement::{Judgement, Row},
    name::{ImageName, KernelName, ScenarioName},
    snapshot,
    verdict::{Class, Expect, Verdict},
};
use serde::Serialize;

/// One scenario on one kernel, judged and compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// On which kernel.
    pub kernel: KernelName,
    /// Which scenario.
    pub scenario: ScenarioName,
    /// What it proves.
    pub summary: String,
    /// What came of it.
    pub standing: Standing,
}

/// What came of a scenario on a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The scenario asks not to run on this kernel.
    Skipped {
        /// Why.
        reason: String,
    },
    /// No verdict: the scenario could not be carried out. Not the kernel's doing.
    Fault {
        /// Why.
        message: String,
    },
    /// Judged.
    Judged {
        /// The verdicts.
        judgement: Judgement,
        /// The text recorded for this kernel, if any.
        recorded: Option<String>,
    },
}

/// What a run says by its exit code, the gravest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Everything is as recorded.
    AsRecorded,
    /// A verdict differs from the record or from what its author expects.
    Differs,
    /// Something could not be judged.
    Fault,
}

impl Finding {
    /// Whether it is as recorded, differs, or could not be judged.
    pub fn outcome(&self) -> Outcome {
        match &self.standing {
            Standing::Skipped { .. } => Outcome::AsRecorded,
            Standing::Fault { .. } => Outcome::Fault,
            Standing::Judged { judgement, recorded } => {
                let same = recorded.as_deref().is_some_and(|text| snapshot::same(text, &snapshot::render(judgement)));
                let sound = judgement.crash.is_none() && judgement.problems().is_empty();
                if same && sound { Outcome::AsRecorded } else { Outcome::Differs }
            }
        }
    }

    /// Everything wrong with it, a line each.
    pub fn complaints(&self) -> Vec<String> {
        match &self.standing {
            Standing::Skipped { .. } => Vec::new(),
            Standing::Fault { message } => vec![message.clone()],
            Standing::Judged { judgement, recorded } => {
                let mut lines = attempt_complaints(judgement);
                lines.extend(
                    judgement
                        .crash
                        .iter()
                        .map(|crash| format!("{}; the console ended with:\n{}", crash.how, crash.console.join("\n"))),
                );
                if self.outcome() == Outcome::Differs && judgement.crash.is_none() {
                    lines.extend(record_complaint(judgement, recorded.as_deref()));
                }
                lines
            }
        }
    }
}

fn attempt_complaints(judgement: &Judgement) -> Vec<String> {
    let describe = |problem: harness_model::judgement::Problem| {
        let case = &judgement.cases[problem.case];
        let label = if case.label.is_empty() { String::new() } else { format!("[{}] ", case.label) };
        format!("{label}attempt {} ({}): {}", problem.row + 1, case.rows[problem.row].text, problem.what)
    };
    judgement.problems().into_iter().map(describe).collect()
}

fn record_complaint(judgement: &Judgement, recorded: Option<&str>) -> Option<String> {
    let now = snapshot::render(judgement);
    match recorded {
        None => Some("nothing is recorded for it yet; look at it and accept it with `cargo xtask bless`".to_owned()),
        Some(text) if snapshot::same(text, &now) => None,
        Some(text) => Some(format!("differs from its snapshot (- recorded, + now):\n{}", difference(text, &now))),
    }
}

/// The lines that differ between two texts, with their surroundings.
pub fn difference(old: &str, new: &str) -> String {
    let lines = |text: &str| text.trim_end().lines().map(|line| format!("{line}\n")).collect::<String>();
    let (old, new) = (lines(old), lines(new));
    let diff = similar::TextDiff::from_lines(&old, &new);
    diff.unified_diff().context_radius(2).to_string()
}

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const RED: Style = AnsiColor::Red.on_default();

fn style_of(class: Class) -> Style {
    match class {
        Class::Allowed => AnsiColor::Green.on_default(),
        Class::Denied => AnsiColor::Yellow.on_default(),
        Class::Unsupported => DIM,
        Class::Malformed | Class::Crashed => RED.bold(),
    }
}

/// The table of all findings, with ANSI styles: a block a scenario, a line an attempt, a column a kernel.
///
/// Findings of one scenario must stand together.
pub fn table(kernels: &[KernelName], findings: &[Finding]) -> String {
    let mut text = String::new();
    for group in findings.chunk_by(|a, b| a.scenario == b.scenario) {
        scenario_block(&mut text, kernels, group);
        text.push('\n');
    }
    text
}

fn scenario_block(text: &mut String, kernels: &[KernelName], group: &[Finding]) {
    let _ = writeln!(text, "{BOLD}{}{BOLD:#}  {}", group[0].scenario, group[0].summary);
    let columns: Vec<Option<&Finding>> =
        kernels.iter().map(|kernel| group.iter().find(|finding| &finding.kernel == kernel)).collect();
    write_rows(text, kernels, &columns);
    for finding in group {
        write_remarks(text, finding);
    }
}

/// The lines of one attempt over all kernels, told apart by case, position and words.
fn write_rows(text: &mut String, kernels: &[KernelName], columns: &[Option<&Finding>]) {
    let lines = align(columns);
    if lines.is_empty() {
        return;
    }
    let first = lines.iter().map(|line| line.title.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = kernels
        .iter()
        .enumerate()
        .map(|(column, kernel)| {
            let cells =
                lines.iter().map(|line| line.cells[column].map_or(1, |row| short(&row.verdict).chars().count()));
            cells.chain([kernel.as_str().len()]).max().unwrap_or(0)
        })
        .collect();
    let heads = kernels.iter().map(|kernel| (kernel.to_string(), DIM));
    write_row(text, &format!("{:first$}", ""), heads, &widths);
    for line in lines {
        let cells = line.cells.iter().map(|cell| cell.map_or(("·".to_owned(), DIM), cell_words));
        write_row(text, &format!("{:first$}", line.title), cells, &widths);
    }
}

/// One line of a table; the last cell is not padded.
fn write_row(text: &mut String, title: &str, cells: impl Iterator<Item = (String, Style)>, widths: &[usize]) {
    let _ = write!(text, "  {title}");
    for (column, (words, style)) in cells.enumerate() {
        let width = if column + 1 < widths.len() { widths[column] } else { 0 };
        let _ = write!(text, "  {style}{words}{style:#}{:1$}", "", width.saturating_sub(words.chars().count()));
    }
    text.push('\n');
}

fn cell_words(row: &Row) -> (String, Style) {
    let style = if row.matches() { style_of(row.verdict.class()) } else { RED.bold() };
    (short(&row.verdict), style)
}

/// A verdict without its reason, which the remarks give.
fn short(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Unsupported { refusal, .. } => format!("unsupported {refusal}"),
        other => other.to_string(),
    }
}

struct Line<'a> {
    title: String,
    cells: Vec<Option<&'a Row>>,
}

/// Rows of different kernels stand on one line if they are the same attempt of the same case: the cases of a matrix over
/// what a kernel knows differ from kernel to kernel.
fn align<'a>(columns: &[Option<&'a Finding>]) -> Vec<Line<'a>> {
    let mut lines: Vec<Line<'a>> = Vec::new();
    let mut places: HashMap<(&str, usize, &str), usize> = HashMap::new();
    for (column, finding) in columns.iter().enumerate() {
        let Some(Finding { standing: Standing::Judged { judgement, .. }, .. }) = finding else { continue };
        for (label, number, row) in numbered(judgement) {
            let place = *places.entry((label, number, &row.text)).or_insert_with(|| {
                let label = if label.is_empty() { String::new() } else { format!("[{label}] ") };
                lines.push(Line { title: format!("{label}{}", row.text), cells: vec![None; columns.len()] });
                lines.len() - 1
            });
            lines[place].cells[column] = Some(row);
        }
    }
    lines
}

fn write_remarks(text: &mut String, finding: &Finding) {
    let kernel = &finding.kernel;
    if let Standing::Skipped { reason } = &finding.standing {
        let _ = writeln!(text, "  {DIM}{kernel}: skipped: {reason}{DIM:#}");
    }
    for reason in reasons(&finding.standing) {
        let _ = writeln!(text, "  {DIM}{kernel}: unsupported: {reason}{DIM:#}");
    }
    for complaint in finding.complaints() {
        let mut lines = complaint.lines();
        let _ = writeln!(text, "  {RED}{kernel}: {}{RED:#}", lines.next().unwrap_or_default());
        for line in lines {
            let _ = writeln!(text, "      {line}");
        }
    }
}

/// Why attempts are unsupported, each reason once.
fn reasons(standing: &Standing) -> Vec<&str> {
    let Standing::Judged { judgement, .. } = standing else { return Vec::new() };
    let mut reasons: Vec<&str> = Vec::new();
    for row in judgement.rows() {
        match &row.verdict {
            Verdict::Unsupported { reason, .. } if !reasons.contains(&reason.as_str()) => reasons.push(reason),
            _ => {}
        }
    }
    reasons
}

/// How many verdicts of each class, and how many findings are not as recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Scenarios judged, over all kernels.
    pub judged: usize,
    /// Scenarios skipped.
    pub skipped: usize,
    /// Scenarios that could not be judged.
    pub faults: usize,
    /// Scenarios that differ from their record or from what their author expects.
    pub differing: usize,
    /// Attempts by class, in the order of [`Class`].
    pub attempts: [usize; 5],
}

impl Counts {
    /// Counts these findings.
    pub fn of(findings: &[Finding]) -> Self {
        let mut counts = Self::default();
        for finding in findings {
            match &finding.standing {
                Standing::Skipped { .. } => counts.skipped += 1,
                Standing::Fault { .. } => counts.faults += 1,
                Standing::Judged { judgement, .. } => {
                    counts.judged += 1;
                    judgement.rows().for_each(|row| counts.attempts[row.verdict.class() as usize] += 1);
                    counts.differing += usize::from(finding.outcome() == Outcome::Differs);
                }
            }
        }
        counts
    }

    /// One sentence.
    pub fn sentence(&self) -> String {
        let classes = [Class::Allowed, Class::Denied, Class::Unsupported, Class::Malformed, Class::Crashed];
        let parts: Vec<String> = classes
            .iter()
            .filter(|&&class| self.attempts[class as usize] > 0)
            .map(|&class| format!("{} {}", self.attempts[class as usize], class.as_str()))
            .collect();
        let total: usize = self.attempts.iter().sum();
        let mut text = format!("{} scenarios judged, {total} attempts: {}", self.judged, parts.join(", "));
        for (count, what) in [(self.skipped, "skipped"), (self.differing, "not as recorded"), (self.faults, "faults")] {
            if count > 0 {
                let _ = write!(text, "; {count} {what}");
            }
        }
        text
    }
}

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
    expect: Option<Expect>,
    matches: bool,
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

/// One JSON object a line: an attempt, or a scenario that was skipped or could not be judged.
///
/// `matches` is true if the verdict is what its author expects and the scenario's text is as recorded.
pub fn json_lines(image: &ImageName, findings: &[Finding]) -> Result<String, serde_json::Error> {
    let mut text = String::new();
    for finding in findings {
        let (kernel, scenario) = (&finding.kernel, &finding.scenario);
        let bare = ScenarioLine { kernel, image, scenario, skipped: None, fault: None };
        match &finding.standing {
            Standing::Skipped { reason } => push(&mut text, &ScenarioLine { skipped: Some(reason), ..bare })?,
            Standing::Fault { message } => push(&mut text, &ScenarioLine { fault: Some(message), ..bare })?,
            Standing::Judged { judgement, recorded } => {
                let now = snapshot::render(judgement);
                let as_recorded = recorded.as_deref().is_some_and(|text| snapshot::same(text, &now));
                for (case, index, row) in numbered(judgement) {
                    push(&mut text, &attempt_line(finding, image, case, index, row, as_recorded))?;
                }
            }
        }
    }
    Ok(text)
}

fn numbered(judgement: &Judgement) -> impl Iterator<Item = (&str, usize, &Row)> {
    judgement
        .cases
        .iter()
        .flat_map(|case| case.rows.iter().enumerate().map(move |(index, row)| (case.label.as_str(), index + 1, row)))
}

fn attempt_line<'a>(
    finding: &'a Finding,
    image: &'a ImageName,
    case: &'a str,
    attempt: usize,
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
        expect: row.expect,
        matches: row.matches() && as_recorded,
    }
}

fn push(text: &mut String, line: &impl Serialize) -> Result<(), serde_json::Error> {
    text.push_str(&serde_json::to_string(line)?);
    text.push('\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use harness_model::{errno::Errno, judgement::Case, verdict::Refusal};

    use super::*;

    fn row(text: &str, expect: Option<Expect>, verdict: Verdict) -> Row {
        Row { text: text.into(), op: "map_create".into(), container: "container".into(), expect, verdict }
    }

    fn allowed() -> Verdict {
        Verdict::Allowed { detail: None }
    }

    fn denied() -> Verdict {
        Verdict::Denied(Refusal { errno: Errno::EPERM, step: None })
    }

    fn judgement(rows: Vec<Row>) -> Judgement {
        let case = Case { label: String::new(), mounted: vec![], rows };
        Judgement { scenario: "a/b".parse().unwrap(), cases: vec![case], crash: None }
    }

    fn finding(kernel: &str, judgement: Judgement, recorded: Option<&str>) -> Finding {
        Finding {
            kernel: kernel.parse().unwrap(),
            scenario: judgement.scenario.clone(),
            summary: "Says so".to_owned(),
            standing: Standing::Judged { judgement, recorded: recorded.map(str::to_owned) },
        }
    }

    fn as_recorded(kernel: &str, rows: Vec<Row>) -> Finding {
        let judgement = judgement(rows);
        let text = snapshot::render(&judgement);
        finding(kernel, judgement, Some(&text))
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn kernels_stand_side_by_side() {
        let kernels = ["6.12", "7.3"].map(|name| name.parse().unwrap());
        let findings = [
            as_recorded("6.12", vec![row("map_create hash", None, allowed()), row("map_create array", None, denied())]),
            as_recorded("7.3", vec![row("map_create hash", None, allowed()), row("map_create array", None, allowed())]),
        ];
        let expected = "a/b  Says so\n                    6.12          7.3\n  \
                        map_create hash   allowed       allowed\n  \
                        map_create array  denied EPERM  allowed\n\n";
        assert_eq!(plain(&table(&kernels, &findings)), expected);
        assert_eq!(findings[0].outcome(), Outcome::AsRecorded);
    }

    #[test]
    fn a_wrong_permission_differs_even_if_it_is_recorded() {
        let finding = as_recorded("6.12", vec![row("map_create hash", Some(Expect::Denied), allowed())]);
        assert_eq!(finding.outcome(), Outcome::Differs);
        assert_eq!(finding.complaints(), ["attempt 1 (map_create hash): expected denied, got allowed"]);
    }

    #[test]
    fn an_unasked_malformed_verdict_differs() {
        let malformed = Verdict::Malformed(Refusal { errno: Errno::EINVAL, step: None });
        let finding = as_recorded("6.12", vec![row("x", None, malformed.clone())]);
        assert_eq!(finding.outcome(), Outcome::Differs);
        let meant = as_recorded("6.12", vec![row("x", Some(Expect::Malformed), malformed)]);
        assert_eq!(meant.outcome(), Outcome::AsRecorded);
    }

    #[test]
    fn a_changed_or_missing_record_differs_and_says_how() {
        let now = || judgement(vec![row("x", None, allowed())]);
        let changed = finding("6.12", now(), Some("1  x  denied EPERM\n"));
        assert_eq!(changed.outcome(), Outcome::Differs);
        let complaint = changed.complaints().join("\n");
        assert!(complaint.contains("-1  x  denied EPERM") && complaint.contains("+1  x  allowed"), "{complaint}");
        let new = finding("6.12", now(), None);
        assert_eq!(new.outcome(), Outcome::Differs);
        assert!(new.complaints()[0].contains("bless"));
    }

    #[test]
    fn a_difference_from_nothing_only_adds() {
        assert_eq!(difference("", "a\n\n"), "@@ -0,0 +1 @@\n+a\n");
        assert_eq!(difference("a\n", "a"), "");
    }

    #[test]
    fn a_fault_is_graver_than_a_difference() {
        let standing = Standing::Fault { message: "no".into() };
        let fault = Finding { standing, ..as_recorded("6.12", vec![]) };
        assert!(fault.outcome() > Outcome::Differs);
    }

    #[test]
    fn every_attempt_is_one_json_object() {
        let findings = [as_recorded("6.12", vec![row("map_create hash", Some(Expect::Denied), denied())])];
        let text = json_lines(&"minimal".parse().unwrap(), &findings).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let keys = ["kernel", "scenario", "container", "attempt", "op", "verdict", "errno", "expect", "matches"];
        assert!(keys.iter().all(|key| value.get(key).is_some()), "{text}");
        assert_eq!((&value["errno"], &value["matches"]), (&"EPERM".into(), &true.into()));
    }

    #[test]
    fn everything_is_counted() {
        let findings =
            [as_recorded("6.12", vec![row("x", None, allowed()), row("y", Some(Expect::Allowed), denied())])];
        let sentence = Counts::of(&findings).sentence();
        assert_eq!(sentence, "1 scenarios judged, 2 attempts: 1 allowed, 1 denied; 1 not as recorded");
    }
}
