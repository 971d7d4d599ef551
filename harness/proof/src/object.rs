//! How an object loaded in a container, call by call.

use std::{collections::BTreeSet, fmt};

use harness_protocol::{
    errno::Errno,
    outcome::{
        Answer, AttemptFact, Control, Feature, ObjectAnswer, ObjectStep, Purpose, ScenarioOutcome, VerifierMessage,
    },
};
use harness_scenario::expanded::Expanded;
use harness_uapi::vocabulary::Vocabulary;
use harness_verdict::{
    judge,
    judgement::Fault,
    object::{self, StepResult},
    reason::Reason,
    verdict::{Class, Verdict},
};

/// How a container loaded an object, or failed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectProof {
    /// The verdict of the whole load.
    pub verdict: Verdict,
    /// Why it was denied, if the guest searched for the cause.
    pub cause: Option<Reason>,
    /// The calls libbpf or the program made, in order.
    pub calls: Vec<ProvedCall>,
    /// Whether a program was run, which makes its calls by itself.
    pub is_program: bool,
    /// The number of further calls that are not listed.
    pub omitted: u32,
    /// The features that libbpf silently did without but used in a control.
    pub lost: Vec<Feature>,
    /// Maps and programs of the object that a control created and this load did not, such as
    /// `map_create array object.rodata`.
    pub not_made: Vec<String>,
}

/// A call and its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvedCall {
    /// The call.
    pub call: ObjectStep,
    /// Allowed, denied, or refused to everybody.
    pub result: StepResult,
}

impl fmt::Display for ProvedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}{}", object::text(&self.call), self.result, object::verifier(&self.call))
    }
}

/// Why an object does not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectDefect {
    /// The kernel refused it here, but it loads with every permission.
    Denied {
        /// The stage of libbpf's work, such as `load`.
        stage: String,
        /// The errno that libbpf returned, which is not always the kernel's.
        errno: Errno,
        /// The denied call at which libbpf gave up, if that is known.
        call: Option<ProvedCall>,
    },
    /// It was loaded without maps or programs that it has with every permission.
    NotMade(Vec<String>),
    /// It does not load even with every permission.
    Broken {
        /// The verdict.
        verdict: Verdict,
        /// What the verifier says, if it is the one that refuses it.
        verifier: Option<VerifierMessage>,
    },
    /// It was not tried, because the systemd unit did not run, or did not run to the end; why.
    NotTried(String),
}

impl fmt::Display for ObjectDefect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied { call: Some(call), .. } => call.fmt(f),
            Self::Denied { stage, errno, call: None } => write!(f, "{stage}: denied {errno}"),
            Self::NotMade(what) => write!(f, "not made: {}", what.join(", ")),
            Self::Broken { verdict, verifier: None } => write!(f, "for nobody: {verdict}"),
            Self::Broken { verdict, verifier: Some(message) } => write!(f, "for nobody: {verdict}; {message}"),
            Self::NotTried(why) => write!(f, "not tried: {why}"),
        }
    }
}

impl ObjectProof {
    /// Returns why it does not work; `None` if everything was loaded that loads with every permission.
    pub fn defect(&self) -> Option<ObjectDefect> {
        match &self.verdict {
            Verdict::Allowed { .. } if self.not_made.is_empty() => None,
            Verdict::Allowed { .. } => Some(ObjectDefect::NotMade(self.not_made.clone())),
            Verdict::Denied(refusal) => Some(ObjectDefect::Denied {
                stage: refusal.step.clone().unwrap_or_default(),
                errno: refusal.errno,
                call: self.decisive().cloned(),
            }),
            Verdict::NotMade { why } => Some(ObjectDefect::NotTried(why.clone())),
            other => Some(ObjectDefect::Broken { verdict: other.clone(), verifier: self.said().cloned() }),
        }
    }

    /// Returns what the verifier says last of a program of the object's own.
    fn said(&self) -> Option<&VerifierMessage> {
        let own = self.calls.iter().rev().filter(|proved| proved.call.purpose == Purpose::Object);
        own.filter_map(|proved| proved.call.verifier.as_ref()).next()
    }

    /// Returns the last denied call for the object itself, or else the last denied call; one that was denied for a permission is
    /// preferred. Of a program it is the last refused call of its own, even if the control has none that looks alike.
    fn decisive(&self) -> Option<&ProvedCall> {
        let denied = |proved: &&ProvedCall| matches!(proved.result, StepResult::Denied(_));
        let own = |proved: &&ProvedCall| matches!(proved.call.purpose, Purpose::Object | Purpose::Attachment);
        let permission = |proved: &&ProvedCall| {
            proved.call.errno.is_some_and(object::is_of_permission) || proved.call.verifier.is_some()
        };
        // After a probe that was refused, a library may drop what distinguishes its call from that in the control.
        let refused = |proved: &&ProvedCall| self.is_program && proved.call.errno.is_some();
        if let Some(last) = self.calls.iter().rev().filter(refused).filter(own).find(permission) {
            return Some(last);
        }
        let all = || self.calls.iter().rev().filter(denied);
        all().filter(own).find(permission).or_else(|| all().find(own)).or_else(|| all().next())
    }
}

/// Reads the outcome of a question about an object: one proof for each container, in order.
///
/// # Errors
/// [`Fault`] if it was not answered, or if an answer is not enough for a verdict.
pub fn read_objects(
    asked: &Expanded,
    outcome: &ScenarioOutcome,
    vocabulary: &Vocabulary,
) -> Result<Vec<ObjectProof>, Fault> {
    let judgement = judge::judge(asked, outcome, vocabulary)?;
    let rows = judgement.cases.into_iter().flat_map(|case| case.rows);
    let proofs = rows.zip(&outcome.attempts).map(|(row, fact)| proof(row.verdict, row.cause, fact));
    match judgement.crash {
        Some(crash) => Err(Fault::Guest(crash.how)),
        None => Ok(proofs.collect()),
    }
}

fn proof(verdict: Verdict, cause: Option<Reason>, fact: &AttemptFact) -> ObjectProof {
    let (omitted, not_made) = match &fact.answer {
        Answer::Object(object) => (object.omitted, not_made(object, fact)),
        Answer::Exec(exec) => (exec.calls.omitted, kept_from(&exec.calls, &fact.container)),
        _ => (0, Vec::new()),
    };
    let calls = object::calls(fact).into_iter();
    ObjectProof {
        cause: cause.filter(|_| verdict.class() == Class::Denied),
        verdict,
        calls: calls.map(|(call, result)| ProvedCall { call: call.clone(), result }).collect(),
        is_program: matches!(fact.answer, Answer::Exec(_)),
        omitted,
        lost: object::lost(fact).into_iter().cloned().collect(),
        not_made,
    }
}

/// Returns what the most successful control created for the object and this attempt did not.
fn not_made(object: &ObjectAnswer, fact: &AttemptFact) -> Vec<String> {
    let made = own(object);
    let best = object::controls(fact).into_iter().map(own).max_by_key(BTreeSet::len).unwrap_or_default();
    best.difference(&made).cloned().collect()
}

/// Returns the calls that the kernel refused to a program here, but not in the container with every permission. What is refused
/// there as well no token covers.
fn kept_from(calls: &ObjectAnswer, container: &Control) -> Vec<String> {
    let Control::Made(Answer::Exec(control)) = container else { return Vec::new() };
    let refused: BTreeSet<String> = object::kept_from(calls, &control.calls).into_iter().map(told).collect();
    refused.into_iter().collect()
}

fn told(step: &ObjectStep) -> String {
    object::text(step) + &object::verifier(step)
}

/// Returns the maps and programs that were created, whatever features were lost.
fn own(object: &ObjectAnswer) -> BTreeSet<String> {
    let made = object.steps.iter().filter(|step| step.purpose == Purpose::Object && step.errno.is_none());
    let loaded = made.filter(|step| step.cmd != "btf_load");
    loaded
        .map(|step| format!("{} {}", step.cmd, step.about.split(", without its ").next().unwrap_or_default()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness_protocol::outcome::{ExecAnswer, ExecEnd};
    use harness_verdict::verdict::Refusal;

    fn step(cmd: &str, about: &str, errno: Option<Errno>) -> ObjectStep {
        let (cmd, about) = (cmd.to_owned(), about.to_owned());
        ObjectStep { cmd, about, purpose: Purpose::Object, token: true, errno, times: 1, ..Default::default() }
    }

    fn fact(steps: Vec<ObjectStep>, controlled: Vec<ObjectStep>) -> AttemptFact {
        let answer = |steps| Answer::Object(ObjectAnswer { steps, ..Default::default() });
        let control = Control::Made(answer(controlled));
        let root = Control::NotMade("no".to_owned());
        AttemptFact {
            case: 0,
            attempt: 0,
            answer: answer(steps),
            root,
            container: control,
            cause: None,
            guard: Vec::new(),
        }
    }

    const ALLOWED: Verdict = Verdict::Allowed { detail: None };

    #[test]
    fn what_loads_with_all_of_a_control_works_whatever_it_is_called() {
        let control = vec![step("map_create", "array object.bss", None), step("btf_load", "", None)];
        let here = vec![step("map_create", "array object.bss, without its name, without its types", None)];
        assert_eq!(proof(ALLOWED, None, &fact(here, control.clone())).defect(), None);
        let defect = proof(ALLOWED, None, &fact(vec![], control)).defect();
        assert_eq!(defect, Some(ObjectDefect::NotMade(vec!["map_create array object.bss".to_owned()])));
        assert_eq!(defect.unwrap().to_string(), "not made: map_create array object.bss");
    }

    #[test]
    fn the_denied_call_of_the_object_tells_why() {
        let eperm = Some(Errno::EPERM);
        let probe = ObjectStep { purpose: Purpose::Probe("names".into()), ..step("prog_load", "socket_filter", eperm) };
        let made = |step: &ObjectStep| ObjectStep { errno: None, ..step.clone() };
        let map = step("map_create", "queue q", eperm);
        let denied = || Verdict::Denied(Refusal { errno: Errno::EPERM, step: Some("load".into()) });
        let steps = vec![map.clone(), probe.clone()];
        let both = proof(denied(), None, &fact(steps, vec![made(&map), made(&probe)]));
        assert_eq!(both.defect().unwrap().to_string(), "map_create queue q, token: denied EPERM");
        let alone = proof(denied(), None, &fact(vec![probe.clone()], vec![made(&probe)]));
        assert_eq!(alone.defect().unwrap().to_string(), "probe of names: prog_load socket_filter, token: denied EPERM");
        let silent = proof(denied(), None, &fact(vec![], vec![]));
        assert_eq!(silent.defect().unwrap().to_string(), "load: denied EPERM");
    }

    #[test]
    fn the_last_refused_call_of_a_program_tells_why() {
        let message = VerifierMessage { reason: "not here".to_owned(), ..Default::default() };
        let probe = step("prog_load", "cgroup_sock for cgroup_inet_sock_create", Some(Errno::EPERM));
        // Without the attach types that the probe is about, it is no longer `xdp count for xdp`.
        let load = ObjectStep { verifier: Some(message), ..step("prog_load", "xdp", Some(Errno::from_raw(22))) };
        let exec = |steps| {
            let calls = ObjectAnswer { steps, ..Default::default() };
            let (end, output) = (ExecEnd::Exited(1), String::new());
            Answer::Exec(Box::new(ExecAnswer {
                end,
                took_ms: 0,
                calls,
                injected: 0,
                asked: Vec::new(),
                sites: Vec::new(),
                output,
            }))
        };
        let done = |step: &ObjectStep| ObjectStep { errno: None, ..step.clone() };
        let control = vec![done(&probe), step("prog_load", "xdp count for xdp", None)];
        let fact = AttemptFact {
            answer: exec(vec![probe, load]),
            container: Control::Made(exec(control)),
            ..fact(vec![], vec![])
        };
        let denied = Verdict::Denied(Refusal { errno: Errno::EPERM, step: None });
        let defect = proof(denied, None, &fact).defect().unwrap().to_string();
        assert_eq!(defect, "prog_load xdp, token: refused EINVAL; the verifier: not here");
    }

    #[test]
    fn what_a_unit_did_not_live_to_load_was_not_tried() {
        let verdict = Verdict::NotMade { why: "the unit did not run".to_owned() };
        let defect = proof(verdict, None, &fact(vec![], vec![])).defect().unwrap();
        assert_eq!(defect.to_string(), "not tried: the unit did not run");
    }

    #[test]
    fn what_nobody_loads_is_broken() {
        let verdict = Verdict::Malformed(Refusal { errno: Errno::EINVAL, step: None });
        let defect = |steps| proof(verdict.clone(), None, &fact(steps, vec![])).defect().unwrap();
        assert_eq!(defect(vec![]), ObjectDefect::Broken { verdict: verdict.clone(), verifier: None });
        let message = |reason: &str| VerifierMessage { reason: reason.to_owned(), ..Default::default() };
        let load = |about: &str, reason: Option<&str>| ObjectStep {
            verifier: reason.map(message),
            ..step("prog_load", about, Some(Errno::EPERM))
        };
        let steps = vec![load("xdp a", Some("first")), load("xdp b", Some("R1 is wrong")), load("xdp c", None)];
        assert_eq!(defect(steps).to_string(), "for nobody: malformed EINVAL; the verifier: R1 is wrong");
    }
}
