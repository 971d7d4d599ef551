//! What verbs find around them.

use anyhow::Result;
use harness_builder::project::{NoProject, Project};

/// Where manifests, recipes, vocabularies and scenarios come from. Made once, and handed to each verb.
#[derive(Clone, Debug)]
pub struct Context {
    project: Result<Project, NoProject>,
}

impl Context {
    /// Looks for the project that the program was started for. Some verbs do without one.
    pub fn find() -> Self {
        Self { project: Project::find() }
    }

    /// The project.
    ///
    /// # Errors
    /// If the program was started outside of one.
    pub fn project(&self) -> Result<&Project> {
        Ok(self.project.as_ref().map_err(Clone::clone)?)
    }
}
