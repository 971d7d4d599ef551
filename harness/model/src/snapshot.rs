//! The text that people review: what one scenario was allowed and denied, and the file it is kept in.
//!
//! A snapshot file is one of the `insta` crate's: a YAML header between lines of `---`, then the text. `NAME.snap` holds
//! for every kernel; a kernel whose verdicts differ on purpose has `NAME@KERNEL.snap` beside it.

use std::{collections::BTreeMap, fmt::Write};

use thiserror::Error;

use crate::{
    delegation::MountOption,
    grid::{self, Grid},
    judgement::{Case, Judgement, Row, Step, StepResult},
    name::{ContainerName, KernelName},
    outcome::UnitFact,
};

/// The text of a judgement: the same in every run in which the kernel answers the same.
pub fn render(judgement: &Judgement) -> String {
    let mut text = String::new();
    if let Some(grid) = &judgement.grid {
        render_grid(&mut text, grid, judgement);
        return text;
    }
    for (index, case) in judgement.cases.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        render_case(&mut text, case);
    }
    text
}

fn render_case(text: &mut String, case: &Case) {
    if !case.label.is_empty() {
        let _ = writeln!(text, "[{}]", case.label);
    }
    let idle = |container: &ContainerName| case.units.iter().any(|unit| unit.container == *container && !unit.ran);
    for (container, options) in case.mounted.iter().filter(|(container, _)| !idle(container)) {
        let _ = writeln!(text, "{container}'s bpffs shows {}", without_controls(&show_options(options)));
    }
    render_units(text, case);
    for line in &case.disagreements {
        let _ = writeln!(text, "{}", without_controls(line));
    }
    let digits = case.rows.len().to_string().len();
    let width = case.rows.iter().map(|row| row.text.chars().count()).max().unwrap_or(0);
    for (index, row) in case.rows.iter().enumerate() {
        let verdict = one_line(row);
        let _ = writeln!(text, "{:>digits$}  {:<width$}  {verdict}", index + 1, row.text);
        render_steps(text, digits, &row.steps);
    }
}

/// What systemd's units came to: the token, how each ended, and what the journal has of it.
fn render_units(text: &mut String, case: &Case) {
    for (container, token) in &case.tokens {
        let _ = match token {
            Ok([cmds, maps, progs, attachs]) => {
                writeln!(text, "{container}'s token holds cmds={cmds} maps={maps} progs={progs} attachs={attachs}")
            }
            Err(errno) => writeln!(text, "{container} can make no token: {errno}"),
        };
    }
    for unit in &case.units {
        let line = format!("{}'s unit {}: {}, status {}", unit.container, ran(unit), unit.result, unit.status);
        let _ = writeln!(text, "{}", without_controls(&line));
        for warning in &unit.warnings {
            let _ = writeln!(text, "  | {}", without_controls(warning));
        }
    }
}

fn ran(unit: &UnitFact) -> String {
    match (unit.ran, unit.namespaces.as_slice()) {
        (false, _) => "did not run".to_owned(),
        (true, []) => "ran in no namespace of its own".to_owned(),
        (true, namespaces) => format!("ran in namespaces of its own ({})", namespaces.join(" ")),
    }
}

/// The calls libbpf made for an object, below its attempt; of its probes, which are many, those that were refused.
fn render_steps(text: &mut String, digits: usize, steps: &[Step]) {
    let steps: Vec<&Step> = steps.iter().filter(|step| !step.probe || step.result != StepResult::Allowed).collect();
    let width = steps.iter().map(|step| step.text.chars().count()).max().unwrap_or(0);
    for step in steps {
        let about = without_controls(&step.text);
        let _ = writeln!(text, "{:digits$}    {about:<width$}  {}", "", step.result);
    }
}

/// A sweep is one table, whatever cases it was made of.
fn render_grid(text: &mut String, grid: &Grid, judgement: &Judgement) {
    for line in judgement.cases.iter().flat_map(|case| &case.disagreements) {
        let _ = writeln!(text, "{}", without_controls(line));
    }
    for line in grid::layout(grid, judgement) {
        let line: String = line.into_iter().map(|piece| piece.text).collect();
        let _ = writeln!(text, "{}", without_controls(line.trim_end()));
    }
}

/// A verdict and its cause on one line, whatever the guest put into its detail.
fn one_line(row: &Row) -> String {
    let cause = row.cause.as_ref().map(|cause| format!(" ({cause})")).unwrap_or_default();
    without_controls(&format!("{}{cause}", row.verdict))
}

/// What a guest answered stays on its line and commands no terminal.
fn without_controls(text: &str) -> String {
    text.replace(|c: char| c.is_control(), " ")
}

pub(crate) fn show_options(options: &[MountOption]) -> String {
    if options.is_empty() {
        return "no delegation".to_owned();
    }
    let shown: Vec<String> =
        options.iter().map(|o| format!("{}={}", o.key.trim_start_matches("delegate_"), o.value)).collect();
    shown.join(" ")
}

/// The name of a snapshot file of a scenario whose file is called `stem`.
pub fn file_name(stem: &str, kernel: Option<&KernelName>) -> String {
    match kernel {
        None => format!("{stem}.snap"),
        Some(kernel) => format!("{stem}@{kernel}.snap"),
    }
}

/// The kernel a file of this name is the snapshot of, for the scenario whose file is called `stem`: `Some(None)` is the
/// shared one, `None` is no snapshot of it.
pub fn kernel_of(stem: &str, file: &str) -> Option<Option<KernelName>> {
    match file.strip_prefix(stem)?.strip_suffix(".snap")? {
        "" => Some(None),
        rest => rest.strip_prefix('@')?.parse().ok().map(Some),
    }
}

/// Why a snapshot file cannot be read.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("it does not begin with a header between two lines of `---`")]
pub struct NoHeader;

/// The text in a snapshot file.
///
/// # Errors
/// [`NoHeader`] if it is not a snapshot file.
pub fn text_of(file: &str) -> Result<&str, NoHeader> {
    let rest = file.strip_prefix("---\n").ok_or(NoHeader)?;
    let (_, text) = rest.split_once("\n---\n").ok_or(NoHeader)?;
    Ok(text)
}

/// A snapshot file with this text, as `insta` writes it.
pub fn file_of(text: &str, summary: &str, scenario_path: &str) -> String {
    // A JSON string is a YAML string, and Rust's own escapes are not.
    let quote = |s: &str| serde_json::Value::from(s).to_string();
    format!(
        "---\nsource: {SOURCE}\ndescription: {}\ninput_file: {}\n---\n{}\n",
        quote(summary),
        quote(scenario_path),
        text.trim_end()
    )
}

/// The test that compares snapshots, as their header names it.
const SOURCE: &str = "harness/runner/tests/scenarios.rs";

/// Whether two texts are the same snapshot; white space at the end does not count.
pub fn same(one: &str, other: &str) -> bool {
    one.trim_end() == other.trim_end()
}

/// A kernel, and those whose snapshots hold for it where it has none of its own, the nearest first.
///
/// Without the latter a dozen kernels of two releases would have a dozen files where two say all: a kernel is held to
/// `NAME@KERNEL.snap` of its own, or else to that of the first kernel it is like, or else to `NAME.snap`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    /// The kernel.
    pub kernel: KernelName,
    /// The kernels it is like.
    pub alike: Vec<KernelName>,
}

/// The snapshots a scenario has: the shared one, and those of single kernels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// `NAME.snap`.
    pub shared: Option<String>,
    /// `NAME@KERNEL.snap`.
    pub own: BTreeMap<KernelName, String>,
}

impl Recorded {
    /// What is recorded for this kernel.
    pub fn for_kernel(&self, lineage: &Lineage) -> Option<&str> {
        self.own.get(&lineage.kernel).map(String::as_str).or_else(|| self.inherited(lineage))
    }

    /// What holds for this kernel if it has nothing of its own.
    pub fn inherited(&self, lineage: &Lineage) -> Option<&str> {
        let alike = lineage.alike.iter().filter(|kernel| **kernel != lineage.kernel);
        alike.filter_map(|kernel| self.own.get(kernel)).next().or(self.shared.as_ref()).map(String::as_str)
    }

    /// The kernel whose snapshot holds for this one; `None` is the shared one.
    pub fn holder<'a>(&'a self, lineage: &'a Lineage) -> Option<&'a KernelName> {
        std::iter::once(&lineage.kernel).chain(&lineage.alike).find(|kernel| self.own.contains_key(*kernel))
    }

    /// What would be recorded if these texts were blessed.
    ///
    /// `others_rely` says whether a kernel that did not run is held to the shared snapshot; then that stays. It also
    /// stays if it still holds for a kernel that ran. Otherwise the first kernel's text becomes the shared one. A kernel
    /// whose text is not what it inherits gets its own, and one whose text is loses it.
    pub fn blessed(&self, texts: &[(Lineage, String)], others_rely: bool) -> Self {
        let keeps = |shared: &&String| others_rely || texts.iter().any(|(_, text)| same(text, shared));
        // A kernel that is like another is looked at after that.
        let (first, then): (Vec<_>, Vec<_>) = texts.iter().partition(|(lineage, _)| lineage.alike.is_empty());
        let ordered = || first.iter().chain(&then);
        let shared = self.shared.as_ref().filter(keeps).or(ordered().next().map(|(_, text)| text)).cloned();
        let mut blessed = Self { shared, own: self.own.clone() };
        for (lineage, text) in ordered() {
            if blessed.inherited(lineage).is_some_and(|inherited| same(inherited, text)) {
                blessed.own.remove(&lineage.kernel);
            } else {
                blessed.own.insert(lineage.kernel.clone(), text.clone());
            }
        }
        blessed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(name: &str) -> KernelName {
        name.parse().unwrap()
    }

    /// A kernel and those it is like: `6.12-debian < 6.12`.
    fn lineage(names: &str) -> Lineage {
        let mut names = names.split(" < ").map(kernel);
        Lineage { kernel: names.next().unwrap(), alike: names.collect() }
    }

    fn recorded(shared: Option<&str>, own: &[(&str, &str)]) -> Recorded {
        let own = own.iter().map(|(name, text)| (kernel(name), (*text).to_owned())).collect();
        Recorded { shared: shared.map(str::to_owned), own }
    }

    fn bless(before: &Recorded, texts: &[(&str, &str)], others_rely: bool) -> Recorded {
        let texts: Vec<_> = texts.iter().map(|(names, text)| (lineage(names), (*text).to_owned())).collect();
        before.blessed(&texts, others_rely)
    }

    #[test]
    fn kernels_that_agree_share_one() {
        let first = bless(&recorded(None, &[]), &[("6.12", "a"), ("7.3", "a\n")], false);
        assert_eq!(first, recorded(Some("a"), &[]));
        let joined = bless(&recorded(Some("a"), &[("7.3", "b")]), &[("6.12", "b"), ("7.3", "b")], false);
        assert_eq!(joined, recorded(Some("b"), &[]));
    }

    #[test]
    fn a_kernel_that_differs_has_its_own() {
        let before = recorded(Some("a"), &[]);
        assert_eq!(bless(&before, &[("6.12", "a"), ("7.3", "b")], false), recorded(Some("a"), &[("7.3", "b")]));
        assert_eq!(bless(&before, &[("6.12", "b"), ("7.3", "a")], false), recorded(Some("a"), &[("6.12", "b")]));
        assert_eq!(bless(&before, &[("6.12", "b"), ("7.3", "c")], false), recorded(Some("b"), &[("7.3", "c")]));
    }

    #[test]
    fn a_kernel_that_did_not_run_keeps_what_it_is_held_to() {
        let before = recorded(Some("a"), &[]);
        assert_eq!(bless(&before, &[("7.3", "b")], true), recorded(Some("a"), &[("7.3", "b")]));
        assert_eq!(bless(&before, &[("7.3", "b")], false), recorded(Some("b"), &[]));
    }

    #[test]
    fn a_kernel_is_held_to_what_one_like_it_is_held_to() {
        let before = recorded(Some("a"), &[("7.3", "b")]);
        for (names, holder, text) in
            [("7.3-debian < 7.3", Some("7.3"), "b"), ("6.12-debian < 6.12", None, "a"), ("7.3", Some("7.3"), "b")]
        {
            assert_eq!(before.for_kernel(&lineage(names)), Some(text), "{names}");
            assert_eq!(before.holder(&lineage(names)).map(KernelName::as_str), holder, "{names}");
        }
        let debian = "7.3-debian < 7.3";
        assert_eq!(bless(&before, &[(debian, "b")], true), before);
        let own = recorded(Some("a"), &[("7.3", "b"), ("7.3-debian", "a")]);
        assert_eq!(bless(&before, &[(debian, "a")], true), own);
        assert_eq!(bless(&own, &[(debian, "b"), ("7.3", "b")], true), before);
        assert_eq!(bless(&own, &[(debian, "a"), ("7.3", "a")], true), recorded(Some("a"), &[]));
    }

    #[test]
    fn a_file_name_tells_its_kernel() {
        for kernel in [None, Some(kernel("7.3"))] {
            assert_eq!(kernel_of("any", &file_name("any", kernel.as_ref())), Some(kernel));
        }
        for other in ["any-more.snap", "any@.snap", "any@a/b.snap", "any.toml", "any.snap.new"] {
            assert_eq!(kernel_of("any", other), None, "{other}");
        }
    }

    #[test]
    fn a_file_gives_back_its_text() {
        let file = file_of("1  map_create hash  allowed\n", "says \"so\": yes", "scenarios/a.toml");
        assert_eq!(text_of(&file), Ok("1  map_create hash  allowed\n"));
        assert_eq!(text_of("no header"), Err(NoHeader));
        assert_eq!(text_of("---\nsource: x\n"), Err(NoHeader));
    }
}
