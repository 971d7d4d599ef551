//! The results of all mutants of one kernel.

use std::{collections::BTreeSet, fmt::Write as _, time::Duration};

use harness_builder::progress::seconds;
use harness_protocol::name::{KernelName, MutantName, ScenarioName};

use super::Detection;
use crate::report::{Counts, counted};

/// The result of one mutant.
#[derive(Clone, Debug)]
pub struct Result {
    /// The mutant.
    pub mutant: MutantName,
    /// Whether and how its bug was noticed.
    pub detection: Detection,
    /// How long it took to build; `None` if it was built before.
    pub build: Option<Duration>,
    /// How long the scenarios took on it.
    pub suite: Duration,
}

/// Which scenarios run on a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thoroughness {
    /// All of them.
    EveryScenario,
    /// The slow ones only if no fast one notices the bug.
    UntilNoticed,
}

/// Returns the indices of the fast scenarios: those that take the least time, and together at most a quarter of the
/// total. A scenario of unknown time is slow.
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

/// The results of the mutants of one kernel.
#[derive(Clone, Debug)]
pub struct Score {
    /// The kernel.
    pub kernel: KernelName,
    /// The output of `uname -r` in the guest.
    pub release: String,
    /// Which scenarios ran on each mutant.
    pub thoroughness: Thoroughness,
    /// The counts of the results on the unmodified kernel.
    pub counts: Counts,
    /// Scenarios that fail on the unmodified kernel and are therefore excluded.
    pub excluded: Vec<ScenarioName>,
    /// The result of each mutant.
    pub results: Vec<Result>,
}

impl Score {
    /// Returns whether every bug was noticed, and no scenario fails on the unmodified kernel.
    pub fn is_perfect(&self) -> bool {
        self.excluded.is_empty() && self.results.iter().all(|result| is_noticed(&result.detection))
    }

    /// Returns the number of results of a kind.
    pub(super) fn count(&self, kind: impl Fn(&Detection) -> bool) -> usize {
        self.results.iter().filter(|result| kind(&result.detection)).count()
    }

    /// Returns the results in one sentence.
    fn sentence(&self) -> String {
        let total = self.results.len();
        let mut text = format!("{} of {total} mutants noticed on kernel {}", self.count(is_noticed), self.kernel);
        for (count, what) in [
            (self.count(|detection| matches!(detection, Detection::NoBoot(_))), "of these by failing to boot"),
            (self.count(|detection| matches!(detection, Detection::Survived)), "survived"),
            (self.count(|detection| matches!(detection, Detection::NoKernel(_))), "did not compile"),
        ] {
            if count > 0 {
                let _ = write!(text, "; {count} {what}");
            }
        }
        if !self.excluded.is_empty() {
            let scenarios = counted(self.excluded.len(), "scenario");
            let _ = write!(text, "; {scenarios} excluded, failing on the unmodified kernel");
        }
        text
    }

    /// Returns one line per mutant, then the sentence.
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

/// Returns whether a bug was noticed. A mutant that does not compile does not count.
pub(super) fn is_noticed(detection: &Detection) -> bool {
    matches!(detection, Detection::Noticed(_) | Detection::NoBoot(_))
}

impl Result {
    /// Returns a description to show as soon as the result is known, with the first difference of the first scenarios
    /// that noticed.
    pub(super) fn details(&self) -> String {
        const SCENARIOS: usize = 3;
        let built = self.build.map_or("already built".to_owned(), |time| format!("built in {}", seconds(time)));
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
            Notice { scenario: name.parse().unwrap(), evidence: Evidence::Verdict, first }
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
            excluded: Vec::new(),
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
            "2 of 4 mutants noticed on kernel 6.12; 1 of these by failing to boot; 1 survived; 1 did not compile"
        );
        insta::assert_snapshot!(all.table(), @"
        a  noticed by 1 scenario: t/x
        b  does not boot: it hung
        c  SURVIVED
        d  no kernel: no
        2 of 4 mutants noticed on kernel 6.12; 1 of these by failing to boot; 1 survived; 1 did not compile
        ");
    }

    #[test]
    fn a_scenario_that_fails_on_the_unmodified_kernel_is_not_perfect() {
        let excluded = vec!["t/y".parse().unwrap()];
        let score = Score { excluded, ..score(&[("a", noticed(&["t/x"]))]) };
        assert!(!score.is_perfect());
        insta::assert_snapshot!(score.sentence(), @r"1 of 1 mutants noticed on kernel 6.12; 1 scenario excluded, failing on the unmodified kernel");
    }

    #[test]
    fn fast_scenarios_take_at_most_a_quarter_of_the_time() {
        let times = [Some(8), Some(1), None, Some(2), Some(1), Some(4)].map(|time| time.map(Duration::from_secs));
        assert_eq!(quick(&times, |_| true), BTreeSet::from([1, 3, 4]));
        assert_eq!(quick(&times, |index| index != 1), BTreeSet::from([3, 4]));
        assert!(quick(&[], |_| true).is_empty());
    }

    #[test]
    fn details_show_the_first_differences() {
        let score = score(&[("a", noticed(&["t/1", "t/2", "t/3", "t/4"]))]);
        insta::assert_snapshot!(score.results[0].details(), @"
        a: noticed by 4 scenarios (built in 20.0 s, run in 10.0 s)
          t/1
            -x  denied EPERM
            +x  allowed
          t/2
            -x  denied EPERM
            +x  allowed
          t/3
            -x  denied EPERM
            +x  allowed
          and 1 more
        ");
    }
}
