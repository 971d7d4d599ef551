//! What each operation of the sweeps needs on each kernel: bits of a token, and capabilities in its namespace.

use std::collections::BTreeSet;

use harness_page::parts::Tone;
use harness_scenario::{
    layout::{AttemptRole, SweepLayout},
    sweep::Arm,
};
use harness_snapshot::reasons::Explanation;
use harness_uapi::release::Release;
use harness_verdict::{
    granted::GrantedHelpers,
    judgement::{Judgement, Row},
    reason::Reason,
    verdict::Verdict,
};

use super::super::{EnvironmentLabel, Naming, Results, ScenarioResult, Status};

/// A sweep on several kernels.
pub(super) struct Sweep {
    /// What its operations are, such as `map types`.
    pub(super) of: String,
    /// The kernels, by release: their names and releases.
    pub(super) kernels: Vec<(String, Option<String>)>,
    /// The operations, in the order of the newest kernel that has them.
    pub(super) operations: Vec<Operation>,
}

/// One name of a sweep.
pub(super) struct Operation {
    /// The kernel's name for it.
    pub(super) name: String,
    /// What it needs on each kernel of the sweep; `None` where the kernel does not have it.
    pub(super) needs: Vec<Option<Need>>,
    /// The recorded reasons that may explain a change on each kernel of the sweep.
    pub(super) reasons: Vec<Vec<Explanation>>,
}

/// What an operation needs on one kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Need {
    /// The result in a few words.
    pub(super) words: String,
    /// What they mean to somebody who has a token.
    pub(super) tone: Tone,
    /// Bits and capabilities, each of which is needed.
    pub(super) parts: Vec<String>,
    /// What else is known.
    pub(super) notes: Vec<String>,
}

/// Returns every sweep that no guard was in the way of, with the kernels that carried it out.
pub(super) fn sweeps(results: &Results) -> Vec<Sweep> {
    results.results.chunk_by(|a, b| a.scenario == b.scenario).filter_map(|group| sweep(results, group)).collect()
}

/// A kernel's result of a sweep.
struct Column<'a> {
    label: &'a EnvironmentLabel,
    judgement: &'a Judgement,
    grid: &'a SweepLayout,
    explanations: &'a [Explanation],
}

fn sweep(results: &Results, group: &[ScenarioResult]) -> Option<Sweep> {
    let mut columns: Vec<Column<'_>> =
        results.environments.iter().filter_map(|label| column(results, group, label)).collect();
    columns.sort_by_key(|column| release(column.label));
    let first = columns.last()?;
    let of = if first.judgement.helpers.is_some() { "helpers".to_owned() } else { first.grid.of.clone() };
    let names = names(&columns);
    let operations = names.iter().map(|name| operation(name, &names, &columns)).collect();
    let naming = Naming::of(columns.iter().map(|column| &column.label.environment));
    let kernels = columns.iter().map(|column| (naming.name(&column.label.environment), column.label.release.clone()));
    Some(Sweep { of, kernels: kernels.collect(), operations })
}

fn column<'a>(results: &'a Results, group: &'a [ScenarioResult], label: &'a EnvironmentLabel) -> Option<Column<'a>> {
    let result = group.iter().find(|result| result.environment == label.environment)?;
    let Status::Judged { judgement, .. } = &result.status else { return None };
    let grid = judgement.grid.as_deref()?;
    let is_guarded = results.guard.is_some() || judgement.rows().any(|row| !row.guard.is_empty());
    if is_guarded || judgement.crash.is_some() {
        return None;
    }
    let key = (result.scenario.clone(), result.environment.clone());
    let explanations = results.explanations.get(&key).map_or(&[][..], Vec::as_slice);
    Some(Column { label, judgement, grid, explanations })
}

/// Returns the release that `uname -r` gave; kernels without one come first.
fn release(label: &EnvironmentLabel) -> Option<Release> {
    let text = label.release.as_deref()?;
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text[..end].parse().ok()
}

/// Returns all names, in the order of the newest kernel, then those that only older ones have.
fn names(columns: &[Column<'_>]) -> Vec<String> {
    let (mut all, mut known): (Vec<String>, BTreeSet<String>) = Default::default();
    for column in columns.iter().rev() {
        let names: Vec<&str> = match &column.judgement.helpers {
            Some(granted) => granted.names.iter().map(|(_, name)| name.as_str()).collect(),
            None => column.grid.rows.iter().map(String::as_str).collect(),
        };
        for name in names.into_iter().filter(|name| known.insert((*name).to_owned())) {
            all.push(name.to_owned());
        }
    }
    all
}

fn operation(name: &str, names: &[String], columns: &[Column<'_>]) -> Operation {
    let need = |column: &Column<'_>| match &column.judgement.helpers {
        Some(granted) => helper(name, column.grid, granted),
        None => need(name, column.grid, column.judgement),
    };
    Operation {
        name: name.to_owned(),
        needs: columns.iter().map(need).collect(),
        reasons: columns.iter().map(|column| reasons(name, names, column.explanations)).collect(),
    }
}

/// Returns the reasons that name this operation; if none does, those that name no operation of the sweep.
fn reasons(name: &str, names: &[String], explanations: &[Explanation]) -> Vec<Explanation> {
    let is_named = |explanation: &&Explanation, name: &str| {
        let words = explanation.reason.to_lowercase();
        let mut words = words.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        words.any(|word| word == name || word.strip_prefix("bpf_") == Some(name))
    };
    let own: Vec<Explanation> = explanations.iter().filter(|one| is_named(one, name)).cloned().collect();
    if !own.is_empty() {
        return own;
    }
    let general = explanations.iter().filter(|one| !names.iter().any(|name| is_named(one, name)));
    general.cloned().collect()
}

/// The attempts of one name under each arm.
struct Arms<'a>(Vec<(&'a str, &'a Row)>);

impl<'a> Arms<'a> {
    fn get(&self, arm: Arm) -> Option<&'a Row> {
        self.0.iter().find(|(name, _)| *name == arm.name()).map(|(_, row)| *row)
    }

    fn allows(&self, arm: Arm) -> bool {
        self.get(arm).is_some_and(|row| matches!(row.verdict, Verdict::Allowed { .. }))
    }
}

/// The arms that leave out one thing: whatever is refused there is needed.
const LEFT_OUT: [Arm; 8] = [
    Arm::NoToken,
    Arm::NoCmd,
    Arm::NoType,
    Arm::NoAttach,
    Arm::NoBpf,
    Arm::NoPerfmon,
    Arm::NoNetAdmin,
    Arm::NoSysAdmin,
];

fn need(name: &str, grid: &SweepLayout, judgement: &Judgement) -> Option<Need> {
    let row = grid.rows.iter().position(|row| row == name)?;
    let cells = judgement.rows().filter_map(|attempt| match attempt.part {
        AttemptRole::Cell { row: at, column } if at == row => Some((grid.columns.get(column)?.name.as_str(), attempt)),
        _ => None,
    });
    let arms = Arms(cells.collect());
    let granted = arms.get(Arm::Granted)?;
    Some(match &granted.verdict {
        Verdict::Allowed { .. } if arms.allows(Arm::Nothing) => Need {
            words: "needs nothing".to_owned(),
            tone: Tone::Good,
            parts: Vec::new(),
            notes: vec!["It works without a token and without capabilities.".to_owned()],
        },
        Verdict::Allowed { .. } => {
            let parts = parts(&arms);
            let notes = notes(&arms, &parts);
            Need { words: "with a token".to_owned(), tone: Tone::Good, parts, notes }
        }
        Verdict::Denied(refusal) => Need {
            words: "not with a token".to_owned(),
            tone: Tone::Notice,
            parts: Vec::new(),
            notes: vec![match &granted.cause {
                Some(cause) => format!("{refusal}: {cause}"),
                None => refusal.to_string(),
            }],
        },
        Verdict::Unsupported { reason, .. } => Need {
            words: "not supported".to_owned(),
            tone: Tone::Quiet,
            parts: Vec::new(),
            notes: vec![reason.clone()],
        },
        other => {
            Need { words: "not known".to_owned(), tone: Tone::Quiet, parts: Vec::new(), notes: vec![other.to_string()] }
        }
    })
}

/// Returns the bits and capabilities whose absence the kernel refuses, in the order of the arms.
fn parts(arms: &Arms<'_>) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for row in LEFT_OUT.into_iter().filter_map(|arm| arms.get(arm)) {
        let (Verdict::Denied(_), Some(Reason::Missing { gifts, .. })) = (&row.verdict, &row.cause) else { continue };
        for gift in gifts.iter().filter(|gift| *gift != "token") {
            if !parts.contains(gift) {
                parts.push(gift.clone());
            }
        }
    }
    parts
}

fn notes(arms: &Arms<'_>, parts: &[String]) -> Vec<String> {
    let mut notes = Vec::new();
    if arms.allows(Arm::NoToken) {
        notes.push("The capabilities alone are enough, without a token.".to_owned());
    }
    let replaced = |part: &String| part.starts_with("CAP_") && part != "CAP_SYS_ADMIN";
    if arms.allows(Arm::OnlySysAdmin) && parts.iter().any(replaced) {
        notes.push("CAP_SYS_ADMIN stands for the other capabilities.".to_owned());
    }
    if arms.allows(Arm::Unprivileged0) {
        notes.push("Where kernel.unprivileged_bpf_disabled=0, it needs nothing.".to_owned());
    }
    notes
}

/// Returns what a helper needs beyond what loading a program needs.
fn helper(name: &str, grid: &SweepLayout, granted: &GrantedHelpers) -> Option<Need> {
    let (id, _) = granted.names.iter().find(|(_, known)| known == name)?;
    let having = |arm: Arm| -> Option<Vec<usize>> {
        let column = grid.columns.iter().position(|column| column.name == arm.name())?;
        let has = |row: &usize| granted.of(*row, column).is_some_and(|ids| ids.contains(*id));
        Some((0..grid.rows.len()).filter(has).collect())
    };
    let (all, root) = (having(Arm::Granted)?, having(Arm::Root).unwrap_or_default());
    let types = |rows: &[usize]| rows.iter().map(|row| grid.rows[*row].as_str()).collect::<Vec<_>>().join(", ");
    let counted = |rows: &[usize]| super::super::counted(rows.len(), "program type");
    if all.is_empty() {
        let (words, tone) =
            if root.is_empty() { ("in no program", Tone::Quiet) } else { ("not with a token", Tone::Notice) };
        let notes =
            if root.is_empty() { Vec::new() } else { vec![format!("Only outside a container: {}", types(&root))] };
        return Some(Need { words: words.to_owned(), tone, parts: Vec::new(), notes });
    }
    let mut notes = vec![format!("Program types with a token: {}", types(&all))];
    let more: Vec<usize> = root.iter().copied().filter(|row| !all.contains(row)).collect();
    if !more.is_empty() {
        notes.push(format!("Only outside a container: {}", types(&more)));
    }
    let mut parts = Vec::new();
    let capabilities =
        [(Arm::NoPerfmon, "CAP_PERFMON"), (Arm::NoNetAdmin, "CAP_NET_ADMIN"), (Arm::NoSysAdmin, "CAP_SYS_ADMIN")];
    for (arm, capability) in capabilities {
        let column = grid.columns.iter().position(|column| column.name == arm.name());
        let lacks = |row: &&usize| {
            let left = column.and_then(|column| granted.of(**row, column));
            left.is_some_and(|ids| !ids.contains(*id))
        };
        let lost: Vec<usize> = all.iter().filter(lacks).copied().collect();
        if !lost.is_empty() {
            parts.push(capability.to_owned());
            notes.push(format!("{capability} is needed in: {}", types(&lost)));
        }
    }
    Some(Need { words: counted(&all), tone: Tone::Good, parts, notes })
}
