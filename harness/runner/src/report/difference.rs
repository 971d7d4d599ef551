//! Differences between two kernels, for people and for programs.

mod abridged;
mod json;
mod markdown;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use harness_protocol::name::{ImageName, KernelName, ScenarioName};
use harness_snapshot::{
    difference::{
        self, Effect,
        groups::Compared,
        names::{self, Coverage, NameChange},
    },
    owner::{Lineage, Owner},
    reasons::{Explanation, OwnSnapshots, Reasons},
    render,
};
use harness_uapi::vocabulary::Vocabulary;

pub use abridged::Extent;
pub use json::{json, schema};
pub use markdown::markdown;
pub use text::text;

use super::{RunStatus, ScenarioResult, Status, counted};

/// One of the two kernels compared.
#[derive(Clone, Debug)]
pub struct Side<'a> {
    /// The kernel's name.
    pub kernel: KernelName,
    /// The kernels whose snapshots it inherits.
    pub alike: Vec<KernelName>,
    /// The output of `uname -r` in the guest.
    pub release: String,
    /// The names that the kernel knows.
    pub vocabulary: &'a Vocabulary,
}

/// All differences between two kernels.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The first kernel and its release.
    pub before: (KernelName, String),
    /// The second kernel and its release.
    pub after: (KernelName, String),
    /// The image in which each scenario ran.
    pub images: BTreeMap<ScenarioName, ImageName>,
    /// The scenarios judged on both kernels.
    pub compared: Vec<Compared>,
    /// The scenarios that are not judged on both kernels, except those meant for neither.
    pub uncompared: Vec<Uncompared>,
    /// The number of scenarios meant for neither kernel.
    pub skipped: usize,
    /// Scenarios whose verdicts are not as recorded, each with the kernel.
    pub unrecorded: Vec<(ScenarioName, KernelName)>,
    /// Names that differ.
    pub names: Vec<NameChange>,
    /// What `any` covers in each mask, if that differs.
    pub coverage: Vec<Coverage>,
}

/// A scenario that is not judged on both kernels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uncompared {
    /// The scenario's name.
    pub scenario: ScenarioName,
    /// Its status on the first kernel.
    pub before: State,
    /// Its status on the second kernel.
    pub after: State,
}

/// The status of a scenario on a kernel, for the comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It was judged.
    Judged,
    /// It is not meant for the kernel, with the reason.
    Skipped(String),
    /// It could not be judged, with the reason.
    Fault(String),
    /// The kernel printed a splat that is not allowed, with its first line.
    Splat(String),
    /// The VM died or hung, with a description.
    Crashed(String),
}

impl State {
    fn of(status: &Status) -> Self {
        match status {
            Status::Skipped { reason } => Self::Skipped(reason.clone()),
            Status::Fault { message } => Self::Fault(message.clone()),
            Status::NotRun { cause } => Self::Fault(format!("not run: {cause}")),
            Status::Judged { judgement, .. } => match &judgement.crash {
                Some(crash) => Self::Crashed(crash.how.clone()),
                None => judgement.new_splats().next().map_or(Self::Judged, |splat| Self::Splat(splat.text.clone())),
            },
        }
    }

    const fn is_failure(&self) -> bool {
        matches!(self, Self::Fault(_) | Self::Splat(_) | Self::Crashed(_))
    }
}

impl Difference {
    /// Compares the results of the same scenarios on two kernels, each in one image.
    pub fn of(sides: [&Side<'_>; 2], results: &[ScenarioResult], reasons: &Reasons, own: &OwnSnapshots) -> Self {
        let [before, after] = sides;
        let mut difference = Self {
            before: (before.kernel.clone(), before.release.clone()),
            after: (after.kernel.clone(), after.release.clone()),
            images: BTreeMap::new(),
            compared: Vec::new(),
            uncompared: Vec::new(),
            skipped: 0,
            unrecorded: Vec::new(),
            names: names::differences(before.vocabulary, after.vocabulary),
            coverage: names::coverage(before.vocabulary, after.vocabulary),
        };
        for group in results.chunk_by(|a, b| a.scenario == b.scenario) {
            let of = |side: &Side<'_>| group.iter().find(|result| result.environment.kernel == side.kernel);
            if let (Some(one), Some(other)) = (of(before), of(after)) {
                let lineage = |result: &ScenarioResult, side: &Side<'_>| Lineage {
                    environment: result.environment.clone(),
                    alike: side.alike.clone(),
                };
                let lineages = [lineage(one, before), lineage(other, after)];
                let why = explanations(&lineages, &one.scenario, reasons, own);
                difference.add(one, other, why);
            }
        }
        difference
    }

    fn add(&mut self, before: &ScenarioResult, after: &ScenarioResult, reasons: Vec<Explanation>) {
        let scenario = before.scenario.clone();
        let states = [State::of(&before.status), State::of(&after.status)];
        if let [State::Skipped(_), State::Skipped(_)] = states {
            self.skipped += 1;
            return;
        }
        self.images.insert(scenario.clone(), before.environment.image.clone());
        let unrecorded = [before, after].into_iter().filter(|result| result.run_status() == RunStatus::Differs);
        self.unrecorded.extend(unrecorded.map(|result| (scenario.clone(), result.environment.kernel.clone())));
        if let (
            Status::Judged { judgement: one, comparison: first },
            Status::Judged { judgement: other, comparison: second },
        ) = (&before.status, &after.status)
        {
            let changes = difference::compare(one, other);
            // If both snapshots are the same, no recorded difference can explain the change.
            let shown = !render::same(first.now(), second.now());
            let reasons = if shown { reasons } else { Vec::new() };
            self.compared.push(Compared { scenario: scenario.clone(), reasons, changes });
        }
        if states.iter().any(|state| *state != State::Judged) {
            let [before, after] = states;
            self.uncompared.push(Uncompared { scenario, before, after });
        }
    }

    /// Returns the number of changes by effect, the most important first.
    pub fn counts(&self) -> BTreeMap<Effect, usize> {
        let mut counts = BTreeMap::new();
        for change in self.compared.iter().flat_map(|compared| &compared.changes) {
            *counts.entry(change.effect).or_default() += 1;
        }
        counts
    }

    /// Returns whether there is a change with this effect.
    pub fn has(&self, effect: Effect) -> bool {
        self.counts().contains_key(&effect)
    }

    /// Returns whether anything differs, including names.
    pub fn is_any(&self) -> bool {
        !(self.counts().is_empty() && self.names.is_empty() && self.coverage.is_empty())
    }

    /// Returns whether a scenario could not be judged or crashed a kernel.
    pub fn is_incomplete(&self) -> bool {
        self.uncompared.iter().any(|one| one.before.is_failure() || one.after.is_failure())
    }

    /// Returns the images, without duplicates.
    fn images_once(&self) -> Vec<&str> {
        let images: BTreeSet<&str> = self.images.values().map(|image| image.as_str()).collect();
        images.into_iter().collect()
    }

    /// Returns a summary in one sentence.
    fn sentence(&self) -> String {
        let differing = self.compared.iter().filter(|compared| !compared.changes.is_empty()).count();
        let changes: usize = self.counts().values().sum();
        let mut text = format!("{} compared: ", counted(self.compared.len(), "scenario"));
        match differing {
            0 => text.push_str("no difference"),
            1 => text.push_str(&format!("1 differs in {}", counted(changes, "place"))),
            _ => text.push_str(&format!("{differing} differ in {}", counted(changes, "place"))),
        }
        if self.skipped > 0 {
            text.push_str(&format!("; {} meant for neither kernel", counted(self.skipped, "scenario")));
        }
        if let images @ [_, _, ..] = &*self.images_once() {
            text.push_str(&format!("; in images {}", images.join(", ")));
        }
        text
    }
}

/// Returns why two kernels are known to differ in a scenario: the recorded differences of the snapshots that apply to
/// them; none if both have the same snapshot.
fn explanations(
    lineages: &[Lineage; 2],
    scenario: &ScenarioName,
    reasons: &Reasons,
    own: &OwnSnapshots,
) -> Vec<Explanation> {
    let held = |owner: &Owner| own.get(scenario).is_some_and(|held| held.contains(owner));
    let holders = lineages.each_ref().map(|lineage| lineage.owners().find(held));
    if holders[0] == holders[1] {
        return Vec::new();
    }
    let mut all: Vec<Explanation> = Vec::new();
    for explanation in holders.iter().flatten().flat_map(|owner| reasons.of(scenario, owner)) {
        if !all.contains(&explanation) {
            all.push(explanation);
        }
    }
    all
}

/// Groups the scenarios that are not judged on both kernels by their statuses.
fn alike(difference: &Difference) -> Vec<(String, String, Vec<&str>)> {
    let mut groups: Vec<(String, String, Vec<&str>)> = Vec::new();
    for one in &difference.uncompared {
        let (was, is) = (state_words(&one.before), state_words(&one.after));
        match groups
            .iter_mut()
            .find(|(before, after, _)| (before.as_str(), after.as_str()) == (was.as_str(), is.as_str()))
        {
            Some((.., scenarios)) => scenarios.push(one.scenario.as_str()),
            None => groups.push((was, is, vec![one.scenario.as_str()])),
        }
    }
    groups
}

fn state_words(state: &State) -> String {
    match state {
        State::Judged => "judged".to_owned(),
        State::Skipped(reason) => format!("skipped: {reason}"),
        State::Fault(message) => format!("not judged: {message}"),
        State::Splat(text) => format!("splat: {text}"),
        State::Crashed(how) => format!("crashed: {how}"),
    }
}

#[cfg(test)]
mod tests;
