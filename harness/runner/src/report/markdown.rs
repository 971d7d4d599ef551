//! Results as Markdown, readable as plain text: a matrix with one column per environment, then the failures.

use std::fmt::Write;

use harness_verdict::verdict::Class;

use super::{
    Failure, HARNESS, Mark, Results, ScenarioResult, Standing, Status,
    failure_group::{FailureGroup, failures},
    guest_text::one_line,
};

/// The maximum number of lines shown of a failure; the other formats show all.
const LINES: usize = 60;

/// What a row of the matrix represents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// One scenario.
    #[default]
    Scenario,
    /// All scenarios of a folder.
    Folder,
}

/// Returns the results as Markdown.
pub fn markdown(results: &Results, by: By) -> String {
    let mut text = format!("## BPF token verdicts\n\n{}.", results.counts().sentence());
    let images: Vec<&str> = results.images().into_iter().map(|image| image.as_str()).collect();
    let noun = if images.len() == 1 { "Image" } else { "Images" };
    let _ = writeln!(text, " {noun} {}, harness {HARNESS}.\n", images.join(", "));
    for line in results.replaced_pins() {
        let _ = writeln!(text, "- {}", escaped(&line));
    }
    if !results.replaced().is_empty() {
        text.push('\n');
    }
    text.push_str(&matrix(results, by));
    let _ = writeln!(text, "\nThe figures after a status are attempts allowed/denied.");
    if let Some(line) = results.retried_line() {
        let _ = writeln!(text, "\n{line}.");
    }
    if let Some(compared) = &results.compared {
        text.push_str(&groups(compared));
    }
    let failures = failures(results);
    if !failures.is_empty() {
        text.push_str("\n### Not as recorded\n");
    }
    failures.iter().for_each(|failure| details(&mut text, failure));
    text
}

/// Returns the failures by whether the baseline had them; those that are still there are only counted.
fn groups(compared: &[Failure]) -> String {
    let mut text = "\n### Compared with the baseline\n\n".to_owned();
    for standing in Standing::ALL {
        let group: Vec<&Failure> = compared.iter().filter(|failure| failure.standing == standing).collect();
        let _ = writeln!(text, "- **{}**: {}", standing.as_str(), group.len());
        let shown = if standing == Standing::Still { 0 } else { LINES };
        for Failure { kernel, image, scenario, what, .. } in group.into_iter().take(shown) {
            let _ = writeln!(text, "    - {}", escaped(&format!("{scenario} on {kernel}@{image}: {what}")));
        }
    }
    text
}

fn matrix(results: &Results, by: By) -> String {
    let all: Vec<&ScenarioResult> = results.results.iter().collect();
    let groups = all.chunk_by(|a, b| row_name(a, by) == row_name(b, by));
    let mut rows = vec![heading(results, by)];
    rows.extend(groups.map(|group| row(row_name(group[0], by), group, results)));
    rows.push(row("**total**", &all, results));
    aligned(&rows)
}

fn row_name(result: &ScenarioResult, by: By) -> &str {
    let name = result.scenario.as_str();
    match by {
        By::Scenario => name,
        By::Folder => name.split_once('/').map_or(".", |(folder, _)| folder),
    }
}

fn heading(results: &Results, by: By) -> Vec<String> {
    let first = match by {
        By::Scenario => "scenario",
        By::Folder => "folder",
    };
    let environments = results.environments.iter().map(|label| {
        let name = results.naming().name(&label.environment);
        escaped(&label.release.as_ref().map_or(name.clone(), |release| format!("{name} ({release})")))
    });
    std::iter::once(first.to_owned()).chain(environments).collect()
}

fn row(name: &str, row_results: &[&ScenarioResult], results: &Results) -> Vec<String> {
    let name = if name.starts_with('*') { name.to_owned() } else { escaped(name) };
    let cells = results.environments.iter().map(|label| {
        let cell_results: Vec<&ScenarioResult> =
            row_results.iter().copied().filter(|result| result.environment == label.environment).collect();
        cell(&cell_results)
    });
    std::iter::once(name).chain(cells).collect()
}

/// Returns the statuses of these results, and how many of their attempts were allowed and denied.
fn cell(results: &[&ScenarioResult]) -> String {
    let count = |mark: Mark| results.iter().filter(|result| Mark::of(result) == mark).count();
    let words = Mark::ALL.into_iter().filter(|mark| count(*mark) > 0).map(|mark| {
        let word = if mark.is_bad() { format!("**{}**", mark.as_str()) } else { mark.as_str().to_owned() };
        if results.len() == 1 { word } else { format!("{} {word}", count(mark)) }
    });
    let words: Vec<String> = words.collect();
    let judged = results.iter().any(|result| matches!(result.status, Status::Judged { .. }));
    let attempts = format!(" {}/{}", attempts(results, Class::Allowed), attempts(results, Class::Denied));
    if words.is_empty() { "·".to_owned() } else { words.join(", ") + if judged { &attempts } else { "" } }
}

fn attempts(results: &[&ScenarioResult], class: Class) -> usize {
    let of = |result: &&ScenarioResult| match &result.status {
        Status::Judged { judgement, .. } => judgement.rows().filter(|row| row.verdict.class() == class).count(),
        Status::Skipped { .. } | Status::NotRun { .. } | Status::Fault { .. } => 0,
    };
    results.iter().map(of).sum()
}

/// Formats a table with columns of even width; the first row is the heading.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows[0].len();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).max(3);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!(" {cell:<width$} |"));
        format!("|{}\n", padded.collect::<String>())
    };
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let body = rows[1..].iter().map(|row| line(row));
    [line(&rows[0]), line(&rule)].into_iter().chain(body).collect()
}

fn details(text: &mut String, failure: &FailureGroup<'_>) {
    let fence = "`".repeat(longest_run(&failure.text).max(2) + 1);
    let _ = writeln!(text, "\n**{}**: {}\n\n{fence}text", failure.mark.as_str(), escaped(&failure.subject()));
    let lines = failure.text.lines();
    for line in lines.clone().take(LINES) {
        let _ = writeln!(text, "{line}");
    }
    let more = lines.count().saturating_sub(LINES);
    if more > 0 {
        let _ = writeln!(text, "[{more} more lines]");
    }
    let _ = writeln!(text, "{fence}");
}

/// Returns the length of the longest run of backticks.
fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

/// Escapes text so that Markdown shows it literally, on one line.
fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for c in one_line(text).chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '&' | '~') {
            safe.push('\\');
        }
        safe.push(c);
    }
    safe
}

#[cfg(test)]
mod tests {
    use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

    use super::*;
    use crate::report::sample;

    /// Returns the cells of each table row, and the code blocks.
    fn read(text: &str) -> (Vec<Vec<String>>, Vec<String>) {
        let (mut rows, mut codes): (Vec<Vec<String>>, Vec<String>) = Default::default();
        let mut words = String::new();
        for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::TableRow | Tag::TableHead) => rows.push(Vec::new()),
                Event::Start(Tag::TableCell | Tag::CodeBlock(_)) => words.clear(),
                Event::End(TagEnd::TableCell) => rows.last_mut().unwrap().push(words.clone()),
                Event::End(TagEnd::CodeBlock) => codes.push(words.clone()),
                Event::Text(text) => words.push_str(&text),
                Event::Html(html) | Event::InlineHtml(html) => panic!("HTML got through: {html}"),
                _ => {}
            }
        }
        (rows, codes)
    }

    #[test]
    fn a_markdown_parser_finds_one_column_per_kernel_and_one_row_per_scenario() {
        let text = markdown(&sample::results(), By::Scenario);
        insta::assert_snapshot!("markdown", text.replace(HARNESS, "VERSION"));
        let (rows, codes) = read(&text);
        let rows: Vec<Vec<&str>> = rows.iter().map(|row| row.iter().map(String::as_str).collect()).collect();
        assert_eq!(
            rows,
            [
                vec!["scenario", "6.12 (6.12.107)", "7.3"],
                vec!["maps/one", "as recorded 1/1", "as recorded 1/1"],
                vec!["token/new", "skipped", "differs 2/0"],
                vec!["vm/broken", "fault", "fault"],
                vec!["vm/killer", "as recorded 1/1", "crashed 0/0"],
                vec![
                    "total",
                    "1 skipped, 2 as recorded, 1 fault 2/2",
                    "1 as recorded, 1 differs, 1 crashed, 1 fault 3/1"
                ],
            ]
        );
        assert_eq!(codes.len(), 3, "{codes:?}");
    }

    #[test]
    fn columns_are_named_with_their_image_if_there_are_several() {
        let text = markdown(&sample::two_images(), By::Scenario);
        insta::assert_snapshot!("markdown_of_two_images", text.replace(HARNESS, "VERSION"));
        let (rows, _) = read(&text);
        assert_eq!(rows[0], ["scenario", "6.12@minimal (6.12.107)", "6.12@systemd-262 (6.12.107)"]);
        assert_eq!((rows[1][2].as_str(), rows[4][2].as_str()), ("·", "differs 2/0"));
    }

    #[test]
    fn a_folder_is_one_row_for_its_scenarios() {
        let (rows, _) = read(&markdown(&sample::results(), By::Folder));
        let names: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
        assert_eq!(names, ["folder", "maps", "token", "vm", "total"]);
        assert_eq!(rows[3][1..], ["1 as recorded, 1 fault 1/1", "1 crashed, 1 fault 0/0"]);
    }

    #[test]
    fn guest_text_stays_in_its_code_block() {
        let text = markdown(&sample::results(), By::Scenario);
        let (_, codes) = read(&text);
        assert!(codes.iter().all(|code| code.contains("# Heading <img src=x>") && code.contains("```")), "{codes:?}");
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        assert!(!text.lines().any(|line| line.trim_start().starts_with("::")) && !text.contains("##["), "{text}");
    }

    #[test]
    fn names_are_shown_literally() {
        let results = Results { results: vec![sample::as_recorded("6.12", "a/b__c__", vec![])], ..sample::results() };
        let (rows, _) = read(&markdown(&results, By::Scenario));
        assert_eq!(rows[1], ["a/b__c__", "as recorded 0/0", "·"]);
    }
}
