//! The context of a verb.

use anyhow::Result;
use harness_builder::project::{NoProject, Project};

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

    /// Returns the project.
    ///
    /// # Errors
    /// If the program was started outside of a project.
    pub fn project(&self) -> Result<&Project> {
        Ok(self.project.as_ref().map_err(Clone::clone)?)
    }
}
