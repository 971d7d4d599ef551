//! What one VM does: scenarios in which every name is resolved to the booted kernel's number.
//!
//! The host writes a [`Plan`] as JSON into the run folder, and the guest program reads it. The plan contains everything
//! that the guest needs; the guest has no vocabulary of its own.

mod attack;
mod call;
mod exec;
mod facts;
mod guard;
mod lsm;
mod names;
mod object;
mod reload;
mod restriction;
mod saved_objects;
mod shared;
mod signature;
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
pub use attack::{Attack, AttackTarget};
pub use call::{
    BatchOp, BpffsFd, Call, Holding, ObjectKind, PartContent, PartOffset, PerfEventSource, PinLocation, Sabotage,
    SocketDuty, ValuePart,
};
pub use exec::{Exec, ExecToken, LARGEST_PLACED, PLACED_FOLDER, PlacedContent, PlacedFile};
pub use guard::{COPIES, DIGEST_OF_COPIES, GUARD_PROGRAM, Guard, GuardMode, GuestCopy, Reader, Step};
pub use lsm::LsmHook;
pub use object::{
    AttachTargetTiming, BpffsLocation, LARGEST_OBJECT, MapSize, OBJECTS_FOLDER, ObjectLoad, Replaced, TokenPath,
};
pub use reload::Reload;
pub use restriction::{Filter, FilterErrno, Lockdown, Refused, Restrictions, SystemCall};
pub use shared::GlobalEffect;
pub use signature::{Keyring, OWN_CERTIFICATE, Signature, SigningKey};
pub use survey::{BadHelperIds, HelperIds, HelperSurvey};
pub use target::LinkTarget;
pub use token_command::TokenCommand;
pub use types::{Body, KernelMember, KernelType, MapTypes, ProgTarget, ProgTypes};
pub use unit::{Assignment, Manager, Unit};
pub use verify::Verify;

/// The version of plans and outcomes. It is raised when their meaning changes, so that stored outcomes are discarded.
pub const FORMAT: u32 = 8;

/// The file name of the plan in the run folder.
pub const PLAN_FILE: &str = "plan.json";

/// Everything that a VM does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The [`FORMAT`] of the program that wrote the plan.
    pub format: u32,
    /// The expected kernel; the guest proves that it runs this one.
    pub kernel: ExpectedKernel,
    /// Whether the host reads the machine's console: the guest parts it by marks ([`crate::outcome::ConsoleMark`]).
    pub marks_console: bool,
    /// The guard during the whole session, controls included, except for scenarios with a guard of their own. Outcomes
    /// keep no records of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
    /// The scenarios, in the order they run.
    pub scenarios: Vec<Scenario>,
}

/// The identity of the expected kernel. A field that is `None` is not checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedKernel {
    /// `uname -r`.
    pub release: Option<String>,
    /// CRC-32 (IEEE) of `/sys/kernel/btf/vmlinux`.
    pub btf_crc32: Option<u32>,
    /// CRC-32 (IEEE) of the text in `/proc/config.gz`.
    pub config_crc32: Option<u32>,
    /// CRC-32 (IEEE) of `/sys/kernel/notes`, which includes the build id: for a kernel without `/proc/config.gz`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes_crc32: Option<u32>,
    /// Names that `/sys/kernel/security/lsm` must list.
    pub lsm: Vec<String>,
    /// Whether the kernel's BTF shows that it predates tokens (Linux 6.9). It makes no bpffs that belongs to a
    /// container, so containers get one of the initial user namespace, and any descriptor stands in for a token.
    #[serde(default)]
    pub before_tokens: bool,
}

/// One scenario, run in fresh namespaces, with a fresh bpffs and cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name, which identifies its outcome.
    pub name: ScenarioName,
    /// How long it may take, in milliseconds, before it counts as hung; enforced by the host.
    pub deadline_ms: u64,
    /// `/proc/sys` settings while it runs, by dotted name.
    pub sysctls: BTreeMap<String, String>,
    /// LSM hooks on which our BPF program refuses everything with `EPERM` while attempts are made, but not while their
    /// controls are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lsm: Vec<LsmHook>,
    /// The level written to `/sys/kernel/security/lockdown` before its first case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lockdown: Option<Lockdown>,
    /// Its guard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
    /// The memory of its VM in MiB, which is its own then; that of the kernel's VMs by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u32>,
    /// Whether the VM ends with the scenario. Settings then need not be restored; some cannot be.
    pub own_vm: bool,
    /// One for each combination of its matrix; exactly one if it has none.
    pub cases: Vec<Case>,
}

impl Scenario {
    /// Makes a scenario of these cases that changes nothing of the machine, and shares its VM.
    pub fn new(name: ScenarioName, deadline_ms: u64, cases: Vec<Case>) -> Self {
        let (sysctls, lsm) = Default::default();
        Self { name, deadline_ms, sysctls, lsm, lockdown: None, guard: None, memory_mib: None, own_vm: false, cases }
    }
}

/// One combination of a scenario's matrix: containers, and attempts in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// `/proc/sys` settings while it runs, by dotted name, in addition to the scenario's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// Set up before the first attempt, in this order; a parent comes before its children.
    pub containers: Vec<Container>,
    /// The attempts, in order.
    pub attempts: Vec<Attempt>,
}

/// A process that starts as an unprivileged user, in namespaces of its own.
///
/// It always has a user and a mount namespace of its own, and a bpffs instance of its user namespace, made with
/// `fsopen(2)` in the container and `fsconfig(2)` by the guest program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Container {
    /// Its name in the scenario.
    pub name: ContainerName,
    /// The container in whose namespaces it is set up; `None` for the initial ones.
    pub parent: Option<ContainerName>,
    /// Whether it has namespaces of its own. Otherwise it is a process of its user in the namespaces of its parent, or
    /// in the initial ones, and pins in its parent's bpffs, or in one of the initial user namespace.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub unshare: bool,
    /// The user id that it starts as, which is mapped to root.
    pub uid: u32,
    /// The group id, likewise.
    pub gid: u32,
    /// The login that it belongs to (`/proc/PID/loginuid`, `CONFIG_AUDIT`); that of the guest program by default, which
    /// belongs to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loginuid: Option<u32>,
    /// Namespaces of its own in addition to user and mount.
    pub namespaces: Vec<Namespace>,
    /// The capabilities that it keeps in its own user namespace after setup, as numbers of `capabilities(7)`: its
    /// permitted, effective and bounding set.
    pub caps: Vec<u32>,
    /// The options of its bpffs, which the guest program sets before it is created.
    pub options: Vec<MountOption>,
    /// Whether it makes a token from its bpffs during setup, with every capability. `token = true` uses that token.
    pub token: bool,
    /// The restrictions that apply after setup.
    #[serde(default, skip_serializing_if = "Restrictions::is_none")]
    pub restrictions: Restrictions,
    /// The systemd unit that it is. Then everything above except its name is unused: systemd makes its namespaces and
    /// its bpffs, and chooses its user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
}

const fn yes() -> bool {
    true
}

/// Has the signature that serde requires.
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
    /// The executor of a container.
    Container(ContainerName),
}

/// One BPF operation by one actor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempt {
    /// Who makes it.
    pub actor: Actor,
    /// The capabilities in effect during the call, as numbers of `capabilities(7)`, out of those that its actor has;
    /// `None` for all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caps: Option<Vec<u32>>,
    /// What a child of the actor's process does first; then it makes the attempt. Without steps the process makes it itself.
    /// Controls take none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// The token that it hands over, for commands that take one.
    pub token: Token,
    /// The call.
    pub call: Call,
    /// The name under which the resulting file descriptor is saved for later attempts of the case.
    pub save: Option<String>,
    /// The index of an earlier attempt of the case whose controls this one shares: with every permission both are the
    /// same call, so it is made only once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controls_of: Option<u32>,
}

impl Attempt {
    /// Makes an attempt with all capabilities of its actor and with its own controls, whose result is not saved.
    pub fn new(actor: Actor, token: Token, call: Call) -> Self {
        Self { actor, caps: None, steps: Vec::new(), token, call, save: None, controls_of: None }
    }
}

/// The token an attempt hands to the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Token {
    /// None: the flag is not set.
    None,
    /// The token that the acting container made during setup.
    Own,
    /// The token that an earlier attempt saved under this name, sent to the actor over a socket.
    Saved(String),
    /// A token of another bpffs instance of the acting container, which delegates exactly this. It is made when first
    /// needed, with every capability, and used again by later attempts of the case with the same options.
    Of(Vec<MountOption>),
}
