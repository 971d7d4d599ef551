//! What is wrong, once where it is wrong with many in the same words.

use std::collections::HashMap;

use super::{Finding, Mark, Naming, Results};

/// Findings named of one grievance.
const NAMED: usize = 5;

/// Something wrong, and all findings that have it wrong in the same words.
#[derive(Debug)]
pub(super) struct Grievance<'a> {
    pub(super) mark: Mark,
    /// Lines fit to be shown.
    pub(super) text: String,
    /// At least one.
    pub(super) findings: Vec<&'a Finding>,
    naming: Naming,
}

/// All that is wrong, the gravest first, else in the order of scenarios.
pub(super) fn grievances(results: &Results) -> Vec<Grievance<'_>> {
    let naming = results.naming();
    let mut all: Vec<Grievance<'_>> = Vec::new();
    let mut places: HashMap<(Mark, String), usize> = HashMap::new();
    for finding in &results.findings {
        let mark = Mark::of(finding);
        if !mark.is_bad() {
            continue;
        }
        let text = finding.complaints().join("\n");
        let place = *places.entry((mark, text.clone())).or_insert_with(|| {
            all.push(Grievance { mark, text, findings: Vec::new(), naming });
            all.len() - 1
        });
        all[place].findings.push(finding);
    }
    all.sort_by_key(|grievance| std::cmp::Reverse(grievance.mark));
    all
}

impl Grievance<'_> {
    /// What it is about, such as `token/one on 6.12, 7.3; token/two on 7.3`.
    pub(super) fn subject(&self) -> String {
        let shown = &self.findings[..self.findings.len().min(NAMED)];
        let scenario = |group: &[&Finding]| {
            let grounds: Vec<String> = group.iter().map(|finding| self.naming.name(&finding.ground)).collect();
            format!("{} on {}", group[0].scenario, grounds.join(", "))
        };
        let mut parts: Vec<String> = shown.chunk_by(|a, b| a.scenario == b.scenario).map(scenario).collect();
        let more = self.findings.len() - shown.len();
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
    fn the_gravest_come_first_and_equal_ones_once() {
        let results = sample::results();
        let all = grievances(&results);
        let marks: Vec<Mark> = all.iter().map(|grievance| grievance.mark).collect();
        assert_eq!(marks, [Mark::Fault, Mark::Crashed, Mark::Differs]);
        assert_eq!(all[0].subject(), "vm/broken on 6.12, 7.3");
        let images = sample::two_images();
        let subjects: Vec<String> = grievances(&images).iter().map(Grievance::subject).collect();
        assert_eq!(subjects, ["vm/broken on 6.12@minimal", "vm/killer on 6.12@systemd-262"]);
    }

    #[test]
    fn many_are_counted() {
        let fault = sample::fault("6.12", "vm/broken", "no");
        let results = Results { findings: vec![fault; NAMED + 7], ..sample::results() };
        let all = grievances(&results);
        assert!(all[0].subject().ends_with("; and 7 more"), "{}", all[0].subject());
    }
}
