//! The context of a verb.

use std::sync::OnceLock;

use anyhow::Result;
use harness_builder::{
    bundle::Bundle,
    cache::Cache,
    progress::Progress,
    project::{NoProject, Project},
};
use harness_diagnostics::report::Report;
use harness_runner::scenario_runner::RunnerError;

use crate::{defaults::Defaults, exit::Wrong};

/// What the program brings, if it is installed.
static BUNDLE: OnceLock<Bundle> = OnceLock::new();

/// The source of manifests, vocabularies and scenarios, created once for all verbs.
#[derive(Clone, Debug)]
pub struct Context {
    source: Source,
    /// What the user's project file sets, once it is read.
    defaults: OnceLock<Defaults>,
}

#[derive(Clone, Debug)]
enum Source {
    /// The checkout that the program was started in.
    Checkout(Result<Project, NoProject>),
    /// What the program brings, unpacked when it is first needed: most verbs need none of it.
    Bundle(Bundle, OnceLock<Project>),
}

impl Context {
    /// Makes what an installed program brings the source of every context, wherever it is started.
    pub fn bring(bundle: Bundle) {
        let _ = BUNDLE.set(bundle);
    }

    /// Returns what the user's project file sets; it is read once.
    ///
    /// # Errors
    /// If it cannot be read or has mistakes.
    pub(crate) fn defaults(&self) -> Result<&Defaults> {
        if let Some(defaults) = self.defaults.get() {
            return Ok(defaults);
        }
        let found = Defaults::find().map_err(|error| match error.downcast::<Report>() {
            Ok(report) => Wrong::input(RunnerError::Scenarios(vec![report])),
            Err(error) => error,
        })?;
        Ok(self.defaults.get_or_init(|| found))
    }

    /// Returns the same context for another run, which reads the project file anew.
    pub(crate) fn anew(&self) -> Self {
        Self { source: self.source.clone(), defaults: OnceLock::new() }
    }

    /// Looks for the project that the program was started in, unless it brings one. Some verbs do not need one.
    pub fn find() -> Self {
        let source = match BUNDLE.get() {
            Some(bundle) => Source::Bundle(*bundle, OnceLock::new()),
            None => Source::Checkout(Project::find()),
        };
        Self { source, defaults: OnceLock::new() }
    }

    /// Returns the project: the checkout, or what the program brings, unpacked.
    ///
    /// # Errors
    /// If the program was started outside of a checkout and brings no project, or if that cannot be unpacked.
    pub fn project(&self) -> Result<&Project> {
        match &self.source {
            Source::Checkout(found) => Ok(found.as_ref().map_err(Clone::clone)?),
            Source::Bundle(bundle, project) => match project.get() {
                Some(project) => Ok(project),
                None => {
                    let unpacked = bundle.unpacked(&Cache::from_env()?, &Progress::detect())?;
                    Ok(project.get_or_init(|| unpacked))
                }
            },
        }
    }

    /// Returns the checkout that the program was started in. There is none if the program brings a project: what that knows
    /// about kernels and names is also part of the program itself.
    pub fn checkout(&self) -> Option<&Project> {
        match &self.source {
            Source::Checkout(found) => found.as_ref().ok(),
            Source::Bundle(..) => None,
        }
    }

    /// Returns what the program brings, if it is installed.
    pub fn bundle(&self) -> Option<Bundle> {
        match &self.source {
            Source::Checkout(_) => None,
            Source::Bundle(bundle, _) => Some(*bundle),
        }
    }
}
