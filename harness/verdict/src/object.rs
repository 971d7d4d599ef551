//! Judges the calls that libbpf made for an object, or a program for itself, each by the same call in the controls.

use std::fmt;

use harness_protocol::{
    errno::Errno,
    outcome::{AttemptFact, Control, Feature, ObjectAnswer, ObjectStep, Purpose},
};

/// One line below an attempt that loaded an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// A description of the call or feature.
    pub text: String,
    /// Its result.
    pub result: StepResult,
    /// Whether libbpf made the call to probe the kernel.
    pub probe: bool,
}

/// The result of one call of libbpf, or of one of its feature probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepResult {
    /// The kernel did it.
    Allowed,
    /// The kernel refused the call, but did it for a control.
    Denied(Errno),
    /// The kernel refused the call and did it for no control: no control made it, or each was refused as well.
    Refused(Errno),
    /// libbpf does without this feature here, but not in a control.
    Lost,
    /// Calls that are counted but not listed.
    Omitted,
}

impl fmt::Display for StepResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allowed => write!(f, "allowed"),
            Self::Denied(errno) => write!(f, "denied {errno}"),
            Self::Refused(errno) => write!(f, "refused {errno}"),
            Self::Lost => write!(f, "lost"),
            Self::Omitted => write!(f, "not told"),
        }
    }
}

/// Returns the lines of an attempt; empty unless it loaded an object or ran a program.
pub(super) fn steps(fact: &AttemptFact) -> Vec<Step> {
    let Some(object) = fact.answer.calls() else { return Vec::new() };
    let calls = calls(fact).into_iter().map(|(step, result)| called(step, result));
    let omitted = (object.omitted > 0).then(|| line(format!("{} further calls", object.omitted), StepResult::Omitted));
    calls.chain(omitted).chain(lost(fact).into_iter().map(lost_line)).collect()
}

/// Returns the calls of an attempt that loaded an object or ran a program, each with its result.
pub fn calls(fact: &AttemptFact) -> Vec<(&ObjectStep, StepResult)> {
    let Some(object) = fact.answer.calls() else { return Vec::new() };
    let controls = controls(fact);
    object.steps.iter().map(|step| (step, result(step, &controls))).collect()
}

/// Returns the features that libbpf did without for this object but used in a control.
pub fn lost(fact: &AttemptFact) -> Vec<&Feature> {
    let Some(object) = fact.answer.calls() else { return Vec::new() };
    let controls = controls(fact);
    object.features.iter().filter(|feature| is_lost(feature, &controls)).collect()
}

/// Returns the calls in the controls that could be made, root's first.
pub fn controls(fact: &AttemptFact) -> Vec<&ObjectAnswer> {
    controls_of(&fact.root, &fact.container)
}

/// Returns the last call that the kernel denied to a program, which it did for a control: one that was denied for a permission if
/// there is one.
pub(super) fn last_denied<'a>(calls: &'a ObjectAnswer, root: &Control, container: &Control) -> Option<&'a ObjectStep> {
    let controls = controls_of(root, container);
    let denied: Vec<&ObjectStep> =
        calls.steps.iter().filter(|step| matches!(result(step, &controls), StepResult::Denied(_))).collect();
    // After a denial a program may make the same call with other arguments, which are wrong for everybody.
    let of_permission = |step: &&&ObjectStep| step.errno.is_some_and(is_of_permission);
    denied.iter().rev().find(of_permission).or_else(|| denied.last()).copied()
}

/// Returns the calls of a program, each once, that the kernel refused whenever it made them, but did for `other`. A library
/// may make the same call with a token and without one, so that only one of them is refused.
pub fn never_done<'a>(calls: &'a ObjectAnswer, other: &ObjectAnswer) -> Vec<&'a ObjectStep> {
    let done = |by: &ObjectAnswer, step: &ObjectStep| {
        by.steps.iter().any(|made| made.errno.is_none() && are_alike(made, step))
    };
    refused_once(calls, |step| !done(calls, step) && done(other, step))
}

/// Returns the calls of a program, each once, that the kernel refused here and never refused so in `control`, which made the same
/// call: with a token, or without one where it made it in only one way.
pub fn kept_from<'a>(calls: &'a ObjectAnswer, control: &ObjectAnswer) -> Vec<&'a ObjectStep> {
    refused_once(calls, |step| {
        let alike: Vec<&ObjectStep> = control.steps.iter().filter(|other| are_alike(other, step)).collect();
        let exactly: Vec<&ObjectStep> = alike.iter().copied().filter(|other| other.token == step.token).collect();
        let made = if exactly.is_empty() { alike } else { exactly };
        made.iter().any(|other| other.errno.is_none()) && made.iter().all(|other| other.errno != step.errno)
    })
}

/// Returns the refused calls that are wanted, the first of those that are alike.
fn refused_once(calls: &ObjectAnswer, is_wanted: impl Fn(&ObjectStep) -> bool) -> Vec<&ObjectStep> {
    let mut found: Vec<&ObjectStep> = Vec::new();
    for step in calls.steps.iter().filter(|step| step.errno.is_some() && is_wanted(step)) {
        if !found.iter().any(|found| are_alike(found, step)) {
            found.push(step);
        }
    }
    found
}

/// Whether two calls look the same: whether a token was handed over, and the answer, aside.
fn are_alike(one: &ObjectStep, other: &ObjectStep) -> bool {
    (&one.cmd, &one.about, &one.purpose) == (&other.cmd, &other.about, &other.purpose)
}

/// Returns whether an errno is one with which the kernel says that a permission is missing. It denies with others as well,
/// but those mean something else too.
pub fn is_of_permission(errno: Errno) -> bool {
    use nix::errno::Errno as N;
    [N::EPERM, N::EACCES].iter().any(|&permission| errno.raw() == permission as i32)
}

fn controls_of<'a>(root: &'a Control, container: &'a Control) -> Vec<&'a ObjectAnswer> {
    [root, container].into_iter().filter_map(calls_of).collect()
}

fn line(text: String, result: StepResult) -> Step {
    Step { text, result, probe: false }
}

fn called(step: &ObjectStep, result: StepResult) -> Step {
    let probe = matches!(step.purpose, Purpose::Probe(_));
    Step { probe, ..line(text(step), result) }
}

fn calls_of(control: &Control) -> Option<&ObjectAnswer> {
    match control {
        Control::Made(answer) => answer.calls(),
        Control::NotMade(_) => None,
    }
}

fn result(step: &ObjectStep, controls: &[&ObjectAnswer]) -> StepResult {
    let Some(errno) = step.errno else { return StepResult::Allowed };
    // Calls that look the same need not be: one that the control was refused likewise, beside others that it was not, is no denial.
    let is_done = |control: &&ObjectAnswer| {
        let others: Vec<&ObjectStep> = control.steps.iter().filter(|other| are_alike(other, step)).collect();
        let is = |errno: Option<Errno>| others.iter().any(|other| other.errno == errno);
        is(None) && !is(Some(errno))
    };
    if controls.iter().any(is_done) { StepResult::Denied(errno) } else { StepResult::Refused(errno) }
}

/// Whether libbpf lacked a feature here that it had in a control. It may have had it for the object and lacked it for
/// itself, which loses just as much.
fn is_lost(feature: &Feature, controls: &[&ObjectAnswer]) -> bool {
    let had = |other: &Feature| other.name == feature.name && other.supported;
    !feature.supported && controls.iter().flat_map(|control| &control.features).any(had)
}

fn lost_line(feature: &Feature) -> Step {
    let how = if feature.by_object { "with" } else { "without" };
    line(format!("{}, asked {how} a token", feature.name), StepResult::Lost)
}

/// Returns what the verifier says of a refused load, after a semicolon; nothing if it says nothing.
pub fn verifier(step: &ObjectStep) -> String {
    step.verifier.as_ref().map(|message| format!("; {message}")).unwrap_or_default()
}

/// Returns a short description of a call.
pub fn text(step: &ObjectStep) -> String {
    let probe = match &step.purpose {
        Purpose::Probe(feature) => format!("probe of {feature}: "),
        Purpose::Object | Purpose::Attachment | Purpose::Work => String::new(),
    };
    let about = if step.about.is_empty() { String::new() } else { format!(" {}", step.about) };
    let token = if step.token { ", token" } else { "" };
    let times = if step.times > 1 { format!(", {} times", step.times) } else { String::new() };
    format!("{probe}{}{about}{token}{times}", step.cmd)
}

#[cfg(test)]
mod tests {
    use harness_protocol::outcome::Answer;

    use super::*;

    fn step(about: &str, errno: Option<Errno>) -> ObjectStep {
        let (cmd, about) = ("map_create".to_owned(), about.to_owned());
        ObjectStep { cmd, about, purpose: Purpose::Object, token: true, errno, times: 1, ..Default::default() }
    }

    fn feature(supported: bool, by_object: bool) -> Feature {
        Feature { name: "names".into(), by_object, supported }
    }

    fn lines(object: ObjectAnswer, root: ObjectAnswer) -> Vec<String> {
        let fact = AttemptFact {
            case: 0,
            attempt: 0,
            answer: Answer::Object(object),
            root: Control::Made(Answer::Object(root)),
            container: Control::NotMade("no".into()),
            cause: None,
            guard: Vec::new(),
        };
        steps(&fact).iter().map(|step| format!("{}: {}", step.text, step.result)).collect()
    }

    #[test]
    fn a_call_is_denied_only_if_the_same_call_succeeds_in_a_control() {
        let refused = Some(Errno::EPERM);
        let steps = vec![step("queue q", None), step("array a", refused), step("hash h", refused)];
        let root = ObjectAnswer { steps: vec![step("array a", None), step("hash h", refused)], ..Default::default() };
        let object = ObjectAnswer { steps, omitted: 2, ..Default::default() };
        let expected = [
            "map_create queue q, token: allowed",
            "map_create array a, token: denied EPERM",
            "map_create hash h, token: refused EPERM",
            "2 further calls: not told",
        ];
        assert_eq!(lines(object, root), expected);
    }

    #[test]
    fn what_a_control_is_refused_likewise_beside_other_calls_is_no_denial() {
        let (refused, large) = (Some(Errno::EPERM), Some(Errno::from_raw(7)));
        let root = ObjectAnswer { steps: vec![step("a", None), step("a", large)], ..Default::default() };
        let steps = vec![step("a", None), step("a", large), step("a", refused)];
        let expected =
            ["allowed", "refused E2BIG", "denied EPERM"].map(|result| format!("map_create a, token: {result}"));
        assert_eq!(lines(ObjectAnswer { steps, ..Default::default() }, root), expected);
    }

    #[test]
    fn a_program_is_kept_from_a_call_that_the_control_was_never_refused_so() {
        let without = |step: ObjectStep| ObjectStep { token: false, ..step };
        let (eperm, eacces) = (Some(Errno::EPERM), Some(Errno::from_raw(13)));
        let answer = |steps: Vec<ObjectStep>| ObjectAnswer { steps, ..Default::default() };
        // The library probes without a token first, which is refused to it everywhere.
        let control = answer(vec![without(step("probe", eperm)), step("probe", None), step("map", None)]);
        let kept = |steps| -> Vec<String> { kept_from(&answer(steps), &control).into_iter().map(text).collect() };
        assert!(kept(vec![without(step("probe", eperm)), step("probe", None), step("other", eperm)]).is_empty());
        assert_eq!(kept(vec![without(step("probe", eperm)), step("probe", eperm)]), ["map_create probe, token"]);
        // Without a token at all, and the second of two calls.
        assert_eq!(kept(vec![without(step("map", eperm))]), ["map_create map"]);
        assert_eq!(kept(vec![step("map", None), step("map", eacces)]), ["map_create map, token"]);
    }

    #[test]
    fn what_a_control_had_and_the_actor_misses_is_lost() {
        let with = |features| ObjectAnswer { features, ..Default::default() };
        let object = || with(vec![feature(true, true), feature(false, false)]);
        assert_eq!(lines(object(), with(vec![feature(true, false)])), ["names, asked without a token: lost"]);
        assert!(lines(object(), with(vec![feature(false, false)])).is_empty());
    }

    #[test]
    fn probes_and_repetitions_are_told_apart() {
        let purpose = Purpose::Probe("names".into());
        let probe = ObjectStep { purpose, token: false, times: 2, ..step("socket_filter", None) };
        assert_eq!(text(&probe), "probe of names: map_create socket_filter, 2 times");
    }
}
