//! The page about signed programs: a committed list of attacks, with the verdicts that snapshots have under each policy.

use std::{collections::BTreeMap, fmt::Write, path::Path};

use anyhow::{Context, Result, ensure};
use harness_protocol::name::ScenarioName;
use harness_runner::scenario_runner::Runner;
use serde::Deserialize;

use super::{
    attacks::{self, Attempt, Snapshots},
    reference::{cell, scenario_link_as},
};

/// The list, below the project's folder.
const LIST: &str = "xtask/signing.toml";
/// The columns: the user of scenarios that makes the attack, and what stands above.
const COLUMNS: [(&str, &str); 4] = [
    ("container", "the kernel as it is"),
    ("any", "any signature"),
    ("builtin", "a built-in key"),
    ("profile", "the guard's profile"),
];

/// An attack, or an honest program.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    number: String,
    attack: String,
    scenarios: Vec<String>,
    note: String,
    #[serde(default)]
    honest: bool,
}

/// A scenario: the kernels that it is for, and its snapshots.
#[derive(Clone, Debug)]
struct Recorded {
    kernels: String,
    snapshots: Snapshots,
}

/// Returns the generated part of the page.
///
/// # Errors
/// The list cannot be read, or names a scenario that lacks what the page shows.
pub(super) fn page(root: &Path, runner: &Runner) -> Result<String> {
    let rows: Vec<Row> = attacks::rows(root, LIST)?;
    let names: Vec<&ScenarioName> =
        runner.suite().names().filter(|name| name.as_str().starts_with("signing/")).collect();
    let mut recorded = BTreeMap::new();
    for checked in runner.check(names)? {
        let snapshots = Snapshots::read(&runner.suite().recorded(checked.name())?);
        let kernels = checked.kernels().map_or("all".to_owned(), |range| format!("`{range}`"));
        recorded.insert(checked.name().as_str().to_owned(), Recorded { kernels, snapshots });
    }
    page_of(&rows, &recorded).with_context(|| format!("{LIST} is not right"))
}

fn page_of(rows: &[Row], recorded: &BTreeMap<String, Recorded>) -> Result<String> {
    for name in recorded.keys() {
        let is_listed = rows.iter().any(|row| row.scenarios.contains(name));
        ensure!(is_listed, "scenario {name} belongs to no row; add it to one");
    }
    let mut table = format!(
        "| | attack | {} | kernels | |\n| --- | --- {}| --- | --- |\n",
        COLUMNS.map(|(_, words)| words).join(" | "),
        "| --- ".repeat(COLUMNS.len())
    );
    let mut stopped = [0; COLUMNS.len()];
    for row in rows {
        let line = Line::of(row, recorded).with_context(|| format!("row {}", row.number))?;
        for (count, (is_refused, _)) in stopped.iter_mut().zip(&line.cells) {
            *count += u32::from(*is_refused && !row.honest);
        }
        let cells = line.cells.map(|(_, words)| cell(&words)).join(" | ");
        let (attack, note) = (cell(&row.attack), cell(&row.note));
        let _ = writeln!(table, "| {} | {attack} | {cells} | {} | {note} |", line.link, line.kernels);
    }
    let attacks = rows.iter().filter(|row| !row.honest).count();
    let [kernel, any, builtin, profile] = stopped;
    Ok(format!(
        "Of {attacks} attacks, the kernel's own check stops {kernel}. A policy that wants any signature stops {any}, one that \
         wants a signature by a built-in key {builtin}, and the guard's profiles {profile}.\n\n{table}"
    ))
}

/// A line of the table.
struct Line {
    /// Its number, as a link to the first scenario.
    link: String,
    /// For each column whether the attack is refused, and how.
    cells: [(bool, String); COLUMNS.len()],
    kernels: String,
}

impl Line {
    fn of(row: &Row, recorded: &BTreeMap<String, Recorded>) -> Result<Self> {
        let mut scenarios = Vec::new();
        for name in &row.scenarios {
            scenarios.push(recorded.get(name).with_context(|| format!("there is no scenario {name}"))?);
        }
        let first = row.scenarios.first().context("it has no scenario")?;
        let mut cells = Vec::new();
        for (user, _) in COLUMNS {
            let shown = scenarios.iter().find_map(|scenario| scenario.verdict(user));
            cells.push(shown.with_context(|| format!("no snapshot has an attempt by `{user}`; record its scenarios"))?);
        }
        let mut kernels: Vec<&str> = scenarios.iter().map(|scenario| scenario.kernels.as_str()).collect();
        kernels.dedup();
        Ok(Self {
            link: scenario_link_as(&row.number, first),
            cells: cells.try_into().ok().context("there are as many cells as columns")?,
            kernels: kernels.join(", "),
        })
    }
}

impl Recorded {
    /// Returns whether a user's last attempt is refused by every kernel, and how; kernels that differ are named.
    fn verdict(&self, user: &str) -> Option<(bool, String)> {
        let last = |attempts: &[Attempt]| {
            let last = attempts.iter().rev().find(|attempt| attempt.is_by(user))?;
            Some(shown(&last.verdict))
        };
        let refused: Option<Vec<bool>> =
            self.snapshots.each().map(|attempts| last(attempts).map(|(is_refused, _)| is_refused)).collect();
        let refused = refused.filter(|refused| !refused.is_empty())?;
        Some((
            refused.into_iter().all(|is_refused| is_refused),
            self.snapshots.said(|attempts| Some(last(attempts)?.1)),
        ))
    }
}

impl Attempt {
    fn is_by(&self, user: &str) -> bool {
        match self.words.strip_prefix("by ").and_then(|rest| rest.split_once(": ")) {
            Some((by, _)) => by == user,
            None => user == COLUMNS[0].0,
        }
    }
}

/// Returns whether a verdict is a refusal, and its words for the table. What fails for root as well is refused by the
/// kernel, whoever asks.
fn shown(verdict: &str) -> (bool, String) {
    let guard = verdict.split_once("(guard: ").map(|(_, reason)| reason.trim_end_matches(')'));
    match (verdict.split_once(' '), guard) {
        (_, Some(reason)) => (true, format!("refused: {}", reason.split(" (rule").next().unwrap_or(reason))),
        (Some(("malformed", errno)), _) => (true, format!("refused by the kernel: {errno}")),
        _ if verdict.starts_with("allowed") => (false, "goes through".to_owned()),
        _ => (false, verdict.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const TEXT: &str = "\
1  by host: prog_load socket_filter               allowed
2  by any: prog_load socket_filter signature=own  allowed
3  prog_load socket_filter                        allowed
4  by any: prog_load socket_filter                denied EPERM (guard: no signature (rule 1))
5  by builtin: prog_load socket_filter            malformed EKEYREJECTED
6  by profile: prog_load socket_filter            denied EPERM (guard: another tag (rule 3))
";

    fn row(number: &str, more: &str) -> Row {
        let text =
            format!("number = \"{number}\"\nattack = \"a | b\"\nnote = \"why\"\nscenarios = [\"signing/a\"]\n{more}");
        toml::from_str(&text).unwrap()
    }

    fn recorded(texts: &[(&str, &str)]) -> BTreeMap<String, Recorded> {
        let snapshots = Snapshots::of(texts.iter().map(|(owner, text)| ((*owner).to_owned(), *text)));
        [("signing/a".to_owned(), Recorded { kernels: "`>=6.18`".to_owned(), snapshots })].into()
    }

    fn shown(rows: &[Row], recorded: &BTreeMap<String, Recorded>) -> String {
        page_of(rows, recorded).unwrap_or_else(|error| format!("{error:#}"))
    }

    #[test]
    fn the_last_attempt_of_each_user_is_the_attack_and_honest_programs_are_not_counted() {
        let rows = [row("S1", ""), row("S12", "honest = true")];
        insta::assert_snapshot!(shown(&rows, &recorded(&[("everything", TEXT)])), @"
        Of 1 attacks, the kernel's own check stops 0. A policy that wants any signature stops 1, one that wants a signature by a built-in key 1, and the guard's profiles 1.

        | | attack | the kernel as it is | any signature | a built-in key | the guard's profile | kernels | |
        | --- | --- | --- | --- | --- | --- | --- | --- |
        | [S1](../scenarios/signing/a.toml) | a \\| b | goes through | refused: no signature | refused by the kernel: EKEYREJECTED | refused: another tag | `>=6.18` | why |
        | [S12](../scenarios/signing/a.toml) | a \\| b | goes through | refused: no signature | refused by the kernel: EKEYREJECTED | refused: another tag | `>=6.18` | why |
        ");
    }

    #[test]
    fn a_kernel_that_differs_is_named_and_an_attack_that_it_lets_through_is_not_stopped() {
        let other = TEXT.replace("malformed EKEYREJECTED", "allowed");
        let recorded = recorded(&[("everything", TEXT), ("7.2", &other)]);
        let verdict = recorded["signing/a"].verdict("builtin").unwrap();
        assert_eq!(verdict, (false, "refused by the kernel: EKEYREJECTED; 7.2: goes through".to_owned()));
    }

    #[test]
    fn what_is_missing_is_an_error() {
        insta::assert_snapshot!(shown(&[], &recorded(&[])), @"scenario signing/a belongs to no row; add it to one");
        insta::assert_snapshot!(shown(&[row("S1", "")], &BTreeMap::new()), @"row S1: there is no scenario signing/a");
        let lacks = recorded(&[("everything", "1  prog_load socket_filter  allowed\n")]);
        insta::assert_snapshot!(shown(&[row("S1", "")], &lacks), @"row S1: no snapshot has an attempt by `any`; record its scenarios");
    }

    #[test]
    fn the_committed_page_is_that_of_the_list_and_the_snapshots() {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let project = harness_builder::project::Project::above(root).unwrap();
        let runner = Runner::open(&project, &project.scenarios()).unwrap();
        let page = page(root, &runner).unwrap();
        let committed = fs::read_to_string(root.join("docs/signing.md")).unwrap();
        assert!(committed.contains(page.trim_end()), "write docs/signing.md with `cargo xtask schema`");
    }
}
