//! Where problems are collected while the meaning of a scenario is worked out.

use harness_diagnostics::{node::Place, report::Problem};
use harness_scenario::file::ScenarioFile;

/// Collects problems by their place in a file.
#[derive(Debug)]
pub(crate) struct Sink<'f> {
    file: &'f ScenarioFile,
    problems: Vec<Problem>,
}

impl<'f> Sink<'f> {
    pub(crate) fn new(file: &'f ScenarioFile) -> Self {
        Self { file, problems: Vec::new() }
    }

    /// A problem with the value at this place.
    pub(crate) fn problem(&mut self, place: &Place, message: impl Into<String>) {
        self.add(place, message.into(), None);
    }

    /// A problem with the value at this place, and what to do about it.
    pub(crate) fn advise(&mut self, place: &Place, message: impl Into<String>, help: impl Into<String>) {
        self.add(place, message.into(), Some(help.into()));
    }

    fn add(&mut self, place: &Place, message: String, help: Option<String>) {
        let problem = Problem::new(self.file.root().span_of(place), message).maybe_help(help);
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Adds problems found by other means.
    pub(crate) fn extend(&mut self, problems: Vec<Problem>) {
        self.problems.extend(problems);
    }

    pub(crate) fn count(&self) -> usize {
        self.problems.len()
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }
}
