//! What came of all mutants of one kernel.

use std::{collections::BTreeSet, fmt::Write as _, time::Duration};

use harness_builder::progress::seconds;
use harness_protocol::name::{KernelName, MutantName, ScenarioName};

use super::Detection;
use crate::report::Counts;

/// What came of one mutant.
#[derive(Clone, Debug)]
pub struct Result {
    /// Which.
    pub mutant: MutantName,
    /// What became of it.
    pub detection: Detection,
    /// How long its kernel took to build; `None` if it was kept from an earlier time.
    pub build: Option<Duration>,
    /// How long the scenarios took on it.
    pub suite: Duration,
}

/// Which scenarios are run on a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thoroughness {
    /// All of them.
    EveryScenario,
    /// The slow ones only if no quick one notices.
    UntilNoticed,
}

/// Which scenarios are the quick ones, by their places: those that take the least time and together no more than a
/// quarter of what all take. One of unknown time is slow.
pub(super) fn quick(times: &[Option<Duration>], may_be: impl Fn(usize) -> bool) -> BTreeSet<usize> {
    let mut known: Vec<(Duration, usize)> =
        times.iter().enumerate().filter_map(|(index, time)| Some(((*time)?, index))).collect();
    let all: Duration = known.iter().map(|(time, _)| time).sum();
    known.sort();
    let mut spent = Duration::ZERO;
    let mut quick = BTreeSet::new();
    for (time, index) in known.into_iter().filter(|(_, index)| may_be(*index)) {
        spent += time;
        if spent > all / 4 {
            break;
        }
        quick.insert(index);
    }
    quick
}

/// What came of the mutants of one kernel.
#[derive(Clone, Debug)]
pub struct Score {
    /// Which kernel.
    pub kernel: KernelName,
    /// What `uname -r` says in it.
    pub release: String,
    /// Which scenarios were run on each.
    pub thoroughness: Thoroughness,
    /// What the scenarios said without any bug.
    pub counts: Counts,
    /// Scenarios that fail without any bug: what they say of mutants does not count.
    pub unsound: Vec<ScenarioName>,
    /// What came of each.
    pub results: Vec<Result>,
}

impl Score {
    /// Whether everything was noticed, by a suite that has nothing to say of the kernel without a bug.
    pub fn is_perfect(&self) -> bool {
        self.unsound.is_empty() && self.results.iter().all(|result| is_noticed(&result.detection))
    }

    /// How many there are of a kind.
    pub(super) fn count(&self, kind: impl Fn(&Detection) -> bool) -> usize {
        self.results.iter().filter(|result| kind(&result.detection)).count()
    }

    /// One sentence.
    fn sentence(&self) -> String {
        let total = self.results.len();
        let mut text = format!("{} of {total} mutants noticed on kernel {}", self.count(is_noticed), self.kernel);
        for (count, what) in [
            (self.count(|detection| matches!(detection, Detection::NoBoot(_))), "of them by not booting"),
            (self.count(|detection| matches!(detection, Detection::Survived)), "survived"),
            (self.count(|detection| matches!(detection, Detection::NoKernel(_))), "not compiled"),
            (self.unsound.len(), "scenarios left out because they fail without a bug"),
        ] {
            if count > 0 {
                let _ = write!(text, "; {count} {what}");
            }
        }
        text
    }

    /// A line a mutant, then the sentence.
    pub fn table(&self) -> String {
        let width = self.results.iter().map(|result| result.mutant.as_str().len()).max().unwrap_or(0);
        let line = |result: &Result| {
            let mut line = format!("{:width$}  {}", result.mutant, result.detection);
            if let Some(first) = result.detection.notices().first() {
                let _ = write!(line, ": {}", first.scenario);
            }
            line + "\n"
        };
        let lines: String = self.results.iter().map(line).collect();
        format!("{lines}{}\n", self.sentence())
    }
}

/// Whether a bug did not go unnoticed. One that cannot be compiled was none.
pub(super) fn is_noticed(detection: &Detection) -> bool {
    matches!(detection, Detection::Noticed(_) | Detection::NoBoot(_))
}

impl Result {
    /// What is said as soon as it is known: the first difference of the first scenarios that noticed.
    pub(super) fn story(&self) -> String {
        const SCENARIOS: usize = 3;
        let built = self.build.map_or("kept".to_owned(), |time| format!("built in {}", seconds(time)));
        let mut text = format!("{}: {} ({built}, run in {})", self.mutant, self.detection, seconds(self.suite));
        for notice in self.detection.notices().iter().take(SCENARIOS) {
            let _ = write!(text, "\n  {}", notice.scenario);
            for line in notice.first.lines() {
                let _ = write!(text, "\n    {line}");
            }
        }
        let more = self.detection.notices().len().saturating_sub(SCENARIOS);
        if more > 0 {
            let _ = write!(text, "\n  and {more} more");
        }
        text
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{Evidence, Notice};

    use super::*;

    pub(in super::super) fn noticed(scenarios: &[&str]) -> Detection {
        let notice = |name: &&str| {
            let first = "-x  denied EPERM\n+x  allowed".to_owned();
            Notice { scenario: name.parse().unwrap(), sign: Evidence::Verdict, first }
        };
        Detection::Noticed(scenarios.iter().map(notice).collect())
    }

    pub(in super::super) fn score(results: &[(&str, Detection)]) -> Score {
        let result = |(mutant, detection): &(&str, Detection)| Result {
            mutant: mutant.parse().unwrap(),
            detection: detection.clone(),
            build: Some(Duration::from_secs(20)),
            suite: Duration::from_secs(10),
        };
        Score {
            kernel: "6.12".parse().unwrap(),
            release: "6.12.107".to_owned(),
            thoroughness: Thoroughness::EveryScenario,
            counts: Counts::default(),
            unsound: Vec::new(),
            results: results.iter().map(result).collect(),
        }
    }

    #[test]
    fn only_what_was_noticed_counts() {
        let no_boot = || Detection::NoBoot("it hung".into());
        assert!(score(&[("a", noticed(&["t/x"])), ("b", no_boot())]).is_perfect());
        let all = score(&[
            ("a", noticed(&["t/x"])),
            ("b", no_boot()),
            ("c", Detection::Survived),
            ("d", Detection::NoKernel("no".into())),
        ]);
        assert!(!all.is_perfect());
        assert_eq!(
            all.sentence(),
            "2 of 4 mutants noticed on kernel 6.12; 1 of them by not booting; 1 survived; 1 not compiled"
        );
        assert!(all.table().starts_with("a  noticed by 1 scenario: t/x\n"));
    }

    #[test]
    fn a_suite_that_fails_without_a_bug_is_not_perfect() {
        let unsound = vec!["t/y".parse().unwrap()];
        let score = Score { unsound, ..score(&[("a", noticed(&["t/x"]))]) };
        assert!(!score.is_perfect() && score.sentence().contains("1 scenarios left out"));
    }

    #[test]
    fn the_quick_ones_take_a_quarter_of_the_time_at_most() {
        let times = [Some(8), Some(1), None, Some(2), Some(1), Some(4)].map(|time| time.map(Duration::from_secs));
        assert_eq!(quick(&times, |_| true), BTreeSet::from([1, 3, 4]));
        assert_eq!(quick(&times, |index| index != 1), BTreeSet::from([3, 4]));
        assert!(quick(&[], |_| true).is_empty());
    }

    #[test]
    fn a_story_has_the_first_differences() {
        let score = score(&[("a", noticed(&["t/1", "t/2", "t/3", "t/4"]))]);
        let story = score.results[0].story();
        assert!(
            story.starts_with("a: noticed by 4 scenarios (built in 20.0 s, run in 10.0 s)\n  t/1\n    -x"),
            "{story}"
        );
        assert!(story.ends_with("and 1 more"), "{story}");
    }
}
