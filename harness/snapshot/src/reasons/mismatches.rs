//! Snapshots without a reason, and reasons without a snapshot.

use harness_diagnostics::{
    node::KeyPath,
    report::{Problem, Report},
};
use harness_protocol::name::ScenarioName;
use harness_scenario::similar::similar_scenarios;

use crate::{
    owner::Owner,
    reasons::{OwnSnapshots, Part, Reasons, ResolvedEntry},
};

/// A mismatch between a kernel's or an image's own snapshots and the recorded reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The scenarios it is about.
    pub scenarios: Vec<ScenarioName>,
    /// The message: what is wrong, where, and what to do.
    pub text: String,
}

impl Reasons {
    /// All mismatches with these snapshots: snapshots without a reason, and kernels, images or scenarios of a reason without
    /// a snapshot.
    pub fn complaints(&self, own: &OwnSnapshots) -> Vec<Complaint> {
        let mut complaints = self.unexplained(own);
        for (at, known) in self.known.iter().enumerate() {
            complaints.extend(self.idle(at, known, own));
        }
        complaints
    }

    fn unexplained(&self, own: &OwnSnapshots) -> Vec<Complaint> {
        let pairs = own.iter().flat_map(|(scenario, owners)| owners.iter().map(move |owner| (scenario, owner)));
        pairs
            .filter(|(scenario, owner)| !self.covers(scenario, owner))
            .map(|(scenario, owner)| Complaint {
                scenarios: vec![scenario.clone()],
                text: format!(
                    "{scenario}{owner}.snap records that {} differs, but {} has no reason for it; add one there or with \
                     `{} bless{} --filter {scenario} --reason TEXT`",
                    owner.words(),
                    self.label,
                    harness_program::NAME,
                    selectors(owner)
                ),
            })
            .collect()
    }

    fn idle(&self, at: usize, known: &ResolvedEntry, own: &OwnSnapshots) -> Vec<Complaint> {
        let path = KeyPath::default().key("difference").index(at);
        let owners_of = |scenario: &ScenarioName| own.get(scenario).into_iter().flatten();
        let mut complaints = Vec::new();
        for (index, scenario) in known.scenarios.iter().enumerate() {
            if !owners_of(scenario).any(|owner| known.is_for(scenario, owner)) {
                let message = format!("this reason no longer applies to `{scenario}`");
                let problem = self.problem(&path.key("scenarios").index(index), message);
                let problem = problem.labelled("none of the above has its own snapshot for it");
                let advice = scenario_advice(scenario, own);
                complaints.push(self.complaint(vec![scenario.clone()], problem.help(advice)));
            }
        }
        complaints.extend(self.idle_names(&path, known, own, Part::Kernels));
        complaints.extend(self.idle_names(&path, known, own, Part::Images));
        complaints
    }

    /// Kernels or images of a reason without a snapshot.
    fn idle_names(&self, path: &KeyPath, known: &ResolvedEntry, own: &OwnSnapshots, part: Part) -> Vec<Complaint> {
        let (noun, key, globs) = match part {
            Part::Kernels => ("kernel", "kernels", &known.extent.kernels),
            Part::Images => ("image", "images", &known.extent.images),
        };
        let is_idle = |glob: &glob::Pattern| {
            let extent = known.extent.with_only(glob, part);
            let mut owners = known.scenarios.iter().filter_map(|scenario| own.get(scenario)).flatten();
            !owners.any(|owner| extent.covers(owner))
        };
        let idle = globs.iter().enumerate().filter(|(_, glob)| is_idle(glob));
        idle.map(|(index, glob)| {
            let message = format!("this reason no longer applies to {noun} `{glob}`");
            let problem = self.problem(&path.key(key).index(index), message);
            let problem = problem.labelled("it has no snapshot of its own for any scenario below");
            self.complaint(known.scenarios.clone(), problem.help("remove it from the list"))
        })
        .collect()
    }

    fn problem(&self, path: &KeyPath, message: String) -> Problem {
        Problem::new(self.root.as_ref().map_or(0..0, |root| root.span_of(path)), message)
    }

    fn complaint(&self, scenarios: Vec<ScenarioName>, problem: Problem) -> Complaint {
        Complaint { scenarios, text: Report::new(&self.label, self.text.clone(), vec![problem]).to_string() }
    }
}

/// The options of `bless` that select this owner.
fn selectors(owner: &Owner) -> String {
    let kernel = owner.kernel.as_ref().map(|name| format!(" --kernel {name}"));
    let image = owner.image.as_ref().map(|name| format!(" --image {name}"));
    kernel.into_iter().chain(image).collect()
}

fn scenario_advice(scenario: &ScenarioName, own: &OwnSnapshots) -> String {
    if own.contains_key(scenario) {
        return "remove it from the list, or remove the entry if it is the last one".to_owned();
    }
    match similar_scenarios(scenario.as_str(), own.keys())[..] {
        [] => "there is no such scenario; remove it from the list".to_owned(),
        [first, ..] => format!("there is no such scenario; did you mean `{first}`?"),
    }
}
