//! Results that differ only because a guard refuses some things although it only audits.

use std::collections::BTreeSet;

use harness_snapshot::audit_refusals::AuditRefusals;

use crate::report::{RunStatus, ScenarioResult, Status, difference};

/// Makes a result as recorded if it differs only by what a guard refuses although it only audits. Returns the entries that
/// say so; `None` if the result stays as it is.
pub(crate) fn accept(result: &mut ScenarioResult, refusals: &AuditRefusals) -> Option<BTreeSet<usize>> {
    if result.run_status() == RunStatus::AsRecorded {
        return None;
    }
    let (scenario, environment) = (&result.scenario, &result.environment);
    match &mut result.status {
        Status::Fault { message } => {
            let entries = refusals.entries_for(&[message], scenario, environment)?;
            let reason = format!("the guard refuses what it needs: {message}");
            result.status = Status::Skipped { reason };
            Some(entries)
        }
        Status::Judged { judgement, comparison }
            if judgement.crash.is_none() && judgement.new_splats().next().is_none() =>
        {
            let text = difference(comparison.recorded()?, comparison.now());
            let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(['-', '+'])).collect();
            let entries = refusals.entries_for(&lines, scenario, environment).filter(|entries| !entries.is_empty())?;
            judgement.lift_expectations();
            comparison.accept();
            Some(entries)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use harness_protocol::name::Environment;
    use harness_scenario::{expect::Expect, layout::AttemptRole};
    use harness_snapshot::render;
    use harness_verdict::{
        judgement::{Case, Judgement, Row},
        verdict::Verdict,
    };

    use super::*;

    fn judgement(detail: &str) -> Judgement {
        let [text, op, container] = ["x", "map_create", "container"].map(str::to_owned);
        let verdict = Verdict::Allowed { detail: Some(detail.to_owned()) };
        let expect = Some(Expect::Allowed);
        let (cause, steps, guard) = Default::default();
        let row = Row { text, op, container, expect, verdict, cause, part: AttemptRole::Line, steps, guard };
        let (mounted, disagreements, units, tokens, label) = Default::default();
        let case = Case { label, mounted, disagreements, units, tokens, rows: vec![row] };
        let (grid, helpers, crash, splats) = Default::default();
        Judgement { scenario: "a/b".parse().unwrap(), grid, helpers, cases: vec![case], crash, splats }
    }

    fn result(detail: &str) -> ScenarioResult {
        let environment = Environment { kernel: "6.12".parse().unwrap(), image: "minimal".parse().unwrap() };
        let status = Status::judged(judgement(detail), Some(render::render(&judgement("one"))));
        ScenarioResult { environment, scenario: "a/b".parse().unwrap(), summary: String::new(), took: None, status }
    }

    fn refusals(lines: &str) -> AuditRefusals {
        let text =
            format!("[[refused]]\nlines = [{lines}]\nkernels = ['*']\nscenarios = ['a/*']\nreason = 'hard rule'\n");
        AuditRefusals::parse("file", text.as_bytes()).unwrap()
    }

    #[test]
    fn a_difference_is_accepted_only_if_it_is_listed() {
        let listed = refusals("'*one*', '*two*'");
        let mut same = result("one");
        assert_eq!(accept(&mut same, &listed), None);
        let mut other = result("two");
        assert_eq!(accept(&mut other, &refusals("'*one*'")), None);
        assert_eq!(other.run_status(), RunStatus::Differs);
        assert_eq!(accept(&mut other, &listed), Some(BTreeSet::from([0])));
        assert_eq!(other.run_status(), RunStatus::AsRecorded);
    }

    #[test]
    fn a_listed_fault_is_skipped_with_its_message() {
        let fault =
            |message: &str| ScenarioResult { status: Status::Fault { message: message.to_owned() }, ..result("one") };
        let listed = refusals("'cannot trace*'");
        let mut traced = fault("cannot trace: EPERM");
        assert_eq!(accept(&mut traced, &listed), Some(BTreeSet::from([0])));
        let Status::Skipped { reason } = traced.status else { panic!() };
        assert_eq!(reason, "the guard refuses what it needs: cannot trace: EPERM");
        assert_eq!(accept(&mut fault("cannot mount"), &listed), None);
    }
}
