//! The text that people review: the verdicts of one scenario, and the file that keeps them.
//!
//! A snapshot file has the format of the `insta` crate: a YAML header between lines of `---`, then the text. `NAME.snap`
//! applies everywhere; where verdicts differ on purpose there are `NAME@KERNEL.snap`, `NAME@@IMAGE.snap` or
//! `NAME@KERNEL@IMAGE.snap` as well ([`crate::owner::Owner`]).

use std::fmt::Write;

use harness_protocol::{mount_option::MountOption, name::ContainerName, outcome::UnitFact};
use harness_scenario::layout::SweepLayout;
use harness_verdict::{
    judgement::{Case, Judgement, Row},
    object::{Step, StepResult},
};
use thiserror::Error;

use crate::table;

/// The text of a judgement, which is the same whenever the kernel's answers are the same.
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
    let is_unit = |container: &ContainerName| case.units.iter().any(|unit| unit.container == *container);
    for (container, options) in case.mounted.iter().filter(|(container, _)| !is_unit(container)) {
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
        for answer in &row.guard {
            let _ = writeln!(text, "{:digits$}    guard: {}", "", without_controls(answer));
        }
    }
}

/// The results of systemd units: the mount, the token, how each unit ended, and systemd's warnings.
fn render_units(text: &mut String, case: &Case) {
    let has_looked = |unit: &&UnitFact| case.tokens.iter().any(|(container, _)| *container == unit.container);
    for unit in case.units.iter().filter(has_looked) {
        let mount = unit.mount.as_deref().unwrap_or("nothing is mounted at /sys/fs/bpf");
        let _ = writeln!(text, "{} sees: {}", unit.container, without_controls(&without_dynamic_ids(mount)));
    }
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

/// Replaces `uid=` and `gid=` of dynamic users, which depend on the unit's name and so on its position in the run.
fn without_dynamic_ids(mount: &str) -> String {
    /// The IDs that `DynamicUser=` allocates (systemd.exec(5)).
    const DYNAMIC: std::ops::RangeInclusive<u32> = 61_184..=65_519;
    let known = |part: &str| {
        let (key, value) = part.split_once('=')?;
        let id: u32 = value.parse().ok()?;
        (matches!(key, "uid" | "gid") && DYNAMIC.contains(&id)).then(|| format!("{key}=dynamic"))
    };
    let parts = mount.split(',').map(|part| known(part).unwrap_or_else(|| part.to_owned()));
    parts.collect::<Vec<_>>().join(",")
}

fn ran(unit: &UnitFact) -> String {
    match (unit.ran, unit.namespaces.as_slice()) {
        (false, _) => "did not run".to_owned(),
        (true, []) => "ran in no namespace of its own".to_owned(),
        (true, namespaces) => format!("ran in namespaces of its own ({})", namespaces.join(" ")),
    }
}

/// The calls that libbpf made for an object, below its attempt; of its many probes only those that were refused.
fn render_steps(text: &mut String, digits: usize, steps: &[Step]) {
    let steps: Vec<&Step> = steps.iter().filter(|step| !step.probe || step.result != StepResult::Allowed).collect();
    let width = steps.iter().map(|step| step.text.chars().count()).max().unwrap_or(0);
    for step in steps {
        let about = without_controls(&step.text);
        let _ = writeln!(text, "{:digits$}    {about:<width$}  {}", "", step.result);
    }
}

/// Renders a sweep as one table, whatever cases it was made of.
fn render_grid(text: &mut String, grid: &SweepLayout, judgement: &Judgement) {
    for line in judgement.cases.iter().flat_map(|case| &case.disagreements) {
        let _ = writeln!(text, "{}", without_controls(line));
    }
    for line in table::layout(grid, judgement) {
        let line: String = line.into_iter().map(|piece| piece.text).collect();
        let _ = writeln!(text, "{}", without_controls(line.trim_end()));
    }
}

/// A verdict and its cause on one line, whatever the guest put into the details.
fn one_line(row: &Row) -> String {
    let cause = row.cause.as_ref().map(|cause| format!(" ({cause})")).unwrap_or_default();
    without_controls(&format!("{}{cause}", row.verdict))
}

/// Replaces control characters, so that a guest's text stays on its line and cannot control a terminal.
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

/// The error for a file that is not a snapshot file.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("it does not begin with a header between `---` lines")]
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

/// Whether two texts are the same snapshot; trailing white space does not count.
pub fn same(one: &str, other: &str) -> bool {
    one.trim_end() == other.trim_end()
}

#[cfg(test)]
mod tests {
    use harness_scenario::layout::AttemptRole;
    use harness_verdict::verdict::{Refusal, Verdict};

    use super::*;

    #[test]
    fn each_case_has_its_label_its_mount_and_numbered_attempts() {
        let row = |text: &str, verdict| Row {
            text: text.to_owned(),
            op: "map_create".to_owned(),
            container: "container".to_owned(),
            expect: None,
            verdict,
            cause: None,
            part: AttemptRole::Line,
            steps: Vec::new(),
            guard: Vec::new(),
        };
        let allowed = || Verdict::Allowed { detail: None };
        let denied = Verdict::Denied(Refusal { errno: harness_protocol::errno::Errno::EPERM, step: None });
        let guarded = |text: &str| Row {
            guard: vec!["btf_load allowed (bpf)".to_owned(), "btf_load\nallowed".to_owned()],
            ..row(text, allowed())
        };
        let case = |label: &str, mounted, rows| Case {
            label: label.to_owned(),
            mounted,
            disagreements: Vec::new(),
            units: Vec::new(),
            tokens: Vec::new(),
            rows,
        };
        let shown = vec![MountOption { key: "delegate_cmds".to_owned(), value: "any".to_owned() }];
        let judgement = Judgement {
            scenario: "a/b".parse().unwrap(),
            cases: vec![
                case("x=1", Vec::new(), vec![row("one", allowed()), row("two", denied)]),
                case("x=2", vec![("container".parse().unwrap(), shown)], vec![guarded("one"), row("two", allowed())]),
            ],
            grid: None,
            helpers: None,
            crash: None,
            splats: vec![],
        };
        assert_eq!(
            render(&judgement),
            "[x=1]\n1  one  allowed\n2  two  denied EPERM\n\n[x=2]\ncontainer's bpffs shows cmds=any\n1  one  allowed\n     guard: btf_load allowed (bpf)\n     guard: btf_load allowed\n2  two  allowed\n"
        );
    }

    #[test]
    fn ids_of_dynamic_users_are_replaced() {
        let mount = "none on /sys/fs/bpf type bpf (rw,gid=62375,uid=1000,delegate_maps=any)";
        let expected = "none on /sys/fs/bpf type bpf (rw,gid=dynamic,uid=1000,delegate_maps=any)";
        assert_eq!(without_dynamic_ids(mount), expected);
    }

    #[test]
    fn a_snapshot_file_keeps_its_text() {
        let file = file_of("1  map_create hash  allowed\n", "says \"so\": yes", "scenarios/a.toml");
        assert_eq!(text_of(&file), Ok("1  map_create hash  allowed\n"));
        assert_eq!(text_of("no header"), Err(NoHeader));
        assert_eq!(text_of("---\nsource: x\n"), Err(NoHeader));
    }
}
