//! What the guard recorded while an attempt was made, held against the attempt.

use harness_protocol::{
    errno::Errno,
    outcome::Answer,
    plan::{Attempt, Call},
};
use serde::Deserialize;
use thiserror::Error;

/// The time during which the guard was on.
#[derive(Debug)]
pub(crate) struct Window {
    /// The records, each one line of JSON; none if they are only counted.
    pub(super) records: Vec<String>,
    /// How many calls of anybody the guard noticed.
    pub(super) calls: u64,
    /// A process that made calls for no attempt.
    pub(super) filler: Option<u32>,
    /// Whether an attack on the guard has succeeded, so that it may notice nothing any more.
    pub(super) is_attacked: bool,
}

/// Whose calls belong to an attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Suspect {
    /// The ids of the cgroups that its actor's processes are in, and nobody else's.
    pub(crate) cgroups: Vec<u64>,
    /// The actor's processes as far as they are known.
    pub(crate) processes: Vec<u32>,
    /// Whether a filter may keep its calls from the kernel.
    pub(crate) is_filtered: bool,
}

/// What the guard witnessed of an attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Witnessed {
    /// The records of the actor's processes, each one line of JSON.
    pub(crate) records: Vec<String>,
    /// Whether it denied any of their calls.
    pub(crate) denied: bool,
}

/// Why the records of an attempt cannot be right.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum WindowError {
    /// A record cannot be read.
    #[error("the guard printed a record that cannot be read ({why}): {record}")]
    Malformed {
        /// The record.
        record: String,
        /// What is wrong with it.
        why: String,
    },
    /// The guard denied a call that succeeded.
    #[error("the guard recorded a denial, but the call succeeded: {0}")]
    NotEnforced(String),
    /// The guard denied a call of another process of the guest program.
    #[error("the guard denied a call of the guest program that belongs to no attempt: {0}")]
    Bystander(String),
    /// There is no record.
    #[error("the guard has no record of the call")]
    Unrecorded,
}

/// What matters here of a record.
#[derive(Debug, Deserialize)]
struct Seen {
    hook: String,
    verdict: String,
    who: Who,
}

#[derive(Debug, Deserialize)]
struct Who {
    tgid: u32,
    cgroup: u64,
    #[serde(default)]
    exe: Option<Exe>,
}

#[derive(Debug, Deserialize)]
struct Exe {
    ino: u64,
}

impl Window {
    /// Returns how many calls the guard noticed.
    pub(crate) fn calls(&self) -> u64 {
        self.calls
    }

    /// Returns the records of an attempt's actor. Those of others are background, unless they are denials of calls of
    /// the programs with these inodes: the guest program and its copies.
    pub(crate) fn witnessed(
        self,
        suspect: &Suspect,
        attempt: &Attempt,
        answer: Option<&Answer>,
        own_programs: &[u64],
    ) -> Result<Witnessed, WindowError> {
        let mut witnessed = Witnessed::default();
        for record in self.records {
            let seen: Seen = serde_json::from_str(&record)
                .map_err(|error| WindowError::Malformed { record: record.clone(), why: error.to_string() })?;
            if self.filler == Some(seen.who.tgid) {
                continue;
            }
            let is_denied = seen.verdict == "denied";
            if suspect.cgroups.contains(&seen.who.cgroup) || suspect.processes.contains(&seen.who.tgid) {
                if is_denied && answer.is_some_and(Answer::succeeded) && must_fail(&attempt.call, &seen.hook) {
                    return Err(WindowError::NotEnforced(record));
                }
                witnessed.denied |= is_denied;
                witnessed.records.push(record);
            } else if is_denied && seen.who.exe.is_some_and(|exe| own_programs.contains(&exe.ino)) {
                return Err(WindowError::Bystander(record));
            }
        }
        let is_noticed = !witnessed.records.is_empty() || self.calls > 0;
        if let (Call::Attack { .. } | Call::Reload(_), Some(answer), false) = (&attempt.call, answer, witnessed.denied)
            && is_refusal_by_the_guard(answer)
        {
            return Err(WindowError::Unrecorded);
        }
        let is_due = answer.is_some_and(|answer| reached_the_kernel(&attempt.call, answer));
        let is_due = is_due && !suspect.is_filtered && !self.is_attacked;
        if is_due && !is_noticed { Err(WindowError::Unrecorded) } else { Ok(witnessed) }
    }
}

/// Returns whether a denial by a hook makes the attempt fail. The kernel goes on as if there were no token where only
/// that is denied, libbpf goes on without the feature that a denied call was to show, and a program that calls `bpf(2)` itself
/// may go on after a denial.
fn must_fail(call: &Call, hook: &str) -> bool {
    let is_one_call =
        !matches!(call, Call::Object(_) | Call::HelperSurvey(_) | Call::Several(_) | Call::ProgTestRun { .. });
    is_one_call && !matches!(hook, "token-cmd" | "token-capable")
}

/// Returns whether only the guard refuses an attack so. The kernel itself refuses to write a map that is frozen.
fn is_refusal_by_the_guard(answer: &Answer) -> bool {
    const ITS_OWN: &str = "BPF_MAP_UPDATE_ELEM";
    let Answer::Err { errno, step } = answer else { return false };
    // `/proc/PID/mem` answers a refused ptrace access check so (`mm_access`, `kernel/fork.c`).
    const REFUSALS: [i32; 2] = [libc::EPERM, libc::EACCES];
    REFUSALS.map(Errno::from_raw).contains(errno) && step.as_deref() != Some(ITS_OWN)
}

/// Returns whether the attempt made a `bpf(2)` call that came as far as the LSM hook (`__sys_bpf`,
/// `kernel/bpf/syscall.c`): arguments that are too long or cannot be read are refused before.
fn reached_the_kernel(call: &Call, answer: &Answer) -> bool {
    const BEFORE: [i32; 2] = [libc::E2BIG, libc::EFAULT];
    let of_bpf = |step: &Option<String>| step.as_ref().is_none_or(|step| step.starts_with("BPF_"));
    call.is_bpf()
        && match answer {
            Answer::Ok { .. } | Answer::Helpers(_) => true,
            Answer::Err { errno, step } => !BEFORE.map(Errno::from_raw).contains(errno) && of_bpf(step),
            Answer::Object(_) | Answer::Exec(_) => answer.calls().is_some_and(|calls| !calls.steps.is_empty()),
            Answer::NotMade { .. } => false,
        }
}

#[cfg(test)]
mod tests {
    use harness_protocol::plan::{self, Actor, Token};

    use super::*;

    fn record(hook: &str, verdict: &str, cgroup: u64, tgid: u32) -> String {
        let who = format!("{{\"pid\":9,\"tgid\":{tgid},\"cgroup\":{cgroup},\"exe\":{{\"dev\":\"0:1\",\"ino\":77}}}}");
        format!("{{\"seq\":1,\"hook\":\"{hook}\",\"verdict\":\"{verdict}\",\"who\":{who}}}")
    }

    fn witnessed(records: &[String], calls: u64, call: Call, answer: Answer) -> Result<Witnessed, WindowError> {
        let suspect = Suspect { cgroups: vec![5], processes: vec![12], is_filtered: false };
        let attempt = Attempt::new(Actor::Host, Token::None, call);
        Window { records: records.to_vec(), calls, filler: None, is_attacked: false }.witnessed(
            &suspect,
            &attempt,
            Some(&answer),
            &[77],
        )
    }

    const OK: Answer = Answer::Ok { detail: None };

    fn err(errno: i32, step: Option<&str>) -> Answer {
        Answer::Err { errno: Errno::from_raw(errno), step: step.map(str::to_owned) }
    }

    #[test]
    fn records_of_the_actor_are_kept_and_others_are_background() {
        let mine = [record("bpf", "allowed", 5, 1), record("btf", "allowed", 6, 12)];
        let foreign = record("bpf", "allowed", 6, 1);
        let all = [mine[0].clone(), foreign, mine[1].clone()];
        let kept = witnessed(&all, 3, Call::BtfLoad, OK).unwrap();
        assert_eq!(kept, Witnessed { records: mine.to_vec(), denied: false });
        let denied = [record("bpf", "denied", 5, 1)];
        assert!(witnessed(&denied, 1, Call::BtfLoad, err(libc::EPERM, None)).unwrap().denied);
    }

    #[test]
    fn a_denial_without_effect_is_a_fault() {
        let denied = |hook: &str| [record(hook, "denied", 5, 1)];
        let error = witnessed(&denied("bpf"), 1, Call::BtfLoad, OK).unwrap_err();
        insta::assert_snapshot!(error, @r#"the guard recorded a denial, but the call succeeded: {"seq":1,"hook":"bpf","verdict":"denied","who":{"pid":9,"tgid":1,"cgroup":5,"exe":{"dev":"0:1","ino":77}}}"#);
        assert!(witnessed(&denied("token-capable"), 1, Call::BtfLoad, OK).unwrap().denied, "it has the capability");
        assert!(witnessed(&denied("bpf"), 1, Call::Object(Default::default()), OK).unwrap().denied, "it was a probe");
    }

    #[test]
    fn a_denial_of_another_process_of_the_guest_program_is_a_fault() {
        let denied = record("bpf", "denied", 6, 1);
        let error = witnessed(std::slice::from_ref(&denied), 1, Call::BtfLoad, OK).unwrap_err();
        assert_eq!(error, WindowError::Bystander(denied.clone()));
        let of_another = denied.replace("77", "78");
        assert_eq!(witnessed(&[of_another], 1, Call::BtfLoad, OK).unwrap(), Witnessed::default());
    }

    #[test]
    fn what_fills_the_ring_is_nobodys() {
        let denied = record("bpf", "denied", 6, 13);
        let window = |filler| Window { records: vec![denied.clone()], calls: 1, filler, is_attacked: false };
        let attempt = Attempt::new(Actor::Host, Token::None, Call::BtfLoad);
        let witnessed = |filler| window(filler).witnessed(&Suspect::default(), &attempt, Some(&OK), &[77]);
        assert_eq!(witnessed(Some(13)), Ok(Witnessed::default()));
        assert_eq!(witnessed(None), Err(WindowError::Bystander(denied.clone())));
    }

    #[test]
    fn a_call_without_a_record_is_a_fault() {
        let error = witnessed(&[], 0, Call::BtfLoad, OK).unwrap_err();
        insta::assert_snapshot!(error, @"the guard has no record of the call");
        let none = |call, answer| witnessed(&[], 0, call, answer);
        assert!(none(Call::BtfLoad, err(libc::EPERM, Some("BPF_BTF_LOAD"))).is_err());
        assert!(none(Call::BtfLoad, err(libc::E2BIG, None)).is_ok(), "it is refused before the hook");
        assert!(none(Call::BtfLoad, err(libc::EPERM, Some("socket"))).is_ok(), "it did not come to the call");
        assert!(none(Call::SocketBind { port: 1 }, OK).is_ok(), "it is no call of bpf(2)");
        assert!(witnessed(&[], 1, Call::BtfLoad, OK).is_ok(), "it was only counted");
    }

    #[test]
    fn a_filter_may_keep_a_call_from_the_kernel() {
        let suspect = Suspect { is_filtered: true, ..Suspect::default() };
        let attempt = Attempt::new(Actor::Host, Token::None, Call::BtfLoad);
        let window = Window { records: vec![], calls: 0, filler: None, is_attacked: false };
        assert!(window.witnessed(&suspect, &attempt, Some(&err(libc::EPERM, None)), &[77]).is_ok());
    }

    #[test]
    fn a_refused_attack_needs_its_record_and_a_successful_one_blinds() {
        let attack = || Call::Attack { way: plan::Attack::UnlinkPin, copy: None };
        let made = |records: &[String], errno, step| witnessed(records, 0, attack(), err(errno, Some(step)));
        assert_eq!(made(&[], libc::EPERM, "unlink").unwrap_err(), WindowError::Unrecorded);
        assert_eq!(made(&[], libc::EACCES, "open /proc/PID/mem").unwrap_err(), WindowError::Unrecorded);
        assert!(made(&[record("inode-unlink", "denied", 5, 1)], libc::EPERM, "unlink").unwrap().denied);
        assert!(made(&[], libc::ENOENT, "open the bpffs").is_ok(), "it found nothing to attack");
        assert!(made(&[], libc::EPERM, "BPF_MAP_UPDATE_ELEM").is_ok(), "the map is frozen");
        let denied = [record("inode-unlink", "denied", 5, 1)];
        assert!(matches!(witnessed(&denied, 0, attack(), OK), Err(WindowError::NotEnforced(_))));
        let attempt = Attempt::new(Actor::Host, Token::None, Call::BtfLoad);
        let window = Window { records: vec![], calls: 0, filler: None, is_attacked: true };
        assert!(window.witnessed(&Suspect::default(), &attempt, Some(&OK), &[77]).is_ok());
    }

    #[test]
    fn a_record_that_cannot_be_read_is_a_fault() {
        let error = witnessed(&["{\"seq\":1}".to_owned()], 1, Call::BtfLoad, OK).unwrap_err();
        insta::assert_snapshot!(error, @r#"the guard printed a record that cannot be read (missing field `hook` at line 1 column 9): {"seq":1}"#);
    }
}
