//! Snapshots without a reason, and reasons without a snapshot.

use super::{Known, OwnSnapshots, Reasons};
use crate::{
    name::ScenarioName,
    scenario::{Problem, Report, node::Place, suggest::similar_scenarios},
};

/// A snapshot of a kernel's own and the reasons for it do not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The scenarios it is about.
    pub scenarios: Vec<ScenarioName>,
    /// What is wrong, where, and what to do.
    pub text: String,
}

impl Reasons {
    /// All that does not fit these snapshots: a snapshot for which there is no reason, and a kernel or a scenario of a
    /// reason for which there is no snapshot.
    pub fn complaints(&self, own: &OwnSnapshots) -> Vec<Complaint> {
        let mut complaints = self.unexplained(own);
        for (at, known) in self.known.iter().enumerate() {
            complaints.extend(self.idle(at, known, own));
        }
        complaints
    }

    fn unexplained(&self, own: &OwnSnapshots) -> Vec<Complaint> {
        let pairs = own.iter().flat_map(|(scenario, kernels)| kernels.iter().map(move |kernel| (scenario, kernel)));
        pairs
            .filter(|(scenario, kernel)| !self.covers(scenario, kernel))
            .map(|(scenario, kernel)| Complaint {
                scenarios: vec![scenario.clone()],
                text: format!(
                    "{scenario}@{kernel}.snap says that {kernel} differs, and {} does not say why; say it there, or by \
                     `cargo xtask bless --kernel {kernel} --filter {scenario} --reason TEXT`",
                    self.label
                ),
            })
            .collect()
    }

    fn idle(&self, at: usize, known: &Known, own: &OwnSnapshots) -> Vec<Complaint> {
        let place = Place::default().key("difference").index(at);
        let kernels_of = |scenario: &ScenarioName| own.get(scenario).into_iter().flatten();
        let mut complaints = Vec::new();
        for (index, scenario) in known.scenarios.iter().enumerate() {
            if !kernels_of(scenario).any(|kernel| known.is_for(scenario, kernel)) {
                let message = format!("this reason applies to `{scenario}` no more");
                let problem = self.problem(&place.key("scenarios").index(index), message);
                let problem = problem.labelled("no kernel above has a snapshot of its own for it");
                let advice = scenario_advice(scenario, own);
                complaints.push(self.complaint(vec![scenario.clone()], problem.help(advice)));
            }
        }
        for (index, glob) in known.kernels.iter().enumerate() {
            let used = |scenario| kernels_of(scenario).any(|kernel| glob.matches(kernel.as_str()));
            if !known.scenarios.iter().any(used) {
                let message = format!("this reason applies to kernel `{glob}` no more");
                let problem = self.problem(&place.key("kernels").index(index), message);
                let problem = problem.labelled("it has no snapshot of its own for any scenario below");
                complaints.push(self.complaint(known.scenarios.clone(), problem.help("take it out of the list")));
            }
        }
        complaints
    }

    fn problem(&self, place: &Place, message: String) -> Problem {
        Problem::new(self.root.as_ref().map_or(0..0, |root| root.span_of(place)), message)
    }

    fn complaint(&self, scenarios: Vec<ScenarioName>, problem: Problem) -> Complaint {
        Complaint { scenarios, text: Report::new(&self.label, self.text.clone(), vec![problem]).to_string() }
    }
}

fn scenario_advice(scenario: &ScenarioName, own: &OwnSnapshots) -> String {
    if own.contains_key(scenario) {
        return "take it out of the list, or the whole entry if it is the last".to_owned();
    }
    match similar_scenarios(scenario.as_str(), own.keys())[..] {
        [] => "there is no such scenario; take it out of the list".to_owned(),
        [first, ..] => format!("there is no such scenario; did you mean `{first}`?"),
    }
}
