//! The page about attacks on the guard: a committed list of them, with the verdicts that snapshots have.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use anyhow::{Context, Result, bail, ensure};
use harness_protocol::name::ScenarioName;
use harness_runner::suite::Suite;
use harness_snapshot::recorded::Recorded;
use serde::{Deserialize, de::DeserializeOwned};

use super::reference::{cell, scenario_link_as};

/// The list, below the project's folder.
const LIST: &str = "xtask/attacks.toml";
/// Scenarios below it attack the guard; each belongs to a row.
const FOLDER: &str = "guard/attacks/";
/// What the name of the same attack under a policy that does not stop it ends with.
const TWIN: &str = "-unprotected";

/// Whether an attack is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stopped {
    Kernel,
    Part,
    Not,
}

impl Stopped {
    const ALL: [Self; 3] = [Self::Kernel, Self::Part, Self::Not];

    const fn letter(self) -> &'static str {
        match self {
            Self::Kernel => "K",
            Self::Part => "P",
            Self::Not => "N",
        }
    }
}

/// An attack.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    number: String,
    attack: String,
    /// What stops it.
    stop: String,
    stopped: Stopped,
    /// Scenarios in which the guard stays in force.
    #[serde(default)]
    scenarios: Vec<String>,
    /// Scenarios that show what becomes of a late guard.
    #[serde(default)]
    late: Vec<String>,
    /// `FILE#FUNCTION`.
    #[serde(default)]
    tests: Vec<String>,
    /// Why there is neither a scenario nor a test.
    #[serde(default)]
    why: String,
    #[serde(default)]
    remains: String,
}

impl Row {
    fn named(&self) -> impl Iterator<Item = &String> {
        self.scenarios.iter().chain(&self.late)
    }
}

/// Reads the rows of a committed list, below the project's folder.
pub(super) fn rows<Row: DeserializeOwned>(root: &Path, list: &str) -> Result<Vec<Row>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct List<Row> {
        row: Vec<Row>,
    }
    let text = fs::read_to_string(root.join(list)).with_context(|| format!("cannot read {list}"))?;
    let List { row } = toml::from_str(&text).with_context(|| format!("{list} is not valid"))?;
    Ok(row)
}

/// Returns the generated part of the page.
///
/// # Errors
/// The list cannot be read, leaves something out, or says what a snapshot contradicts.
pub(super) fn page(root: &Path, suite: &Suite) -> Result<String> {
    let rows: Vec<Row> = rows(root, LIST)?;
    let mut snapshots = BTreeMap::new();
    for name in suite.names() {
        let is_wanted =
            name.as_str().starts_with(FOLDER) || rows.iter().any(|row| row.named().any(|of| *of == name.as_str()));
        if is_wanted {
            snapshots.insert(name.clone(), Snapshots::read(&suite.recorded(name)?));
        }
    }
    let page = Page { rows: &rows, snapshots: &snapshots };
    page.check().with_context(|| format!("{LIST} is not right"))?;
    rows.iter().try_for_each(|row| check_tests(root, row)).with_context(|| format!("{LIST} is not right"))?;
    Ok(page.text())
}

/// Checks that the tests of a row exist.
fn check_tests(root: &Path, row: &Row) -> Result<()> {
    for test in &row.tests {
        let (file, function) = test.split_once('#').with_context(|| format!("`{test}` is not FILE#FUNCTION"))?;
        let text = fs::read_to_string(root.join(file)).with_context(|| format!("cannot read {file}"))?;
        ensure!(text.contains(&format!("fn {function}(")), "row {}: {file} has no function `{function}`", row.number);
    }
    Ok(())
}

/// An attempt in a snapshot: its words, and its verdict with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) words: String,
    pub(super) verdict: String,
}

impl Attempt {
    /// Reads a line that begins with a number; any other is `None`.
    pub(super) fn of_line(line: &str) -> Option<Self> {
        let (number, rest) = line.trim_start().split_once("  ")?;
        number.parse::<u32>().ok()?;
        let at = ["allowed", "denied", "malformed", "unsupported"]
            .iter()
            .filter_map(|verdict| rest.find(&format!("  {verdict}")))
            .min()?;
        Some(Self { words: rest[..at].trim().to_owned(), verdict: rest[at..].trim().to_owned() })
    }

    /// Returns how the guard is attacked, if it is.
    fn way(&self) -> Option<&str> {
        Some(self.words.split_once("attack ")?.1)
    }

    fn is_refused_by_the_guard(&self) -> bool {
        self.verdict.starts_with("denied") && self.verdict.contains("(guard: ")
    }
}

/// What the snapshots of a scenario have, by whose they are; the first is that of all kernels without one of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshots(Vec<(String, Vec<Attempt>)>);

impl Snapshots {
    pub(super) fn read(recorded: &Recorded) -> Self {
        Self::of(recorded.texts.iter().map(|(owner, text)| (owner.words(), text.as_str())))
    }

    pub(super) fn of<'a>(texts: impl IntoIterator<Item = (String, &'a str)>) -> Self {
        let attempts = |text: &str| text.lines().filter_map(Attempt::of_line).collect();
        Self(texts.into_iter().map(|(owner, text)| (owner, attempts(text))).collect())
    }

    /// Returns the attempts of each snapshot.
    pub(super) fn each(&self) -> impl Iterator<Item = &[Attempt]> {
        self.0.iter().map(|(_, attempts)| attempts.as_slice())
    }

    fn main(&self) -> &[Attempt] {
        self.0.first().map_or(&[], |(_, attempts)| attempts)
    }

    /// Returns the indices of attacks.
    fn attacks(&self) -> impl Iterator<Item = usize> {
        self.main().iter().enumerate().filter(|(_, attempt)| attempt.way().is_some()).map(|(at, _)| at)
    }

    /// Returns something of an attempt, and what differs from it with the kernels where it does.
    pub(super) fn said(&self, of: impl Fn(&[Attempt]) -> Option<String>) -> String {
        let all: Vec<(&str, String)> =
            self.0.iter().map(|(owner, attempts)| (&**owner, of(attempts).unwrap_or_default())).collect();
        let Some((_, first)) = all.first() else { return String::new() };
        let mut others: Vec<(&str, Vec<&str>)> = Vec::new();
        for (owner, said) in all.iter().filter(|(_, said)| said != first) {
            match others.iter_mut().find(|(known, _)| known == said) {
                Some((_, owners)) => owners.push(owner),
                None => others.push((said, vec![owner])),
            }
        }
        let add = |text, (said, owners): (&str, Vec<&str>)| format!("{text}; {}: {said}", owners.join(", "));
        others.into_iter().fold(first.clone(), add)
    }

    fn verdict(&self, at: usize) -> String {
        self.said(|attempts| Some(attempts.get(at)?.verdict.clone()))
    }

    /// Returns what the call after an attack shows.
    fn canary(&self, at: usize) -> String {
        self.said(|attempts| {
            let canary = attempts.get(at + 1)?;
            Some(if canary.is_refused_by_the_guard() { "in force" } else { "gone" }.to_owned())
        })
    }

    /// Returns whether the guard is in force after each attack, with every snapshot.
    fn survives(&self) -> bool {
        self.0.iter().all(|(_, attempts)| {
            let mut pairs = attempts.iter().zip(attempts.iter().skip(1));
            pairs.all(|(attack, canary)| attack.way().is_none() || canary.is_refused_by_the_guard())
        })
    }

    /// Returns whether something is refused with every snapshot: an attack by anybody, any other attempt by the guard.
    fn refuses(&self) -> bool {
        let is_refused = |attempt: &Attempt| {
            attempt.is_refused_by_the_guard() || attempt.way().is_some() && !attempt.verdict.starts_with("allowed")
        };
        !self.0.is_empty() && self.0.iter().all(|(_, attempts)| attempts.iter().any(is_refused))
    }

    /// Returns how many attempts were refused by the guard, and how many allowed.
    fn counts(&self) -> String {
        self.said(|attempts| {
            let refused = attempts.iter().filter(|attempt| attempt.is_refused_by_the_guard()).count();
            let allowed = attempts.iter().filter(|attempt| attempt.verdict.starts_with("allowed")).count();
            Some(format!("{refused} refused by the guard, {allowed} allowed"))
        })
    }
}

/// Returns a link from a page of `docs/` to a scenario of the guard.
fn scenario_link(name: &ScenarioName) -> String {
    let short = name.as_str().strip_prefix("guard/").unwrap_or(name.as_str());
    scenario_link_as(&format!("`{short}`"), name.as_str())
}

struct Page<'a> {
    rows: &'a [Row],
    snapshots: &'a BTreeMap<ScenarioName, Snapshots>,
}

impl Page<'_> {
    fn of(&self, name: &str) -> Option<(&ScenarioName, &Snapshots)> {
        self.snapshots.iter().find(|(known, _)| known.as_str() == name)
    }

    /// Checks that nothing is left out, and that the snapshots agree with the rows.
    fn check(&self) -> Result<()> {
        for (name, _) in self.snapshots.iter().filter(|(name, _)| name.as_str().starts_with(FOLDER)) {
            let name = name.as_str();
            let (own, other) = (name.to_owned(), name.strip_suffix(TWIN).unwrap_or(name).to_owned());
            let is_listed = |row: &Row| row.named().any(|listed| *listed == own || *listed == other);
            ensure!(self.rows.iter().any(is_listed), "scenario {name} belongs to no row; add it to one");
        }
        self.rows.iter().try_for_each(|row| self.check_row(row).with_context(|| format!("row {}", row.number)))
    }

    fn check_row(&self, row: &Row) -> Result<()> {
        let has_proof = row.named().next().is_some() || !row.tests.is_empty();
        ensure!(has_proof || !row.why.is_empty(), "it has no scenario, no test and no `why`");
        ensure!(row.stopped == Stopped::Kernel || !row.remains.is_empty(), "what remains is missing");
        let mut is_refused = row.scenarios.is_empty();
        for name in row.named() {
            let Some((_, snapshots)) = self.of(name) else { bail!("there is no scenario {name}") };
            ensure!(!snapshots.main().is_empty(), "no attempt is recorded of scenario {name}");
            let must_survive = row.scenarios.contains(name);
            ensure!(!must_survive || snapshots.survives(), "the guard does not survive {name}; list it as `late`");
            is_refused |= snapshots.refuses();
        }
        ensure!(row.stopped != Stopped::Kernel || is_refused, "its scenarios refuse nothing, so it is not stopped");
        Ok(())
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let counts = Stopped::ALL.map(|stopped| self.rows.iter().filter(|row| row.stopped == stopped).count());
        let _ = writeln!(
            text,
            "Of {} attacks, {} are stopped in the kernel, {} in part, and {} not at all.\n\n## Every attack\n\n\
             | | attack | what stops it | | proved by | what remains |\n| --- | --- | --- | --- | --- | --- |",
            self.rows.len(),
            counts[0],
            counts[1],
            counts[2]
        );
        for row in self.rows {
            let (attack, stop, letter) = (cell(&row.attack), cell(&row.stop), row.stopped.letter());
            let (proof, remains) = (self.proof(row), cell(&row.remains));
            let _ = writeln!(text, "| {} | {attack} | {stop} | {letter} | {proof} | {remains} |", row.number);
        }
        text.push_str(
            "\n## What was attempted\n\n\
             The verdicts are those of the snapshots, which each default kernel must give; where one differs, it is named.\n\n\
             | scenario | attack | verdict | the guard then | without that protection | the guard then |\n\
             | --- | --- | --- | --- | --- | --- |\n",
        );
        for (name, snapshots) in self.snapshots {
            self.attempted(&mut text, name, snapshots);
        }
        text
    }

    fn proof(&self, row: &Row) -> String {
        let link = |name: &String, mark: &str| Some(format!("{}{mark}", scenario_link(self.of(name)?.0)));
        let scenarios = row.scenarios.iter().filter_map(|name| link(name, ""));
        let late = row.late.iter().filter_map(|name| link(name, " (late)"));
        let test = |test: &String| {
            let (file, function) = test.split_once('#')?;
            Some(format!("test [`{function}`](../{file})"))
        };
        let tests = row.tests.iter().filter_map(test);
        let why = Some(cell(&row.why)).filter(|why| !why.is_empty());
        scenarios.chain(late).chain(tests).chain(why).collect::<Vec<_>>().join(", ")
    }

    /// Adds a line for each attack of a scenario, beside the same attack of its twin.
    fn attempted(&self, text: &mut String, name: &ScenarioName, snapshots: &Snapshots) {
        if !name.as_str().starts_with(FOLDER) || self.is_twin(name) {
            return;
        }
        let link = scenario_link(name);
        let twin = self.of(&format!("{name}{TWIN}")).map(|(_, snapshots)| snapshots);
        let of_twin = |of: &dyn Fn(&Snapshots) -> String| cell(&twin.map(of).unwrap_or_default());
        if snapshots.attacks().next().is_none() {
            let (counts, other) = (snapshots.counts(), of_twin(&Snapshots::counts));
            let _ = writeln!(text, "| {link} | | {counts} | | {other} | |");
        }
        for at in snapshots.attacks() {
            let way = snapshots.main()[at].way().unwrap_or_default();
            let (verdict, canary) = (cell(&snapshots.verdict(at)), snapshots.canary(at));
            let (other, other_canary) =
                (of_twin(&|snapshots| snapshots.verdict(at)), of_twin(&|snapshots| snapshots.canary(at)));
            let _ = writeln!(text, "| {link} | `{way}` | {verdict} | {canary} | {other} | {other_canary} |");
        }
    }

    /// Returns whether a scenario stands beside another one.
    fn is_twin(&self, name: &ScenarioName) -> bool {
        name.as_str().strip_suffix(TWIN).is_some_and(|other| self.of(other).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROTECTED: &str = "1  map_create array      allowed\n2  by host: attack kill  denied EPERM by kill (guard: the guard's process)\n     guard: outside of a call denied (task_kill)\n3  map_create hash       denied EPERM (guard: map type hash (rule 2))\n";
    const UNPROTECTED: &str = "1  map_create array      allowed\n2  by host: attack kill  allowed: the process has ended\n3  map_create hash       allowed\n";

    fn row(more: &str) -> Row {
        let text = format!("number = \"5\"\nattack = \"kill | trace\"\nstop = \"a hook\"\n{more}");
        toml::from_str(&text).unwrap()
    }

    fn recorded(texts: &[(&str, &str)]) -> BTreeMap<ScenarioName, Snapshots> {
        let of = |text| Snapshots::of([("everything".to_owned(), text)]);
        texts.iter().map(|(name, text)| (name.parse().unwrap(), of(text))).collect()
    }

    fn checked(rows: &[Row], snapshots: &BTreeMap<ScenarioName, Snapshots>) -> String {
        let page = Page { rows, snapshots };
        page.check().map_or_else(|error| format!("{error:#}"), |()| page.text())
    }

    #[test]
    fn a_row_has_the_verdicts_of_its_snapshots() {
        let snapshots = recorded(&[("guard/attacks/kill", PROTECTED), ("guard/attacks/kill-unprotected", UNPROTECTED)]);
        let rows = [row("stopped = \"kernel\"\nscenarios = [\"guard/attacks/kill\"]\n")];
        insta::assert_snapshot!(checked(&rows, &snapshots), @"
        Of 1 attacks, 1 are stopped in the kernel, 0 in part, and 0 not at all.

        ## Every attack

        | | attack | what stops it | | proved by | what remains |
        | --- | --- | --- | --- | --- | --- |
        | 5 | kill \\| trace | a hook | K | [`attacks/kill`](../scenarios/guard/attacks/kill.toml) |  |

        ## What was attempted

        The verdicts are those of the snapshots, which each default kernel must give; where one differs, it is named.

        | scenario | attack | verdict | the guard then | without that protection | the guard then |
        | --- | --- | --- | --- | --- | --- |
        | [`attacks/kill`](../scenarios/guard/attacks/kill.toml) | `kill` | denied EPERM by kill (guard: the guard's process) | in force | allowed: the process has ended | gone |
        ");
    }

    #[test]
    fn a_kernel_whose_verdict_differs_is_named() {
        let all =
            [("everything", PROTECTED), ("7.3", UNPROTECTED), ("6.12-lockdown", PROTECTED), ("6.18", UNPROTECTED)];
        let snapshots = Snapshots::of(all.map(|(owner, text)| (owner.to_owned(), text)));
        assert_eq!(snapshots.canary(1), "in force; 7.3, 6.18: gone");
        assert_eq!(snapshots.verdict(0), "allowed");
        assert!(!snapshots.survives() && !snapshots.refuses());
    }

    #[test]
    fn what_is_left_out_or_contradicted_is_an_error() {
        let kill = |more: &str| row(&format!("scenarios = [\"guard/attacks/kill\"]\n{more}"));
        let snapshots = |text: &str| recorded(&[("guard/attacks/kill", text)]);
        let wrong = |row: Row, text: &str| checked(&[row], &snapshots(text));
        insta::assert_snapshot!(checked(&[], &snapshots(PROTECTED)), @"scenario guard/attacks/kill belongs to no row; add it to one");
        insta::assert_snapshot!(wrong(kill("stopped = \"kernel\""), UNPROTECTED), @"row 5: the guard does not survive guard/attacks/kill; list it as `late`");
        let late = row("stopped = \"kernel\"\nlate = [\"guard/attacks/kill\"]\nscenarios = [\"guard/other\"]");
        let other = recorded(&[("guard/attacks/kill", UNPROTECTED), ("guard/other", "1  map_create array  allowed\n")]);
        insta::assert_snapshot!(checked(&[late], &other), @"row 5: its scenarios refuse nothing, so it is not stopped");
        insta::assert_snapshot!(wrong(kill("stopped = \"part\""), PROTECTED), @"row 5: what remains is missing");
        insta::assert_snapshot!(checked(&[row("stopped = \"kernel\"")], &recorded(&[])), @"row 5: it has no scenario, no test and no `why`");
        insta::assert_snapshot!(checked(&[kill("stopped = \"kernel\"")], &recorded(&[])), @"row 5: there is no scenario guard/attacks/kill");
        insta::assert_snapshot!(wrong(kill("stopped = \"kernel\""), ""), @"row 5: no attempt is recorded of scenario guard/attacks/kill");
    }

    #[test]
    fn the_committed_page_is_that_of_the_list_and_the_snapshots() {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let suite = Suite::find(&root.join("scenarios")).unwrap();
        let page = page(root, &suite).unwrap();
        let committed = fs::read_to_string(root.join("docs/attacks.md")).unwrap();
        assert!(committed.contains(page.trim_end()), "write docs/attacks.md with `cargo xtask schema`");
        let missing = Row { tests: vec!["xtask/src/main.rs#no_such_test".to_owned()], ..row("stopped = \"kernel\"") };
        let error = check_tests(root, &missing).unwrap_err().to_string();
        assert_eq!(error, "row 5: xtask/src/main.rs has no function `no_such_test`");
    }
}
