//! The guest's answers: one record per line of JSON, in the file [`RECORD_FILE`] of the run folder.
//!
//! The order is fixed: [`Event::Hello`]; for each scenario [`Event::ScenarioStart`], its containers and attempts, and
//! [`Event::ScenarioEnd`]; finally [`Event::End`]. The start of a scenario reaches the host before the scenario begins,
//! so that a dead guest is charged to the scenario that killed it.

mod exec;
mod object;
mod splat;
mod unit;

use serde::{Deserialize, Serialize};

use crate::{
    errno::Errno,
    mount_option::MountOption,
    name::{ContainerName, ScenarioName},
    plan::HelperIds,
};
pub use exec::{Asked, ExecAnswer, ExecEnd, Frame, MOST_ASKED, MOST_FRAMES, MOST_OUTPUT, MOST_SITES};
pub use object::{
    Feature, LONGEST_NAME, LONGEST_REASON, MOST_MESSAGES, MOST_STEPS, ObjectAnswer, ObjectFailure, ObjectStep, Purpose,
    VerifierMessage,
};
pub use splat::{CONSOLE_MARK, ConsoleMark, Splat, TAINTS, taint_names};
pub use unit::{LONGEST_WARNING, MOST_WARNINGS, UnitFact};

/// The file name of the record in the run folder.
pub const RECORD_FILE: &str = "outcomes.jsonl";

/// The longest line in bytes, including its end.
pub const LONGEST_LINE: usize = 384 * 1024;

/// What the guest program's message begins with if it cannot write the record: the share is the host's, so the host is at fault.
pub const RECORD_LOST: &str = "cannot keep the record";

/// One line of the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The record's number, counted from 0 without gaps.
    pub seq: u64,
    /// What happened.
    pub event: Event,
}

/// What happened in the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// The guest program runs on the expected kernel and has read its plan.
    Hello {
        /// The [`crate::plan::FORMAT`] that the guest uses.
        format: u32,
        /// `uname -r`.
        release: String,
    },
    /// The guest cannot go on: the wrong kernel, an unreadable plan. It gives no verdict.
    Fault {
        /// The error.
        message: String,
    },
    /// A scenario is about to start.
    ScenarioStart {
        /// The scenario.
        scenario: ScenarioName,
    },
    /// A container was set up.
    Container {
        /// Index of the case in the scenario.
        case: u32,
        /// The container.
        container: ContainerName,
        /// The `delegate_*` options that `/proc/self/mountinfo` shows for its bpffs, in that order.
        mounted: Vec<MountOption>,
        /// What its token holds, if one was made during setup.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<TokenMasks>,
        /// The errno of the refused token, where a refusal is an answer: in a systemd unit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        no_token: Option<Errno>,
    },
    /// A container that is a systemd unit has ended, or did not start. This is the last event of its case.
    Unit(UnitFact),
    /// An attempt and its controls were made.
    Attempt {
        /// Index of the case in the scenario.
        case: u32,
        /// Index of the attempt in the case.
        attempt: u32,
        /// The answer that the actor got.
        answer: Answer,
        /// The answer that full root in the initial namespaces got, without a token.
        root: Control,
        /// The answer that a fresh container with everything delegated and every capability got.
        container: Control,
    },
    /// What the guard recorded of the attempt before. There may be several of these events for an attempt.
    Guard {
        /// Index of the case in the scenario.
        case: u32,
        /// Index of the attempt in the case.
        attempt: u32,
        /// The records of the actor's processes, in order, each one line of JSON as the guard wrote it.
        records: Vec<String>,
    },
    /// The search for the cause of a denial has ended.
    Cause {
        /// Index of the case in the scenario.
        case: u32,
        /// Index of the attempt in the case.
        attempt: u32,
        /// The cause.
        cause: Cause,
    },
    /// A scenario is over and everything it made is gone.
    ScenarioEnd {
        /// The scenario.
        scenario: ScenarioName,
        /// What it left behind, each named; empty if nothing.
        leftovers: Vec<String>,
        /// Why it could not be carried out, if so: a fault of the scenario or the harness, never a verdict.
        fault: Option<String>,
        /// How long it took, in microseconds.
        micros: u64,
        /// The taint flags of the kernel, `/proc/sys/kernel/tainted`, that were set while it ran.
        #[serde(default, skip_serializing_if = "is_zero")]
        tainted: u64,
    },
    /// The whole plan was carried out.
    End {
        /// The number of scenarios.
        scenarios: u32,
    },
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The kernel's answer to a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// The call succeeded.
    Ok {
        /// What else the call returned that is the same in every run, such as a looked-up value.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    /// The call failed.
    Err {
        /// Its errno.
        errno: Errno,
        /// The system call that failed, if there are several, such as `fsconfig delegate_cmds`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<String>,
    },
    /// libbpf loaded an object, or tried to.
    Object(ObjectAnswer),
    /// A program was run.
    Exec(Box<ExecAnswer>),
    /// A survey was made: the helpers that the verifier grants.
    Helpers(HelperIds),
    /// The kernel was not asked: the systemd unit that should make the attempt did not run, or has ended.
    NotMade {
        /// The reason, the same in every run.
        why: String,
    },
}

impl Answer {
    /// Returns whether the kernel did what was asked.
    pub fn succeeded(&self) -> bool {
        match self {
            Self::Ok { .. } | Self::Helpers(_) => true,
            Self::Err { .. } | Self::NotMade { .. } => false,
            Self::Object(object) => object.failure.is_none(),
            Self::Exec(exec) => exec.end.is_success(),
        }
    }

    /// Returns the calls that it lists, if it is the answer to many.
    pub fn calls(&self) -> Option<&ObjectAnswer> {
        match self {
            Self::Object(object) => Some(object),
            Self::Exec(exec) => Some(&exec.calls),
            Self::Ok { .. } | Self::Err { .. } | Self::Helpers(_) | Self::NotMade { .. } => None,
        }
    }
}

/// The answer to the same attempt with every permission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Control {
    /// The control was made.
    Made(Answer),
    /// The control could not be made, because something that it needs is missing; the reason.
    NotMade(String),
}

/// Returns whether the kernel denied what it does for somebody with every permission. A cause is searched for only
/// then.
pub fn is_denial(answer: &Answer, root: &Control, container: &Control) -> bool {
    let was_made = !matches!(answer, Answer::NotMade { .. });
    was_made && !answer.succeeded() && (root.succeeded() || container.succeeded())
}

impl Control {
    /// Returns whether it was made and succeeded.
    pub fn succeeded(&self) -> bool {
        matches!(self, Self::Made(answer) if answer.succeeded())
    }
}

/// Why an attempt was denied, found by retrying it with changes to its container until the kernel allows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Cause {
    /// The smallest set of changes with which the kernel allows it. A single change is preferred.
    Missing(Vec<Change>),
    /// No change makes the kernel allow it: only root outside of all user namespaces may.
    NotDelegable,
    /// There was no search, or it failed; the reason.
    Unknown(String),
}

/// One thing given to an actor, or removed from its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Change {
    /// A token of the container's own bpffs, in place of none or another one.
    Token,
    /// The container's own bpffs as the source of the token, in place of another one.
    Bpffs,
    /// One more bit delegated by the token's bpffs.
    Delegate {
        /// The mount option, such as `delegate_maps`.
        option: String,
        /// The bit's number in the mask, which is that of a command or type.
        bit: u32,
    },
    /// A capability in the actor's user namespace, by its number in `capabilities(7)`.
    Capability(u32),
    /// A value of a setting below `/proc/sys`.
    Sysctl {
        /// The setting's dotted name.
        name: String,
        /// The value.
        value: String,
    },
    /// No LSM program of the scenario.
    NoLsm,
    /// No guard.
    NoGuard,
    /// No system call filter.
    NoSeccomp,
}

/// Everything known of one scenario: what the session collects and the outcome store keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioOutcome {
    /// The scenario.
    pub scenario: ScenarioName,
    /// The containers that were set up.
    pub containers: Vec<ContainerFact>,
    /// The attempts that were answered, in order; all of them if the scenario finished.
    pub attempts: Vec<AttemptFact>,
    /// The containers that were systemd units, as they ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<UnitFact>,
    /// The splats that the kernel printed while it ran.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub splats: Vec<Splat>,
    /// How it ended.
    pub end: ScenarioEnd,
}

/// A stored [`Event::Container`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerFact {
    /// Index of the case in the scenario.
    pub case: u32,
    /// The container.
    pub container: ContainerName,
    /// The `delegate_*` options that its bpffs shows.
    pub mounted: Vec<MountOption>,
    /// What its token holds, if one was made during setup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenMasks>,
    /// The errno of the refused token, where a refusal is an answer: in a systemd unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_token: Option<Errno>,
}

/// What a token holds, by every interface through which the kernel shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenMasks {
    /// `allowed_cmds`, `allowed_maps`, `allowed_progs` and `allowed_attachs` from `/proc/self/fdinfo`, as shown there:
    /// `any` or a hexadecimal number.
    pub fdinfo: [String; 4],
    /// The same from `BPF_OBJ_GET_INFO_BY_FD`; `None` if the kernel does not support that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<[u64; 4]>,
}

/// A stored [`Event::Attempt`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptFact {
    /// Index of the case in the scenario.
    pub case: u32,
    /// Index of the attempt in the case.
    pub attempt: u32,
    /// The answer that the actor got.
    pub answer: Answer,
    /// The answer that full root got.
    pub root: Control,
    /// The answer that a container with every permission got.
    pub container: Control,
    /// Why it was denied, if a control succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The records that the guard made of it, in order, each one line of JSON.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guard: Vec<String>,
}

/// How a scenario ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ScenarioEnd {
    /// Every attempt was answered, and nothing was left behind.
    Finished {
        /// How long it took in the guest, in microseconds.
        micros: u64,
    },
    /// It could not be carried out, or left something behind: a fault of the scenario or the harness, not a verdict.
    Fault {
        /// What went wrong.
        message: String,
    },
    /// The VM died or hung during the scenario.
    Crashed {
        /// Whether it died or hung, and after how long.
        how: String,
        /// The last lines of the console.
        console: Vec<String>,
    },
}
