//! Where problems are collected while the meaning of a scenario is worked out.

use harness_diagnostics::{node::KeyPath, report::Problem};
use harness_scenario::file::ScenarioFile;

/// Collects problems by their place in a file.
#[derive(Debug)]
pub(crate) struct Problems<'f> {
    file: &'f ScenarioFile,
    problems: Vec<Problem>,
}

impl<'f> Problems<'f> {
    pub(crate) fn new(file: &'f ScenarioFile) -> Self {
        Self { file, problems: Vec::new() }
    }

    /// A problem with the value at this place.
    pub(crate) fn problem(&mut self, key_path: &KeyPath, message: impl Into<String>) {
        self.add(key_path, message.into(), None);
    }

    /// A problem with the value at this place, and what to do about it.
    pub(crate) fn advise(&mut self, key_path: &KeyPath, message: impl Into<String>, help: impl Into<String>) {
        self.add(key_path, message.into(), Some(help.into()));
    }

    fn add(&mut self, key_path: &KeyPath, message: String, help: Option<String>) {
        let problem = Problem::new(self.file.root().span_of(key_path), message).maybe_help(help);
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
