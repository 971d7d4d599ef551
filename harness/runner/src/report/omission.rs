//! Scenarios that were not run, grouped by reason.

use std::sync::Arc;

use harness_protocol::name::{Environment, ScenarioName};

use super::{ScenarioResult, Status};

/// How many scenarios are named; the rest are counted.
const NAMED: usize = 5;

/// Scenarios that were not run in an environment, all for the same reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Omission<'a> {
    /// The kernel and the image.
    pub environment: &'a Environment,
    /// The reason.
    pub cause: &'a Arc<str>,
    /// The scenarios.
    pub scenarios: Vec<&'a ScenarioName>,
}

/// Groups the scenarios that were not run, in order of first appearance.
pub fn omissions(results: &[ScenarioResult]) -> Vec<Omission<'_>> {
    let mut all: Vec<Omission<'_>> = Vec::new();
    for result in results {
        let Status::NotRun { cause } = &result.status else { continue };
        match all.iter_mut().find(|omission| omission.environment == &result.environment && omission.cause == cause) {
            Some(omission) => omission.scenarios.push(&result.scenario),
            None => all.push(Omission { environment: &result.environment, cause, scenarios: vec![&result.scenario] }),
        }
    }
    all
}

impl Omission<'_> {
    /// Returns the names of the first scenarios and how many more there are.
    pub fn subject(&self) -> String {
        let named: Vec<&str> = self.scenarios.iter().take(NAMED).map(|name| name.as_str()).collect();
        match self.scenarios.len() - named.len() {
            0 => named.join(", "),
            more => format!("{} and {more} more", named.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Counts, RunStatus, sample, table};

    fn not_run(kernel: &str, scenario: &str, cause: &Arc<str>) -> ScenarioResult {
        let status = Status::NotRun { cause: Arc::clone(cause) };
        let (environment, scenario) = (sample::environment(kernel), scenario.parse().unwrap());
        ScenarioResult { environment, scenario, summary: "Says so".to_owned(), took: None, status }
    }

    fn results() -> Vec<ScenarioResult> {
        let dead: Arc<str> = "kernel 7.3: no VM\n  | Kernel panic".into();
        let names = ["a", "b", "c", "d", "e", "f", "g"];
        let mut all: Vec<ScenarioResult> = names.iter().map(|name| not_run("7.3", name, &dead)).collect();
        all.push(not_run("6.12", "g", &"unknown".into()));
        all
    }

    #[test]
    fn a_reason_is_shown_once_however_many_scenarios_it_affects() {
        let (results, kernels) = (results(), ["6.12", "7.3"].map(sample::environment));
        let text = anstream::adapter::strip_str(&table(&kernels, &results, None)).to_string();
        let expected = "7.3: not run: kernel 7.3: no VM\n      | Kernel panic\n  a, b, c, d, e and 2 more\n\n\
                        6.12: not run: unknown\n  g\n\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_scenario_that_was_not_run_is_never_as_recorded() {
        let results = results();
        assert!(results.iter().all(|result| result.run_status() == RunStatus::Fault));
        assert_eq!(Counts::of(&results).sentence(), "0 scenarios judged, 0 attempts; 8 not run");
    }
}
