//! The guest program on a machine that others live on, tried in a VM: what it does there in namespaces of its own has
//! the same answers, and what would reach others is refused.

#[allow(dead_code, reason = "it names what it needs, and finds the rest itself")]
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
    let trial = built::trial("scenarios_have_the_same_verdicts_in_namespaces_of_the_guests_own", |built| {
        same_verdicts(built).map_err(|error| Failed::from(format!("{error:#}")))
    });
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code()
}

/// Scenarios of every kind that is not refused, and some that are.
const SELECTED: [&str; 4] = ["token/*", "maps/*", "links/*", "sysctl/*"];

fn same_verdicts(built: &built::Supplies) -> anyhow::Result<()> {
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
        .filter(|result| result.outcome() != RunStatus::AsRecorded)
        .map(|result| format!("{}: {}", result.scenario, result.complaints().join("; ")))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let refused = results.iter().filter(|result| match &result.status {
        Status::Skipped { reason } => reason.contains("others live on"),
        _ => false,
    });
    let judged = results.iter().filter(|result| matches!(result.status, Status::Judged { .. })).count();
    let refused = refused.count();
    println!("{judged} scenarios as recorded, {refused} refused");
    assert!(refused > 0 && judged > 20, "{judged} were judged, {refused} refused");
    Ok(())
}
