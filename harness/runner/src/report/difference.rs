//! What differs between two kernels, for people and for programs.

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

/// One of the two kernels.
#[derive(Clone, Debug)]
pub struct Side<'a> {
    /// It.
    pub kernel: KernelName,
    /// Those it is like.
    pub alike: Vec<KernelName>,
    /// What `uname -r` says in it.
    pub release: String,
    /// The names it knows.
    pub vocabulary: &'a Vocabulary,
}

/// All that differs between two kernels.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The first kernel and its release.
    pub before: (KernelName, String),
    /// The second kernel and its release.
    pub after: (KernelName, String),
    /// In which image each scenario ran.
    pub images: BTreeMap<ScenarioName, ImageName>,
    /// The scenarios judged on both kernels.
    pub compared: Vec<Compared>,
    /// The scenarios that are not judged on both, except those that are meant for neither.
    pub uncompared: Vec<Uncompared>,
    /// The scenarios that are meant for neither kernel.
    pub skipped: usize,
    /// Scenarios and kernels whose verdicts are not as recorded.
    pub unrecorded: Vec<(ScenarioName, KernelName)>,
    /// Names that are not the same.
    pub names: Vec<NameChange>,
    /// What `any` covers, where that differs.
    pub coverage: Vec<Coverage>,
}

/// A scenario that is not judged on both kernels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uncompared {
    /// Which.
    pub scenario: ScenarioName,
    /// What came of it on the first kernel.
    pub before: State,
    /// What came of it on the second kernel.
    pub after: State,
}

/// What came of a scenario on a kernel, as far as it can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It was judged.
    Judged,
    /// It is not meant for the kernel, and why.
    Skipped(String),
    /// It could not be judged, and why.
    Fault(String),
    /// The VM died or hung, and how.
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
                None => Self::Judged,
            },
        }
    }

    const fn is_failure(&self) -> bool {
        matches!(self, Self::Fault(_) | Self::Crashed(_))
    }
}

impl Difference {
    /// Compares what came of the same scenarios on two kernels, each in one image.
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
        let unrecorded = [before, after].into_iter().filter(|result| result.outcome() == RunStatus::Differs);
        self.unrecorded.extend(unrecorded.map(|result| (scenario.clone(), result.environment.kernel.clone())));
        if let (Status::Judged { judgement: one, .. }, Status::Judged { judgement: other, .. }) =
            (&before.status, &after.status)
        {
            let changes = difference::compare(one, other);
            // A change that no snapshot shows has no snapshot that could have a reason.
            let shown = !render::same(&render::render(one), &render::render(other));
            let reasons = if shown { reasons } else { Vec::new() };
            self.compared.push(Compared { scenario: scenario.clone(), reasons, changes });
        }
        if states.iter().any(|state| *state != State::Judged) {
            let [before, after] = states;
            self.uncompared.push(Uncompared { scenario, before, after });
        }
    }

    /// How many changes there are of each effect, the most important first.
    pub fn counts(&self) -> BTreeMap<Effect, usize> {
        let mut counts = BTreeMap::new();
        for change in self.compared.iter().flat_map(|compared| &compared.changes) {
            *counts.entry(change.effect).or_default() += 1;
        }
        counts
    }

    /// Whether there is a change of this effect.
    pub fn has(&self, effect: Effect) -> bool {
        self.counts().contains_key(&effect)
    }

    /// Whether anything at all differs, names included.
    pub fn is_any(&self) -> bool {
        !(self.counts().is_empty() && self.names.is_empty() && self.coverage.is_empty())
    }

    /// Whether a scenario could not be judged, or killed a kernel.
    pub fn is_incomplete(&self) -> bool {
        self.uncompared.iter().any(|one| one.before.is_failure() || one.after.is_failure())
    }

    /// The images, each once.
    fn images_once(&self) -> Vec<&str> {
        let images: BTreeSet<&str> = self.images.values().map(|image| image.as_str()).collect();
        images.into_iter().collect()
    }

    /// One sentence.
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
            text.push_str(&format!("; {} for neither kernel", counted(self.skipped, "scenario")));
        }
        if let images @ [_, _, ..] = &*self.images_once() {
            text.push_str(&format!("; in images {}", images.join(", ")));
        }
        text
    }
}

/// Why two kernels are known to differ in a scenario: what is recorded for the snapshots that hold for them, unless that
/// is one and the same.
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

/// The scenarios that are not judged on both, those together of which the same is said.
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
        State::Crashed(how) => format!("crashed: {how}"),
    }
}

#[cfg(test)]
mod tests;
