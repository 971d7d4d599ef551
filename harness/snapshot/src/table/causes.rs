//! The causes of a table's denials and the reasons of unsupported cells, grouped.

use std::fmt::Write;

use harness_scenario::layout::{SweepLayout, UncoveredName};
use harness_verdict::{judgement::Row, reason::Reason, verdict::Verdict};

use super::cells::Cells;

/// The width of lines, in characters.
const WIDTH: usize = 120;
/// Replaces the row's name in a cause about the row's own bit.
const OWN: &str = "{row}";

/// Rows by their text, in the order in which the texts first occur.
type Groups = Vec<(String, Vec<usize>)>;

/// From this many rows on, the last group is counted instead of named.
const MANY: usize = 4;

/// One line per column and cause, with the rows that are denied for it and the most common cause last. Causes that differ
/// only in the row's own bit count as one, and a column with the same denials as an earlier one refers to it.
pub(super) fn denials(grid: &SweepLayout, cells: &Cells<'_>) -> Vec<String> {
    let width = grid.columns.iter().map(|column| column.head.chars().count()).max().unwrap_or(0);
    let mut earlier: Vec<(&str, Groups)> = Vec::new();
    let mut lines = Vec::new();
    for (index, column) in grid.columns.iter().enumerate() {
        let groups = column_groups(grid, cells, index);
        let same = earlier.iter().find(|(_, other)| groups.len() > 1 && *other == groups);
        let texts = same.map_or_else(|| group_texts(grid, &groups), |(other, _)| vec![format!("as {other}")]);
        for (position, text) in texts.iter().enumerate() {
            let head = if position == 0 { column.head.as_str() } else { "" };
            lines.extend(wrapped(&format!("{head:<width$}  "), text));
        }
        earlier.push((&column.head, groups));
    }
    lines
}

/// The causes in a column, the one with the most rows last.
fn column_groups(grid: &SweepLayout, cells: &Cells<'_>, column: usize) -> Groups {
    let denied = cells.column(column).filter(|(_, attempt)| matches!(attempt.verdict, Verdict::Denied(_)));
    let causes = denied.map(|(row, attempt)| (row, words(attempt, &grid.rows[row])));
    let mut groups = grouped(causes.filter_map(|(row, words)| Some((row, words?))));
    let most = (0..groups.len()).max_by_key(|at| (groups[*at].1.len(), usize::MAX - at));
    if let Some(most) = most.map(|at| groups.remove(at)) {
        groups.push(most);
    }
    groups
}

fn group_texts(grid: &SweepLayout, groups: &Groups) -> Vec<String> {
    let last = groups.len().saturating_sub(1);
    let who = |at: usize, rows: &[usize]| match (at == last && rows.len() >= MANY, groups.len()) {
        (false, _) => names(grid, rows),
        (true, 1) => format!("all {}", rows.len()),
        (true, _) => format!("the other {}", rows.len()),
    };
    groups.iter().enumerate().map(|(at, (words, rows))| format!("{words}: {}", who(at, rows))).collect()
}

/// One line per reason, with the rows that are unsupported for it.
pub(super) fn unsupported(grid: &SweepLayout, cells: &Cells<'_>) -> Vec<String> {
    let reasons = cells.iter().filter_map(|(index, row)| match &row.verdict {
        Verdict::Unsupported { reason, .. } => Some((index, reason.clone())),
        _ => None,
    });
    let groups = grouped(reasons);
    groups.iter().flat_map(|(reason, rows)| wrapped("", &format!("{reason}: {}", names(grid, rows)))).collect()
}

/// One line per reason, with the names that cannot be attempted.
pub(super) fn absent(grid: &SweepLayout) -> Vec<String> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for UncoveredName { name, advice } in &grid.absent {
        match groups.iter_mut().find(|(known, _)| known == advice) {
            Some((_, names)) => names.push(name),
            None => groups.push((advice, vec![name])),
        }
    }
    groups.iter().flat_map(|(reason, names)| wrapped("", &format!("{reason}: {}", names.join(", ")))).collect()
}

fn grouped(all: impl Iterator<Item = (usize, String)>) -> Groups {
    let mut groups: Groups = Vec::new();
    for (row, words) in all {
        let at = groups.iter().position(|(known, _)| *known == words).unwrap_or_else(|| {
            groups.push((words, Vec::new()));
            groups.len() - 1
        });
        if !groups[at].1.contains(&row) {
            groups[at].1.push(row);
        }
    }
    groups
}

/// The cause, with [`OWN`] instead of the row's name.
fn words(attempt: &Row, row: &str) -> Option<String> {
    let reason = attempt.cause.clone()?;
    let general = match reason {
        Reason::Missing { gifts, obstacles } => {
            let general = |gift: String| match gift.split_once(' ') {
                Some((kind, name)) if name == row => format!("{kind} {OWN}"),
                _ => gift,
            };
            Reason::Missing { gifts: gifts.into_iter().map(general).collect(), obstacles }
        }
        Reason::Guard { what, rule } => match what.rsplit_once(' ') {
            Some((kind, name)) if name == row => Reason::Guard { what: format!("{kind} {OWN}"), rule },
            _ => Reason::Guard { what, rule },
        },
        other => other,
    };
    Some(general.to_string())
}

fn names(grid: &SweepLayout, rows: &[usize]) -> String {
    rows.iter().map(|row| grid.rows[*row].as_str()).collect::<Vec<_>>().join(", ")
}

/// Wraps a text between words, indenting further lines to the start of the text.
pub(super) fn wrapped(prefix: &str, text: &str) -> Vec<String> {
    let indent = " ".repeat(prefix.chars().count() + if prefix.is_empty() { 2 } else { 0 });
    let mut lines = vec![prefix.to_owned()];
    let mut fresh = true;
    for word in text.split(' ') {
        let room = lines.last().map_or(0, |line| line.chars().count()) + 1 + word.chars().count() <= WIDTH;
        if !room && !fresh {
            lines.push(indent.clone());
            fresh = true;
        }
        if let Some(line) = lines.last_mut() {
            let _ = write!(line, "{}{word}", if fresh { "" } else { " " });
        }
        fresh = false;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_broken_between_words() {
        let names: Vec<String> = (0..40).map(|n| format!("some_name_{n}")).collect();
        let lines = wrapped("head  ", &names.join(", "));
        assert!(lines.len() > 3 && lines.iter().all(|line| line.chars().count() <= WIDTH));
        insta::assert_snapshot!(lines.join("\n"));
        let together: Vec<&str> =
            lines.iter().flat_map(|line| line.trim_start_matches("head").split_whitespace()).collect();
        assert_eq!(together.join(" "), names.join(", "));
    }

    #[test]
    fn a_word_longer_than_a_line_stays_whole() {
        let word = "x".repeat(WIDTH * 2);
        assert_eq!(wrapped("", &word), [word]);
    }
}
