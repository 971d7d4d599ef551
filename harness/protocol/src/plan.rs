//! What one VM is asked to do: scenarios with every name resolved to the booted kernel's number.
//!
//! The host writes a [`Plan`] as JSON into the run folder, the guest program reads it. Everything the guest needs is in
//! it; the guest knows no vocabulary of its own.

mod call;
mod facts;
mod lsm;
mod names;
mod object;
mod restriction;
mod saved_objects;
mod shared;
mod survey;
mod target;
mod token_command;
mod types;
mod unit;
mod verify;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    mount_option::MountOption,
    name::{ContainerName, ScenarioName},
};
pub use call::{
    BatchOp, BpffsFd, Call, Holding, ObjectKind, PartContent, PartOffset, PinLocation, Sabotage, SocketDuty, ValuePart,
};
pub use lsm::LsmHook;
pub use object::{AttachTargetTiming, BpffsLocation, LARGEST_OBJECT, OBJECTS_FOLDER, ObjectLoad, Replaced, TokenPath};
pub use restriction::{Filter, FilterErrno, Lockdown, Refused, Restrictions, SystemCall};
pub use shared::GlobalEffect;
pub use survey::{BadHelperIds, HelperIds, HelperSurvey};
pub use target::LinkTarget;
pub use token_command::TokenCommand;
pub use types::{Body, KernelMember, KernelType, MapTypes, ProgTarget, ProgTypes};
pub use unit::{Assignment, Manager, Unit};
pub use verify::Verify;

/// Raised when the meaning of a plan or of an outcome changes, so that old stored outcomes are not believed.
pub const FORMAT: u32 = 6;

/// The name of the plan in the run folder.
pub const PLAN_FILE: &str = "plan.json";

/// All a VM has to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`FORMAT`] of the program that wrote the plan.
    pub format: u32,
    /// The kernel that was asked for; the guest proves that it runs.
    pub kernel: ExpectedKernel,
    /// In the order they run.
    pub scenarios: Vec<Scenario>,
}

/// What identifies the kernel asked for. A field that is `None` is not checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedKernel {
    /// `uname -r`.
    pub release: Option<String>,
    /// CRC-32 (IEEE) of `/sys/kernel/btf/vmlinux`.
    pub btf_crc32: Option<u32>,
    /// CRC-32 (IEEE) of the text in `/proc/config.gz`.
    pub config_crc32: Option<u32>,
    /// CRC-32 (IEEE) of `/sys/kernel/notes`, the kernel's build id among it: for a kernel without `/proc/config.gz`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes_crc32: Option<u32>,
    /// Names that `/sys/kernel/security/lsm` must list.
    pub lsm: Vec<String>,
    /// Whether it is from before tokens (Linux 6.9), as its own BTF says: it makes no bpffs that belongs to a container,
    /// so containers get one of the initial user namespace, and some descriptor is handed over for every token.
    #[serde(default)]
    pub before_tokens: bool,
}

/// One scenario, run in fresh namespaces, bpffs and cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name, by which outcomes are told apart.
    pub name: ScenarioName,
    /// How long it may take, in milliseconds, before it counts as hung; enforced by the host.
    pub deadline_ms: u64,
    /// `/proc/sys` settings for its time, by dotted name.
    pub sysctls: BTreeMap<String, String>,
    /// Hooks on which a BPF program of ours refuses everything with `EPERM` while attempts are made, but not while their
    /// controls are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lsm: Vec<LsmHook>,
    /// Set before its first case by `/sys/kernel/security/lockdown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lockdown: Option<Lockdown>,
    /// Whether the VM ends with the scenario: then settings need not be restored, and some cannot be.
    pub own_vm: bool,
    /// One for each combination of its matrix; exactly one if it has none.
    pub cases: Vec<Case>,
}

/// One combination of a scenario's matrix: containers, and attempts in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// `/proc/sys` settings for its time, by dotted name, on top of the scenario's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// Made before the first attempt, in this order; a parent stands before its children.
    pub containers: Vec<Container>,
    /// In the order they are made.
    pub attempts: Vec<Attempt>,
}

/// A process tree that starts as an unprivileged user and sits in namespaces of its own.
///
/// A user and a mount namespace are always its own. A bpffs instance of its own user namespace is always made, by the
/// handshake of `fsopen(2)` in the container and `fsconfig(2)` by the privileged party.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Container {
    /// Its name in the scenario.
    pub name: ContainerName,
    /// The container in whose namespaces it is made; the initial ones if `None`.
    pub parent: Option<ContainerName>,
    /// Whether it has namespaces of its own. A container without is a process of its user in the namespaces of its
    /// parent, or in the initial ones; the bpffs it pins in is its parent's, or one of the initial user namespace.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub unshare: bool,
    /// The user and group id it starts as, and is mapped to root from.
    pub uid: u32,
    /// See [`Container::uid`].
    pub gid: u32,
    /// Further namespaces of its own.
    pub namespaces: Vec<Namespace>,
    /// Capabilities it keeps in its own user namespace once it is set up, as numbers of `capabilities(7)`; permitted,
    /// effective and bounding.
    pub caps: Vec<u32>,
    /// Set on its bpffs by the privileged party before it is created.
    pub options: Vec<MountOption>,
    /// Whether it makes a token from its bpffs while it is set up, with every capability: what `token = true` uses.
    pub token: bool,
    /// What it puts up with from then on.
    #[serde(default, skip_serializing_if = "Restrictions::is_none")]
    pub restrictions: Restrictions,
    /// The unit of systemd it is, in place of all that is said above but its name: systemd makes its namespaces and its
    /// bpffs, and says who it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
}

const fn yes() -> bool {
    true
}

/// The form serde asks for.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_yes(value: &bool) -> bool {
    *value
}

/// A namespace besides user and mount, which every container has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Namespace {
    /// `CLONE_NEWNET`, with `lo` up and a dummy interface named `dummy0`.
    Net,
    /// `CLONE_NEWPID`.
    Pid,
    /// `CLONE_NEWIPC`.
    Ipc,
    /// `CLONE_NEWUTS`.
    Uts,
    /// `CLONE_NEWCGROUP`.
    Cgroup,
}

/// Who makes an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// Full root in the initial namespaces.
    Host,
    /// The agent of a container.
    Container(ContainerName),
}

/// One BPF operation by one actor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempt {
    /// Who makes it.
    pub actor: Actor,
    /// The capabilities that are in effect during the call, of those its actor has, as numbers of `capabilities(7)`;
    /// all of them if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caps: Option<Vec<u32>>,
    /// The token it hands over, for the commands that take one.
    pub token: Token,
    /// What is attempted.
    pub call: Call,
    /// The name under which the resulting file descriptor is kept for later attempts of the case.
    pub save: Option<String>,
    /// The earlier attempt of the case whose controls are this one's too, by its place: with every permission both are
    /// the same call, and it is made only once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controls_of: Option<u32>,
}

impl Attempt {
    /// An attempt with all capabilities of its actor and with controls of its own, of which nothing is kept.
    pub fn new(actor: Actor, token: Token, call: Call) -> Self {
        Self { actor, caps: None, token, call, save: None, controls_of: None }
    }
}

/// The token an attempt hands to the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Token {
    /// None: the flag is not set.
    None,
    /// The one the acting container made while it was set up.
    Own,
    /// The one an earlier attempt saved under this name, sent to the actor over a socket.
    Saved(String),
    /// One of another bpffs instance of the acting container, which delegates exactly this; made when it is first
    /// needed, with every capability, and used again by later attempts of the case that name the same options.
    Of(Vec<MountOption>),
}
