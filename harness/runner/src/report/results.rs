//! The contents of a report: the results of a run and the environments they belong to.

use std::collections::BTreeMap;

use harness_builder::pins::Repinned;
use harness_protocol::name::{Environment, ImageName, KernelName, ScenarioName};
use harness_snapshot::reasons::Explanation;

use super::{Counts, Failure, Naming, ScenarioResult, Standing};
use crate::{guard::RunGuard, identity::ReplacedPins};

/// The version of the harness, as reports show it.
pub const HARNESS: &str = env!("CARGO_PKG_VERSION");

/// An environment as reports show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentLabel {
    /// The kernel and its image.
    pub environment: Environment,
    /// The output of `uname -r` in the guest; `None` if this environment never ran.
    pub release: Option<String>,
    /// What differs from the pins of the kernel and the image, because those have left the mirror.
    pub replaced: ReplacedPins,
}

impl EnvironmentLabel {
    /// Returns the replaced pins of the kernel and the image, each with what it belongs to, such as `kernel 6.12`.
    pub(super) fn replaced(&self) -> impl Iterator<Item = (String, &Repinned)> {
        let Self { environment: Environment { kernel, image }, replaced, .. } = self;
        let of_kernel = replaced.kernel.iter().map(move |pin| (format!("kernel {kernel}"), pin));
        of_kernel.chain(replaced.image.iter().map(move |pin| (format!("image {image}"), pin)))
    }
}

/// The contents of a report.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// The guard that all scenarios were under.
    pub guard: Option<RunGuard>,
    /// The environments, in the order of columns and suites.
    pub environments: Vec<EnvironmentLabel>,
    /// The results; those of one scenario are adjacent.
    pub results: Vec<ScenarioResult>,
    /// The recorded reasons of the snapshots that are not every environment's.
    pub explanations: BTreeMap<(ScenarioName, Environment), Vec<Explanation>>,
    /// VMs that the host lost and that were booted again; no verdict depends on them.
    pub retried_vms: u64,
    /// The failures by whether an earlier run had them, in their order, if there is one to compare with.
    pub compared: Option<Vec<Failure>>,
}

impl Results {
    /// Returns whether a result has a failure that the earlier run did not have.
    pub fn is_new(&self, result: &ScenarioResult) -> bool {
        let Environment { kernel, image } = &result.environment;
        let place = (Standing::New, kernel.as_str(), image.as_str(), result.scenario.as_str());
        let of = |failure: &Failure| {
            let Failure { standing, kernel, image, scenario, .. } = failure;
            (*standing, kernel.as_str(), image.as_str(), scenario.as_str()).cmp(&place)
        };
        self.compared.as_ref().is_some_and(|failures| failures.binary_search_by(of).is_ok())
    }

    /// Returns the results of one environment, by scenario.
    pub(super) fn of<'a>(&'a self, label: &'a EnvironmentLabel) -> impl Iterator<Item = &'a ScenarioResult> {
        self.results.iter().filter(|result| result.environment == label.environment)
    }

    /// Returns how the environments are named.
    pub(super) fn naming(&self) -> Naming {
        Naming::of(self.environments.iter().map(|label| &label.environment))
    }

    /// Returns the images, without duplicates.
    pub(super) fn images(&self) -> Vec<&ImageName> {
        let mut images: Vec<&ImageName> = Vec::new();
        for label in &self.environments {
            if !images.contains(&&label.environment.image) {
                images.push(&label.environment.image);
            }
        }
        images
    }

    /// Returns the kernels with their releases, without duplicates.
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

    /// Returns the replaced pins of all kernels and images, as [`EnvironmentLabel::replaced`], without duplicates.
    pub(super) fn replaced(&self) -> Vec<(String, &Repinned)> {
        let mut all: Vec<(String, &Repinned)> = Vec::new();
        for replaced in self.environments.iter().flat_map(EnvironmentLabel::replaced) {
            if !all.contains(&replaced) {
                all.push(replaced);
            }
        }
        all
    }

    /// Returns a line for each pin that has left the mirror, with what is used instead.
    pub fn replaced_pins(&self) -> Vec<String> {
        self.replaced().iter().map(|(of, pin)| format!("{of}: the pin has left the mirror: {pin}")).collect()
    }

    /// Returns a line that says which guard the scenarios were under, if any.
    pub fn guard_line(&self) -> Option<String> {
        self.guard.map(|guard| format!("under a guard in {} mode, which recorded every bpf(2) call", guard.as_str()))
    }

    /// Returns a line that says how many VMs were booted again, if any.
    pub fn retried_line(&self) -> Option<String> {
        let lost = (self.retried_vms > 0)
            .then(|| super::counted(usize::try_from(self.retried_vms).unwrap_or(usize::MAX), "VM"));
        lost.map(|vms| format!("{vms} lost by the host and booted again"))
    }

    /// Counts the results by status and the attempts by verdict.
    pub fn counts(&self) -> Counts {
        Counts::of(&self.results)
    }
}
