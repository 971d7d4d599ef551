//! Judges a whole scenario: compares what it attempted with its outcome, and returns rows for tables and snapshots.

mod helpers;
mod masks;

use harness_protocol::{
    errno::Errno,
    mount_option::MountOption,
    name::ContainerName,
    outcome::{AttemptFact, ContainerFact, ScenarioEnd, ScenarioOutcome},
    plan,
};
use harness_scenario::expanded::{Expanded, ExpandedAttempt};
use harness_uapi::vocabulary::Vocabulary;

use crate::{
    guard,
    judgement::{Case, Crash, Fault, JudgedSplat, Judgement, Row},
    object::{self, Step},
    reason::Reason,
    verdict::{self, Class, Verdict},
};

/// Judges the outcome of a scenario, with the names of its kernel.
///
/// # Errors
/// [`Fault`] if the scenario could not be carried out or the outcome does not fit it.
pub fn judge(expanded: &Expanded, outcome: &ScenarioOutcome, vocabulary: &Vocabulary) -> Result<Judgement, Fault> {
    let crash = match &outcome.end {
        ScenarioEnd::Fault { message } => {
            let splats = outcome.splats.iter().map(|splat| format!("; the kernel printed a splat: {}", splat.text));
            return Err(Fault::Guest(std::iter::once(message.clone()).chain(splats).collect()));
        }
        ScenarioEnd::Finished { .. } => None,
        ScenarioEnd::Crashed { how, console } => Some(Crash { how: how.clone(), console: console.clone() }),
    };
    if outcome.scenario != expanded.plan.name {
        return Err(Fault::Record(format!("it is about {} instead of {}", outcome.scenario, expanded.plan.name)));
    }
    let mut facts = outcome.attempts.iter();
    let mut cases = Vec::with_capacity(expanded.cases.len());
    for (index, case) in expanded.cases.iter().enumerate() {
        let rows = case.attempts.iter().enumerate().map(|(attempt, asked)| match facts.next() {
            Some(fact) => judge_attempt(index, attempt, asked, fact, vocabulary),
            None if crash.is_some() => Ok(row(asked, Verdict::Crashed, None, Vec::new())),
            None => Err(Fault::Record(format!("attempt {} ({}) has no answer", attempt + 1, asked.text))),
        });
        cases.push(Case {
            label: case.label.clone(),
            mounted: mounted(outcome, index),
            units: outcome.units.iter().filter(|fact| fact.case as usize == index).cloned().collect(),
            tokens: tokens(expanded, outcome, index),
            disagreements: disagreements(expanded, outcome, index, vocabulary),
            rows: rows.collect::<Result<_, _>>()?,
        });
    }
    if facts.next().is_some() {
        return Err(Fault::Record("it has more answers than the plan has attempts".to_owned()));
    }
    let splats = outcome.splats.iter().map(|splat| JudgedSplat { splat: splat.clone(), allowed: None }).collect();
    let helpers = helpers::describe(&mut cases, expanded, outcome, vocabulary)?;
    Ok(Judgement { scenario: expanded.plan.name.clone(), cases, grid: expanded.grid.clone(), helpers, crash, splats })
}

fn judge_attempt(
    case: usize,
    attempt: usize,
    asked: &ExpandedAttempt,
    fact: &AttemptFact,
    vocabulary: &Vocabulary,
) -> Result<Row, Fault> {
    if (fact.case as usize, fact.attempt as usize) != (case, attempt) {
        let (c, a) = (fact.case, fact.attempt);
        return Err(Fault::Record(format!(
            "the answer to attempt {attempt} of case {case} claims to be for attempt {a} of case {c}"
        )));
    }
    let verdict = verdict::judge(&fact.answer, &fact.root, &fact.container, asked.missing.as_deref())
        .map_err(|doubt| Fault::Doubt { attempt: attempt + 1, text: asked.text.clone(), doubt })?;
    let denied = verdict.class() == Class::Denied;
    let records = guard::lines(fact)
        .map_err(|why| Fault::Record(format!("a record of the guard of attempt {}: {why}", attempt + 1)))?;
    let cause = fact.cause.as_ref().filter(|_| denied);
    let cause = cause.map(|cause| Reason::of(cause, vocabulary).by_guard(guard::denied(&records)));
    Ok(Row { guard: guard::words(&records), ..row(asked, verdict, cause, object::steps(fact)) })
}

fn row(asked: &ExpandedAttempt, verdict: Verdict, cause: Option<Reason>, steps: Vec<Step>) -> Row {
    Row {
        text: asked.text.clone(),
        op: asked.op.to_string(),
        container: asked.container.clone(),
        expect: asked.expect,
        verdict,
        cause,
        part: asked.part,
        steps,
        guard: Vec::new(),
    }
}

fn mounted(outcome: &ScenarioOutcome, case: usize) -> Vec<(ContainerName, Vec<MountOption>)> {
    let of_case = outcome.containers.iter().filter(|fact| fact.case as usize == case);
    of_case.map(|fact| (fact.container.clone(), fact.mounted.clone())).collect()
}

/// Returns the tokens of those containers of a case that are systemd units.
fn tokens(
    expanded: &Expanded,
    outcome: &ScenarioOutcome,
    case: usize,
) -> Vec<(ContainerName, Result<[String; 4], Errno>)> {
    let units = expanded.plan.cases.get(case).into_iter().flat_map(|case| &case.containers);
    let units: Vec<&ContainerName> = units.filter(|plan| plan.unit.is_some()).map(|plan| &plan.name).collect();
    let of_case = outcome.containers.iter().filter(|fact| fact.case as usize == case);
    let of_units = of_case.filter(|fact| units.contains(&&fact.container));
    let token = |fact: &ContainerFact| match (&fact.token, fact.no_token) {
        (Some(token), _) => Some((fact.container.clone(), Ok(token.fdinfo.clone()))),
        (None, errno) => errno.map(|errno| (fact.container.clone(), Err(errno))),
    };
    of_units.filter_map(token).collect()
}

/// Compares what each container of a case should have been delegated with what the kernel reports.
fn disagreements(expanded: &Expanded, outcome: &ScenarioOutcome, case: usize, vocabulary: &Vocabulary) -> Vec<String> {
    let planned: &[plan::Container] = expanded.plan.cases.get(case).map_or(&[], |case| &case.containers);
    let of_case = outcome.containers.iter().filter(|fact| fact.case as usize == case);
    let of_container = of_case.filter_map(|fact| {
        let asked = planned.iter().find(|container| container.name == fact.container)?;
        // systemd reads the settings of a unit, so only the mount shows what they mean.
        Some(match asked.unit {
            Some(_) => masks::disagreements_within(fact, vocabulary),
            None => masks::disagreements(&asked.options, fact, vocabulary),
        })
    });
    of_container.flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{judgement::Problem, verdict::Class};
    use harness_protocol::{
        outcome::{Answer, Control, Splat},
        plan,
    };
    use harness_scenario::{expanded::ExpandedCase, expect::Expect, layout::AttemptRole, spec::Isolation};

    fn asked(text: &str, expect: Option<Expect>) -> ExpandedAttempt {
        let (text, container) = (text.to_owned(), "container".to_owned());
        ExpandedAttempt { text, op: "map_create", container, expect, missing: None, part: AttemptRole::Line }
    }

    /// A scenario with these attempts in each of two cases.
    fn expanded(attempts: &[ExpandedAttempt]) -> Expanded {
        let case = |label: &str| ExpandedCase { label: label.to_owned(), attempts: attempts.to_vec() };
        Expanded {
            summary: "Says so".to_owned(),
            isolation: Isolation::Shared,
            cases: vec![case("x=1"), case("x=2")],
            grid: None,
            plan: plan::Scenario::new("a/b".parse().unwrap(), 1, Vec::new()),
        }
    }

    fn fact(case: u32, attempt: u32, answer: Answer) -> AttemptFact {
        let control = || Control::Made(Answer::Ok { detail: None });
        AttemptFact { case, attempt, answer, root: control(), container: control(), cause: None, guard: Vec::new() }
    }

    fn ok() -> Answer {
        Answer::Ok { detail: None }
    }

    fn eperm() -> Answer {
        Answer::Err { errno: Errno::EPERM, step: None }
    }

    fn outcome(attempts: Vec<AttemptFact>, end: ScenarioEnd) -> ScenarioOutcome {
        let options = vec![MountOption { key: "delegate_cmds".into(), value: "any".into() }];
        let containers = vec![ContainerFact {
            case: 1,
            container: "container".parse().unwrap(),
            mounted: options,
            token: None,
            no_token: None,
        }];
        ScenarioOutcome { scenario: "a/b".parse().unwrap(), containers, attempts, units: vec![], splats: vec![], end }
    }

    fn judged(expanded: &Expanded, outcome: &ScenarioOutcome) -> Result<Judgement, Fault> {
        let vocabulary = serde_json::from_str(include_str!("../../../kernels/vocabulary/7.3.json")).unwrap();
        judge(expanded, outcome, &vocabulary)
    }

    const FINISHED: ScenarioEnd = ScenarioEnd::Finished { micros: 1 };

    #[test]
    fn every_attempt_gets_its_verdict() {
        let asked = expanded(&[asked("one", Some(Expect::Allowed)), asked("two", Some(Expect::Allowed))]);
        let facts = vec![fact(0, 0, ok()), fact(0, 1, eperm()), fact(1, 0, ok()), fact(1, 1, ok())];
        let judgement = judged(&asked, &outcome(facts, FINISHED)).unwrap();
        let verdicts: Vec<String> = judgement.rows().map(|row| row.verdict.to_string()).collect();
        assert_eq!(verdicts, ["allowed", "denied EPERM", "allowed", "allowed"]);
        let (subject, what) = ("[x=1] attempt 2 (two)".to_owned(), "expected allowed, got denied EPERM".to_owned());
        assert_eq!(judgement.problems(), [Problem { subject, what }]);
        let shown = [MountOption { key: "delegate_cmds".into(), value: "any".into() }];
        assert_eq!(judgement.cases[1].mounted, [("container".parse().unwrap(), shown.to_vec())]);
    }

    #[test]
    fn what_is_not_meant_for_a_kernel_is_no_problem_there_unless_it_was_not_answered() {
        let control = Control::Made(Answer::Err { errno: Errno::EINVAL, step: None });
        let malformed = AttemptFact { root: control.clone(), container: control, ..fact(0, 1, eperm()) };
        let asked = expanded(&[asked("one", Some(Expect::Denied)), asked("two", Some(Expect::Allowed))]);
        let end = ScenarioEnd::Crashed { how: "the VM died".into(), console: vec![] };
        let facts = vec![fact(0, 0, ok()), malformed, fact(1, 0, eperm())];
        let mut judgement = judged(&asked, &outcome(facts, end)).unwrap();
        assert_eq!(judgement.problems().len(), 3);
        judgement.lift_expectations();
        let problems = judgement.problems();
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].subject, "[x=2] attempt 2 (two)");
        assert_eq!(
            judgement.cases[1].rows[0].expect,
            Some(Expect::Denied),
            "the rest of the judgement is still reported"
        );
    }

    #[test]
    fn what_a_dead_vm_did_not_answer_is_crashed() {
        let asked = expanded(&[asked("one", None)]);
        let end = ScenarioEnd::Crashed { how: "the VM died".into(), console: vec!["panic".into()] };
        let judgement = judged(&asked, &outcome(vec![fact(0, 0, ok())], end)).unwrap();
        let classes: Vec<Class> = judgement.rows().map(|row| row.verdict.class()).collect();
        assert_eq!(classes, [Class::Allowed, Class::Crashed]);
        assert_eq!(judgement.problems().len(), 1);
        assert_eq!(judgement.crash.unwrap().console, ["panic"]);
    }

    #[test]
    fn a_splat_that_is_not_allowed_is_not_sound_whatever_the_verdicts() {
        let asked = expanded(&[asked("one", Some(Expect::Allowed))]);
        let facts = vec![fact(0, 0, ok()), fact(1, 0, ok())];
        let mut outcome = outcome(facts, FINISHED);
        assert!(judged(&asked, &outcome).unwrap().is_sound());
        outcome.splats = vec![Splat { text: "WARNING: a".to_owned(), lines: vec![] }];
        let mut judgement = judged(&asked, &outcome).unwrap();
        assert!(!judgement.is_sound() && judgement.problems().is_empty());
        judgement.allow_splats(|text| (text == "WARNING: a").then(|| "it fails safe".to_owned()));
        assert!(judgement.is_sound());
    }

    #[test]
    fn a_record_that_does_not_fit_is_a_fault() {
        let asked = expanded(&[asked("one", None)]);
        let fit = || vec![fact(0, 0, ok()), fact(1, 0, ok())];
        judged(&asked, &outcome(fit(), FINISHED)).unwrap();
        let mut records = [fit(), fit(), fit()];
        records[0].pop();
        records[1].push(fact(1, 1, ok()));
        records[2].swap(0, 1);
        for facts in records {
            assert!(matches!(judged(&asked, &outcome(facts, FINISHED)), Err(Fault::Record(_))));
        }
        let other = ScenarioOutcome { scenario: "a/c".parse().unwrap(), ..outcome(fit(), FINISHED) };
        assert!(matches!(judged(&asked, &other), Err(Fault::Record(_))));
    }

    #[test]
    fn a_fault_of_the_guest_is_no_verdict() {
        let end = ScenarioEnd::Fault { message: "left a mount".into() };
        assert_eq!(judged(&expanded(&[]), &outcome(vec![], end)), Err(Fault::Guest("left a mount".into())));
    }

    /// A survey of helpers, answered like this.
    fn surveyed(call: plan::Call, answer: Answer) -> Result<Judgement, Fault> {
        let mut expanded = expanded(&[asked("survey", None)]);
        expanded.cases.truncate(1);
        let attempt = plan::Attempt::new(plan::Actor::Host, plan::Token::None, call);
        expanded.plan.cases =
            vec![plan::Case { sysctls: Default::default(), containers: vec![], attempts: vec![attempt] }];
        judged(&expanded, &outcome(vec![fact(0, 0, answer)], FINISHED))
    }

    #[test]
    fn a_survey_is_answered_by_helpers_and_nothing_else_is() {
        let survey = || {
            plan::Call::HelperSurvey(plan::HelperSurvey {
                prog_type: 1,
                expected_attach_type: 0,
                prog_flags: 0,
                target: plan::ProgTarget::None,
                returns: 0,
                ids: plan::HelperIds::up_to(9),
                within: None,
                beyond: vec![],
            })
        };
        let helpers = || Answer::Helpers("1-3".parse().unwrap());
        let verdict = |judgement: Judgement| judgement.cases[0].rows[0].verdict.to_string();
        assert_eq!(verdict(surveyed(survey(), helpers()).unwrap()), "allowed: 3 helpers, by number 1-3");
        assert_eq!(verdict(surveyed(survey(), eperm()).unwrap()), "denied EPERM");
        for (call, answer) in [(survey(), ok()), (plan::Call::BtfLoad, helpers())] {
            let fault = surveyed(call, answer).unwrap_err();
            assert_eq!(fault, Fault::Record("the answer to `survey` belongs to another operation".into()));
        }
    }
}
