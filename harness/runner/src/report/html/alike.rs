//! A scenario's results, with those that say the same put together.

use harness_protocol::name::Environment;

use super::super::{Mark, Results, ScenarioResult, Status, guest_text::one_line};

/// A scenario with its results in all environments.
pub(super) struct Scenario<'a> {
    results: &'a [ScenarioResult],
    /// Results that say the same, in order of first appearance.
    pub(super) alike: Vec<Vec<&'a ScenarioResult>>,
}

/// Returns all scenarios, in the order of the results.
pub(super) fn scenarios(results: &Results) -> Vec<Scenario<'_>> {
    results.results.chunk_by(|a, b| a.scenario == b.scenario).map(Scenario::of).collect()
}

impl<'a> Scenario<'a> {
    fn of(results: &'a [ScenarioResult]) -> Self {
        let mut keys: Vec<(Mark, String, Vec<String>)> = Vec::new();
        let mut alike: Vec<Vec<&ScenarioResult>> = Vec::new();
        for result in results {
            let key = (Mark::of(result), text(result), result.complaints());
            match keys.iter().position(|known| *known == key) {
                Some(at) => alike[at].push(result),
                None => {
                    keys.push(key);
                    alike.push(vec![result]);
                }
            }
        }
        Self { results, alike }
    }

    pub(super) fn name(&self) -> &str {
        self.results[0].scenario.as_str()
    }

    pub(super) fn summary(&self) -> String {
        one_line(&self.results[0].summary)
    }

    /// Its folder; `.` if it is in none.
    pub(super) fn folder(&self) -> &str {
        self.name().rsplit_once('/').map_or(".", |(folder, _)| folder)
    }

    /// Its name within its folder.
    pub(super) fn leaf(&self) -> &str {
        self.name().rsplit_once('/').map_or(self.name(), |(_, leaf)| leaf)
    }

    /// What the page's filter looks at.
    pub(super) fn found_by(&self) -> String {
        format!("{} {}", self.name(), self.summary()).to_lowercase()
    }

    /// Whether a result is not as recorded, or kernels gave different verdicts.
    pub(super) fn differs(&self) -> bool {
        self.judged() > 1 || self.results.iter().any(|result| Mark::of(result).is_bad())
    }

    /// How many different judgements there are.
    fn judged(&self) -> usize {
        self.alike.iter().filter(|group| matches!(group[0].status, Status::Judged { .. })).count()
    }

    /// The result in an environment, with the letter of those that say the same if not all do.
    pub(super) fn on(&self, environment: &Environment) -> Option<(&'a ScenarioResult, Option<char>)> {
        let result = self.results.iter().find(|result| result.environment == *environment)?;
        let letter = self.letters().find(|(_, group)| group.iter().any(|other| std::ptr::eq(*other, result)));
        Some((result, letter.map(|(letter, _)| letter)))
    }

    /// The groups of judged results with their letters; none if all verdicts are the same.
    pub(super) fn letters(&self) -> impl Iterator<Item = (char, &Vec<&'a ScenarioResult>)> {
        let groups = self.alike.iter().filter(|group| matches!(group[0].status, Status::Judged { .. }));
        let several = self.judged() > 1;
        ('A'..='Z').chain('a'..='z').zip(groups).filter(move |_| several)
    }
}

fn text(result: &ScenarioResult) -> String {
    match &result.status {
        Status::Skipped { reason } => reason.clone(),
        Status::Fault { message } => message.clone(),
        Status::NotRun { cause } => cause.to_string(),
        Status::Judged { comparison, .. } => comparison.now().to_owned(),
    }
}
