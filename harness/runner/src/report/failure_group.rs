//! Failures, grouped if several results fail with the same text.

use std::collections::HashMap;

use super::{Mark, Naming, Results, ScenarioResult};

/// How many results of a group are named; the rest are counted.
const NAMED: usize = 5;

/// A failure, and all results that have it in the same words.
#[derive(Debug)]
pub(super) struct FailureGroup<'a> {
    pub(super) mark: Mark,
    /// The text of the failure, safe to print.
    pub(super) text: String,
    /// The results that fail this way; at least one.
    pub(super) results: Vec<&'a ScenarioResult>,
    naming: Naming,
}

/// Groups all failures, the most serious first, otherwise in the order of scenarios.
pub(super) fn failures(results: &Results) -> Vec<FailureGroup<'_>> {
    let naming = results.naming();
    let mut all: Vec<FailureGroup<'_>> = Vec::new();
    let mut indices: HashMap<(Mark, String), usize> = HashMap::new();
    for result in &results.results {
        let mark = Mark::of(result);
        if !mark.is_bad() {
            continue;
        }
        let text = result.complaints().join("\n");
        let index = *indices.entry((mark, text.clone())).or_insert_with(|| {
            all.push(FailureGroup { mark, text, results: Vec::new(), naming });
            all.len() - 1
        });
        all[index].results.push(result);
    }
    all.sort_by_key(|failure| std::cmp::Reverse(failure.mark));
    all
}

impl FailureGroup<'_> {
    /// Returns the scenarios and environments concerned, such as `token/one on 6.12, 7.3; token/two on 7.3`.
    pub(super) fn subject(&self) -> String {
        let shown = &self.results[..self.results.len().min(NAMED)];
        let scenario = |group: &[&ScenarioResult]| {
            let environments: Vec<String> = group.iter().map(|result| self.naming.name(&result.environment)).collect();
            format!("{} on {}", group[0].scenario, environments.join(", "))
        };
        let mut parts: Vec<String> = shown.chunk_by(|a, b| a.scenario == b.scenario).map(scenario).collect();
        let more = self.results.len() - shown.len();
        if more > 0 {
            parts.push(format!("and {more} more"));
        }
        parts.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_most_serious_come_first_and_equal_ones_are_grouped() {
        let results = sample::results();
        let all = failures(&results);
        let marks: Vec<Mark> = all.iter().map(|failure| failure.mark).collect();
        assert_eq!(marks, [Mark::Fault, Mark::Crashed, Mark::Differs]);
        assert_eq!(all[0].subject(), "vm/broken on 6.12, 7.3");
        let images = sample::two_images();
        let subjects: Vec<String> = failures(&images).iter().map(FailureGroup::subject).collect();
        assert_eq!(subjects, ["vm/broken on 6.12@minimal", "vm/killer on 6.12@systemd-262"]);
    }

    #[test]
    fn results_beyond_the_named_ones_are_counted() {
        let fault = sample::fault("6.12", "vm/broken", "no");
        let results = Results { results: vec![fault; NAMED + 7], ..sample::results() };
        let all = failures(&results);
        insta::assert_snapshot!(all[0].subject(), @"vm/broken on 6.12, 6.12, 6.12, 6.12, 6.12; and 7 more");
    }
}
