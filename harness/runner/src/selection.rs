//! Scenarios that were selected to run on kernels, in images: what each ground has to do, and what came of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use harness_builder::{
    host::{HostError, Mode, Purpose},
    kernel::running,
};
use harness_planner::checked::Checked;
use harness_protocol::name::{Environment, ImageName, KernelName, ScenarioName};
use harness_scenario::similar::similar_scenarios;
use harness_snapshot::reasons::Complaint;
use thiserror::Error;

use crate::{
    environments::{self, EnvironmentPlan, Images},
    identity::Identity,
    preparation::{prepare_for, prepare_host},
    report::{
        EnvironmentLabel, Naming, Results, ScenarioResult, Status,
        difference::{Difference, Side},
    },
    resources::{Resources, ResourcesError},
    scenario_runner::{self, EnvironmentTask, Runner, RunnerError},
    store::StoreError,
    suite::SuiteError,
    testbed::Testbed,
};

/// Why nothing came of what was selected.
#[derive(Debug, Error)]
pub enum SelectionError {
    /// What scenarios run on is not to be had.
    #[error(transparent)]
    Supplies(#[from] ResourcesError),
    /// The scenarios cannot be run.
    #[error(transparent)]
    Lab(#[from] RunnerError),
    /// The scenarios' folder cannot be read.
    #[error(transparent)]
    Suite(#[from] SuiteError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The host lacks something.
    #[error(transparent)]
    Host(#[from] HostError),
    /// One image is wanted, and several are named.
    #[error("`--image` stands for {}; name one", .0.iter().map(ImageName::as_str).collect::<Vec<_>>().join(", "))]
    SeveralImages(Vec<ImageName>),
    /// No image is named, and none runs by default.
    #[error("no image has `default = true`")]
    NoDefaultImage,
    /// There is no image at all.
    #[error("there is no image")]
    NoImage,
    /// A kernel has no outcome to compare with.
    #[error("{0} never ran, so there is nothing to compare with it")]
    NeverRan(KernelName),
}

impl SelectionError {
    /// Whether what was asked for is wrong: options that do not fit together, or a scenario that a kernel does not know.
    pub fn is_wrong_input(&self) -> bool {
        matches!(self, Self::Lab(RunnerError::Scenarios(_)) | Self::SeveralImages(_) | Self::NoDefaultImage)
    }
}

/// What was selected, read and checked; nothing is built or booted yet.
#[derive(Debug)]
pub struct Selection {
    /// The scenarios' folder.
    pub runner: Runner,
    /// What the project has to run them on.
    pub resources: Resources,
    /// The kernels.
    pub kernels: Vec<KernelName>,
    /// The images.
    pub images: Images,
    /// The images that run by default.
    pub default_images: Vec<ImageName>,
    /// All images.
    pub all_images: Vec<ImageName>,
    /// The scenarios.
    pub scenarios: Vec<Checked>,
    /// What their names were matched with.
    pub filter: String,
    /// What to do about packages that the host lacks.
    pub mode: Mode,
}

impl Selection {
    /// What each ground has to do.
    fn environment_plans(&self) -> Vec<EnvironmentPlan<'_>> {
        environments::environment_plans(&self.kernels, &self.images, &self.scenarios)
    }

    /// What came of the scenarios on each ground, findings of one scenario together. A ground that cannot be built or
    /// booted fails alone: its findings say so. Scenarios of a default image whose packages are gone are skipped.
    ///
    /// # Errors
    /// [`SelectionError`] if nothing can be run at all.
    pub fn results(&self) -> Result<Vec<ScenarioResult>, SelectionError> {
        let environment_plans = self.environment_plans();
        let gone = self.prepare(&environment_plans)?;
        let mut results: Vec<ScenarioResult> = Vec::new();
        let mut built: Vec<(Testbed<'_>, &EnvironmentPlan<'_>)> = Vec::new();
        for environment_plan in &environment_plans {
            match gone.get(&environment_plan.environment.image) {
                Some(reason) => results.extend(unjudged(environment_plan, &Status::Skipped { reason: reason.clone() })),
                None => match self.testbed(&environment_plan.environment) {
                    Ok(testbed) => built.push((testbed, environment_plan)),
                    Err(error) => {
                        let cause = self.cannot_build(&environment_plan.environment.kernel, &error);
                        results.extend(unjudged(environment_plan, &Status::NotRun { cause }));
                    }
                },
            }
        }
        // Before, for what an interrupted run leaves; afterwards, with the objects that its scenarios loaded.
        built.iter().try_for_each(|(testbed, _)| self.resources.remember(testbed))?;
        let tasks: Vec<EnvironmentTask<'_>> =
            built.iter().map(|(testbed, environment_plan)| task(testbed, environment_plan)).collect();
        results.extend(self.runner.results_of(&tasks)?);
        built.iter().try_for_each(|(testbed, _)| self.resources.remember(testbed))?;
        Ok(sorted(results))
    }

    /// Sees to what the grounds have in common, images included; why there are not those that are gone.
    fn prepare(
        &self,
        environment_plans: &[EnvironmentPlan<'_>],
    ) -> Result<BTreeMap<ImageName, String>, SelectionError> {
        let environments: Vec<Environment> =
            environment_plans.iter().map(|environment_plan| environment_plan.environment.clone()).collect();
        let (here, vms): (Vec<Environment>, Vec<Environment>) =
            environments.into_iter().partition(|environment| is_running(&environment.kernel));
        if !here.is_empty() {
            prepare_host(&[Purpose::GuestProgram, Purpose::Objects], self.mode, self.resources.progress())?;
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
                Err(error) if error.is_gone() && self.can_do_without(&image) => {
                    let reason = format!("image {image} cannot be made: {}", scenario_runner::chain(&error));
                    self.resources.progress().note(&reason);
                    gone.insert(image, reason);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(gone)
    }

    /// Whether nobody named this image, and other scenarios run without it.
    fn can_do_without(&self, image: &ImageName) -> bool {
        matches!(&self.images, Images::Meant(images) if images.first() != Some(image))
    }

    /// What the store knows of the scenarios on each ground, findings of one scenario together. Nothing is built or booted;
    /// what was not run is among them as such.
    ///
    /// # Errors
    /// [`SelectionError`] if the store or a snapshot cannot be read.
    pub fn known_results(&self) -> Result<Vec<ScenarioResult>, SelectionError> {
        let mut results: Vec<ScenarioResult> = Vec::new();
        for environment_plan in self.environment_plans() {
            let image = &environment_plan.environment.image;
            let nothing = format!("the store knows nothing of it with image {image}; run it, or merge a store");
            match self.identity(&environment_plan.environment)? {
                Some(identity) => {
                    results.extend(self.runner.stored_results(
                        self.resources.store(),
                        &identity,
                        &environment_plan.scenarios,
                    )?);
                }
                // A run that could not make the image has left nothing, and was no failure.
                None if self.can_do_without(image) => {
                    results.extend(unjudged(&environment_plan, &Status::Skipped { reason: nothing }));
                }
                None => results.extend(unjudged(&environment_plan, &Status::NotRun { cause: nothing.into() })),
            }
        }
        Ok(sorted(results))
    }

    fn cannot_build(&self, kernel: &KernelName, error: &ResourcesError) -> Arc<str> {
        let cause = scenario_runner::chain(error);
        self.resources.progress().note(&format!("kernel {kernel}: {cause}"));
        cause.into()
    }

    /// Runs the scenarios and compares what came of them on two of the kernels.
    ///
    /// # Errors
    /// [`SelectionError`] if nothing can be run, or if one of the kernels never ran.
    pub fn difference(&self, before: &KernelName, after: &KernelName) -> Result<Difference, SelectionError> {
        let results = self.results()?;
        let identity = |kernel: &KernelName| {
            self.identity_of_kernel(kernel)?.ok_or_else(|| SelectionError::NeverRan(kernel.clone()))
        };
        let (one, other) = (identity(before)?, identity(after)?);
        let own = self.runner.suite().own_snapshots()?;
        Ok(Difference::of([&side(&one), &side(&other)], &results, self.runner.reasons(), &own))
    }

    /// Which snapshots of kernels' and images' own have no reason and which reasons apply no more, as far as the selected
    /// scenarios are concerned.
    ///
    /// # Errors
    /// [`RunnerError`] if a folder cannot be read.
    pub fn reason_complaints(&self) -> Result<Vec<Complaint>, RunnerError> {
        self.runner.reason_complaints(self.scenarios.iter().map(Checked::name))
    }

    /// Who answered last by the names of this ground; `None` if nobody did. After [`Self::findings`] that is who answered
    /// there.
    fn identity(&self, environment: &Environment) -> Result<Option<Identity>, StoreError> {
        self.resources.store().recall(&environment.kernel, &environment.image)
    }

    /// Who answered last by the name of this kernel with any image of the run.
    fn identity_of_kernel(&self, kernel: &KernelName) -> Result<Option<Identity>, StoreError> {
        let ours = self.environments().into_iter().filter(|environment| &environment.kernel == kernel);
        ours.map(|environment| self.identity(&environment)).find_map(Result::transpose).transpose()
    }

    /// The grounds of the run.
    pub fn environments(&self) -> Vec<Environment> {
        self.environment_plans().into_iter().map(|environment_plan| environment_plan.environment).collect()
    }

    /// What they are called.
    pub fn naming(&self) -> Naming {
        Naming::of(&self.environments())
    }

    /// These findings with what they were found on.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub fn report(&self, results: Vec<ScenarioResult>) -> Result<Results, StoreError> {
        let label = |environment: Environment| {
            let release = self.identity(&environment)?.map(|identity| identity.release().to_owned());
            Ok(EnvironmentLabel { environment, release })
        };
        let environments = self.environments().into_iter().map(label).collect::<Result<_, StoreError>>()?;
        Ok(Results { environments, results })
    }

    fn testbed(&self, environment: &Environment) -> Result<Testbed<'_>, ResourcesError> {
        let Environment { kernel, image } = environment;
        if is_running(kernel) { self.resources.running() } else { self.resources.build(kernel, image) }
    }

    /// The one image of a verb that takes no more: the one that was named, or the first default one.
    ///
    /// # Errors
    /// [`SelectionError`] if several were named, or none is a default one.
    pub fn one_image(&self) -> Result<&ImageName, SelectionError> {
        match &self.images {
            Images::Meant(images) => images.first().ok_or(SelectionError::NoDefaultImage),
            Images::Named(images) => match &images[..] {
                [image] => Ok(image),
                several => Err(SelectionError::SeveralImages(several.to_vec())),
            },
        }
    }

    /// Refuses several images where each scenario is to have one.
    ///
    /// # Errors
    /// [`SelectionError::SeveralImages`] if there are.
    pub fn refuse_several_images(&self) -> Result<(), SelectionError> {
        if matches!(self.images, Images::Named(_)) { self.one_image().map(drop) } else { Ok(()) }
    }

    /// Whether the running kernel is among the kernels.
    pub fn has_running_kernel(&self) -> bool {
        self.kernels.iter().any(is_running)
    }

    /// Makes sure that the host can build and boot kernels.
    ///
    /// # Errors
    /// [`HostError`] if it lacks something.
    pub fn prepare_host(&self) -> Result<(), HostError> {
        prepare_host(&Purpose::ALL, self.mode, self.resources.progress())
    }

    /// Whether these are all scenarios of the project.
    pub fn is_whole_suite(&self) -> bool {
        self.scenarios.len() == self.runner.suite().names().count()
            && self.runner.suite().folder() == self.resources.project().scenarios()
    }

    /// Scenarios whose names are like what nothing matches.
    pub fn similar(&self) -> Vec<&ScenarioName> {
        similar_scenarios(&self.filter, self.runner.suite().names())
    }

    /// The first image a scenario is meant for, whose verdicts its shared snapshots are: a default one if it can be.
    ///
    /// # Errors
    /// [`SelectionError::NoImage`] if there is none.
    pub fn first_image(&self, scenario: &ScenarioName) -> Result<ImageName, SelectionError> {
        let checked = self.scenarios.iter().find(|checked| checked.name() == scenario);
        let first =
            checked.and_then(|checked| environments::first_image(checked, &self.default_images, &self.all_images));
        first.or(self.all_images.first()).cloned().ok_or(SelectionError::NoImage)
    }

    /// A path as it is written into files: from the project's folder, if it is in it.
    pub fn shown_path(&self, path: &Path) -> String {
        path.strip_prefix(self.resources.project().root()).unwrap_or(path).display().to_string()
    }
}

fn is_running(kernel: &KernelName) -> bool {
    kernel.as_str() == running::NAME
}

fn task<'a>(testbed: &'a Testbed<'a>, environment_plan: &EnvironmentPlan<'a>) -> EnvironmentTask<'a> {
    EnvironmentTask { testbed, scenarios: environment_plan.scenarios.clone() }
}

/// The same is said of all that a ground has to do.
fn unjudged(environment_plan: &EnvironmentPlan<'_>, status: &Status) -> Vec<ScenarioResult> {
    environment_plan
        .scenarios
        .iter()
        .map(|checked| scenario_runner::unjudged(&environment_plan.environment, checked, status.clone()))
        .collect()
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
