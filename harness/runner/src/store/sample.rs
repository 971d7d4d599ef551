//! What tests store.

use harness_protocol::outcome::{ScenarioEnd, ScenarioOutcome};

use crate::identity::Artefacts;

pub(crate) fn artefacts() -> Artefacts {
    let [kernel, image, guest, machine] = ["k", "i", "g", "m"].map(str::to_owned);
    Artefacts { kernel, image, guest, machine, guard: None, run_guard: None }
}

/// Returns an outcome without attempts.
pub(crate) fn outcome(scenario: &str, end: ScenarioEnd) -> ScenarioOutcome {
    let (containers, attempts, units, splats) = Default::default();
    ScenarioOutcome { scenario: scenario.parse().unwrap(), containers, attempts, units, splats, end }
}
