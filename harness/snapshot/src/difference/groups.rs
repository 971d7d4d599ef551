//! Changes of many attempts that are one to their reader.

use std::collections::HashMap;

use harness_protocol::name::ScenarioName;

use crate::{
    difference::{Change, Effect, ItemKind, KernelAnswer},
    reasons::Explanation,
};

/// A scenario that was judged on both kernels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// Which.
    pub scenario: ScenarioName,
    /// Why its verdicts are known to differ; none if nobody has said.
    pub reasons: Vec<Explanation>,
    /// What differs.
    pub changes: Vec<Change>,
}

/// What changed from the same answer to the same answer, for the same reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group<'a> {
    /// What the change is to those who rely on permissions.
    pub effect: Effect,
    /// What the first kernel said, with `{row}` for the name of each row of a sweep; `None` if it was not asked.
    pub before: Option<String>,
    /// What the second kernel said.
    pub after: Option<String>,
    /// Why, as far as it is recorded.
    pub reasons: &'a [Explanation],
    /// How many changes it stands for.
    pub count: usize,
    /// What changed.
    pub members: Vec<Member<'a>>,
}

/// Attempts of one scenario: each of the names, within each of the places, under each of the arms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// The scenario.
    pub scenario: &'a ScenarioName,
    /// The combination of its matrix.
    pub case: &'a str,
    /// The attempts, rows of a sweep or helpers.
    pub names: Vec<String>,
    /// For helpers the program types; for calls of libbpf the attempt; else nothing.
    pub within: Vec<&'a str>,
    /// Arms of a sweep.
    pub arms: Vec<&'a str>,
}

type Key<'a> = (Effect, Option<String>, Option<String>, &'a [Explanation]);

/// All changes in groups, the most important first; within an effect those come first that come first in the scenarios.
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

/// What a kernel said, in words that many rows can share. Why something new is denied is not asked: it has no other side.
fn words(change: &Change, told: &Option<KernelAnswer>) -> Option<String> {
    let told = told.as_ref()?;
    let alone = matches!(change.effect, Effect::Added | Effect::Removed);
    let text = if alone && told.class.is_some() { told.brief().to_string() } else { told.to_string() };
    Some(match &change.subject.what {
        ItemKind::Cell { row, .. } => text.split(' ').map(|word| placeholder(word, row)).collect::<Vec<_>>().join(" "),
        _ => text,
    })
}

/// `{row}` in the place of the name of the row, whatever stands around it.
fn placeholder(word: &str, row: &str) -> String {
    let marks: &[char] = &['(', ')', ',', '`'];
    if word.trim_matches(marks) == row { word.replace(row, "{row}") } else { word.to_owned() }
}

/// One change before it is put together with others.
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
            ItemKind::Disagreements => ("what is told of its delegations".to_owned(), "", ""),
        };
        Self { scenario, case: &change.subject.case, name, within, arm }
    }
}

fn counted(text: &str, occurrence: usize) -> String {
    if occurrence > 1 { format!("{text} (number {occurrence} of these)") } else { text.to_owned() }
}

/// Puts together what differs in the place only, then what differs in the arm only, then in the name only.
fn members<'a>(changes: &[(&'a ScenarioName, &'a Change)]) -> Vec<Member<'a>> {
    let singles = changes.iter().map(|(scenario, change)| Single::of(scenario, change));
    let places =
        gathered(singles.map(|single| ((single.scenario, single.case, single.name, single.arm), single.within)));
    let arms =
        gathered(places.into_iter().map(|((scenario, case, name, arm), within)| ((scenario, case, name, within), arm)));
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

/// All values of equal keys together, both in the order in which they come.
fn gathered<K: Clone + Eq + std::hash::Hash, V>(pairs: impl Iterator<Item = (K, V)>) -> Vec<(K, Vec<V>)> {
    let mut places: HashMap<K, usize> = HashMap::new();
    let mut all: Vec<(K, Vec<V>)> = Vec::new();
    for (key, value) in pairs {
        let place = *places.entry(key.clone()).or_insert_with(|| {
            all.push((key, Vec::new()));
            all.len() - 1
        });
        all[place].1.push(value);
    }
    all
}
