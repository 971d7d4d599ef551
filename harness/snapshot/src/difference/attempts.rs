//! Compares the attempts on two kernels, and the kernels' answers.

use std::collections::HashMap;

use harness_scenario::layout::{AttemptRole, SweepLayout};
use harness_verdict::{
    judgement::{Judgement, Row},
    object::{Step, StepResult},
};

use crate::difference::{Change, ComparedItem, Effect, ItemKind, KernelAnswer};

/// The changes attempt by attempt, in the first kernel's order, then the attempts that only the second kernel has.
pub(super) fn compare(before: &Judgement, after: &Judgement) -> Vec<Change> {
    let surveyed = [before, after].iter().any(|side| side.helpers.is_some());
    let (before, after) = (rows(before), rows(after));
    let rows_after: HashMap<&ComparedItem, &Row> = after.iter().map(|(subject, row)| (subject, *row)).collect();
    let mut changes = Vec::new();
    for (subject, row) in &before {
        match rows_after.get(subject) {
            None => changes.push(alone(Effect::Removed, subject, row)),
            Some(now) => {
                changes.extend(change(subject, row, now, surveyed));
                changes.extend(steps(subject, &row.steps, &now.steps));
            }
        }
    }
    let known: HashMap<&ComparedItem, ()> = before.iter().map(|(subject, _)| (subject, ())).collect();
    let added = after.iter().filter(|(subject, _)| !known.contains_key(subject));
    changes.extend(added.map(|(subject, row)| alone(Effect::Added, subject, row)));
    changes
}

/// All attempts that have verdicts, with what identifies them.
fn rows(judgement: &Judgement) -> Vec<(ComparedItem, &Row)> {
    let mut rows = Vec::new();
    for case in &judgement.cases {
        let mut seen: HashMap<(&str, &str), usize> = HashMap::new();
        for row in &case.rows {
            let subject = match row.part {
                AttemptRole::Preparation => continue,
                AttemptRole::Cell { row: line, column } => cell(judgement.grid.as_deref(), line, column),
                AttemptRole::Line => {
                    let count = seen.entry((&row.text, &row.container)).or_default();
                    *count += 1;
                    let (text, container) = (row.text.clone(), row.container.clone());
                    let what = ItemKind::Attempt { text, container, occurrence: *count };
                    Some(ComparedItem { case: case.label.clone(), what })
                }
            };
            rows.extend(subject.map(|subject| (subject, row)));
        }
    }
    rows
}

fn cell(grid: Option<&SweepLayout>, row: usize, column: usize) -> Option<ComparedItem> {
    let (row, column) = (grid?.rows.get(row)?, grid?.columns.get(column)?);
    Some(ComparedItem { case: String::new(), what: ItemKind::Cell { row: row.clone(), arm: column.name.clone() } })
}

fn alone(effect: Effect, subject: &ComparedItem, row: &Row) -> Change {
    let answer = Some(KernelAnswer::of(row));
    let (before, after) = if effect == Effect::Added { (None, answer) } else { (answer, None) };
    Change { effect, subject: subject.clone(), before, after }
}

/// How the answer to an attempt changed. The results of a helper survey are compared helper by helper instead.
fn change(subject: &ComparedItem, before: &Row, after: &Row, surveyed: bool) -> Option<Change> {
    let (one, other) = (KernelAnswer::of(before), KernelAnswer::of(after));
    let effect = Effect::of(before.verdict.class(), after.verdict.class())
        .or((one.errno != other.errno).then_some(Effect::Errno))
        .or((one.cause != other.cause).then_some(Effect::Cause))
        .or((!surveyed && one.detail != other.detail).then_some(Effect::Detail))?;
    Some(Change { effect, subject: subject.clone(), before: Some(one), after: Some(other) })
}

/// How libbpf's calls for one object changed. Of its probes only the refused ones count, as in snapshots.
fn steps(subject: &ComparedItem, before: &[Step], after: &[Step]) -> Vec<Change> {
    let ItemKind::Attempt { text, .. } = &subject.what else { return Vec::new() };
    let (before, after) = (numbered(before), numbered(after));
    let change = |key: &(&str, usize)| {
        let result = |side: &[((&str, usize), StepResult)]| {
            side.iter().find(|(other, _)| other == key).map(|(_, result)| *result)
        };
        let (one, other) = (result(&before), result(&after));
        let (before, after) = (one.map(KernelAnswer::step), other.map(KernelAnswer::step));
        let class = |answer: &Option<KernelAnswer>| answer.as_ref().and_then(|answer| answer.class);
        let effect = match (class(&before), class(&after)) {
            _ if before == after => return None,
            (Some(one), Some(other)) => Effect::of(one, other).unwrap_or(Effect::Errno),
            _ => Effect::Detail,
        };
        let what = ItemKind::Step { attempt: text.clone(), step: key.0.to_owned(), occurrence: key.1 };
        Some(Change { effect, subject: ComparedItem { case: subject.case.clone(), what }, before, after })
    };
    let only_after = after.iter().filter(|(key, _)| before.iter().all(|(other, _)| other != key));
    before.iter().chain(only_after).filter_map(|(key, _)| change(key)).collect()
}

fn numbered(steps: &[Step]) -> Vec<((&str, usize), StepResult)> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let shown = steps.iter().filter(|step| !step.probe || step.result != StepResult::Allowed);
    shown
        .map(|step| {
            let count = seen.entry(&step.text).or_default();
            *count += 1;
            ((step.text.as_str(), *count), step.result)
        })
        .collect()
}
