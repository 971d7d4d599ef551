//! Scenarios without problems.

use std::collections::BTreeMap;

use harness_diagnostics::{
    node::KeyPath,
    report::{Problem, Report},
};
use harness_protocol::name::{ImageName, ScenarioName};
use harness_scenario::{
    file::ScenarioFile,
    spec::{Isolation, Spec},
};
use harness_uapi::{release::KernelRange, vocabulary::KnownNames};

/// A scenario without problems, as far as the names that any known kernel has can show.
#[derive(Clone, Debug)]
pub struct Checked {
    pub(crate) file: ScenarioFile,
    pub(crate) spec: Spec,
    pub(crate) kernels: Option<KernelRange>,
    pub(crate) images: Option<glob::Pattern>,
    pub(crate) sysctls: BTreeMap<String, String>,
    pub(crate) known: KnownNames,
}

impl Checked {
    /// Returns the name of the scenario.
    pub fn name(&self) -> &ScenarioName {
        self.file.name()
    }

    /// Returns what it proves, in one line.
    pub fn summary(&self) -> &str {
        &self.spec.summary
    }

    /// Returns the kernels it is for; all if `None`.
    pub fn kernels(&self) -> Option<&KernelRange> {
        self.kernels.as_ref()
    }

    /// Returns the options that a kernel must have.
    pub fn config(&self) -> &[String] {
        &self.spec.config
    }

    /// Returns the images it is for, as a glob; all if `None`.
    pub fn images(&self) -> Option<&glob::Pattern> {
        self.images.as_ref()
    }

    /// Whether it has a VM of its own.
    pub fn has_own_vm(&self) -> bool {
        self.spec.isolation == Isolation::Vm
    }

    /// Whether it is for this image.
    pub fn is_for_image(&self, image: &ImageName) -> bool {
        self.images.as_ref().is_none_or(|images| images.matches(image.as_str()))
    }

    /// Returns which other scenarios may run in the same boot.
    pub fn isolation(&self) -> Isolation {
        self.spec.isolation
    }

    /// Whether it has a guard of its own.
    pub fn has_guard(&self) -> bool {
        self.spec.vm.guard.is_some()
    }

    /// Creates a report of a problem that is not in its text.
    pub fn complaint(&self, what: &str) -> Report {
        self.file.report(vec![Problem::new(0..0, what)])
    }

    /// Returns the line of each `[[attempt]]` in its file, counted from 1; none if it is a sweep.
    pub fn attempt_lines(&self) -> Vec<usize> {
        let attempts = KeyPath::default().key("attempt");
        let line = |index| self.file.line_of(&attempts.index(index));
        (0..self.spec.attempt.len()).map(line).collect()
    }

    pub(crate) fn template(&self) -> &serde_json::Value {
        self.file.template()
    }
}
