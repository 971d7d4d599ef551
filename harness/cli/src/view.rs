//! How results are shown to people: scenario by scenario, as soon as all kernels have answered.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Result;
use clap::Args;
use harness_builder::progress::Progress;
use harness_protocol::name::{Environment, ScenarioName};
use harness_runner::{
    report::{self, Mark, Naming, Results, ScenarioResult, Status, brief},
    selection::Selection,
};

use crate::screen;

/// A run of at most this many scenarios shows all their attempts.
const FEW: usize = 10;

/// The options that say how much of each scenario is shown to people.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct ViewOptions {
    /// Show every attempt of every scenario, not only of those that differ or where few are selected
    #[arg(long, short, conflicts_with = "quiet")]
    verbose: bool,

    /// Show only the scenarios that differ and the summary, and no progress
    #[arg(long, short)]
    quiet: bool,
}

impl ViewOptions {
    /// Returns how progress is shown beside results for people.
    pub(crate) fn progress(self) -> Progress {
        if self.quiet { Progress::silent() } else { Progress::detect() }
    }

    /// Returns how much is shown of this number of scenarios.
    pub(crate) fn detail(self, scenarios: usize) -> Detail {
        match self {
            Self { verbose: true, .. } => Detail::Tables,
            Self { quiet: true, .. } => Detail::Differing,
            _ if scenarios <= FEW => Detail::Tables,
            _ => Detail::Lines,
        }
    }

    /// Returns how much is shown by a command whose purpose is to show everything.
    pub(crate) fn all(self) -> Detail {
        if self.quiet { Detail::Differing } else { Detail::Tables }
    }
}

/// How much is shown of each scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// All attempts.
    Tables,
    /// One line; all attempts if it differs.
    Lines,
    /// Nothing; all attempts if it differs.
    Differing,
}

/// What has been shown of a run, and what waits for other kernels.
pub(crate) struct View {
    environments: Vec<Environment>,
    /// What the marks of a line are for.
    columns: Vec<String>,
    /// In how many environments each scenario runs.
    wanted: BTreeMap<ScenarioName, usize>,
    detail: Detail,
    width: Option<usize>,
    progress: Progress,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: BTreeMap<ScenarioName, Vec<ScenarioResult>>,
    shown: BTreeSet<ScenarioName>,
    /// The error of the first text that could not be printed.
    failed: Option<anyhow::Error>,
    is_headed: bool,
}

impl View {
    /// Returns the view of a selection's results, of which none has been shown.
    pub(crate) fn of(selection: &Selection, detail: Detail) -> Self {
        let environments = selection.environments();
        Self {
            columns: columns(&environments, selection.runs_each_in_one_image()),
            environments,
            wanted: selection.environments_by_scenario(),
            detail,
            width: screen::width(),
            progress: selection.resources.progress().clone(),
            state: Mutex::default(),
        }
    }

    /// Takes a result; shows its scenario if all other environments have answered. What did not run comes with what did.
    pub(crate) fn take(&self, result: &ScenarioResult) {
        let mut state = self.lock();
        let Some(text) = self.due(result, &mut state) else { return };
        if let Err(error) = self.progress.suspend(|| screen::print(&text)) {
            state.failed.get_or_insert(error);
        }
    }

    /// Keeps a result; returns the text of its scenario if that can be shown now.
    fn due(&self, result: &ScenarioResult, state: &mut State) -> Option<String> {
        let name = &result.scenario;
        let waiting = state.waiting.entry(name.clone()).or_default();
        waiting.push(result.clone());
        if !ran(result) || self.wanted.get(name) != Some(&waiting.len()) {
            return None;
        }
        let group = mem::take(waiting);
        state.waiting.remove(name);
        state.shown.insert(name.clone());
        Some(self.text(&group, state))
    }

    /// Returns what has not been shown: the other scenarios, those that were not run, and the summary.
    ///
    /// # Errors
    /// If something before could not be printed.
    pub(crate) fn rest(&self, results: &Results, took: Option<Duration>, more: Option<&str>) -> Result<String> {
        let mut state = self.lock();
        if let Some(error) = state.failed.take() {
            return Err(error);
        }
        let mut text = String::new();
        for group in results.results.chunk_by(|a, b| a.scenario == b.scenario) {
            if !state.shown.contains(&group[0].scenario) {
                text += &self.text(group, &mut state);
            }
        }
        text += &report::omitted(&self.environments, &results.results, self.width);
        let lines = results.replaced_pins().into_iter().chain(results.guard_line()).chain(results.retried_line());
        lines.for_each(|line| text += &format!("{line}\n"));
        text += &results.compared.as_deref().map(report::baseline_text).unwrap_or_default();
        let took = took.map(|took| format!("; {:.1} s", took.as_secs_f64())).unwrap_or_default();
        text += &format!("{}{took}\n", results.counts().sentence());
        if let Some(more) = more.filter(|_| self.detail != Detail::Tables) {
            text += &format!("every attempt of every scenario: {more}\n");
        }
        Ok(text)
    }

    /// Returns the text for a scenario's results in all environments.
    fn text(&self, group: &[ScenarioResult], state: &mut State) -> String {
        let is_bad = group.iter().map(Mark::of).any(|mark| mark.is_bad() && mark != Mark::NotRun);
        let mut text = String::new();
        if self.detail == Detail::Lines {
            if !mem::replace(&mut state.is_headed, true) {
                text += &brief::heading(&self.columns);
            }
            text += &brief::line(&self.environments, group, self.width);
        }
        if self.detail == Detail::Tables || is_bad {
            text += &report::blocks(&self.environments, group, self.width);
        }
        text
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked while it printed does not keep the others from it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a scenario ran, rather than being known before anything did.
fn ran(result: &ScenarioResult) -> bool {
    matches!(result.status, Status::Judged { .. } | Status::Fault { .. })
}

/// Returns what the marks of a line are for: the kernels if each scenario runs in one image, otherwise kernels and images.
fn columns(environments: &[Environment], each_in_one_image: bool) -> Vec<String> {
    let naming = Naming::of(environments);
    let mut names: Vec<String> = Vec::new();
    for environment in environments {
        let name = if each_in_one_image { environment.kernel.to_string() } else { naming.name(environment) };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(kernel: &str) -> Environment {
        Environment { kernel: kernel.parse().unwrap(), image: "minimal".parse().unwrap() }
    }

    fn result(kernel: &str, scenario: &str, status: Status) -> ScenarioResult {
        let (environment, scenario) = (environment(kernel), scenario.parse().unwrap());
        ScenarioResult { environment, scenario, summary: "Says so".to_owned(), took: None, status }
    }

    fn skipped(kernel: &str, scenario: &str) -> ScenarioResult {
        result(kernel, scenario, Status::Skipped { reason: "r".to_owned() })
    }

    fn fault(kernel: &str, scenario: &str) -> ScenarioResult {
        result(kernel, scenario, Status::Fault { message: "it broke".to_owned() })
    }

    /// Returns a view of these scenarios on two kernels.
    fn view(detail: Detail, scenarios: &[&str]) -> View {
        let environments: Vec<Environment> = ["6.12", "7.3"].map(environment).into();
        View {
            columns: columns(&environments, true),
            environments,
            wanted: scenarios.iter().map(|name| (name.parse().unwrap(), 2)).collect(),
            detail,
            width: None,
            progress: Progress::silent(),
            state: Mutex::default(),
        }
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn a_scenario_is_shown_once_when_the_last_kernel_has_answered() {
        let view = view(Detail::Lines, &["a", "b", "c"]);
        let (results, mut state) = ([skipped("6.12", "a"), fault("6.12", "b"), fault("7.3", "a")], view.lock());
        let due: Vec<Option<String>> = results.iter().map(|result| view.due(result, &mut state)).collect();
        assert_eq!((&due[0], &due[1]), (&None, &None));
        let first = plain(due[2].as_deref().unwrap());
        drop(state);
        let results = [results[0].clone(), results[2].clone(), results[1].clone(), skipped("7.3", "b")].into();
        let rest = plain(&view.rest(&Results { results, ..Results::default() }, None, Some("report")).unwrap());
        insta::assert_snapshot!(format!("{first}---\n{rest}"), @"
        6.12, 7.3: ✓ as recorded, ✗ not, shown in full, - skipped, ? not run
        -✗  a                                     Says so
        a  Says so
          6.12: skipped: r
          7.3: it broke

        ---
        ✗-  b                                     Says so
        b  Says so
          6.12: it broke
          7.3: skipped: r

        0 scenarios judged, 0 attempts; 2 skipped; 2 faults
        every attempt of every scenario: report
        ");
    }

    #[test]
    fn what_never_ran_waits_for_the_end_so_that_all_is_in_order() {
        let view = view(Detail::Lines, &["a"]);
        let mut state = view.lock();
        assert!(["6.12", "7.3"].iter().all(|kernel| view.due(&skipped(kernel, "a"), &mut state).is_none()));
    }

    #[test]
    fn options_and_the_number_of_scenarios_say_how_much_is_shown() {
        let options = |verbose, quiet| ViewOptions { verbose, quiet };
        assert_eq!(options(false, false).detail(FEW), Detail::Tables);
        assert_eq!(options(false, false).detail(FEW + 1), Detail::Lines);
        assert_eq!(options(true, false).detail(FEW + 1), Detail::Tables);
        assert_eq!(options(false, true).detail(1), Detail::Differing);
        let view = view(Detail::Differing, &["a"]);
        let group = [skipped("6.12", "a"), skipped("7.3", "a")];
        assert_eq!(view.text(&group, &mut view.lock()), "");
    }
}
