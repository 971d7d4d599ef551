//! The lines of a sweep's table, the same for snapshots and terminals.

use std::ops::Range;

use harness_scenario::layout::{AttemptRole, SweepLayout};
use harness_verdict::{
    judgement::{Judgement, Row},
    verdict::{Class, Verdict},
};

use super::{
    causes,
    cells::Cells,
    helpers,
    line::{Emphasis, Line, line, one},
};

/// The whole table: a count, the meanings of the columns, the verdicts, the causes of denials, and the reasons of
/// unsupported cells.
pub fn layout(grid: &SweepLayout, judgement: &Judgement) -> Vec<Line> {
    layout_within(grid, judgement, usize::MAX)
}

/// [`layout`] for terminals of this width in characters: columns that do not fit go to further tables below the first.
pub fn layout_within(grid: &SweepLayout, judgement: &Judgement, width: usize) -> Vec<Line> {
    let cells = Cells::of(grid, judgement);
    let mut lines = vec![one(count(grid, &cells), Emphasis::Plain), Vec::new()];
    lines.extend(legend(grid, &cells));
    lines.push(Vec::new());
    if let Some(granted) = cells.helpers() {
        lines.extend(helpers::lines(grid, granted));
        lines.push(Vec::new());
    }
    lines.extend(table(grid, &cells, width));
    section(&mut lines, "why denied", causes::denials(grid, &cells));
    section(&mut lines, "why unsupported", causes::unsupported(grid, &cells));
    section(&mut lines, "not attempted", causes::absent(grid));
    let orphans = grid.orphans.iter().map(|orphan| format!("{}: {}", orphan.name, orphan.advice));
    section(&mut lines, "without a recipe", orphans.collect());
    lines
}

fn section(lines: &mut Vec<Line>, title: &str, texts: Vec<String>) {
    if !texts.is_empty() {
        lines.extend([Vec::new(), one(format!("{title}:"), Emphasis::Dim)]);
        lines.extend(texts.into_iter().map(|text| one(text, Emphasis::Plain)));
    }
}

/// The numbers of rows, columns and attempts, and of verdicts of each class.
fn count(grid: &SweepLayout, cells: &Cells<'_>) -> String {
    let classes = [Class::Allowed, Class::Denied, Class::Unsupported, Class::Malformed, Class::NotMade, Class::Crashed];
    let of = |class: Class| cells.iter().filter(|(_, row)| row.verdict.class() == class).count();
    let parts: Vec<String> = classes
        .iter()
        .map(|class| (of(*class), class.as_str()))
        .filter(|(count, _)| *count > 0)
        .map(|(count, class)| format!("{count} {class}"))
        .collect();
    let (rows, columns, total) = (grid.rows.len(), grid.columns.len(), cells.iter().count());
    format!("{rows} {} under {columns} circumstances, {total} attempts: {}", grid.of, parts.join(", "))
}

fn legend(grid: &SweepLayout, cells: &Cells<'_>) -> Vec<Line> {
    let width = grid.columns.iter().map(|column| column.head.chars().count()).max().unwrap_or(0);
    let columns = grid.columns.iter().map(|column| format!("{:<width$}  {}", column.head, column.meaning));
    let mut words = if cells.helpers().is_some() {
        vec![
            "of a helper: the types that have it, and those that lack it in a column; -: none",
            "of a type: how many helpers it has",
            "errno: denied",
        ]
    } else {
        vec!["ok: allowed", "errno: denied"]
    };
    let has = |class: Class| cells.iter().any(|(_, row)| row.verdict.class() == class);
    words.extend(has(Class::Unsupported).then_some("-: unsupported"));
    words.extend(has(Class::Malformed).then_some("!errno: malformed"));
    let everywhere = cells.iter().count() == grid.rows.len() * grid.columns.len();
    words.extend((!everywhere).then_some(".: no such thing for this call"));
    columns.chain([words.join("; ")]).map(|text| one(text, Emphasis::Dim)).collect()
}

fn table(grid: &SweepLayout, cells: &Cells<'_>, limit: usize) -> Vec<Line> {
    let first = grid.rows.iter().map(|row| row.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> =
        grid.columns.iter().enumerate().map(|(at, column)| width(&column.head, at, cells)).collect();
    let mut lines: Vec<Line> = Vec::new();
    for columns in bands(first, &widths, limit) {
        if !lines.is_empty() {
            lines.push(Vec::new());
        }
        let widths = &widths[columns.clone()];
        let heads = grid.columns[columns.clone()].iter().map(|column| (column.head.clone(), Emphasis::Dim)).collect();
        lines.push(line("", first, heads, widths));
        for (index, row) in grid.rows.iter().enumerate() {
            let words =
                columns.clone().map(|column| cells.get(index, column).map_or(nothing(), |row| word(cells, row)));
            lines.push(line(row, first, words.collect(), widths));
        }
    }
    lines
}

/// Splits the columns into bands: as many as fit beside the rows' names, and at least one each.
fn bands(first: usize, widths: &[usize], limit: usize) -> Vec<Range<usize>> {
    let (mut bands, mut start, mut taken) = (Vec::new(), 0, first);
    for (at, width) in widths.iter().enumerate() {
        if at > start && taken + 2 + width > limit {
            bands.push(start..at);
            (start, taken) = (at, first);
        }
        taken += 2 + width;
    }
    bands.push(start..widths.len());
    bands
}

fn width(head: &str, column: usize, cells: &Cells<'_>) -> usize {
    let words = cells.column(column).map(|(_, row)| word(cells, row).0.chars().count());
    words.chain([head.chars().count()]).max().unwrap_or(0)
}

/// The number of helpers that a survey found.
fn count_of(cells: &Cells<'_>, part: AttemptRole) -> Option<String> {
    let (granted, AttemptRole::Cell { row, column }) = (cells.helpers()?, part) else { return None };
    granted.found.get(&(row, column)).map(|ids| ids.len().to_string())
}

fn nothing() -> (String, Emphasis) {
    (".".to_owned(), Emphasis::Dim)
}

fn word(cells: &Cells<'_>, row: &Row) -> (String, Emphasis) {
    let text = match &row.verdict {
        Verdict::Allowed { .. } => count_of(cells, row.part).unwrap_or_else(|| "ok".to_owned()),
        Verdict::Denied(refusal) => refusal.errno.to_string(),
        Verdict::Unsupported { .. } => "-".to_owned(),
        Verdict::Malformed(refusal) => format!("!{}", refusal.errno),
        Verdict::NotMade { .. } => "not made".to_owned(),
        Verdict::Crashed => "crash".to_owned(),
    };
    (text, if row.matches() { Emphasis::Verdict(row.verdict.class()) } else { Emphasis::Wrong })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_do_not_fit_go_to_a_band_below() {
        let ends = |widths: &[usize], limit| bands(10, widths, limit).iter().map(|band| band.end).collect::<Vec<_>>();
        assert_eq!(ends(&[5, 5, 5], usize::MAX), [3]);
        assert_eq!(ends(&[5, 5, 5], 24), [2, 3]);
        assert_eq!(ends(&[50, 5, 5], 20), [1, 2, 3], "a band has at least one column");
        assert_eq!(ends(&[], 20), [0]);
    }
}
