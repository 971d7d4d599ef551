//! One kernel with two images in one run: the environments are separate in the fleet, in the store and in snapshots.

mod built;

use std::{fs, path::Path, process::ExitCode};

use harness_builder::{progress::Progress, project::Project};
use harness_planner::checked::Checked;
use harness_protocol::name::{Environment, ImageName, KernelName};
use harness_runner::{
    environments::{Images, environment_plans},
    report::{RunStatus, ScenarioResult, Status},
    resources::Resources,
    scenario_runner::{EnvironmentTask, Runner},
    store::{Freshness, RunId, Store},
    testbed::Testbed,
    vm,
};
use libtest_mimic::{Arguments, Failed};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const MINIMAL: &str = "minimal";
const SYSTEMD: &str = "systemd-262";

/// Runs anywhere; only a guest with systemd can have a unit.
const PLAIN: &str = "summary = 's'\n[[attempt]]\nop = 'map_create'\ntype = 'hash'\ntoken = false\n";
const UNIT: &str = "\
summary = 's'
images = 'systemd-*'
deadline = 60
[container]
kind = 'systemd'
unit = { PrivateUsers = true, DelegateNamespaces = 'mnt', PrivateBPF = true, BPFDelegateCommands = 'any', BPFDelegateMaps = 'any' }
[[attempt]]
op = 'map_create'
type = 'hash'
";

fn main() -> ExitCode {
    vm::run_child_if_asked();
    let both = |built: &built::Built| two_images(&built.kernel.name).map_err(|error| Failed::from(error.to_string()));
    let trials = vec![built::trial_in(SYSTEMD, "two_images_are_run_kept_and_compared_apart", both)];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn two_images(kernel: &KernelName) -> Result<()> {
    let (project, temporary) = (Project::find()?, tempfile::tempdir()?);
    let store = Store::new(temporary.path().join("store"), RunId::current(), Freshness::ThisRun);
    let resources = Resources::open(project.clone(), Freshness::ThisRun, Progress::silent())?.with_store(store);
    let folder = temporary.path().join("scenarios");
    write_scenarios(&folder)?;
    let runner = Runner::open(&project, &folder)?;
    let checked = runner.check(runner.suite().names())?;
    let images: Vec<ImageName> = [MINIMAL, SYSTEMD].map(|name| name.parse().expect("it is a name")).into();
    let environment = |image: &ImageName| Environment { kernel: kernel.clone(), image: image.clone() };
    let testbeds: Vec<Testbed<'_>> =
        images.iter().map(|image| resources.built(kernel, image)).collect::<std::result::Result<_, _>>()?;

    let found = run(&runner, &testbeds, kernel, &Images::Meant(images.clone()), &checked)?;
    assert_eq!(judged(&found), [format!("plain on {kernel}@{MINIMAL}"), format!("unit on {kernel}@{SYSTEMD}")]);
    // An outcome with one image is not an outcome with the other.
    let plain = [checked[0].clone()];
    assert!(runner.known_results(&testbeds[0], &plain)?.is_some());
    assert!(runner.known_results(&testbeds[1], &plain)?.is_none());

    let all = run(&runner, &testbeds, kernel, &Images::Named(images.clone()), &checked)?;
    assert_eq!(all.len(), 4);
    let of = |name: &str, image: &ImageName| {
        let wanted =
            |result: &&ScenarioResult| result.scenario.as_str() == name && result.environment == environment(image);
        all.iter().find(wanted).ok_or(format!("no {name} on {image}"))
    };
    assert!(matches!(of("unit", &images[0])?.status, Status::Skipped { .. }));
    assert_eq!(
        of("plain", &images[0])?.run_status(),
        RunStatus::AsRecorded,
        "{:?}",
        of("plain", &images[0])?.complaints()
    );
    // The image's own snapshot, which differs, applies to it.
    assert_eq!(of("plain", &images[1])?.run_status(), RunStatus::Differs);
    Ok(())
}

fn write_scenarios(folder: &Path) -> Result<()> {
    fs::create_dir(folder)?;
    let snapshot = |text: &str| harness_snapshot::render::file_of(text, "s", "plain.toml");
    let denied = "container's bpffs shows no delegation\n\
                  1  map_create hash  denied EPERM (lacks kernel.unprivileged_bpf_disabled=0)\n";
    fs::write(folder.join("plain.toml"), PLAIN)?;
    fs::write(folder.join("plain.snap"), snapshot(denied))?;
    fs::write(folder.join(format!("plain@@{SYSTEMD}.snap")), snapshot("1  map_create hash  allowed\n"))?;
    Ok(fs::write(folder.join("unit.toml"), UNIT)?)
}

/// Runs the scenarios in their environments and returns the results, in the order of scenarios.
fn run(
    runner: &Runner,
    testbeds: &[Testbed<'_>],
    kernel: &KernelName,
    images: &Images,
    checked: &[Checked],
) -> Result<Vec<ScenarioResult>> {
    let plans = environment_plans(std::slice::from_ref(kernel), images, checked);
    let tasks = plans.into_iter().filter_map(|plan| {
        let testbed = testbeds.iter().find(|testbed| *testbed.environment() == plan.environment)?;
        Some(EnvironmentTask { testbed, scenarios: plan.scenarios })
    });
    let mut results = runner.results_of(&tasks.collect::<Vec<_>>())?;
    results.sort_by(|a, b| a.scenario.cmp(&b.scenario));
    Ok(results)
}

/// Returns which scenarios were judged in which environment.
fn judged(results: &[ScenarioResult]) -> Vec<String> {
    let is_judged = |result: &&ScenarioResult| matches!(result.status, Status::Judged { .. });
    results.iter().filter(is_judged).map(|result| format!("{} on {}", result.scenario, result.environment)).collect()
}
