//! Turns an answer into a verdict: allowed, denied, unsupported or malformed.
//!
//! An errno alone does not distinguish a denial from a mistake: the kernel answers some denials with `EINVAL`, and root
//! gets `EINVAL` for a malformed call, too. So each attempt is repeated with every permission, and a failure counts as a
//! denial only if one of these controls succeeds.

use std::fmt;

use harness_protocol::{
    errno::Errno,
    outcome::{Answer, Control, ExecAnswer, ExecEnd},
};
use harness_scenario::expect::Expect;
use schemars::JsonSchema;
use serde::Serialize;
use thiserror::Error;

use crate::object;

/// What an attempt turned out to be. A fault of the harness or of the VM is never one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The kernel did it.
    Allowed {
        /// What else it answered, if that is the same in every run.
        detail: Option<String>,
    },
    /// The kernel refused it to this actor, but does it with every permission.
    Denied(Refusal),
    /// The kernel does not know the operation, or cannot do it.
    Unsupported {
        /// How it refused.
        refusal: Refusal,
        /// Why it cannot do it.
        reason: String,
    },
    /// The kernel knows the operation but refuses this call to everybody: the call is wrong.
    Malformed(Refusal),
    /// The call was never made: the systemd unit that should have made it did not run, or the program that should have made
    /// it failed although the kernel denied it nothing.
    NotMade {
        /// Why.
        why: String,
    },
    /// The kernel died or hung during the scenario, before it answered.
    Crashed,
}

/// How the kernel refused a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The errno.
    pub errno: Errno,
    /// The system call that failed, if the operation makes several.
    pub step: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.errno)?;
        self.step.iter().try_for_each(|step| write!(f, " by {step}"))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allowed { detail: None } => write!(f, "allowed"),
            Self::Allowed { detail: Some(detail) } => write!(f, "allowed: {detail}"),
            Self::Denied(refusal) => write!(f, "denied {refusal}"),
            Self::Unsupported { refusal, reason } => write!(f, "unsupported {refusal}: {reason}"),
            Self::Malformed(refusal) => write!(f, "malformed {refusal}"),
            Self::NotMade { why } => write!(f, "not made: {why}"),
            Self::Crashed => write!(f, "crashed"),
        }
    }
}

/// The class of a verdict, without its details.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The kernel did it.
    Allowed,
    /// The kernel refused it to this actor, but does it with every permission.
    Denied,
    /// The kernel does not know the operation, or cannot do it.
    Unsupported,
    /// The kernel knows the operation but refuses this call to everybody: the call is wrong.
    Malformed,
    /// The call was never made.
    NotMade,
    /// The kernel died or hung before it answered.
    Crashed,
}

impl Class {
    /// Returns the word for it, as in snapshots.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Unsupported => "unsupported",
            Self::Malformed => "malformed",
            Self::NotMade => "not_made",
            Self::Crashed => "crashed",
        }
    }
}

impl From<Expect> for Class {
    /// Returns the class that is expected.
    fn from(expect: Expect) -> Self {
        match expect {
            Expect::Allowed => Self::Allowed,
            Expect::Denied => Self::Denied,
            Expect::Unsupported => Self::Unsupported,
            Expect::Malformed => Self::Malformed,
            Expect::NotMade => Self::NotMade,
        }
    }
}

impl Verdict {
    /// Returns what there is to say beside its class and errno: what else the kernel answered, the call that failed, or why.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Allowed { detail } => detail.as_deref(),
            Self::Unsupported { reason, .. } => Some(reason),
            Self::Denied(refusal) | Self::Malformed(refusal) => refusal.step.as_deref(),
            Self::NotMade { why } => Some(why),
            Self::Crashed => None,
        }
    }

    /// Returns its class.
    pub const fn class(&self) -> Class {
        match self {
            Self::Allowed { .. } => Class::Allowed,
            Self::Denied(_) => Class::Denied,
            Self::Unsupported { .. } => Class::Unsupported,
            Self::Malformed(_) => Class::Malformed,
            Self::NotMade { .. } => Class::NotMade,
            Self::Crashed => Class::Crashed,
        }
    }

    /// Returns the errno, if the kernel refused.
    pub const fn errno(&self) -> Option<Errno> {
        match self {
            Self::Denied(refusal) | Self::Malformed(refusal) | Self::Unsupported { refusal, .. } => Some(refusal.errno),
            Self::Allowed { .. } | Self::NotMade { .. } | Self::Crashed => None,
        }
    }
}

/// Why no verdict can be given: a fault of the harness or a guest out of resources.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NoVerdict {
    /// The errno says that the guest lacked a resource, which says nothing about a permission.
    #[error("the kernel answered {0}, which is about the guest's resources and not about a permission")]
    Resources(Refusal),
    /// No control could be made, so a refusal cannot be distinguished from a mistake.
    #[error(
        "the kernel answered {refusal}, but no control could be made to judge it: as root: {root}; in a container with every permission: {container}"
    )]
    NoControl {
        /// How the kernel refused a call.
        refusal: Refusal,
        /// Why root could not try.
        root: String,
        /// Why the container could not try.
        container: String,
    },
    /// A program was slow rather than kept from its work.
    #[error(
        "the program did not end within {:.1} s, and with every permission it takes {:.1} s: give it at least twice that",
         *took_ms as f64 / 1000.0, *control_ms as f64 / 1000.0
    )]
    TooSlow {
        /// How long it ran, in milliseconds.
        took_ms: u64,
        /// How long it ran with every permission, in milliseconds.
        control_ms: u64,
    },
}

/// Judges one answer.
///
/// `missing` is why this kernel cannot know the operation, if its vocabulary lacks something the attempt needs.
///
/// # Errors
/// [`NoVerdict`] if the answer is not enough for a verdict.
pub fn judge(
    answer: &Answer,
    root: &Control,
    container: &Control,
    missing: Option<&str>,
) -> Result<Verdict, NoVerdict> {
    let refusal = match answer {
        Answer::Ok { detail } => return Ok(Verdict::Allowed { detail: detail.clone() }),
        Answer::Helpers(_) => return Ok(Verdict::Allowed { detail: None }),
        Answer::NotMade { why } => return Ok(Verdict::NotMade { why: why.clone() }),
        Answer::Err { errno, step } => Refusal { errno: *errno, step: step.clone() },
        Answer::Object(object) => match &object.failure {
            None => return Ok(Verdict::Allowed { detail: None }),
            Some(failure) => Refusal { errno: failure.errno, step: Some(failure.stage.clone()) },
        },
        Answer::Exec(exec) if exec.end.is_success() => return Ok(Verdict::Allowed { detail: None }),
        Answer::Exec(exec) => match within_time(exec, root, container).map(|()| decisive(exec, root, container))? {
            Some(step) => step,
            None => return Ok(Verdict::NotMade { why: undecided(exec, root.succeeded() || container.succeeded()) }),
        },
    };
    if speaks_of_resources(refusal.errno) {
        return Err(NoVerdict::Resources(refusal));
    }
    if let Some(reason) = missing {
        return Ok(Verdict::Unsupported { refusal, reason: reason.to_owned() });
    }
    match (root, container) {
        _ if root.succeeded() || container.succeeded() => Ok(Verdict::Denied(refusal)),
        (Control::NotMade(root), Control::NotMade(container)) => {
            Err(NoVerdict::NoControl { refusal, root: root.clone(), container: container.clone() })
        }
        _ => Ok(Verdict::Malformed(refusal)),
    }
}

/// Says nothing of a program that was out of time where it takes more than half of that with every permission: on a machine
/// that has other work it is as likely slow as kept from its work.
fn within_time(exec: &ExecAnswer, root: &Control, container: &Control) -> Result<(), NoVerdict> {
    let took = |control: &Control| match control {
        Control::Made(Answer::Exec(made)) if made.end.is_success() => Some(made.took_ms),
        _ => None,
    };
    match [root, container].into_iter().filter_map(took).max() {
        Some(control_ms) if exec.end == ExecEnd::OutOfTime && 2 * control_ms > exec.took_ms => {
            Err(NoVerdict::TooSlow { took_ms: exec.took_ms, control_ms })
        }
        _ => Ok(()),
    }
}

/// Returns the call with which the kernel kept a program from doing its work: the last one that it denied, or where no
/// control did the work either, the last one that it refused.
fn decisive(exec: &ExecAnswer, root: &Control, container: &Control) -> Option<Refusal> {
    let step = if root.succeeded() || container.succeeded() {
        object::last_denied(&exec.calls, root, container)
    } else {
        exec.calls.steps.iter().rev().find(|step| step.errno.is_some())
    };
    step.and_then(|step| Some(Refusal { errno: step.errno?, step: Some(object::text(step)) }))
}

/// Says why a program that did not do its work shows nothing of what the kernel allows.
fn undecided(exec: &ExecAnswer, elsewhere: bool) -> String {
    match elsewhere {
        true => format!("the program {}, although the kernel denied none of its calls", exec.end),
        false => {
            format!("the program {}, with every permission as well, and the kernel refused none of its calls", exec.end)
        }
    }
}

/// Whether any call can fail with this errno for lack of memory, descriptors or time.
fn speaks_of_resources(errno: Errno) -> bool {
    use nix::errno::Errno as N;
    [N::ENOMEM, N::EMFILE, N::ENFILE, N::EINTR, N::EAGAIN, N::EIO, N::ENOSPC, N::ETIMEDOUT]
        .iter()
        .any(|&resource| errno.raw() == resource as i32)
}

#[cfg(test)]
mod tests {
    use harness_protocol::outcome::{ObjectAnswer, ObjectStep, Purpose};

    use super::*;

    const OK: Answer = Answer::Ok { detail: None };

    fn err(errno: i32) -> Answer {
        Answer::Err { errno: Errno::from_raw(errno), step: None }
    }

    fn made(answer: Answer) -> Control {
        Control::Made(answer)
    }

    fn class(answer: Answer, root: Control, container: Control, missing: Option<&str>) -> Class {
        judge(&answer, &root, &container, missing).unwrap().class()
    }

    #[test]
    fn a_success_is_allowed_whatever_the_controls_say() {
        assert_eq!(class(OK, made(err(1)), made(err(1)), None), Class::Allowed);
        assert_eq!(class(OK, made(err(1)), made(err(1)), Some("too old")), Class::Allowed);
    }

    #[test]
    fn a_failure_is_denied_only_if_a_control_succeeds() {
        assert_eq!(class(err(1), made(OK), made(err(1)), None), Class::Denied);
        assert_eq!(class(err(22), made(err(95)), made(OK), None), Class::Denied);
        assert_eq!(class(err(1), made(err(1)), made(err(1)), None), Class::Malformed);
        assert_eq!(class(err(1), made(err(1)), Control::NotMade("x".into()), None), Class::Malformed);
    }

    #[test]
    fn what_the_kernel_cannot_know_is_unsupported_even_if_root_gets_through() {
        let verdict = judge(&err(22), &made(OK), &made(err(22)), Some("no such type")).unwrap();
        assert_eq!(verdict.to_string(), "unsupported EINVAL: no such type");
    }

    #[test]
    fn doubts_are_no_verdicts() {
        assert!(matches!(judge(&err(12), &made(OK), &made(OK), None), Err(NoVerdict::Resources(_))));
        let none = || Control::NotMade("no map".into());
        assert!(matches!(judge(&err(1), &none(), &none(), None), Err(NoVerdict::NoControl { .. })));
    }

    #[test]
    fn the_step_is_shown() {
        let answer = Answer::Err { errno: Errno::EPERM, step: Some("fsconfig delegate_cmds".into()) };
        let verdict = judge(&answer, &made(OK), &made(OK), None).unwrap();
        assert_eq!(verdict.to_string(), "denied EPERM by fsconfig delegate_cmds");
    }

    fn ran(end: ExecEnd, steps: &[(&str, i32)]) -> Answer {
        let step = |(cmd, errno): &(&str, i32)| ObjectStep {
            cmd: (*cmd).to_owned(),
            about: String::new(),
            purpose: Purpose::Work,
            token: false,
            errno: (*errno != 0).then(|| Errno::from_raw(*errno)),
            times: 1,
            ..Default::default()
        };
        let calls = ObjectAnswer { steps: steps.iter().map(step).collect(), ..Default::default() };
        Answer::Exec(Box::new(ExecAnswer {
            end,
            calls,
            injected: 0,
            took_ms: 0,
            asked: Vec::new(),
            sites: Vec::new(),
            output: String::new(),
        }))
    }

    fn program(answer: &Answer, root: Answer) -> String {
        judge(answer, &made(root), &Control::NotMade("no".to_owned()), None).unwrap().to_string()
    }

    #[test]
    fn a_program_is_judged_by_its_end_and_denied_by_the_kernel_only() {
        let failed = ExecEnd::Exited(255);
        let root = || ran(ExecEnd::Exited(0), &[("map_create", 0), ("prog_load", 0)]);
        assert_eq!(program(&ran(ExecEnd::Printed, &[("map_create", 1)]), root()), "allowed");
        // A call that is wrong since another one was denied is not what kept it from its work.
        let denied = ran(failed.clone(), &[("map_create", 1), ("prog_load", 22)]);
        assert_eq!(program(&denied, root()), "denied EPERM by map_create");
        assert_eq!(program(&ran(failed.clone(), &[("prog_load", 22)]), root()), "denied EINVAL by prog_load");
        // What root is refused as well is no denial.
        let elsewhere = ran(failed.clone(), &[("obj_get", 2)]);
        insta::assert_snapshot!(program(&elsewhere, root()), @"not made: the program exited with 255, although the kernel denied none of its calls");
        assert_eq!(program(&elsewhere, elsewhere.clone()), "malformed ENOENT by obj_get");
        let lasting = |took_ms, end, steps| match ran(end, steps) {
            Answer::Exec(exec) => Answer::Exec(Box::new(ExecAnswer { took_ms, ..*exec })),
            other => other,
        };
        let late = lasting(20_000, ExecEnd::OutOfTime, &[("map_create", 1)]);
        let with = |took_ms| made(lasting(took_ms, ExecEnd::Exited(0), &[("map_create", 0)]));
        let absent = Control::NotMade("no".to_owned());
        assert_eq!(judge(&late, &with(9_000), &absent, None).unwrap().to_string(), "denied EPERM by map_create");
        let slow = judge(&late, &with(9_000), &with(11_500), None).unwrap_err();
        insta::assert_snapshot!(slow, @"the program did not end within 20.0 s, and with every permission it takes 11.5 s: give it at least twice that");
        let silent = ran(ExecEnd::OutOfTime, &[]);
        insta::assert_snapshot!(program(&silent, silent.clone()), @"not made: the program did not end in time, with every permission as well, and the kernel refused none of its calls");
    }
}
