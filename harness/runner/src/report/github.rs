//! Results for GitHub Actions: annotations on scenario files, and a step summary.
//!
//! Workflow commands and their escapes:
//! <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands>.

use std::{collections::BTreeMap, fmt::Write};

use harness_diagnostics::workflow::{data, property};
use harness_protocol::name::ScenarioName;
use similar::ChangeTag;

use super::{
    Results, ScenarioResult, Status,
    failure_group::{FailureGroup, failures},
};

/// The number of error annotations that GitHub shows per step; it drops the rest.
pub const MOST_ERRORS: usize = 10;

/// The maximum size of a step summary in bytes; GitHub rejects a longer one entirely.
pub const MOST_SUMMARY_BYTES: usize = 1024 * 1024;

/// The maximum number of lines in an annotation.
const LINES: usize = 30;

/// The location of a scenario in the repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Location {
    /// Its file, relative to the checkout.
    pub file: String,
    /// The line of each `[[attempt]]`, counted from 1.
    pub attempts: Vec<usize>,
}

/// Returns an error annotation for each group of failures, the most serious first, and a notice that counts those
/// GitHub would not show.
pub fn annotations(results: &Results, locations: &BTreeMap<ScenarioName, Location>) -> String {
    let failures = failures(results);
    let mut text = String::new();
    for failure in failures.iter().take(MOST_ERRORS) {
        text.push_str(&error(failure, locations));
    }
    let more = failures.len().saturating_sub(MOST_ERRORS);
    if more > 0 {
        let message = format!("{more} more failures; the step summary and the log list all of them");
        let _ = writeln!(text, "::notice::{}", data(&message));
    }
    text
}

fn error(failure: &FailureGroup<'_>, locations: &BTreeMap<ScenarioName, Location>) -> String {
    let result = failure.results[0];
    let title = format!("{}: {}", failure.mark.as_str(), failure.subject());
    let shown: Vec<&str> = failure.text.lines().take(LINES).collect();
    let at = match locations.get(&result.scenario) {
        Some(location) => format!("file={},line={},", property(&location.file), line(result, location)),
        None => String::new(),
    };
    format!("::error {at}title={}::{}\n", property(&title), data(&shown.join("\n")))
}

/// Returns the line of the attempt that differs; 1 if it cannot be attributed to one.
fn line(result: &ScenarioResult, location: &Location) -> usize {
    let Status::Judged { judgement, comparison } = &result.status else { return 1 };
    if judgement.grid.is_some() {
        return 1;
    }
    let wrong = judgement.cases.iter().find_map(|case| case.rows.iter().position(|row| !row.matches()));
    let changed = || first_changed(comparison.recorded()?, comparison.now());
    wrong.or_else(changed).and_then(|index| location.attempts.get(index).copied()).unwrap_or(1)
}

/// Returns the index of the first attempt whose snapshot line changed; such a line starts with its number.
fn first_changed(recorded: &str, now: &str) -> Option<usize> {
    let diff = similar::TextDiff::from_lines(recorded, now);
    let mut new = diff.iter_all_changes().filter(|change| change.tag() == ChangeTag::Insert);
    new.find_map(|change| {
        let (number, _) = change.value().trim_start().split_once("  ")?;
        number.parse::<usize>().ok()?.checked_sub(1)
    })
}

/// Truncates Markdown to at most `most` bytes at the end of a line, and appends a note. An open code block is closed.
pub fn step_summary(markdown: &str, most: usize) -> String {
    const NOTE: &str = "\n_Truncated: GitHub limits a step summary to 1 MiB. The log has the rest._\n";
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

/// Bytes reserved for the closing fence of a code block.
const LONGEST_FENCE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{By, markdown, sample};

    /// Parses a workflow command as GitHub's runner does: name, properties, message.
    fn read(line: &str) -> (String, BTreeMap<String, String>, String) {
        let (head, message) = line.strip_prefix("::").unwrap().split_once("::").unwrap();
        let (name, properties) = head.split_once(' ').unwrap_or((head, ""));
        let unescaped = |text: &str| {
            let text = text.replace("%0D", "\r").replace("%0A", "\n").replace("%3A", ":").replace("%2C", ",");
            text.replace("%25", "%")
        };
        let properties = properties.split(',').filter_map(|part| part.split_once('='));
        (
            name.to_owned(),
            properties.map(|(key, value)| (key.to_owned(), unescaped(value))).collect(),
            unescaped(message),
        )
    }

    fn locations() -> BTreeMap<ScenarioName, Location> {
        let location = Location { file: "scenarios/a,b: 100%.toml".to_owned(), attempts: vec![3, 7] };
        ["token/new", "vm/killer"].map(|name| (name.parse().unwrap(), location.clone())).into()
    }

    #[test]
    fn each_failure_is_an_error_at_its_attempt_the_most_serious_first() {
        let text = annotations(&sample::results(), &locations());
        let commands: Vec<_> = text.lines().map(read).collect();
        let titles: Vec<&str> = commands.iter().map(|(_, properties, _)| properties["title"].as_str()).collect();
        assert_eq!(titles, ["fault: vm/broken on 6.12, 7.3", "crashed: vm/killer on 7.3", "differs: token/new on 7.3"]);
        assert!(commands.iter().all(|(name, ..)| name == "error"));
        assert!(!commands[0].1.contains_key("file"));
        assert_eq!((commands[1].1["file"].as_str(), commands[1].1["line"].as_str()), ("scenarios/a,b: 100%.toml", "3"));
        assert_eq!(commands[2].1["line"], "7", "the second attempt changed");
        insta::assert_snapshot!("annotations", text);
    }

    #[test]
    fn guest_text_cannot_issue_a_command() {
        let text = annotations(&sample::results(), &locations());
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.lines().all(|line| line.starts_with("::error ")) && !text.contains("##["), "{text}");
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        let summary = markdown(&sample::results(), By::Scenario);
        assert!(!summary.lines().any(|line| line.trim_start().starts_with("::")), "{summary}");
    }

    #[test]
    fn failures_beyond_the_limit_are_counted() {
        let fault = |index: usize| sample::fault("6.12", &format!("a/{index:02}"), &format!("no {index}"));
        let results = super::Results { results: (0..MOST_ERRORS + 5).map(fault).collect(), ..sample::results() };
        let text = annotations(&results, &BTreeMap::new());
        assert_eq!(text.matches("::error ").count(), MOST_ERRORS);
        insta::assert_snapshot!(text.lines().last().unwrap(), @"::notice::5 more failures; the step summary and the log list all of them");
    }

    #[test]
    fn a_long_summary_is_truncated_at_a_line_and_its_code_block_is_closed() {
        let table = "| row |\n".repeat(200);
        let cut = step_summary(&table, 400);
        assert!(cut.len() <= 400, "{}", cut.len());
        insta::assert_snapshot!(cut, @"
        | row |
        | row |
        | row |
        | row |
        | row |
        | row |
        | row |
        | row |

        _Truncated: GitHub limits a step summary to 1 MiB. The log has the rest._
        ");
        let code = format!("text\n````text\n```\n{}````\n", "line\n".repeat(500));
        let cut = step_summary(&code, 400);
        assert!(cut.len() <= 400, "{}", cut.len());
        insta::assert_snapshot!(cut, @"
        text
        ````text
        ```
        line
        line
        line
        line
        line
        line
        line
        line
        line
        ````

        _Truncated: GitHub limits a step summary to 1 MiB. The log has the rest._
        ");
        assert_eq!(step_summary("short", 1000), "short");
        assert_eq!(step_summary("too long", 5), "");
    }
}
