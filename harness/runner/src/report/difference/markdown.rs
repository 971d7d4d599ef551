//! Differences between two kernels as Markdown, for a pull request or a mailing list.

use std::fmt::Write;

use harness_snapshot::{
    difference::{
        Effect,
        groups::{Group, groups},
    },
    reasons::Explanation,
};

use super::{
    Difference, Extent, alike,
    text::{COVERAGE, coverage_lines, name_changes, why},
};

/// Returns all differences: one table per effect, each followed by a collapsed section with the lists that it abridges.
pub fn markdown(difference: &Difference, extent: Extent) -> String {
    let mut text = String::new();
    let ((before, old), (after, new)) = (&difference.before, &difference.after);
    let _ = writeln!(text, "# {before} → {after}\n");
    let sentence = difference.sentence();
    let _ = writeln!(text, "Linux {} and {}: {sentence}.", escaped(old), escaped(new));
    let groups = groups(&difference.compared);
    let counts = difference.counts();
    for effect in Effect::ALL.into_iter().filter(|effect| counts.contains_key(effect)) {
        let _ = writeln!(text, "\n## {} ({})\n", capital(effect.title()), counts[&effect]);
        let of_effect: Vec<&Group<'_>> = groups.iter().filter(|group| group.effect == effect).collect();
        write_groups(&mut text, difference, &of_effect, extent);
        let cut: Vec<&Group<'_>> = of_effect.into_iter().filter(|group| is_abridged(group)).collect();
        if extent == Extent::Abridged && !cut.is_empty() {
            text.push_str("\n<details>\n<summary>Long lists in full</summary>\n\n");
            write_groups(&mut text, difference, &cut, Extent::Whole);
            text.push_str("\n</details>\n");
        }
    }
    write_names(&mut text, difference);
    write_remarks(&mut text, difference);
    text
}

fn write_groups(text: &mut String, difference: &Difference, groups: &[&Group<'_>], extent: Extent) {
    let (before, after) = (&difference.before.0, &difference.after.0);
    row(text, &[before.as_str(), after.as_str(), "times", "what", "why"]);
    text.push_str("| --- | --- | ---: | --- | --- |\n");
    for group in groups {
        let side = |answer: &Option<String>| answer.as_deref().map(escaped).unwrap_or_default();
        let (shown, more) = extent.members(&group.members);
        let mut members: Vec<String> = shown
            .iter()
            .map(|member| format!("{}: {}", escaped(member.scenario.as_str()), escaped(&extent.member(member))))
            .collect();
        members.extend((more > 0).then(|| format!("and {more} more lists")));
        let reasons: Vec<String> = group.reasons.iter().map(|one| escaped(&full_why(one, extent))).collect();
        let (before, after) = (side(&group.before), side(&group.after));
        row(text, &[&before, &after, &group.count.to_string(), &members.join("<br>"), &reasons.join("<br>")]);
    }
}

/// Returns the reason, with the whole commit hash in an unabridged report.
fn full_why(explanation: &Explanation, extent: Extent) -> String {
    match (&explanation.commit, extent) {
        (Some(commit), Extent::Whole) => format!("{} (commit {commit})", explanation.reason),
        _ => why(explanation),
    }
}

fn is_abridged(group: &Group<'_>) -> bool {
    let (_, more) = Extent::Abridged.members(&group.members);
    more > 0 || group.members.iter().any(|member| Extent::Abridged.member(member) != Extent::Whole.member(member))
}

fn write_names(text: &mut String, difference: &Difference) {
    let name_changes = name_changes(&difference.names);
    if !name_changes.is_empty() {
        let _ = writeln!(text, "\n## Names, by the kernels' type information ({})\n", difference.names.len());
        row(text, &["kind", "change", "names"]);
        text.push_str("| --- | --- | --- |\n");
    }
    for (family, status, names) in name_changes {
        row(text, &[family.noun(), status, &escaped(&names.join(", "))]);
    }
    if !difference.coverage.is_empty() {
        let _ = writeln!(text, "\n## What `any` covers\n\n{}.\n", capital(COVERAGE));
    }
    for line in coverage_lines(difference) {
        let _ = writeln!(text, "- {}", escaped(&line));
    }
}

fn write_remarks(text: &mut String, difference: &Difference) {
    if !difference.uncompared.is_empty() {
        let _ = writeln!(text, "\n## Not judged on both ({})\n", difference.uncompared.len());
        row(text, &["scenarios", difference.before.0.as_str(), difference.after.0.as_str()]);
        text.push_str("| --- | --- | --- |\n");
    }
    for (before, after, scenarios) in alike(difference) {
        row(text, &[&escaped(&scenarios.join(", ")), &escaped(&before), &escaped(&after)]);
    }
    if !difference.unrecorded.is_empty() {
        let _ = writeln!(text, "\n## Not as recorded ({})\n", difference.unrecorded.len());
    }
    for (scenario, kernel) in &difference.unrecorded {
        let _ = writeln!(text, "- {} on {}", escaped(scenario.as_str()), escaped(kernel.as_str()));
    }
}

fn row(text: &mut String, cells: &[&str]) {
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// Escapes Markdown's special characters. An underscore between letters is not special.
fn escaped(text: &str) -> String {
    let chars: Vec<char> = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let letter = |at: Option<usize>| at.and_then(|at| chars.get(at)).is_some_and(|c| c.is_alphanumeric());
    let mut escaped = String::with_capacity(text.len());
    for (at, c) in chars.iter().enumerate() {
        let mark = match c {
            '_' => !(letter(at.checked_sub(1)) && letter(Some(at + 1))),
            c => matches!(c, '\\' | '|' | '`' | '*' | '[' | ']' | '<' | '>' | '&' | '~' | '#'),
        };
        if mark {
            escaped.push('\\');
        }
        escaped.push(*c);
    }
    escaped
}
