//! What was not run: told once a cause, not once a scenario.

use std::sync::Arc;

use harness_model::name::{KernelName, ScenarioName};

use super::{Finding, Standing};

/// Scenarios named before the rest is counted.
const NAMED: usize = 5;

/// Scenarios that were not run on a kernel, all for one cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Omission<'a> {
    /// On which kernel.
    pub kernel: &'a KernelName,
    /// Why.
    pub cause: &'a Arc<str>,
    /// Which scenarios.
    pub scenarios: Vec<&'a ScenarioName>,
}

/// What was not run, in the order in which it appears.
pub fn omissions(findings: &[Finding]) -> Vec<Omission<'_>> {
    let mut all: Vec<Omission<'_>> = Vec::new();
    for finding in findings {
        let Standing::NotRun { cause } = &finding.standing else { continue };
        match all.iter_mut().find(|omission| omission.kernel == &finding.kernel && omission.cause == cause) {
            Some(omission) => omission.scenarios.push(&finding.scenario),
            None => all.push(Omission { kernel: &finding.kernel, cause, scenarios: vec![&finding.scenario] }),
        }
    }
    all
}

impl Omission<'_> {
    /// Which scenarios, in a few words.
    pub fn subject(&self) -> String {
        let named: Vec<&str> = self.scenarios.iter().take(NAMED).map(|name| name.as_str()).collect();
        match self.scenarios.len() - named.len() {
            0 => named.join(", "),
            more => format!("{} and {more} more", named.join(", ")),
        }
    }
}
