//! What reports are about: the findings of a run, and what they were found on.

use harness_protocol::name::{Environment, ImageName, KernelName};

use super::{Counts, Naming, ScenarioResult};

/// The version of the harness, as results name it.
pub const HARNESS: &str = env!("CARGO_PKG_VERSION");

/// A ground as results name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentLabel {
    /// The kernel and its image.
    pub environment: Environment,
    /// What `uname -r` says in it; `None` if it never ran.
    pub release: Option<String>,
}

/// All that a report tells of.
#[derive(Clone, Debug)]
pub struct Results {
    /// The grounds, in the order of columns and suites.
    pub environments: Vec<EnvironmentLabel>,
    /// Findings of one scenario stand together.
    pub results: Vec<ScenarioResult>,
}

impl Results {
    /// Findings of one ground, by scenario.
    pub(super) fn of<'a>(&'a self, label: &'a EnvironmentLabel) -> impl Iterator<Item = &'a ScenarioResult> {
        self.results.iter().filter(|result| result.environment == label.environment)
    }

    /// What the grounds are called.
    pub(super) fn naming(&self) -> Naming {
        Naming::of(self.environments.iter().map(|label| &label.environment))
    }

    /// The images, each once.
    pub(super) fn images(&self) -> Vec<&ImageName> {
        let mut images: Vec<&ImageName> = Vec::new();
        for label in &self.environments {
            if !images.contains(&&label.environment.image) {
                images.push(&label.environment.image);
            }
        }
        images
    }

    /// The kernels with their releases, each once.
    pub(super) fn kernels(&self) -> Vec<(&KernelName, Option<&str>)> {
        let mut kernels: Vec<(&KernelName, Option<&str>)> = Vec::new();
        for label in &self.environments {
            let release = label.release.as_deref();
            match kernels.iter_mut().find(|(name, _)| *name == &label.environment.kernel) {
                Some((_, known)) => *known = known.or(release),
                None => kernels.push((&label.environment.kernel, release)),
            }
        }
        kernels
    }

    /// How much was judged, and to what it came.
    pub fn counts(&self) -> Counts {
        Counts::of(&self.results)
    }
}
