//! Tries all mutants of one kernel, one after the other: while scenarios run on one, the next is compiled.

use std::{
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use harness_builder::{
    error_chain::chain,
    guard_mutant::GuardTree,
    guest_program::guard::GuardProgram,
    kernel::{
        Kernel, Manifest,
        mutant::{self, Edit, Mutant, MutantTree, MutationError},
    },
};
use harness_planner::checked::Checked;
use harness_protocol::name::{KernelName, ScenarioName};
use harness_scenario::spec::Isolation;
use thiserror::Error;

use super::{
    Detection,
    score::{self, Score, Thoroughness},
};
use crate::{
    report::{Counts, RunStatus, ScenarioResult, counted},
    resources::ResourcesError,
    scenario_runner::RunnerError,
    selection::{Selection, SelectionError},
    testbed::Testbed,
};

/// Why the mutants of a kernel cannot be tried.
#[derive(Debug, Error)]
pub enum MutationRunError {
    /// The selection cannot be used.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// A kernel, an image or something else that scenarios need is not available.
    #[error(transparent)]
    Resources(#[from] ResourcesError),
    /// The scenarios cannot be run.
    #[error(transparent)]
    Runner(#[from] RunnerError),
    /// A mutant cannot be built.
    #[error(transparent)]
    Mutation(#[from] MutationError),
    /// Mutants do not fit the kernel's source.
    #[error("cannot apply {} to the kernel's source", counted(.0.len(), "mutant"))]
    Misfits(Vec<MutationError>),
}

/// What the mutants are mutants of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The kernel.
    Kernel,
    /// The guard, on an unmodified kernel.
    Guard,
}

/// A kernel and its mutants, or those of the guard.
pub struct MutationRun<'a> {
    subject: Subject,
    selection: &'a Selection,
    thoroughness: Thoroughness,
    manifest: Manifest,
    base: Testbed<'a>,
    mutants: Vec<(&'a Mutant, &'a Edit)>,
}

/// A built mutant, or why there is none.
struct Built<'a> {
    mutant: &'a Mutant,
    product: Result<Product, MutationError>,
    took: Option<Duration>,
}

/// A built mutant.
enum Product {
    Kernel(Box<Kernel>),
    Guard(GuardProgram),
}

/// Where mutants are built.
enum Workshop<'a> {
    /// `None` if all kernels are built.
    Kernel(Option<MutantTree<'a>>),
    Guard(GuardTree<'a>),
}

impl<'a> MutationRun<'a> {
    /// Builds the unmodified kernel and guard if necessary, and selects the mutants.
    ///
    /// # Errors
    /// [`MutationRunError`] if the kernel or the image cannot be built.
    pub fn prepare(
        subject: Subject,
        selection: &'a Selection,
        kernel: &KernelName,
        mutants: &[&'a Mutant],
        thoroughness: Thoroughness,
    ) -> Result<Self, MutationRunError> {
        let manifest = selection.resources.manifest(kernel)?;
        let base = selection.resources.build(kernel, selection.one_image()?)?;
        let mutants = mutants.iter().filter_map(|mutant| Some((*mutant, mutant.edit(kernel)?))).collect();
        Ok(Self { subject, selection, thoroughness, manifest, base, mutants })
    }

    /// Runs the scenarios on the unmodified kernel, then on each mutant; meanwhile the next mutants are built.
    ///
    /// # Errors
    /// [`MutationRunError`] if a mutant does not fit the source, or if no VM can be run.
    pub fn run(&self) -> Result<Score, MutationRunError> {
        let workshop = self.workshop()?;
        thread::scope(|scope| {
            let (sender, receiver) = mpsc::channel();
            scope.spawn(move || {
                let mut built = self.mutants.iter().map(|&(mutant, edit)| self.build(&workshop, mutant, edit));
                // The receiver is gone only after an error of its own.
                while built.next().is_some_and(|built| sender.send(built).is_ok()) {}
            });
            self.try_all(&receiver)
        })
    }

    fn try_all(&self, kernels: &Receiver<Built<'_>>) -> Result<Score, MutationRunError> {
        let results = self.selection.runner.results(&self.base, &self.selection.scenarios)?;
        let (usable, excluded) = self.sort(&results);
        let stages = self.stages(usable)?;
        let mut score = Score {
            kernel: self.base.kernel_name().clone(),
            release: self.base.kernel().release().to_owned(),
            thoroughness: self.thoroughness,
            counts: Counts::of(&results),
            excluded,
            results: Vec::new(),
        };
        for built in kernels {
            let result = self.try_one(built, &stages)?;
            self.note(&format!("[{}/{}] {}", score.results.len() + 1, self.mutants.len(), result.details()));
            score.results.push(result);
        }
        Ok(score)
    }

    /// Separates the scenarios to try mutants with from those that fail on the unmodified kernel, and reports the
    /// latter.
    fn sort(&self, results: &[ScenarioResult]) -> (Vec<Checked>, Vec<ScenarioName>) {
        let mut excluded = Vec::new();
        for result in results.iter().filter(|result| result.run_status() != RunStatus::AsRecorded) {
            let complaints = result.complaints().join("\n");
            self.note(&format!(
                "excluded, because it fails on the unmodified kernel: {}\n{complaints}",
                result.scenario
            ));
            excluded.push(result.scenario.clone());
        }
        let usable = self.selection.scenarios.iter().filter(|checked| !excluded.contains(checked.name()));
        (usable.cloned().collect(), excluded)
    }

    /// Returns the scenarios in the order in which they are tried; those of one stage run together.
    fn stages(&self, scenarios: Vec<Checked>) -> Result<Vec<Vec<Checked>>, RunnerError> {
        if self.thoroughness == Thoroughness::EveryScenario {
            return Ok(vec![scenarios]);
        }
        let times = self.selection.runner.times(&self.base, &scenarios)?;
        // A scenario with its own VM takes a boot.
        let quick = score::quick(&times, |index| scenarios[index].isolation() == Isolation::Shared);
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for (index, scenario) in scenarios.into_iter().enumerate() {
            (if quick.contains(&index) { &mut first } else { &mut second }).push(scenario);
        }
        Ok([first, second].into_iter().filter(|stage| !stage.is_empty()).collect())
    }

    /// Returns where mutants are built. Checks that every mutant that is not built fits before the first one is built.
    fn workshop(&self) -> Result<Workshop<'_>, MutationRunError> {
        let resources = &self.selection.resources;
        let (cache, progress) = (resources.cache(), resources.progress());
        let (workshop, misfits): (_, Vec<MutationError>) = match self.subject {
            Subject::Guard => {
                let tree = GuardTree::open(resources.project().root(), cache, progress)?;
                let misfits = self.mutants.iter().filter_map(|(mutant, edit)| tree.check(mutant, edit).err()).collect();
                (Workshop::Guard(tree), misfits)
            }
            Subject::Kernel => {
                let missing: Vec<_> =
                    self.mutants.iter().filter(|(mutant, edit)| self.find(mutant, edit).is_none()).collect();
                if missing.is_empty() {
                    return Ok(Workshop::Kernel(None));
                }
                let tree = MutantTree::open(&self.manifest, self.base.kernel(), cache, progress)?;
                let misfits = missing.iter().filter_map(|(mutant, edit)| tree.check(mutant, edit).err()).collect();
                (Workshop::Kernel(Some(tree)), misfits)
            }
        };
        if misfits.is_empty() { Ok(workshop) } else { Err(MutationRunError::Misfits(misfits)) }
    }

    fn find(&self, mutant: &Mutant, edit: &Edit) -> Option<Kernel> {
        mutant::find_built(&self.manifest, self.base.kernel(), mutant, edit, self.selection.resources.cache())
    }

    fn build<'b>(&self, workshop: &Workshop<'_>, mutant: &'b Mutant, edit: &Edit) -> Built<'b> {
        let started = Instant::now();
        let tree = match workshop {
            Workshop::Kernel(tree) => tree,
            Workshop::Guard(tree) => {
                let product = tree.build(mutant, edit).map(Product::Guard);
                return Built { mutant, product, took: Some(started.elapsed()) };
            }
        };
        let of = |kernel: Kernel| Product::Kernel(Box::new(kernel));
        match (self.find(mutant, edit), tree) {
            (None, Some(tree)) => {
                let product = tree.build(mutant, edit).map(of);
                Built { mutant, product, took: Some(started.elapsed()) }
            }
            (Some(kernel), _) => Built { mutant, product: Ok(of(kernel)), took: None },
            (None, None) => {
                let product = Err(MutationError::Gone { mutant: mutant.name.clone() });
                Built { mutant, product, took: None }
            }
        }
    }

    fn try_one(&self, built: Built<'_>, stages: &[Vec<Checked>]) -> Result<score::Result, MutationRunError> {
        let started = Instant::now();
        let (resources, image) = (&self.selection.resources, self.selection.one_image()?);
        let detection = match built.product {
            Ok(Product::Kernel(kernel)) => {
                self.detect(built.mutant, &resources.with_kernel(*kernel, image)?, stages)?
            }
            Ok(Product::Guard(guard)) => {
                let testbed = resources.build(self.base.kernel_name(), image)?.with_guard(guard);
                self.detect(built.mutant, &testbed, stages)?
            }
            Err(error @ MutationError::DoesNotCompile { .. }) => Detection::NoKernel(chain(&error)),
            Err(other) => return Err(other.into()),
        };
        Ok(score::Result { mutant: built.mutant.name.clone(), detection, build: built.took, suite: started.elapsed() })
    }

    /// Runs one stage after the other until one notices the bug; before them the scenario that is expected to, unless all
    /// run anyway.
    fn detect(
        &self,
        mutant: &Mutant,
        testbed: &Testbed<'_>,
        stages: &[Vec<Checked>],
    ) -> Result<Detection, RunnerError> {
        let is_expected = |checked: &&Checked| mutant.scenario.as_ref() == Some(checked.name());
        let expected: Vec<Checked> = match self.thoroughness {
            Thoroughness::EveryScenario => Vec::new(),
            Thoroughness::UntilNoticed => stages.iter().flatten().filter(is_expected).cloned().collect(),
        };
        let mut detection = Detection::Survived;
        for stage in [&expected].into_iter().filter(|stage| !stage.is_empty()).chain(stages) {
            detection = Detection::of(self.selection.runner.results(testbed, stage))?;
            if detection != Detection::Survived {
                break;
            }
        }
        Ok(detection)
    }

    fn note(&self, text: &str) {
        self.selection.resources.progress().note(text);
    }
}
