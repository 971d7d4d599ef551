//! Differences between two kernels, for a terminal.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use harness_snapshot::{
    difference::{
        Effect,
        groups::{Group, groups},
        names::{Family, NameChange, NameStatus},
    },
    reasons::Explanation,
};

use super::{Difference, Extent, alike};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const RED: Style = AnsiColor::Red.on_default();

/// Returns all differences with ANSI styles: equal changes grouped, the most important first, then names.
pub fn text(difference: &Difference, extent: Extent) -> String {
    let mut text = String::new();
    let ((before, old), (after, new)) = (&difference.before, &difference.after);
    let _ = writeln!(text, "{BOLD}{before} ({old}) → {after} ({new}){BOLD:#}  {}", difference.sentence());
    let groups = groups(&difference.compared);
    let counts = difference.counts();
    let mut notes = Notes::default();
    for effect in Effect::ALL.into_iter().filter(|effect| counts.contains_key(effect)) {
        let _ = writeln!(text, "\n{BOLD}{}{}{BOLD:#}  {}", colour(effect), effect.title(), counts[&effect]);
        for group in groups.iter().filter(|group| group.effect == effect) {
            write_group(&mut text, group, extent);
            let _ = writeln!(text, "    why: {}", notes.lines(group.reasons).join("\n         "));
        }
    }
    write_names(&mut text, difference, extent);
    write_coverage(&mut text, difference);
    write_uncompared(&mut text, difference, extent);
    text
}

fn colour(effect: Effect) -> Style {
    match effect {
        Effect::Loosened | Effect::Crashed | Effect::Disagreement => RED,
        Effect::Tightened | Effect::Unsupported | Effect::Removed => AnsiColor::Yellow.on_default(),
        _ => Style::new(),
    }
}

fn write_group(text: &mut String, group: &Group<'_>, extent: Extent) {
    let _ = writeln!(text, "  {}  {DIM}{}{DIM:#}", arrow(group), times(group.count));
    let (shown, more) = extent.members(&group.members);
    for member in shown {
        let _ = writeln!(text, "    {DIM}{}{DIM:#}  {}", member.scenario, extent.member(member));
    }
    if more > 0 {
        let _ = writeln!(text, "    {DIM}and {more} more lists; --all shows them{DIM:#}");
    }
}

/// Numbered reasons: each is written out where it first appears.
#[derive(Default)]
struct Notes<'a>(Vec<&'a Explanation>);

impl<'a> Notes<'a> {
    /// Returns a line for each new reason, and one line with the numbers of earlier ones.
    fn lines(&mut self, reasons: &'a [Explanation]) -> Vec<String> {
        let (mut lines, mut known) = (Vec::new(), Vec::new());
        for explanation in reasons {
            match self.0.iter().position(|known| *known == explanation) {
                Some(at) => known.push(format!("[{}]", at + 1)),
                None => {
                    self.0.push(explanation);
                    lines.push(format!("[{}] {}", self.0.len(), why(explanation)));
                }
            }
        }
        if !known.is_empty() {
            lines.push(known.join(" "));
        }
        if lines.is_empty() { vec![format!("{DIM}not recorded{DIM:#}")] } else { lines }
    }
}

/// Formats a change, from the first kernel's answer to the second's.
pub(super) fn arrow(group: &Group<'_>) -> String {
    let side = |answer: &Option<String>| answer.clone().unwrap_or_default();
    match group.effect {
        Effect::Added => side(&group.after),
        Effect::Removed => side(&group.before),
        _ => format!("{} → {}", side_or_none(&group.before), side_or_none(&group.after)),
    }
}

fn side_or_none(answer: &Option<String>) -> String {
    answer.clone().unwrap_or_else(|| "not made".to_owned())
}

fn times(count: usize) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

pub(super) fn why(explanation: &Explanation) -> String {
    let commit = explanation.commit.as_ref().map(|commit| format!(" (commit {})", commit.short()));
    format!("{}{}", explanation.reason, commit.unwrap_or_default())
}

fn write_names(text: &mut String, difference: &Difference, extent: Extent) {
    if difference.names.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{BOLD}names, by the kernels' type information{BOLD:#}  {}", difference.names.len());
    for (family, status, names) in name_changes(&difference.names) {
        let _ = writeln!(text, "  {} {status}: {}", family.noun(), extent.list(&names));
    }
}

/// Groups the changed names by family and kind of change.
pub(super) fn name_changes(names: &[NameChange]) -> Vec<(Family, &'static str, Vec<String>)> {
    let mut all: Vec<(Family, &'static str, Vec<String>)> = Vec::new();
    for change in names {
        let number = |number: Option<u32>| number.map(|number| format!(" ({number})")).unwrap_or_default();
        let (status, text) = match change.fate {
            NameStatus::Added(at) => ("added", format!("{}{}", change.name, number(at))),
            NameStatus::Removed(at) => ("removed", format!("{}{}", change.name, number(at))),
            NameStatus::Renumbered { before, after } => ("renumbered", format!("{} ({before} → {after})", change.name)),
        };
        match all.last_mut() {
            Some((family, last, names)) if (*family, *last) == (change.family, status) => names.push(text),
            _ => all.push((change.family, status, vec![text])),
        }
    }
    all
}

fn write_coverage(text: &mut String, difference: &Difference) {
    if difference.coverage.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{BOLD}what `any` covers{BOLD:#}  {COVERAGE}");
    for line in coverage_lines(difference) {
        let _ = writeln!(text, "  {line}");
    }
}

pub(super) const COVERAGE: &str =
    "it sets all 64 bits on both kernels; listed are the bits that have a name in the kernels' type information";

pub(super) fn coverage_lines(difference: &Difference) -> Vec<String> {
    let line = |coverage: &harness_snapshot::difference::names::Coverage| {
        let (was, is) = (coverage.before, coverage.after);
        let mut line = format!(
            "delegate_{}: {} names → {}, {was:#x} → {is:#x}",
            coverage.kind.plural(),
            was.count_ones(),
            is.count_ones()
        );
        for (sign, names) in [('+', &coverage.gained), ('-', &coverage.lost)] {
            names.iter().for_each(|name| line.push_str(&format!(" {sign}{name}")));
        }
        line
    };
    difference.coverage.iter().map(line).collect()
}

fn write_uncompared(text: &mut String, difference: &Difference, extent: Extent) {
    let (before, after) = (&difference.before.0, &difference.after.0);
    if !difference.uncompared.is_empty() {
        let _ = writeln!(text, "\n{BOLD}not judged on both{BOLD:#}  {}", difference.uncompared.len());
    }
    for (was, is, scenarios) in alike(difference) {
        let _ = writeln!(text, "  {before}: {was}; {after}: {is}  {DIM}{}{DIM:#}", times(scenarios.len()));
        let _ = writeln!(text, "    {}", extent.list(&scenarios));
    }
    if !difference.unrecorded.is_empty() {
        let (name, count) = (&harness_program::NAME, difference.unrecorded.len());
        let _ = writeln!(text, "\n{RED}not as recorded, see `{name} run`{RED:#}  {count}");
    }
    for (scenario, kernel) in &difference.unrecorded {
        let _ = writeln!(text, "  {scenario} on {kernel}");
    }
}
