//! The guest program on a shared machine, tried in a VM: in its own namespaces attempts have the same verdicts, and
//! scenarios that would affect others are skipped.

#[allow(dead_code, reason = "this test uses only a part of it")]
mod built;

use std::process::ExitCode;

use harness_builder::{progress::Progress, project::Project};
use harness_planner::checked::Checked;
use harness_runner::{
    report::{RunStatus, ScenarioResult, Status},
    resources::Resources,
    scenario_runner::Runner,
    store::Freshness,
    vm,
};
use libtest_mimic::{Arguments, Failed};

fn main() -> ExitCode {
    vm::run_child_if_asked();
    let trial = built::trial("scenarios_have_the_same_verdicts_in_the_guests_own_namespaces", |built| {
        same_verdicts(built).map_err(|error| Failed::from(format!("{error:#}")))
    });
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code()
}

/// Scenarios of every kind that runs on a shared machine, and some that are skipped.
const SELECTED: [&str; 4] = ["token/*", "maps/*", "links/*", "sysctl/*"];

fn same_verdicts(built: &built::Built) -> anyhow::Result<()> {
    let project = Project::find()?;
    let resources = Resources::open(project.clone(), Freshness::ThisRun, Progress::silent())?;
    let testbed = resources.built(&built.kernel.name, &built.image.name)?.shared_with_others();
    let runner = Runner::open(&project, &project.scenarios())?;
    let mut results: Vec<ScenarioResult> = Vec::new();
    for pattern in SELECTED {
        let checked: Vec<Checked> = runner.check(&runner.suite().select(pattern)?)?;
        results.extend(runner.results(&testbed, &checked)?);
    }
    let wrong: Vec<String> = results
        .iter()
        .filter(|result| result.run_status() != RunStatus::AsRecorded)
        .map(|result| format!("{}: {}", result.scenario, result.complaints().join("; ")))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let skipped = results.iter().filter(|result| match &result.status {
        Status::Skipped { reason } => reason.contains("others use"),
        _ => false,
    });
    let judged = results.iter().filter(|result| matches!(result.status, Status::Judged { .. })).count();
    let skipped = skipped.count();
    println!("{judged} scenarios as recorded, {skipped} skipped");
    assert!(skipped > 0 && judged > 20, "{judged} judged, {skipped} skipped");
    Ok(())
}
