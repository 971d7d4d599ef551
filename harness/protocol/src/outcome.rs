//! What a guest answered: one record a line of JSON, in the file [`RECORD_FILE`] of the run folder.
//!
//! The order is fixed: [`Event::Hello`], then for each scenario [`Event::ScenarioStart`], its containers and attempts,
//! [`Event::ScenarioEnd`], and at last [`Event::End`]. The announcement of a scenario reaches the host before the
//! scenario begins, so that a dead guest is charged to the scenario that killed it.

mod object;
mod unit;

use serde::{Deserialize, Serialize};

use crate::{
    errno::Errno,
    mount_option::MountOption,
    name::{ContainerName, ScenarioName},
    plan::HelperIds,
};
pub use object::{Feature, LONGEST_NAME, MOST_STEPS, ObjectAnswer, ObjectFailure, ObjectStep, Purpose};
pub use unit::{LONGEST_WARNING, MOST_WARNINGS, UnitFact};

/// The name of the record in the run folder.
pub const RECORD_FILE: &str = "outcomes.jsonl";

/// A line may have this many bytes, its end included.
pub const LONGEST_LINE: usize = 192 * 1024;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Counts from 0 without a gap.
    pub seq: u64,
    /// What happened.
    pub event: Event,
}

/// What happened in the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// The guest program runs on the kernel that was asked for, and has read a plan it understands.
    Hello {
        /// [`crate::plan::FORMAT`] the guest speaks.
        format: u32,
        /// `uname -r`.
        release: String,
    },
    /// The guest cannot or must not go on: the wrong kernel, an unreadable plan. No verdict follows from it.
    Fault {
        /// What was expected, what was found.
        message: String,
    },
    /// A scenario is about to start.
    ScenarioStart {
        /// Which.
        scenario: ScenarioName,
    },
    /// A container stands.
    Container {
        /// Index of the case in the scenario.
        case: u32,
        /// Which container.
        container: ContainerName,
        /// The `delegate_*` options its bpffs has by `/proc/self/mountinfo`, in that order.
        mounted: Vec<MountOption>,
        /// What the token that was made while it was set up holds, if one was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<TokenMasks>,
        /// Why it has none, where it was asked for one and that is an answer: in a unit of systemd.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        no_token: Option<Errno>,
    },
    /// A container that is a unit of systemd is gone, or never stood: the last of what is told of its case.
    Unit(UnitFact),
    /// An attempt was made, and its controls.
    Attempt {
        /// Index of the case in the scenario.
        case: u32,
        /// Index of the attempt in the case.
        attempt: u32,
        /// What the actor was answered.
        answer: Answer,
        /// What full root in the initial namespaces was answered, without a token.
        root: Control,
        /// What a fresh container with everything delegated and every capability was answered.
        container: Control,
    },
    /// It was found out why an attempt of this case failed although a control succeeds.
    Cause {
        /// Index of the case in the scenario.
        case: u32,
        /// Index of the attempt in the case.
        attempt: u32,
        /// What it would have taken.
        cause: Cause,
    },
    /// A scenario is over and everything it made is gone.
    ScenarioEnd {
        /// Which.
        scenario: ScenarioName,
        /// Things it left behind, each named; none if all is well.
        leftovers: Vec<String>,
        /// Why it could not be carried out, if so: a fault of the scenario or the harness, never a verdict.
        fault: Option<String>,
        /// How long it took, in microseconds.
        micros: u64,
    },
    /// Everything in the plan was done.
    End {
        /// How many scenarios.
        scenarios: u32,
    },
}

/// The kernel's answer to a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// The call succeeded.
    Ok {
        /// What else it said that is the same in every run, such as a looked-up value.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    /// The call failed.
    Err {
        /// Its errno.
        errno: Errno,
        /// Which system call of several failed, such as `fsconfig delegate_cmds`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<String>,
    },
    /// libbpf loaded an object, or tried to.
    Object(ObjectAnswer),
    /// A survey was made: the helpers that the verifier grants.
    Helpers(HelperIds),
    /// Nobody asked the kernel: the unit of systemd that was to make the attempt did not run, or not any more.
    NotMade {
        /// Why, the same in every run.
        why: String,
    },
}

impl Answer {
    /// Whether it was done.
    pub fn succeeded(&self) -> bool {
        match self {
            Self::Ok { .. } | Self::Helpers(_) => true,
            Self::Err { .. } | Self::NotMade { .. } => false,
            Self::Object(object) => object.failure.is_none(),
        }
    }
}

/// The answer to the same attempt with every permission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Control {
    /// It was made.
    Made(Answer),
    /// It could not be made, because something it needs could not be made; why.
    NotMade(String),
}

/// Whether the kernel refused what it does for somebody with every permission: what a cause is looked for.
pub fn is_denial(answer: &Answer, root: &Control, container: &Control) -> bool {
    let was_made = !matches!(answer, Answer::NotMade { .. });
    was_made && !answer.succeeded() && (root.succeeded() || container.succeeded())
}

impl Control {
    /// Whether it was made and succeeded.
    pub fn succeeded(&self) -> bool {
        matches!(self, Self::Made(answer) if answer.succeeded())
    }
}

/// Why an attempt was denied, found by making it again with changes of its container until the kernel does it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Cause {
    /// With these changes together the kernel did it, and with none left out. If one change is enough, it is one.
    Missing(Vec<Change>),
    /// Every change together did not make the kernel do it: only root outside of all user namespaces may.
    NotDelegable,
    /// It was not looked for, and why.
    Unknown(String),
}

/// One thing given to an actor, or taken out of its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Change {
    /// A token of the container's own bpffs was handed over, in place of none or of another one.
    Token,
    /// A token was asked from the container's own bpffs, in place of another one.
    Bpffs,
    /// The token's bpffs delegated this bit besides.
    Delegate {
        /// The mount option, such as `delegate_maps`.
        option: String,
        /// The bit's number in it, which is that of a command or type.
        bit: u32,
    },
    /// The actor had this capability in its user namespace, by its number in `capabilities(7)`.
    Capability(u32),
    /// A setting below `/proc/sys` had this value.
    Sysctl {
        /// Its dotted name.
        name: String,
        /// The value.
        value: String,
    },
    /// No program of the scenario sat on a hook of the security modules.
    NoLsm,
    /// No system call filter stood in the way.
    NoSeccomp,
}

/// All that is known of one scenario after its VM: what the session gathers and the store keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioOutcome {
    /// Which.
    pub scenario: ScenarioName,
    /// The containers that stood.
    pub containers: Vec<ContainerFact>,
    /// The attempts that were answered, in the order they were made; all of them if it finished.
    pub attempts: Vec<AttemptFact>,
    /// The containers that were units of systemd, when they were gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<UnitFact>,
    /// How it ended.
    pub end: ScenarioEnd,
}

/// [`Event::Container`] as kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerFact {
    /// Index of the case in the scenario.
    pub case: u32,
    /// Which container.
    pub container: ContainerName,
    /// The `delegate_*` options its bpffs really has.
    pub mounted: Vec<MountOption>,
    /// What its token holds, if one was made while it was set up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenMasks>,
    /// Why it has none, where it was asked for one and that is an answer: in a unit of systemd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_token: Option<Errno>,
}

/// What a token holds, by everything the kernel tells about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenMasks {
    /// `allowed_cmds`, `allowed_maps`, `allowed_progs` and `allowed_attachs` of `/proc/self/fdinfo`, as they are
    /// written there: `any` or a hexadecimal number.
    pub fdinfo: [String; 4],
    /// The same by `BPF_OBJ_GET_INFO_BY_FD`; `None` if the kernel does not do that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<[u64; 4]>,
}

/// [`Event::Attempt`] as kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptFact {
    /// Index of the case in the scenario.
    pub case: u32,
    /// Index of the attempt in the case.
    pub attempt: u32,
    /// What the actor was answered.
    pub answer: Answer,
    /// What full root was answered.
    pub root: Control,
    /// What a container with every permission was answered.
    pub container: Control,
    /// Why it failed, if it did although a control succeeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
}

/// How a scenario ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ScenarioEnd {
    /// Every attempt was answered and nothing was left behind.
    Finished {
        /// How long it took in the guest, in microseconds.
        micros: u64,
    },
    /// It could not be carried out, or left something behind: a fault of the scenario or the harness, not a verdict.
    Fault {
        /// What happened.
        message: String,
    },
    /// The VM died or hung during it.
    Crashed {
        /// Whether it died or hung, and after how long.
        how: String,
        /// The last lines of the console.
        console: Vec<String>,
    },
}
