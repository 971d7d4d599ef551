//! Every scenario on every default kernel, one trial each: `cargo test -p harness-runner --test scenarios`.
//!
//! A scenario runs in the first default image that it is meant for. Trials judge stored outcomes; the first one without an
//! outcome runs all scenarios of its kernel and image, or everything if all trials of one process will run. Kernels, images and the guest program must be built
//! (`cargo xtask test` builds them). If the build of a default image other than the first recorded that its packages have
//! left the mirror, its trials are ignored.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `BPF_TOKEN_HARNESS_KERNELS` | kernels to test, separated by commas; `all`; unset: the default kernels |
//! | `BPF_TOKEN_HARNESS_FRESH` | `1`: outcomes of earlier runs are not reused |
//! | `BPF_TOKEN_HARNESS_SHARD` | a file with the trials that will run, one per line; no VM is booted for others; unset: all |
//! | `INSTA_UPDATE` | as `insta` defines it; `no` in CI |

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::ExitCode,
    sync::{Arc, Mutex},
};

use anyhow::Context;
use harness_builder::{progress::Progress, project::Project};
use harness_planner::checked::Checked;
use harness_protocol::name::{Environment, ImageName, KernelName, ScenarioName};
use harness_runner::{
    environments::Images,
    fleet::Jobs,
    report::{ScenarioResult, Status},
    resources::Resources,
    scenario_runner::{EnvironmentTask, Runner},
    store::Freshness,
    testbed::Testbed,
    vm,
};
use harness_snapshot::{
    owner::{Lineage, Owner},
    recorded::Recorded,
    render,
};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// The environment variable that names a file with the trials that will run.
const SHARD_VARIABLE: &str = "BPF_TOKEN_HARNESS_SHARD";

/// Exit code of a wrong file or wrong usage.
const WRONG_INPUT: u8 = 2;
/// Exit code when no trial was selected.
const NOTHING_SELECTED: u8 = 4;

fn main() -> ExitCode {
    vm::run_child_if_asked();
    let arguments = Arguments::from_args();
    let trials = match trials(&arguments) {
        Ok(trials) => trials,
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::from(WRONG_INPUT);
        }
    };
    let listed = arguments.list;
    let conclusion = libtest_mimic::run(&arguments, trials);
    let ran = conclusion.num_passed + conclusion.num_failed + conclusion.num_ignored;
    if ran == 0 && !listed {
        eprintln!("error: no trial was selected; `--list` shows them all");
        return ExitCode::from(NOTHING_SELECTED);
    }
    conclusion.exit_code()
}

fn trials(arguments: &Arguments) -> anyhow::Result<Vec<Trial>> {
    let project = Project::find()?;
    let freshness = match std::env::var_os("BPF_TOKEN_HARNESS_FRESH") {
        Some(value) if value == "1" => Freshness::ThisRun,
        _ => Freshness::Any,
    };
    let resources = Resources::open(project.clone(), freshness, Progress::detect())?;
    let runner = Runner::open(&project, &project.scenarios())?;
    let kernels = match std::env::var("BPF_TOKEN_HARNESS_KERNELS") {
        Ok(list) => resources.kernels(list.split(','))?,
        Err(_) => resources.default_kernels()?,
    };
    let images = resources.default_images()?;
    // Trials must own what they use or share it with a static lifetime; this process ends with them.
    let resources: &'static Resources = Box::leak(Box::new(resources.with_jobs(jobs(kernels.len() * images.len()))));
    let shard = shard()?;
    let is_whole = !is_nextest() && arguments.filter.is_none() && arguments.skip.is_empty();
    let kernels_to_fill = if is_whole { kernels.clone() } else { Vec::new() };
    let images = Images::Meant(images);
    let stage = Stage { runner, resources, images, shard, kernels_to_fill, testbeds: Mutex::default() };
    let stage: &'static Stage = Box::leak(Box::new(stage));
    let mut trials = vec![
        Trial::test("snapshots::none_unreferenced", move || none_unreferenced(stage)),
        Trial::test("snapshots::reasons", move || all_have_reasons(stage)),
    ];
    for kernel in kernels {
        for scenario in stage.runner.suite().names() {
            let kernel = kernel.clone();
            let name = trial_name(&kernel, scenario);
            trials.push(Trial::ignorable_test(name, move || stage.judge(&kernel, scenario)));
        }
    }
    Ok(trials)
}

/// Returns the number of VMs at once. nextest starts one process per trial; each one that fills the store for an
/// environment gets a share.
fn jobs(environments: usize) -> Jobs {
    let jobs = Jobs::default();
    if is_nextest() { jobs.share(environments) } else { jobs }
}

fn is_nextest() -> bool {
    std::env::var_os("NEXTEST").is_some()
}

/// Returns the trials that will run, if given.
fn shard() -> anyhow::Result<Option<BTreeSet<String>>> {
    let Some(path) = std::env::var_os(SHARD_VARIABLE) else { return Ok(None) };
    let path = Path::new(&path);
    let text = fs::read_to_string(path).with_context(|| format!("{SHARD_VARIABLE}: cannot read {}", path.display()))?;
    Ok(Some(text.lines().map(str::to_owned).collect()))
}

/// Returns the name of the trial of a scenario on a kernel. The image is not part of it: each scenario has one.
fn trial_name(kernel: &KernelName, scenario: &ScenarioName) -> String {
    format!("{kernel}::{scenario}")
}

/// What all trials share.
struct Stage {
    runner: Runner,
    resources: &'static Resources,
    images: Images,
    shard: Option<BTreeSet<String>>,
    /// The kernels whose scenarios the first trial without an outcome runs; if there are none, only those of its own.
    kernels_to_fill: Vec<KernelName>,
    testbeds: Mutex<BTreeMap<Environment, Arc<Testbed<'static>>>>,
}

impl Stage {
    fn judge(&self, kernel: &KernelName, scenario: &ScenarioName) -> Result<Completion, Failed> {
        let checked = self.runner.check([scenario]).map_err(chain)?;
        let Some(image) = self.image(&checked[0]) else { return Err("there is no default image".into()) };
        if let Some(reason) = self.why_gone(image)? {
            return Ok(Completion::ignored_with(reason));
        }
        let testbed = self.testbed(&Environment { kernel: kernel.clone(), image: image.clone() })?;
        let result = match self.runner.known_results(&testbed, &checked).map_err(chain)? {
            Some(mut results) => results.remove(0),
            None => self.fill(&testbed, scenario)?,
        };
        self.compare(&result, &testbed.lineage())
    }

    /// Returns the image of a scenario.
    fn image(&self, scenario: &Checked) -> Option<&ImageName> {
        self.images.of(scenario).first()
    }

    /// Returns why scenarios of this image are not run, if it is recorded as gone from the mirror and not the first
    /// default image.
    fn why_gone(&self, image: &ImageName) -> Result<Option<String>, Failed> {
        let (Images::Meant(images) | Images::Named(images)) = &self.images;
        if images.first() == Some(image) { Ok(None) } else { self.resources.gone_image(image).map_err(chain) }
    }

    /// Runs all scenarios that have a trial, of this environment or of all, so that the other trials find their outcomes. VMs
    /// of several environments leave no processor idle.
    fn fill(&self, testbed: &Testbed<'_>, scenario: &ScenarioName) -> Result<ScenarioResult, Failed> {
        let own = testbed.environment();
        let mut environments = vec![own.clone()];
        let (Images::Meant(images) | Images::Named(images)) = &self.images;
        for kernel in &self.kernels_to_fill {
            let each = images.iter().map(|image| Environment { kernel: kernel.clone(), image: image.clone() });
            environments.extend(each.filter(|environment| environment != own));
        }
        // What is not built fails the trials that need it.
        let testbeds: Vec<_> = environments.iter().filter_map(|environment| self.testbed(environment).ok()).collect();
        let checked: Vec<_> = testbeds.iter().map(|testbed| self.to_run(testbed, scenario)).collect();
        let tasks = testbeds.iter().zip(&checked);
        let tasks: Vec<_> =
            tasks.map(|(testbed, checked)| EnvironmentTask { testbed, scenarios: checked.iter().collect() }).collect();
        let results = self.runner.results_of(&tasks).map_err(chain)?;
        testbeds.iter().try_for_each(|testbed| self.resources.remember(testbed)).map_err(chain)?;
        let is_own = |result: &ScenarioResult| &result.scenario == scenario && &result.environment == own;
        results.into_iter().find(is_own).ok_or_else(|| "it was not run".into())
    }

    /// Returns the scenarios of an environment that have a trial, and the one that needs an outcome.
    fn to_run(&self, testbed: &Testbed<'_>, scenario: &ScenarioName) -> Vec<Checked> {
        let kernel = testbed.kernel_name();
        let has_trial = |name: &&ScenarioName| {
            *name == scenario || self.shard.as_ref().is_none_or(|shard| shard.contains(&trial_name(kernel, name)))
        };
        let names = self.runner.suite().names().filter(has_trial);
        let usable = names.filter_map(|name| self.runner.check([name]).ok());
        let image = &testbed.environment().image;
        usable.flatten().filter(|checked| self.image(checked) == Some(image)).collect()
    }

    fn testbed(&self, environment: &Environment) -> Result<Arc<Testbed<'static>>, Failed> {
        let mut testbeds = self.testbeds.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(testbed) = testbeds.get(environment) {
            return Ok(Arc::clone(testbed));
        }
        let testbed = Arc::new(self.resources.built(&environment.kernel, &environment.image).map_err(chain)?);
        testbeds.insert(environment.clone(), Arc::clone(&testbed));
        Ok(testbed)
    }

    fn compare(&self, result: &ScenarioResult, lineage: &Lineage) -> Result<Completion, Failed> {
        let (judgement, text) = match &result.status {
            Status::Skipped { reason } => return Ok(Completion::ignored_with(reason)),
            Status::Fault { message } => return Err(message.into()),
            Status::NotRun { cause } => return Err(format!("not run: {cause}").into()),
            Status::Judged { judgement, comparison } => (judgement, comparison.now()),
        };
        if !judgement.is_sound() {
            return Err(result.complaints().join("\n").into());
        }
        let suite = self.runner.suite();
        // A new text is left as the shared snapshot, one that differs from the inherited snapshot as this kernel's own.
        let recorded = suite.recorded(&result.scenario).map_err(chain)?;
        let holds = recorded.for_environment(lineage).is_none_or(|held| render::same(held, text));
        let owner = match recorded.holder(lineage) {
            Some(holder) if holds => holder,
            _ if holds => Owner::EVERYBODY,
            _ => Owner::kernel(&result.environment.kernel),
        };
        let path = suite.snapshot_path(&result.scenario, &owner);
        assert_snapshot(&path, &result.summary, suite.path(&result.scenario), text);
        Ok(Completion::Completed)
    }
}

/// Compares with `insta`, which leaves a differing text beside the snapshot for `cargo insta review`.
fn assert_snapshot(path: &Path, summary: &str, scenario: &Path, text: &str) {
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path(path.parent().unwrap_or(Path::new(".")));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_description(summary);
    settings.set_input_file(scenario);
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// Fails if a snapshot is unreferenced, or redundant because the inherited one is the same.
fn none_unreferenced(stage: &Stage) -> Result<(), Failed> {
    let (suite, resources) = (stage.runner.suite(), stage.resources);
    let kernels = resources.kernels(["all"]).map_err(chain)?;
    let images = resources.images(["all"]).map_err(chain)?;
    let on = |image: &ImageName| {
        let each = kernels.iter().map(|kernel| Environment { kernel: kernel.clone(), image: image.clone() });
        each.map(|environment| resources.lineage(&environment)).collect::<Result<Vec<_>, _>>()
    };
    let lineages: Vec<Lineage> = images.iter().map(on).collect::<Result<Vec<_>, _>>().map_err(chain)?.concat();
    let mut complaints: Vec<String> = Vec::new();
    for path in suite.unreferenced(&kernels, &images).map_err(chain)? {
        complaints.push(format!("{} belongs to no scenario, or to no kernel or image; remove it", path.display()));
    }
    for name in suite.names() {
        let recorded = suite.recorded(name).map_err(chain)?;
        for owner in recorded.texts.keys().filter(|owner| !owner.is_everybody()) {
            if is_redundant(&recorded, owner, &lineages) {
                let path = suite.snapshot_path(name, owner);
                complaints.push(format!(
                    "{} is the same as the snapshot that would apply without it; remove it",
                    path.display()
                ));
            }
        }
    }
    if complaints.is_empty() { Ok(()) } else { Err(complaints.join("\n").into()) }
}

/// Returns whether all environments that use this owner's snapshot would have the same text without it.
fn is_redundant(recorded: &Recorded, owner: &Owner, lineages: &[Lineage]) -> bool {
    let mut holding = lineages.iter().filter(|lineage| recorded.holder(lineage).as_ref() == Some(owner));
    let text = &recorded.texts[owner];
    holding.all(|lineage| recorded.without(owner, lineage).is_some_and(|other| render::same(text, other)))
}

/// Fails if a snapshot of a single kernel or image has no recorded difference, or a recorded difference no longer applies.
fn all_have_reasons(stage: &Stage) -> Result<(), Failed> {
    let complaints = stage.runner.reason_complaints(stage.runner.suite().names()).map_err(chain)?;
    let texts: Vec<String> = complaints.into_iter().map(|complaint| complaint.text).collect();
    if texts.is_empty() { Ok(()) } else { Err(texts.join("\n").into()) }
}

fn chain(error: impl Into<anyhow::Error>) -> Failed {
    format!("{:#}", error.into()).into()
}
