//! Results of repeated runs, which should be the same.

use super::{Mark, ScenarioResult, Status, difference};

/// Returns a complaint for each scenario that was not judged the same in two runs, with both answers.
pub fn unsteady(first: (usize, &[ScenarioResult]), other: (usize, &[ScenarioResult])) -> Vec<String> {
    let changed = |one: &ScenarioResult| {
        let same = |result: &&ScenarioResult| result.scenario == one.scenario && result.environment == one.environment;
        let again = other.1.iter().find(same)?;
        let (before, now) = (answer(one), answer(again));
        (before != now).then(|| {
            let changed = difference(&before, &now);
            format!(
                "{} on {} differs between run {} (-) and run {} (+):\n{}",
                one.scenario,
                one.environment,
                first.0,
                other.0,
                changed.trim_end()
            )
        })
    };
    first.1.iter().filter_map(changed).collect()
}

/// Returns what a run says about a scenario, without times.
fn answer(result: &ScenarioResult) -> String {
    let verdicts = match &result.status {
        Status::Judged { comparison, .. } => comparison.now(),
        Status::Skipped { .. } | Status::Fault { .. } | Status::NotRun { .. } => "",
    };
    format!("{}\n{verdicts}", Mark::of(result).as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn a_verdict_that_changes_is_told_with_both_answers() {
        let of = |verdict| vec![sample::as_recorded("6.12", "a/b", vec![sample::row("one", None, verdict)])];
        let (allowed, denied) = (of(sample::allowed()), of(sample::denied()));
        insta::assert_snapshot!(unsteady((1, &allowed), (3, &denied)).join("\n"), @"
        a/b on 6.12@minimal differs between run 1 (-) and run 3 (+):
        @@ -1,2 +1,2 @@
         as recorded
        -1  one  allowed
        +1  one  denied EPERM
        ");
        assert!(unsteady((1, &allowed), (2, &allowed)).is_empty());
    }

    #[test]
    fn a_result_that_comes_and_goes_is_told_and_its_time_is_not() {
        let judged = vec![sample::as_recorded("6.12", "a/b", vec![])];
        let fault = vec![sample::fault("6.12", "a/b", "after 3 s")];
        assert_eq!(unsteady((1, &judged), (2, &fault)).len(), 1);
        assert!(unsteady((1, &fault), (2, &[sample::fault("6.12", "a/b", "after 4 s")])).is_empty());
    }
}
