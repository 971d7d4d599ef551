//! Results for a terminal: a table with one column per environment, or one sweep table per environment.

use std::{collections::HashMap, fmt::Write};

use anstyle::{AnsiColor, Style};
use harness_protocol::name::Environment;
use harness_scenario::layout;
use harness_snapshot::table::{self, Emphasis};
use harness_verdict::{
    judgement::{Judgement, Row},
    verdict::{Class, Verdict},
};

use super::{
    Naming, Omission, ScenarioResult, Status,
    guest_text::{harmless, one_line},
    numbered, omissions,
};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const RED: Style = AnsiColor::Red.on_default();

fn style_of(class: Class) -> Style {
    match class {
        Class::Allowed => AnsiColor::Green.on_default(),
        Class::Denied => AnsiColor::Yellow.on_default(),
        Class::Unsupported | Class::NotMade => DIM,
        Class::Malformed | Class::Crashed => RED.bold(),
    }
}

/// Returns the table of all results, with ANSI styles: one block per scenario, one line per attempt, one column per
/// environment in which the scenario ran.
///
/// The results of one scenario must be adjacent. Scenarios that were not run come last, grouped by reason. With a
/// `width` in characters, no line is wider: environments that do not fit side by side are listed below each other, and
/// lines that are still too long are wrapped.
pub fn table(environments: &[Environment], results: &[ScenarioResult], width: Option<usize>) -> String {
    blocks(environments, results, width) + &omitted(environments, results, width)
}

/// Returns the blocks of [`table()`] for the scenarios that ran.
pub fn blocks(environments: &[Environment], results: &[ScenarioResult], width: Option<usize>) -> String {
    let width = at_least(width);
    let naming = Naming::of(environments);
    let mut text = String::new();
    for group in results.chunk_by(|a, b| a.scenario == b.scenario) {
        if group.iter().any(|result| !matches!(result.status, Status::NotRun { .. })) {
            scenario_block(&mut text, environments, naming, group, width);
            text.push('\n');
        }
    }
    wrapped(text, width)
}

/// Returns the end of [`table()`]: the scenarios that were not run, grouped by reason.
pub fn omitted(environments: &[Environment], results: &[ScenarioResult], width: Option<usize>) -> String {
    let naming = Naming::of(environments);
    let mut text = String::new();
    for omission in omissions(results) {
        write_omission(&mut text, &omission, naming);
        text.push('\n');
    }
    wrapped(text, at_least(width))
}

fn at_least(width: Option<usize>) -> usize {
    width.map_or(usize::MAX, |width| width.max(NARROWEST))
}

/// The minimum width in characters, whatever the terminal reports.
const NARROWEST: usize = 30;

/// Wraps every line that is too long, with a deeper indentation.
fn wrapped(text: String, width: usize) -> String {
    if width == usize::MAX {
        return text;
    }
    let mut all = String::new();
    for line in text.lines() {
        let indent = " ".repeat(line.chars().take_while(|c| *c == ' ').count().min(width / 3) + 4);
        let options = textwrap::Options::new(width).subsequent_indent(&indent);
        for line in textwrap::wrap(line, options) {
            all.push_str(&line);
            all.push('\n');
        }
    }
    all
}

fn write_omission(text: &mut String, omission: &Omission<'_>, naming: Naming) {
    let Omission { environment, cause, .. } = omission;
    let environment = naming.name(environment);
    let cause = harmless(cause);
    let mut lines = cause.lines();
    let _ = writeln!(text, "{RED}{environment}: not run: {}{RED:#}", lines.next().unwrap_or_default());
    for line in lines {
        let _ = writeln!(text, "    {line}");
    }
    let _ = writeln!(text, "  {DIM}{}{DIM:#}", omission.subject());
}

fn scenario_block(
    text: &mut String,
    environments: &[Environment],
    naming: Naming,
    group: &[ScenarioResult],
    width: usize,
) {
    let _ = writeln!(text, "{BOLD}{}{BOLD:#}  {}", group[0].scenario, group[0].summary);
    let columns =
        environments.iter().filter_map(|environment| group.iter().find(|result| &result.environment == environment));
    let columns: Vec<(String, &ScenarioResult)> =
        columns.map(|result| (naming.name(&result.environment), result)).collect();
    write_rows(text, &columns, width);
    write_sweep_tables(text, &columns, width);
    for (name, result) in columns {
        write_remarks(text, &name, result);
    }
}

/// Writes the sweep table of each environment; a table that equals an earlier one is only referred to.
fn write_sweep_tables(text: &mut String, columns: &[(String, &ScenarioResult)], width: usize) {
    let mut shown: Vec<(&str, &str)> = Vec::new();
    for (name, result) in columns {
        let Status::Judged { judgement, comparison } = &result.status else { continue };
        let Some(grid) = &judgement.grid else { continue };
        let plain = comparison.now();
        match shown.iter().find(|(_, other)| *other == plain) {
            Some((other, _)) => {
                let _ = writeln!(text, "  {DIM}{name}: as {other}{DIM:#}");
            }
            None => write_sweep_table(text, name, judgement, grid, width),
        }
        shown.push((name, plain));
    }
}

fn write_sweep_table(text: &mut String, name: &str, judgement: &Judgement, grid: &layout::SweepLayout, width: usize) {
    let _ = writeln!(text, "  {DIM}{name}:{DIM:#}");
    let disagreements = judgement.cases.iter().flat_map(|case| &case.disagreements);
    for line in disagreements {
        let _ = writeln!(text, "  {}", one_line(line));
    }
    for line in table::layout_within(grid, judgement, width.saturating_sub(2)) {
        let indent = if line.is_empty() { "" } else { "  " };
        text.push_str(indent);
        for styled in line {
            let style = style_of_emphasis(styled.emphasis);
            let _ = write!(text, "{style}{}{style:#}", one_line(&styled.text));
        }
        text.push('\n');
    }
}

fn style_of_emphasis(emphasis: Emphasis) -> Style {
    match emphasis {
        Emphasis::Plain => Style::new(),
        Emphasis::Dim => DIM,
        Emphasis::Verdict(class) => style_of(class),
        Emphasis::Wrong => RED.bold(),
    }
}

/// Writes one line per attempt over all environments; attempts are matched by case, position and description.
fn write_rows(text: &mut String, columns: &[(String, &ScenarioResult)], width: usize) {
    let lines = align(columns);
    if lines.is_empty() {
        return;
    }
    let first = lines.iter().map(|line| line.title.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(column, (name, _))| {
            let cells = lines.iter().map(|line| line.cells[column].map_or(1, |row| short(row).chars().count()));
            cells.chain([name.len()]).max().unwrap_or(0)
        })
        .collect();
    if 2 + first + widths.iter().map(|width| 2 + width).sum::<usize>() > width {
        return lines.iter().for_each(|line| write_stack(text, columns, line));
    }
    let heads = columns.iter().map(|(name, _)| (name.clone(), DIM));
    write_row(text, &format!("{:first$}", ""), heads, &widths);
    for line in lines {
        let cells = line.cells.iter().map(|cell| cell.map_or(("·".to_owned(), DIM), cell_words));
        write_row(text, &format!("{:first$}", line.title), cells, &widths);
    }
}

/// Writes one attempt over several lines; environments with the same verdict share a line.
fn write_stack(text: &mut String, columns: &[(String, &ScenarioResult)], line: &Line<'_>) {
    let mut answers: Vec<(String, Style, Vec<&str>)> = Vec::new();
    for ((name, _), cell) in columns.iter().zip(&line.cells) {
        let Some((words, style)) = cell.map(cell_words) else { continue };
        match answers.iter_mut().find(|(known, ..)| *known == words) {
            Some((.., of)) => of.push(name),
            None => answers.push((words, style, vec![name])),
        }
    }
    let _ = writeln!(text, "  {}", line.title);
    for (words, style, of) in answers {
        let _ = writeln!(text, "      {style}{words}{style:#}  {DIM}{}{DIM:#}", of.join(" "));
    }
}

/// Writes one line of a table; the last cell is not padded.
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
    (short(row), style)
}

/// Returns a verdict and its cause, without the reason of an unsupported one, which the remarks give.
fn short(row: &Row) -> String {
    one_line(&match (&row.verdict, &row.cause) {
        (Verdict::Unsupported { refusal, .. }, _) => format!("unsupported {refusal}"),
        (verdict, Some(cause)) => format!("{verdict} ({cause})"),
        (verdict, None) => verdict.to_string(),
    })
}

/// One attempt in several environments.
pub(super) struct Line<'a> {
    /// The attempt, with its case.
    pub(super) title: String,
    /// Its row in each environment.
    pub(super) cells: Vec<Option<&'a Row>>,
}

/// Puts rows of different environments on one line if they are the same attempt of the same case. A matrix over the
/// names that a kernel knows has different cases on different kernels.
pub(super) fn align<'a>(columns: &[(String, &'a ScenarioResult)]) -> Vec<Line<'a>> {
    let mut lines: Vec<Line<'a>> = Vec::new();
    let mut indices: HashMap<(&str, usize, &str), usize> = HashMap::new();
    for (column, (_, result)) in columns.iter().enumerate() {
        let Status::Judged { judgement, .. } = &result.status else { continue };
        if judgement.grid.is_some() {
            continue;
        }
        for (label, number, row) in numbered(judgement) {
            let index = *indices.entry((label, number, &row.text)).or_insert_with(|| {
                let label = if label.is_empty() { String::new() } else { format!("[{label}] ") };
                lines.push(Line { title: one_line(&format!("{label}{}", row.text)), cells: vec![None; columns.len()] });
                lines.len() - 1
            });
            lines[index].cells[column] = Some(row);
        }
    }
    lines
}

fn write_remarks(text: &mut String, name: &str, result: &ScenarioResult) {
    if let Status::Skipped { reason } = &result.status {
        let _ = writeln!(text, "  {DIM}{name}: skipped: {}{DIM:#}", one_line(reason));
    }
    for line in disagreements(&result.status) {
        let _ = writeln!(text, "  {RED}{name}: {}{RED:#}", one_line(line));
    }
    for reason in reasons(&result.status) {
        let _ = writeln!(text, "  {DIM}{name}: unsupported: {}{DIM:#}", one_line(reason));
    }
    if matches!(result.status, Status::NotRun { .. }) {
        return;
    }
    for complaint in result.complaints() {
        let mut lines = complaint.lines();
        let _ = writeln!(text, "  {RED}{name}: {}{RED:#}", lines.next().unwrap_or_default());
        for line in lines {
            let _ = writeln!(text, "      {line}");
        }
    }
}

/// Returns where the requested delegation differs from what the kernel shows. A sweep table shows this itself.
fn disagreements(status: &Status) -> Vec<&str> {
    match status {
        Status::Judged { judgement, .. } if judgement.grid.is_none() => {
            judgement.cases.iter().flat_map(|case| &case.disagreements).map(String::as_str).collect()
        }
        _ => Vec::new(),
    }
}

/// Returns why attempts are unsupported, each reason once. A sweep table shows this itself.
fn reasons(status: &Status) -> Vec<&str> {
    let Status::Judged { judgement, .. } = status else { return Vec::new() };
    if judgement.grid.is_some() {
        return Vec::new();
    }
    let mut reasons: Vec<&str> = Vec::new();
    for row in judgement.rows() {
        match &row.verdict {
            Verdict::Unsupported { reason, .. } if !reasons.contains(&reason.as_str()) => reasons.push(reason),
            _ => {}
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn guest_text_does_not_control_the_terminal_or_a_ci_service() {
        let results = sample::results();
        let environments: Vec<Environment> =
            results.environments.iter().map(|label| label.environment.clone()).collect();
        let text = table(&environments, &results.results, None);
        let plain = anstream::adapter::strip_str(&text).to_string();
        insta::assert_snapshot!("table", plain);
        assert!(!plain.contains(|c: char| c.is_control() && c != '\n'), "{plain:?}");
        assert!(!plain.lines().any(|line| line.trim_start().starts_with("::")) && !plain.contains("##["), "{plain}");
        // All styles are the harness's own: the guest's "red" is not preceded by an escape sequence.
        assert!(!text.contains("\u{1b}[31mred"), "{text:?}");
    }
}
