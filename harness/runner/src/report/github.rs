//! Verdicts for GitHub Actions: annotations at scenario files, and a step summary.
//!
//! Workflow commands and their escapes:
//! <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands>.

use std::{collections::BTreeMap, fmt::Write};

use harness_model::{name::ScenarioName, snapshot};
use similar::ChangeTag;

use super::{
    Finding, Results, Standing,
    grievance::{Grievance, grievances},
};

/// GitHub shows this many errors of a step and drops the others.
pub const MOST_ERRORS: usize = 10;

/// A step summary may have this many bytes; GitHub refuses a longer one whole.
pub const MOST_SUMMARY_BYTES: usize = 1024 * 1024;

/// Lines of a complaint that an annotation shows.
const LINES: usize = 30;

/// Where a scenario is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Its file, from the folder that is checked out.
    pub file: String,
    /// The line of each `[[attempt]]`, counted from 1.
    pub attempts: Vec<usize>,
}

/// An error for each thing wrong, the gravest first, and a notice that counts those GitHub would not show.
pub fn annotations(results: &Results, places: &BTreeMap<ScenarioName, Place>) -> String {
    let grievances = grievances(&results.findings);
    let mut text = String::new();
    for grievance in grievances.iter().take(MOST_ERRORS) {
        text.push_str(&error(grievance, places));
    }
    let more = grievances.len().saturating_sub(MOST_ERRORS);
    if more > 0 {
        let message = format!("{more} more are not as recorded; the step summary and the log tell all");
        let _ = writeln!(text, "::notice::{}", data(&message));
    }
    text
}

fn error(grievance: &Grievance<'_>, places: &BTreeMap<ScenarioName, Place>) -> String {
    let finding = grievance.findings[0];
    let title = format!("{}: {}", grievance.mark.as_str(), grievance.subject());
    let shown: Vec<&str> = grievance.text.lines().take(LINES).collect();
    let at = match places.get(&finding.scenario) {
        Some(place) => format!("file={},line={},", property(&place.file), line(finding, place)),
        None => String::new(),
    };
    format!("::error {at}title={}::{}\n", property(&title), data(&shown.join("\n")))
}

/// The line of the attempt that is wrong; 1 if it is none of them.
fn line(finding: &Finding, place: &Place) -> usize {
    let Standing::Judged { judgement, recorded } = &finding.standing else { return 1 };
    if judgement.grid.is_some() {
        return 1;
    }
    let wrong = judgement.cases.iter().find_map(|case| case.rows.iter().position(|row| !row.matches()));
    let changed = || first_changed(recorded.as_deref()?, &snapshot::render(judgement));
    wrong.or_else(changed).and_then(|index| place.attempts.get(index).copied()).unwrap_or(1)
}

/// The index of the first attempt whose line in a snapshot is another now: such a line starts with its number.
fn first_changed(recorded: &str, now: &str) -> Option<usize> {
    let diff = similar::TextDiff::from_lines(recorded, now);
    let mut new = diff.iter_all_changes().filter(|change| change.tag() == ChangeTag::Insert);
    new.find_map(|change| {
        let (number, _) = change.value().trim_start().split_once("  ")?;
        number.parse::<usize>().ok()?.checked_sub(1)
    })
}

/// A message: what would end it or be unescaped is escaped.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a property, which also ends at a colon or a comma.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Markdown cut to so many bytes at the end of a line, with a sentence that says so. A block of code that is cut is closed.
pub fn step_summary(markdown: &str, most: usize) -> String {
    const NOTE: &str = "\n_Cut here: GitHub takes a summary of 1 MiB at most. The log tells all._\n";
    if markdown.len() <= most {
        return markdown.to_owned();
    }
    let mut text = String::new();
    let mut fence: Option<&str> = None;
    for line in markdown.split_inclusive('\n') {
        let closing = fence.map_or(0, str::len) + 1;
        if text.len() + line.len() + closing + NOTE.len() + LONGEST_FENCE > most {
            break;
        }
        text.push_str(line);
        let ticks = &line[..line.len() - line.trim_start_matches('`').len()];
        fence = match fence {
            Some(open) if ticks == open && line.trim_end() == open => None,
            None if ticks.len() >= 3 => Some(ticks),
            other => other,
        };
    }
    text.extend(fence.map(|fence| format!("{fence}\n")));
    text.push_str(NOTE);
    if text.len() <= most { text } else { String::new() }
}

/// Bytes kept free for the end of a block of code.
const LONGEST_FENCE: usize = 256;
