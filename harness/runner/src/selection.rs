//! The selected scenarios, kernels and images of a run, and their results.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use harness_builder::{
    error_chain::chain,
    host::{HostError, Mode, Purpose},
    kernel::running,
};
use harness_planner::checked::Checked;
use harness_protocol::name::{Environment, ImageName, KernelName, ScenarioName};
use harness_snapshot::{
    owner::{Lineage, Owner},
    reasons::{Complaint, Explanation, OwnSnapshots},
};
use rayon::prelude::*;
use thiserror::Error;

use crate::{
    environments::{self, EnvironmentPlan, Images},
    guard::RunGuard,
    identity::Identity,
    preparation::{prepare_for, prepare_host_for},
    refusals,
    report::{
        EnvironmentLabel, Naming, Results, ScenarioResult, Status,
        difference::{Difference, Side},
    },
    resources::{self, Resources, ResourcesError},
    scenario_runner::{self, EnvironmentTask, Runner, RunnerError, ShowResult},
    store::StoreError,
    suite::SuiteError,
    testbed::Testbed,
};

/// Why a selection has no results.
#[derive(Debug, Error)]
pub enum SelectionError {
    /// A kernel, an image or something else that scenarios need is not available.
    #[error(transparent)]
    Resources(#[from] ResourcesError),
    /// The scenarios cannot be run.
    #[error(transparent)]
    Runner(#[from] RunnerError),
    /// The scenarios' folder cannot be read.
    #[error(transparent)]
    Suite(#[from] SuiteError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The host lacks something.
    #[error(transparent)]
    Host(#[from] HostError),
    /// One image is needed, but several are named.
    #[error("`--image` matches {}; name one of them", .0.iter().map(ImageName::as_str).collect::<Vec<_>>().join(", "))]
    SeveralImages(Vec<ImageName>),
    /// No image is named, and none is a default image.
    #[error("no image manifest has `default = true`; name an image with `--image`")]
    NoDefaultImage,
    /// There is no image.
    #[error("images/ has no manifest of an image")]
    NoImage,
    /// A kernel has no outcomes to compare.
    #[error("no scenario has run on kernel {0}, so there is nothing to compare")]
    NeverRan(KernelName),
}

impl SelectionError {
    /// Returns whether the request is wrong: options that conflict, or a scenario that uses a name the kernel does not
    /// know.
    pub fn is_wrong_input(&self) -> bool {
        matches!(self, Self::Runner(RunnerError::Scenarios(_)) | Self::SeveralImages(_) | Self::NoDefaultImage)
    }
}

/// The selected scenarios, kernels and images, read and checked; nothing is built or booted yet.
#[derive(Debug)]
pub struct Selection {
    /// Reads and runs the scenarios of a folder.
    pub runner: Runner,
    /// The project's kernels, images and cache.
    pub resources: Resources,
    /// The kernels.
    pub kernels: Vec<KernelName>,
    /// The images.
    pub images: Images,
    /// The default images.
    pub default_images: Vec<ImageName>,
    /// All images.
    pub all_images: Vec<ImageName>,
    /// The scenarios.
    pub scenarios: Vec<Checked>,
    /// The filters that selected the scenarios; none if all are.
    pub filters: Vec<String>,
    /// What to do about packages that the host lacks.
    pub mode: Mode,
}

impl Selection {
    /// Returns the selection with all scenarios under a guard, or each only under its own.
    #[must_use]
    pub fn under(self, guard: Option<RunGuard>) -> Self {
        let any = self.scenarios.iter().any(Checked::has_guard);
        Self { resources: self.resources.with_guard(guard, any), ..self }
    }

    /// Returns the selection for one more run, which reuses no outcome of the runs before.
    #[must_use]
    pub fn again(self) -> Self {
        Self { resources: self.resources.again(), ..self }
    }

    /// Returns the scenarios to run in each environment.
    fn plans(&self) -> Vec<EnvironmentPlan<'_>> {
        environments::environment_plans(&self.kernels, &self.images, &self.scenarios)
    }

    /// Runs the scenarios in each environment and returns the results; those of one scenario are adjacent. If an
    /// environment cannot be built or booted, only its own scenarios are reported as not run. Scenarios of a
    /// non-primary default image that can no longer be built are skipped.
    ///
    /// # Errors
    /// [`SelectionError`] if nothing can be run.
    pub fn results(&self) -> Result<Vec<ScenarioResult>, SelectionError> {
        self.results_shown(&|_| {})
    }

    /// As [`Self::results`]; `show` gets the results that are known before the run ends, if VMs are started.
    ///
    /// # Errors
    /// As [`Self::results`].
    pub fn results_shown(&self, show: &ShowResult<'_>) -> Result<Vec<ScenarioResult>, SelectionError> {
        let plans = self.plans();
        let gone = self.prepare(&plans)?;
        let mut results: Vec<ScenarioResult> = Vec::new();
        let mut add = |more: Vec<ScenarioResult>| {
            more.iter().for_each(show);
            results.extend(more);
        };
        let mut built: Vec<(Testbed<'_>, &EnvironmentPlan<'_>)> = Vec::new();
        for plan in &plans {
            match gone.get(&plan.environment.image) {
                Some(reason) => add(unjudged(plan, &Status::Skipped { reason: reason.clone() })),
                None => match self.testbed(&plan.environment) {
                    Ok(testbed) => built.push((testbed, plan)),
                    Err(error) => {
                        let cause = self.cannot_build(&plan.environment.kernel, &error);
                        add(unjudged(plan, &Status::NotRun { cause }));
                    }
                },
            }
        }
        // Before the run, in case it is interrupted; afterwards again where scenarios loaded objects, to add those.
        built.iter().try_for_each(|(testbed, _)| self.resources.remember(testbed))?;
        let tasks: Vec<EnvironmentTask<'_>> = built.iter().map(|(testbed, plan)| task(testbed, plan)).collect();
        results.extend(self.runner.results_shown(&tasks, show)?);
        let with_objects = built.iter().filter(|(testbed, _)| testbed.has_loaded_objects());
        with_objects.map(|(testbed, _)| testbed).try_for_each(|testbed| self.resources.remember(testbed))?;
        Ok(sorted(results))
    }

    /// Prepares what the environments share, including images. Returns the images that can no longer be built, each
    /// with the reason.
    fn prepare(&self, plans: &[EnvironmentPlan<'_>]) -> Result<BTreeMap<ImageName, String>, SelectionError> {
        let environments: Vec<Environment> = plans.iter().map(|plan| plan.environment.clone()).collect();
        let (host, vms): (Vec<Environment>, Vec<Environment>) =
            environments.into_iter().partition(|environment| is_running(&environment.kernel));
        if !host.is_empty() {
            prepare_host_for(&self.resources, &[Purpose::GuestProgram, Purpose::Objects], self.mode)?;
        }
        let mut gone = BTreeMap::new();
        if vms.is_empty() {
            return Ok(gone);
        }
        prepare_for(&self.resources, &vms, self.mode)?;
        self.resources.build_shared()?;
        let images: BTreeSet<ImageName> = vms.into_iter().map(|environment| environment.image).collect();
        for image in images {
            match self.resources.build_image(&image) {
                Ok(_) => {}
                Err(error) if error.is_gone() && self.is_dispensable(&image) => {
                    let reason = resources::why_gone(&image, &chain(&error));
                    self.resources.progress().note(&reason);
                    gone.insert(image, reason);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(gone)
    }

    /// Returns whether scenarios of this image may be skipped if it can no longer be built: it is a default image other
    /// than the first, and no image was named.
    fn is_dispensable(&self, image: &ImageName) -> bool {
        matches!(&self.images, Images::Meant(images) if images.iter().skip(1).any(|further| further == image))
    }

    /// Returns the stored results of the scenarios in each environment; those of one scenario are adjacent. Builds and
    /// boots nothing. A scenario without a stored outcome is reported as not run, unless its image is recorded as gone
    /// from the mirror.
    ///
    /// # Errors
    /// [`SelectionError`] if the store or a snapshot cannot be read.
    pub fn known_results(&self) -> Result<Vec<ScenarioResult>, SelectionError> {
        let known = |plan: &EnvironmentPlan<'_>| -> Result<Vec<ScenarioResult>, SelectionError> {
            match self.identity(&plan.environment)? {
                Some(identity) => Ok(self.runner.stored_results(self.resources.store(), &identity, &plan.scenarios)?),
                None => Ok(unjudged(plan, &self.without_identity(&plan.environment.image)?)),
            }
        };
        let results: Vec<Vec<ScenarioResult>> = self.plans().par_iter().map(known).collect::<Result<_, _>>()?;
        Ok(sorted(results.into_iter().flatten().collect()))
    }

    /// Returns the status of scenarios in an environment that never ran.
    fn without_identity(&self, image: &ImageName) -> Result<Status, ResourcesError> {
        let gone = if self.is_dispensable(image) { self.resources.gone_image(image)? } else { None };
        let missing =
            || format!("no stored result with image {image}; run the scenario, or merge a store that has one");
        Ok(gone.map_or_else(|| Status::NotRun { cause: missing().into() }, |reason| Status::Skipped { reason }))
    }

    fn cannot_build(&self, kernel: &KernelName, error: &ResourcesError) -> Arc<str> {
        let cause = chain(error);
        self.resources.progress().note(&format!("kernel {kernel}: {cause}"));
        cause.into()
    }

    /// Runs the scenarios and compares their results on two of the kernels.
    ///
    /// # Errors
    /// [`SelectionError`] if nothing can be run, or if a kernel has no outcomes.
    pub fn difference(&self, before: &KernelName, after: &KernelName) -> Result<Difference, SelectionError> {
        let results = self.results()?;
        let identity = |kernel: &KernelName| {
            self.identity_of_kernel(kernel)?.ok_or_else(|| SelectionError::NeverRan(kernel.clone()))
        };
        let (one, other) = (identity(before)?, identity(after)?);
        let own = self.runner.suite().own_snapshots()?;
        Ok(Difference::of([&side(&one), &side(&other)], &results, self.runner.reasons(), &own))
    }

    /// Returns the snapshots of single kernels and images that have no recorded difference, and the recorded
    /// differences that no longer apply, for the selected scenarios.
    ///
    /// # Errors
    /// [`RunnerError`] if a folder cannot be read.
    pub fn reason_complaints(&self) -> Result<Vec<Complaint>, RunnerError> {
        self.runner.reason_complaints(self.scenarios.iter().map(Checked::name))
    }

    /// Makes results as recorded that differ only by what the guard of the run refuses although it only audits, by the file
    /// for that; shows which. Returns the results, and what is wrong with the file.
    pub fn accept_refusals(&self, mut results: Vec<ScenarioResult>) -> (Vec<ScenarioResult>, Vec<String>) {
        if self.resources.run_guard.is_none() {
            return (results, Vec::new());
        }
        let mut used = BTreeSet::new();
        for result in &mut results {
            if let Some(entries) = refusals::accept(result, self.runner.audit_refusals()) {
                let ScenarioResult { scenario, environment, .. } = &*result;
                self.resources
                    .progress()
                    .note(&format!("{scenario} on {environment} differs as the guard must refuse"));
                used.extend(entries);
            }
        }
        // A part of the scenarios does not show that an entry is idle.
        let whole = self.scenarios.len() == self.runner.suite().names().count();
        let ran: Vec<Environment> = if whole { self.environments() } else { Vec::new() };
        (results, self.runner.audit_refusals().unused(&ran, &used))
    }

    /// Returns the identity that last ran under the names of this environment, if any. After [`Self::results`], it is
    /// the identity that ran.
    fn identity(&self, environment: &Environment) -> Result<Option<Identity>, StoreError> {
        self.resources.store().recall(&environment.kernel, &environment.image, self.resources.run_guard)
    }

    /// Returns the identity that last ran under the name of this kernel, with any image of the run.
    fn identity_of_kernel(&self, kernel: &KernelName) -> Result<Option<Identity>, StoreError> {
        let ours = self.environments().into_iter().filter(|environment| &environment.kernel == kernel);
        ours.map(|environment| self.identity(&environment)).find_map(Result::transpose).transpose()
    }

    /// Returns the environments of the run.
    pub fn environments(&self) -> Vec<Environment> {
        self.plans().into_iter().map(|plan| plan.environment).collect()
    }

    /// Returns in how many environments each scenario runs.
    pub fn environments_by_scenario(&self) -> BTreeMap<ScenarioName, usize> {
        let mut counts = BTreeMap::new();
        for checked in self.plans().iter().flat_map(|plan| &plan.scenarios) {
            *counts.entry(checked.name().clone()).or_default() += 1;
        }
        counts
    }

    /// Returns whether each scenario runs in one image of each kernel, because the user named no images.
    pub fn runs_each_in_one_image(&self) -> bool {
        matches!(self.images, Images::Meant(_))
    }

    /// Returns how the environments are named.
    pub fn naming(&self) -> Naming {
        Naming::of(&self.environments())
    }

    /// Returns a report's contents: these results and the environments.
    ///
    /// # Errors
    /// [`SelectionError`] if the store or the scenarios' folder cannot be read.
    pub fn report(&self, results: Vec<ScenarioResult>) -> Result<Results, SelectionError> {
        let own = self.runner.suite().own_snapshots()?;
        let labelled = |environment: Environment| {
            let identity = self.identity(&environment)?;
            let explanations = identity.as_ref().map(|identity| self.explanations(&identity.lineage, &own));
            let release = identity.as_ref().map(|identity| identity.release().to_owned());
            let replaced = identity.map(|identity| identity.replaced().clone()).unwrap_or_default();
            Ok((EnvironmentLabel { environment, release, replaced }, explanations.unwrap_or_default()))
        };
        let labelled: Vec<_> =
            self.environments().into_par_iter().map(labelled).collect::<Result<_, SelectionError>>()?;
        let (environments, explanations): (Vec<_>, Vec<_>) = labelled.into_iter().unzip();
        let explanations = explanations.into_iter().flatten().collect();
        let retried_vms = self.resources.fleet.lost_vms.load(Ordering::Relaxed);
        Ok(Results {
            guard: self.resources.run_guard,
            environments,
            results,
            explanations,
            retried_vms,
            compared: None,
        })
    }

    /// Returns the recorded reasons of the snapshots that apply to an environment and not to every one.
    fn explanations(
        &self,
        lineage: &Lineage,
        own: &OwnSnapshots,
    ) -> BTreeMap<(ScenarioName, Environment), Vec<Explanation>> {
        let of = |scenario: &ScenarioName, held: &BTreeSet<Owner>| {
            let owner = lineage.owners().find(|owner| held.contains(owner))?;
            let known = self.runner.reasons().of(scenario, &owner);
            (!known.is_empty()).then(|| ((scenario.clone(), lineage.environment.clone()), known))
        };
        own.iter().filter_map(|(scenario, held)| of(scenario, held)).collect()
    }

    fn testbed(&self, environment: &Environment) -> Result<Testbed<'_>, ResourcesError> {
        let Environment { kernel, image } = environment;
        if is_running(kernel) { self.resources.running() } else { self.resources.build(kernel, image) }
    }

    /// Returns the image of a command that uses a single one: the named image, or the first default image.
    ///
    /// # Errors
    /// [`SelectionError`] if several images were named, or there is no default image.
    pub fn one_image(&self) -> Result<&ImageName, SelectionError> {
        match &self.images {
            Images::Meant(images) => images.first().ok_or(SelectionError::NoDefaultImage),
            Images::Named(images) => match &images[..] {
                [image] => Ok(image),
                several => Err(SelectionError::SeveralImages(several.to_vec())),
            },
        }
    }

    /// Errors if several images were named, for a command that runs each scenario in one image.
    ///
    /// # Errors
    /// [`SelectionError::SeveralImages`] if several were named.
    pub fn refuse_several_images(&self) -> Result<(), SelectionError> {
        if matches!(self.images, Images::Named(_)) { self.one_image().map(drop) } else { Ok(()) }
    }

    /// Returns whether the running kernel is one of the kernels (host mode).
    pub fn has_running_kernel(&self) -> bool {
        self.kernels.iter().any(is_running)
    }

    /// Makes sure that the host can build and boot kernels.
    ///
    /// # Errors
    /// [`HostError`] if the host lacks something.
    pub fn prepare_host(&self) -> Result<(), HostError> {
        prepare_host_for(&self.resources, &Purpose::ALL, self.mode)
    }

    /// Returns whether these are all scenarios of the project.
    pub fn is_whole_suite(&self) -> bool {
        self.scenarios.len() == self.runner.suite().names().count() && self.has_scenarios_of_project()
    }

    /// Returns whether the scenarios are the project's, and not those of another folder.
    pub fn has_scenarios_of_project(&self) -> bool {
        self.runner.suite().folder() == self.resources.project().scenarios()
    }

    /// Returns the image whose verdicts are the scenario's shared snapshot: the first one it is meant for, preferably a
    /// default image.
    ///
    /// # Errors
    /// [`SelectionError::NoImage`] if there is no image.
    pub fn first_image(&self, scenario: &ScenarioName) -> Result<ImageName, SelectionError> {
        let checked = self.scenarios.iter().find(|checked| checked.name() == scenario);
        let first =
            checked.and_then(|checked| environments::first_image(checked, &self.default_images, &self.all_images));
        first.or(self.all_images.first()).cloned().ok_or(SelectionError::NoImage)
    }

    /// Returns a path as it is written into files: relative to the project's folder, if it is inside.
    pub fn shown_path(&self, path: &Path) -> String {
        path.strip_prefix(self.resources.project().root()).unwrap_or(path).display().to_string()
    }
}

fn is_running(kernel: &KernelName) -> bool {
    kernel.as_str() == running::NAME
}

fn task<'a>(testbed: &'a Testbed<'a>, plan: &EnvironmentPlan<'a>) -> EnvironmentTask<'a> {
    EnvironmentTask { testbed, scenarios: plan.scenarios.clone() }
}

/// Gives all scenarios of an environment the same status.
fn unjudged(plan: &EnvironmentPlan<'_>, status: &Status) -> Vec<ScenarioResult> {
    plan.scenarios.iter().map(|checked| scenario_runner::unjudged(&plan.environment, checked, status.clone())).collect()
}

fn sorted(mut results: Vec<ScenarioResult>) -> Vec<ScenarioResult> {
    results.sort_by(|a, b| a.scenario.cmp(&b.scenario));
    results
}

fn side(identity: &Identity) -> Side<'_> {
    Side {
        kernel: identity.kernel().clone(),
        alike: identity.lineage().alike.clone(),
        release: identity.release().to_owned(),
        vocabulary: identity.vocabulary(),
    }
}

#[cfg(test)]
mod tests;
