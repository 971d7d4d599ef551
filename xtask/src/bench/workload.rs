//! The scenarios that the measurements run, and their texts.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail};
use harness_builder::progress::Progress;
use harness_cli::exit::Wrong;
use harness_planner::{checked::Checked, expand::Expansion};
use harness_protocol::{
    name::{KernelName, ScenarioName},
    outcome::ScenarioOutcome,
};
use harness_runner::{
    launch::MEMORY_MIB,
    measure::Bench,
    report::Status,
    scenario_runner::{Runner, RunnerError},
    session::VmTimes,
    testbed::Testbed,
};
use harness_scenario::{expanded::Expanded, spec::Isolation};
use harness_snapshot::render;
use harness_uapi::vocabulary::Vocabulary;
use harness_verdict::judge;

use super::{
    figures::{LeastMemory, Workload},
    memory,
};

/// The image that the measurements use.
pub(crate) const IMAGE: &str = "minimal";

/// The most attempts of a scenario that counts as quick.
pub(crate) const QUICK_ATTEMPTS: usize = 20;

/// The text of each scenario's snapshot.
pub(crate) type Texts = BTreeMap<ScenarioName, String>;

/// All scenarios of the project on one kernel.
pub(crate) struct Scenarios<'a> {
    runner: &'a Runner,
    testbed: &'a Testbed<'a>,
    pub(crate) bench: Bench<'a>,
    checked: Vec<Checked>,
    expanded: Vec<Expanded>,
}

impl<'a> Scenarios<'a> {
    /// Reads and expands all scenarios.
    pub(crate) fn all(runner: &'a Runner, testbed: &'a Testbed<'a>) -> Result<Self> {
        let checked = runner.check(runner.suite().names()).map_err(Wrong::input)?;
        let mut expanded = Vec::new();
        for scenario in &checked {
            match testbed
                .expand(scenario, runner.suite().path(scenario.name()))
                .map_err(|report| Wrong::input(RunnerError::Scenarios(vec![report])))?
            {
                Expansion::Run(scenario) => expanded.push(*scenario),
                Expansion::Skipped { .. } => {}
            }
        }
        Ok(Self { runner, testbed, bench: Bench::prepare(testbed)?, checked, expanded })
    }

    pub(crate) fn kernel(&self) -> &KernelName {
        self.testbed.kernel_name()
    }

    pub(crate) fn subject(&self) -> Workload {
        let cases = self.expanded.iter().flat_map(|scenario| &scenario.plan.cases);
        Workload {
            kernel: self.kernel().to_string(),
            release: self.bench.release().to_owned(),
            image: IMAGE.to_owned(),
            scenarios: self.expanded.len(),
            attempts: cases.map(|case| case.attempts.len()).sum(),
            memory_mib: MEMORY_MIB,
        }
    }

    /// Returns the stored texts of the last run; `None` if a scenario crashed or was not run.
    pub(crate) fn texts(&self) -> Result<Option<Texts>> {
        let Some(results) = self.runner.known_results(self.testbed, &self.checked)? else { return Ok(None) };
        let text = |status: &Status| match status {
            Status::Skipped { reason } => format!("skipped: {reason}"),
            Status::Fault { message } => format!("fault: {message}"),
            Status::NotRun { cause } => format!("not run: {cause}"),
            Status::Judged { comparison, .. } => comparison.now().to_owned(),
        };
        Ok(Some(results.iter().map(|result| (result.scenario.clone(), text(&result.status))).collect()))
    }

    /// Boots a VM for all scenarios that may share one.
    pub(crate) fn shared_boot(&self, memory_mib: u32) -> Result<VmTimes> {
        let shared: Vec<&Expanded> =
            self.expanded.iter().filter(|scenario| scenario.isolation == Isolation::Shared).collect();
        let sessions = self.bench.sessions(&shared, memory_mib)?;
        sessions.into_iter().flat_map(|session| session.vms).next().context("no scenario shares a boot")
    }

    /// Keeps only the scenarios that share a boot and make few attempts.
    pub(crate) fn quick(self) -> Self {
        let is_quick = |scenario: &Expanded| {
            let attempts: usize = scenario.plan.cases.iter().map(|case| case.attempts.len()).sum();
            scenario.isolation == Isolation::Shared && scenario.plan.guard.is_none() && attempts <= QUICK_ATTEMPTS
        };
        Self { expanded: self.expanded.into_iter().filter(is_quick).collect(), ..self }
    }

    /// Runs all in VMs of the usual memory, without stored outcomes.
    pub(crate) fn run(&self) -> Result<Texts> {
        self.run_with(MEMORY_MIB)
    }

    /// Finds the least memory with which all scenarios give the same texts as with the usual memory.
    pub(crate) fn least_memory(&self, progress: &Progress) -> Result<LeastMemory> {
        let usual = self.run_with(MEMORY_MIB)?;
        Ok(memory::least(MEMORY_MIB, |mib| {
            let result = self.compare_with(mib, &usual);
            progress.note(&format!("{mib} MiB: {}", result.as_ref().map_or_else(String::as_str, |()| "enough")));
            result
        }))
    }

    fn compare_with(&self, mib: u32, usual: &Texts) -> Result<(), String> {
        let texts = self.run_with(mib).map_err(|error| what_happened(&error.to_string()))?;
        match differing(usual, &texts).as_slice() {
            [] => Ok(()),
            names => Err(format!("different results: {}", names.join(", "))),
        }
    }

    fn run_with(&self, memory_mib: u32) -> Result<Texts> {
        let scenarios: Vec<&Expanded> = self.expanded.iter().collect();
        let sessions = self.bench.sessions(&scenarios, memory_mib)?;
        let outcomes: Vec<ScenarioOutcome> = sessions.into_iter().flat_map(|session| session.outcomes).collect();
        self.expanded
            .iter()
            .map(|scenario| Ok((scenario.plan.name.clone(), judged(scenario, &outcomes, self.testbed.vocabulary())?)))
            .collect()
    }
}

fn judged(scenario: &Expanded, outcomes: &[ScenarioOutcome], vocabulary: &Vocabulary) -> Result<String> {
    let name = &scenario.plan.name;
    let Some(outcome) = outcomes.iter().find(|outcome| &outcome.scenario == name) else { bail!("{name} was not run") };
    let judgement = judge::judge(scenario, outcome, vocabulary).map_err(|fault| anyhow!("{name}: {fault}"))?;
    match judgement.crash {
        Some(crash) => bail!("{name}: {}", crash.how),
        None => Ok(render::render(&judgement)),
    }
}

/// Cuts a message about a VM before its advice and the console's lines.
fn what_happened(message: &str) -> String {
    message.split([';', '\n']).next().unwrap_or_default().to_owned()
}

/// Returns the scenarios whose texts differ.
fn differing(one: &Texts, other: &Texts) -> Vec<String> {
    let names = one.keys().chain(other.keys().filter(|name| !one.contains_key(*name)));
    names.filter(|name| one.get(*name) != other.get(*name)).map(ToString::to_string).collect()
}

/// Describes how runs differ from the first, one line per run.
pub(crate) fn odd(runs: &[Option<Texts>]) -> Vec<String> {
    let first = runs.iter().flatten().next();
    let line = |(index, run): (usize, &Option<Texts>)| {
        let what = match (run, first) {
            (Some(run), Some(first)) => differing(first, run).join(", "),
            _ => "a scenario crashed or could not be judged".to_owned(),
        };
        (!what.is_empty()).then(|| format!("run {}: {what}", index + 1))
    };
    runs.iter().enumerate().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(texts: &[(&str, &str)]) -> Option<Texts> {
        Some(texts.iter().map(|(name, text)| (name.parse().unwrap(), (*text).to_owned())).collect())
    }

    #[test]
    fn runs_that_say_the_same_are_not_odd() {
        let same = || run(&[("a", "1"), ("b", "2")]);
        assert!(odd(&[same(), same(), same()]).is_empty());
        assert!(odd(&[]).is_empty());
    }

    #[test]
    fn each_run_that_differs_from_the_first_is_told_with_its_scenarios() {
        let runs =
            [run(&[("a", "1"), ("b", "2")]), run(&[("a", "1"), ("b", "3")]), None, run(&[("a", "1"), ("c", "2")])];
        assert_eq!(odd(&runs), ["run 2: b", "run 3: a scenario crashed or could not be judged", "run 4: b, c"]);
    }

    #[test]
    fn a_message_is_cut_before_the_advice_and_the_console() {
        assert_eq!(what_happened("the kernel panicked\nthe console's last lines:\n  | x"), "the kernel panicked");
        assert_eq!(what_happened("the VM ended; boot it for a look"), "the VM ended");
    }
}
