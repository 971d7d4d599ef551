//! Groups of changes that a reader sees as one.

use std::collections::HashMap;

use harness_protocol::name::ScenarioName;

use crate::{
    difference::{Change, Effect, ItemKind, KernelAnswer},
    reasons::Explanation,
};

/// The comparison of one scenario on both kernels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// The scenario.
    pub scenario: ScenarioName,
    /// The recorded reasons why its verdicts differ.
    pub reasons: Vec<Explanation>,
    /// The changes.
    pub changes: Vec<Change>,
}

/// Changes with the same answers before and after, and the same reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group<'a> {
    /// What the change means to those who rely on permissions.
    pub effect: Effect,
    /// The first kernel's answer, with `{row}` for the name of each row of a sweep; `None` if it was not asked.
    pub before: Option<String>,
    /// The second kernel's answer.
    pub after: Option<String>,
    /// The recorded reasons.
    pub reasons: &'a [Explanation],
    /// The number of changes in the group.
    pub count: usize,
    /// What changed.
    pub members: Vec<Member<'a>>,
}

/// Attempts of one scenario: every name, in every context, under every arm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// The scenario.
    pub scenario: &'a ScenarioName,
    /// The combination of the scenario's matrix.
    pub case: &'a str,
    /// The attempts, rows of a sweep or helpers.
    pub names: Vec<String>,
    /// The contexts: program types for helpers, the attempt for calls of libbpf, otherwise nothing.
    pub within: Vec<&'a str>,
    /// The arms of a sweep.
    pub arms: Vec<&'a str>,
}

type Key<'a> = (Effect, Option<String>, Option<String>, &'a [Explanation]);

/// All changes in groups, the most important effects first, and within an effect in the order of the scenarios.
pub fn groups(compared: &[Compared]) -> Vec<Group<'_>> {
    let mut order: Vec<Key<'_>> = Vec::new();
    let mut held: HashMap<Key<'_>, Vec<(&ScenarioName, &Change)>> = HashMap::new();
    for scenario in compared {
        for change in &scenario.changes {
            let key = (change.effect, words(change, &change.before), words(change, &change.after), &*scenario.reasons);
            let changes = held.entry(key.clone()).or_insert_with(|| {
                order.push(key);
                Vec::new()
            });
            changes.push((&scenario.scenario, change));
        }
    }
    order.sort_by_key(|key| key.0);
    order
        .into_iter()
        .map(|key| {
            let changes = &held[&key];
            let (effect, before, after, reasons) = key;
            Group { effect, before, after, reasons, count: changes.len(), members: members(changes) }
        })
        .collect()
}

/// An answer in words that many rows can share. New and removed attempts show no cause: there is nothing to compare it to.
fn words(change: &Change, answer: &Option<KernelAnswer>) -> Option<String> {
    let answer = answer.as_ref()?;
    let alone = matches!(change.effect, Effect::Added | Effect::Removed);
    let text = if alone && answer.class.is_some() { answer.brief().to_string() } else { answer.to_string() };
    Some(match &change.subject.what {
        ItemKind::Cell { row, .. } => text.split(' ').map(|word| placeholder(word, row)).collect::<Vec<_>>().join(" "),
        _ => text,
    })
}

/// Replaces the row's name by `{row}`, keeping punctuation around it.
fn placeholder(word: &str, row: &str) -> String {
    let marks: &[char] = &['(', ')', ',', '`'];
    if word.trim_matches(marks) == row { word.replace(row, "{row}") } else { word.to_owned() }
}

/// One change before it is combined with others.
struct Single<'a> {
    scenario: &'a ScenarioName,
    case: &'a str,
    name: String,
    within: &'a str,
    arm: &'a str,
}

impl<'a> Single<'a> {
    fn of(scenario: &'a ScenarioName, change: &'a Change) -> Self {
        let (name, within, arm) = match &change.subject.what {
            ItemKind::Attempt { text, occurrence, .. } => (counted(text, *occurrence), "", ""),
            ItemKind::Step { attempt, step, occurrence } => (counted(step, *occurrence), attempt.as_str(), ""),
            ItemKind::Cell { row, arm } => (row.clone(), "", arm.as_str()),
            ItemKind::Absent { row } => (row.clone(), "", ""),
            ItemKind::Helper { helper, row, arm } => (helper.clone(), row.as_str(), arm.as_str()),
            ItemKind::Mount { container } => (format!("{container}'s bpffs"), "", ""),
            ItemKind::Disagreements => ("reports of its delegations".to_owned(), "", ""),
        };
        Self { scenario, case: &change.subject.case, name, within, arm }
    }
}

fn counted(text: &str, occurrence: usize) -> String {
    if occurrence > 1 { format!("{text} (number {occurrence} of these)") } else { text.to_owned() }
}

/// Combines changes that differ only in the context, then those that differ only in the arm, then only in the name.
fn members<'a>(changes: &[(&'a ScenarioName, &'a Change)]) -> Vec<Member<'a>> {
    let singles = changes.iter().map(|(scenario, change)| Single::of(scenario, change));
    let contexts =
        gathered(singles.map(|single| ((single.scenario, single.case, single.name, single.arm), single.within)));
    let arms = gathered(
        contexts.into_iter().map(|((scenario, case, name, arm), within)| ((scenario, case, name, within), arm)),
    );
    let names =
        gathered(arms.into_iter().map(|((scenario, case, name, within), arms)| ((scenario, case, within, arms), name)));
    let given = |names: Vec<&'a str>| names.into_iter().filter(|name| !name.is_empty()).collect();
    let member = |((scenario, case, within, arms), names)| Member {
        scenario,
        case,
        names,
        within: given(within),
        arms: given(arms),
    };
    names.into_iter().map(member).collect()
}

/// Collects the values of equal keys, with keys and values in input order.
fn gathered<K: Clone + Eq + std::hash::Hash, V>(pairs: impl Iterator<Item = (K, V)>) -> Vec<(K, Vec<V>)> {
    let mut indexes: HashMap<K, usize> = HashMap::new();
    let mut all: Vec<(K, Vec<V>)> = Vec::new();
    for (key, value) in pairs {
        let index = *indexes.entry(key.clone()).or_insert_with(|| {
            all.push((key, Vec::new()));
            all.len() - 1
        });
        all[index].1.push(value);
    }
    all
}
