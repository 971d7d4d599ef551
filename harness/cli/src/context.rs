//! The context of a verb.

use anyhow::Result;
use harness_builder::project::{NoProject, Project};
use harness_diagnostics::report::Report;
use harness_runner::scenario_runner::RunnerError;

use crate::{defaults::Defaults, exit::Wrong};

/// The source of manifests, vocabularies and scenarios, created once for all verbs.
#[derive(Clone, Debug)]
pub struct Context {
    project: Result<Project, NoProject>,
}

impl Context {
    /// Looks for the project that the program was started in. Some verbs do not need one.
    pub fn find() -> Self {
        Self { project: Project::find() }
    }

    /// Returns what the user's project file sets.
    ///
    /// # Errors
    /// If it cannot be read or has mistakes.
    pub(crate) fn defaults(&self) -> Result<Defaults> {
        Defaults::find().map_err(|error| match error.downcast::<Report>() {
            Ok(report) => Wrong::input(RunnerError::Scenarios(vec![report])),
            Err(error) => error,
        })
    }

    /// Returns the project.
    ///
    /// # Errors
    /// If the program was started outside of a project.
    pub fn project(&self) -> Result<&Project> {
        Ok(self.project.as_ref().map_err(Clone::clone)?)
    }
}
