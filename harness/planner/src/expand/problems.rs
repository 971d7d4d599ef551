//! Collects the problems of a scenario.

use std::ops::Range;

use harness_diagnostics::{node::KeyPath, report::Problem};
use harness_scenario::file::ScenarioFile;

/// The problems of a file so far, each at the value that causes it.
///
/// The structure check may have dropped a part of the file, which must not cause a second problem. Therefore a problem
/// with a missing key is left out if the key may have been dropped. A problem that depends on another part of the file
/// is found only if that part [is complete](Problems::is_complete).
#[derive(Debug)]
pub(crate) struct Problems<'f> {
    file: &'f ScenarioFile,
    problems: Vec<Problem>,
    /// How often a problem was found, with repeated ones and those that were left out.
    found: usize,
    /// Strings with a placeholder that has no value.
    unfilled: Vec<Range<usize>>,
}

impl<'f> Problems<'f> {
    /// Starts with the problems of the structure check.
    pub(crate) fn new(file: &'f ScenarioFile) -> Self {
        Self { file, problems: file.problems().to_vec(), found: 0, unfilled: Vec::new() }
    }

    /// Adds a problem with the value at this path.
    pub(crate) fn problem(&mut self, key_path: &KeyPath, message: impl Into<String>) {
        self.add(key_path, message.into(), None);
    }

    /// Adds a problem with the value at this path, and what to do about it.
    pub(crate) fn advise(&mut self, key_path: &KeyPath, message: impl Into<String>, help: impl Into<String>) {
        self.add(key_path, message.into(), Some(help.into()));
    }

    fn add(&mut self, key_path: &KeyPath, message: String, help: Option<String>) {
        self.found += 1;
        let root = self.file.root();
        let span = root.span_of(key_path);
        if root.may_be_dropped(key_path) || self.unfilled.contains(&span) {
            return;
        }
        let problem = Problem::new(span, message).maybe_help(help);
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Adds the problems with placeholders. Nothing else is reported about the strings that cannot be filled in.
    pub(crate) fn placeholders(&mut self, problems: Vec<Problem>, unfilled: Vec<Range<usize>>) {
        self.problems.extend(problems);
        self.unfilled = unfilled;
    }

    /// Whether nothing was dropped from the value at this path, or in place of a missing value.
    pub(crate) fn is_complete(&self, key_path: &KeyPath) -> bool {
        self.file.root().is_complete(key_path)
    }

    /// Whether nothing was dropped from the value at this path and everything below it.
    pub(crate) fn is_whole(&self, key_path: &KeyPath) -> bool {
        self.file.root().is_whole(key_path)
    }

    /// Counts what was found so far, even if it was reported before or is not reported: to see whether a check found
    /// anything.
    pub(crate) fn found(&self) -> usize {
        self.found
    }

    pub(crate) fn count(&self) -> usize {
        self.problems.len()
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }
}
