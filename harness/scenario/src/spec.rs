//! The keys of a scenario file. Their documentation is shown in `docs/scenario-reference.md` and in editors.

use std::collections::BTreeMap;

use harness_protocol::plan::{
    Assignment, FilterErrno, GuardMode, GuestCopy, Lockdown, LsmHook, Manager, Namespace, Reader,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    attempt::Attempt,
    choice::{Assigned, Axis, Capabilities, Setting, Texts},
    sweep::Sweep,
};

/// A scenario: what is delegated, who acts, and what is attempted in which order.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Scenario")]
pub struct Spec {
    /// What the scenario proves, in one sentence.
    pub summary: String,
    /// The kernels that the scenario is for: comparisons with MAJOR.MINOR that must all hold, such as `">=6.9"` or
    /// `">=6.12, <7.0"`. Other kernels skip the scenario. By default it is for every kernel.
    #[serde(default)]
    pub kernels: Option<String>,
    /// Kconfig options that the kernel must have, built in or as modules, such as `["CONFIG_BPF_JIT_ALWAYS_ON"]`. Other
    /// kernels skip the scenario.
    #[serde(default)]
    pub config: Vec<String>,
    /// The images that the scenario is for: a name, or a glob such as `systemd-*`. Other images skip the scenario. By
    /// default it is for every image; a scenario with a systemd unit must set this key.
    #[serde(default)]
    pub images: Option<String>,
    /// The assignments of the container's unit file, and of each of its drop-ins. They are read from files beside the
    /// scenario.
    #[serde(default)]
    #[schemars(skip)]
    pub unit_file: Vec<Vec<Assignment>>,
    /// Which other scenarios may run in the same boot of the kernel.
    #[serde(default)]
    pub isolation: Isolation,
    /// The time after which the scenario counts as hung, in seconds, such as `60`.
    #[serde(default = "default_deadline")]
    #[schemars(range(min = 1, max = 300))]
    pub deadline: u64,
    /// Settings of the whole VM while the scenario runs.
    #[serde(default)]
    pub vm: VmSettings,
    /// Runs the scenario once for each combination of values. With `type = ["hash", "array"]`, each of the two values
    /// replaces `{type}` in all strings below `delegate`, `container`, `containers` and `attempt`. `"@map_types"`,
    /// `"@prog_types"`, `"@attach_types"` and `"@cmds"` stand for every name that the booted kernel knows, except types
    /// that need another object first.
    #[serde(default)]
    pub matrix: BTreeMap<String, Axis>,
    /// What the bpffs of the container named `container` delegates, such as `{ cmds = ["map_create"], maps = ["hash"]
    /// }`; by default nothing.
    #[serde(default)]
    pub delegate: Delegate,
    /// The container named `container`, which makes every attempt without `by`.
    #[serde(default)]
    pub container: Option<ContainerSpec>,
    /// Further containers by name, such as `[containers.intruder]`. The names `container` and `host` are reserved.
    #[serde(default)]
    #[schemars(extend("maxProperties" = MOST_CONTAINERS))]
    pub containers: BTreeMap<String, NamedContainer>,
    /// The attempts, in this order: one `[[attempt]]` each.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub attempt: Vec<Attempt>,
    /// Attempts everything of one kind that the booted kernel knows, instead of `[[attempt]]`. A sweep makes its own
    /// container.
    #[serde(default)]
    pub sweep: Option<Sweep>,
}

/// The most named containers of a scenario.
pub const MOST_CONTAINERS: usize = 16;

const fn default_deadline() -> u64 {
    20
}

/// Which other scenarios may run in the same boot of the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// All others: each scenario has its own namespaces, bpffs and cgroup, and they run one after the other.
    #[default]
    Shared,
    /// None: the scenario changes the kernel until the next boot, so it has a boot of its own.
    Vm,
}

/// Settings of the whole VM while the scenario runs.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Vm")]
pub struct VmSettings {
    /// Kernel settings below `/proc/sys`, by dotted name, such as `kernel.unprivileged_bpf_disabled = 0`. Only settings
    /// below `kernel.`, `net.`, `user.`, `vm.` and `fs.` can be set; their earlier values are restored afterwards.
    #[serde(default)]
    pub sysctl: BTreeMap<String, Setting>,
    /// LSM hooks on which a BPF program refuses everything with `EPERM` while attempts are made, such as
    /// `["bpf_token_cmd"]`. Controls are made without it.
    #[serde(default)]
    pub lsm: Vec<LsmHook>,
    /// Locks the kernel down (`kernel_lockdown(7)`); by default it is not. This lasts until the next boot, so it needs
    /// `isolation = "vm"`.
    #[serde(default)]
    pub lockdown: Option<Lockdown>,
    /// The guard that records every `bpf(2)` call while attempts are made and decides by a policy, such as `{ policy =
    /// "narrow.guard.toml" }`. Controls are made without it; by default there is none.
    #[serde(default)]
    pub guard: Option<GuardSetting>,
    /// The memory of the VM in MiB, such as `2048`, which needs `isolation = "vm"`. By default it is that of the kernel's
    /// manifest, or 512.
    #[serde(default)]
    #[schemars(range(min = 256, max = 8192))]
    pub memory_mib: Option<u32>,
}

/// The guard of a scenario.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Guard")]
pub struct GuardSetting {
    /// The file of its policy beside the scenario, such as `narrow.guard.toml`.
    pub policy: String,
    /// The mode, in place of the one that the policy sets.
    #[serde(default)]
    pub mode: Option<GuardMode>,
    /// Whether it is in force since the initramfs, before anything else can load programs. Nothing switches it off then,
    /// so the policy must allow the controls, which uid 0 makes. It lasts until the next boot, so it needs `isolation =
    /// "vm"`.
    #[serde(default)]
    pub early: bool,
    /// Whether it is started in the running system, late, yet stays as an early one: `bpf-guard early` pins its links in a
    /// bpffs of its own below `/run`, and another process reads its records. Nothing switches it off either, so it needs
    /// `isolation = "vm"` too.
    #[serde(default)]
    pub pinned: bool,
    /// What the process that reads the guard's records does while attempts are made. It cannot be combined with `early`,
    /// whose guard lets nobody stop the reader.
    #[serde(default)]
    pub reader: Reader,
    /// Copies of the guest program for attempts to execute (`exec`), such as `{ agent = "same" }`. The file of each is
    /// `/run/copies/NAME`, which is there before the guard is. In the policy, a digest of 64 zeros stands for that of the
    /// guest program, which is another one for each build: the digest of fs-verity if a copy is of kind `verity`, otherwise
    /// SHA-256. They cannot be combined with `early`.
    #[serde(default)]
    pub copies: BTreeMap<String, GuestCopy>,
    /// The text of the policy.
    #[serde(skip)]
    pub text: String,
}

/// A system call filter. It refuses some calls and allows all others.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Seccomp {
    /// The system calls that it refuses, or commands of `bpf(2)`, such as `["fsconfig", "bpf:map_create"]`. The system
    /// calls can be `bpf`, `fsopen`, `fsconfig`, `fspick`, `open_tree` and `perf_event_open`.
    #[schemars(length(min = 1, max = 64))]
    pub refuse: Vec<String>,
    /// The error that refused calls return.
    #[serde(default)]
    pub errno: FilterErrno,
}

/// What a bpffs delegates: lists of names in upper or lower case, with or without their `BPF_` prefix, or `["any"]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Delegate {
    /// Commands of `bpf(2)`, such as `["map_create"]`: the mount option `delegate_cmds`.
    #[serde(default)]
    pub cmds: Vec<String>,
    /// Map types, such as `["hash"]`: the mount option `delegate_maps`.
    #[serde(default)]
    pub maps: Vec<String>,
    /// Program types, such as `["xdp"]`: the mount option `delegate_progs`.
    #[serde(default)]
    pub progs: Vec<String>,
    /// Attach types, such as `["tcx_ingress"]`: the mount option `delegate_attachs`.
    #[serde(default)]
    pub attachs: Vec<String>,
    /// Mount options that are passed to the kernel unchanged, for scenarios about its parser: `delegate_cmds = "0x21"`,
    /// or a list of values that are set one after the other.
    #[serde(default)]
    pub raw: BTreeMap<String, Texts>,
}

/// What sets up a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContainerKind {
    /// The guest program: the container is a process in namespaces of its own.
    #[default]
    Namespaces,
    /// The guest's systemd: the container is the process of a service.
    Systemd,
}

/// The key of [`Spec::unit_file`].
pub(crate) const UNIT_FILE: &str = "unit_file";

/// The most keys that a unit assigns, drop-ins that it has, and options of systemd-nspawn.
pub const MOST_ASSIGNMENTS: usize = 64;

/// A container: a process that starts as an unprivileged user, in user and mount namespaces of its own.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContainerSpec {
    /// What sets up the container. With `"systemd"` it is a service, and only the keys `unit_file`, `unit`, `drop_ins`,
    /// `instance`, `manager` and `nspawn` apply.
    #[serde(default)]
    pub kind: ContainerKind,
    /// A unit file beside the scenario, such as `"agent.service"`. Drop-ins in `agent.service.d` are read as systemd
    /// would read them. Settings that cannot work in a VM are removed or replaced; `cargo xtask validate --prove` lists
    /// them. `unit` then becomes another drop-in, followed by `drop_ins`.
    #[serde(default)]
    pub unit_file: Option<String>,
    /// The assignments in the section `[Service]` of the unit file, such as `PrivateBPF = true`. A list makes one
    /// assignment per value, in this order; an empty string resets. The command that starts the process is added.
    #[serde(default)]
    #[schemars(extend("maxProperties" = MOST_ASSIGNMENTS))]
    pub unit: BTreeMap<String, Assigned>,
    /// The assignments of each drop-in, in the order in which systemd reads them, such as `[{ PrivateBPF = false }]`.
    #[serde(default)]
    #[schemars(length(max = MOST_ASSIGNMENTS))]
    pub drop_ins: Vec<BTreeMap<String, Assigned>>,
    /// The name of an instance, such as `"a"`, for which `%i` stands. The unit file is then a template.
    #[serde(default)]
    pub instance: Option<String>,
    /// Which manager runs the unit. `"user"` is that of an unprivileged user, uid 1000.
    #[serde(default)]
    pub manager: Manager,
    /// Makes the unit run systemd-nspawn with these options, such as `["--private-users=65536:65536"]`. The attempts
    /// run in its container, which sees the `/usr` of the image and nothing else of the VM.
    #[serde(default)]
    #[schemars(length(max = MOST_ASSIGNMENTS))]
    pub nspawn: Option<Vec<String>>,
    /// The user and group id that it starts as. Inside its user namespace, this is root.
    #[serde(default = "default_uid")]
    #[schemars(range(min = 1, max = 65533))]
    pub uid: u32,
    /// The user id that it logged in as (`/proc/PID/loginuid`), such as `1000`; by default it belongs to no login. This
    /// needs `config = ["CONFIG_AUDIT"]`.
    #[serde(default)]
    pub loginuid: Option<u32>,
    /// The namespaces that it has in addition to those for users and mounts, such as `["net"]`; by default none.
    #[serde(default)]
    pub namespaces: Vec<Namespace>,
    /// The capabilities that it has in its user namespace after setup: `"all"`, or a list such as `["bpf",
    /// "net_admin"]`. It creates its own token (`token = true`) before it drops the others.
    #[serde(default)]
    #[schemars(extend("default" = "all"))]
    pub caps: Capabilities,
    /// The container inside whose namespaces it is set up, such as `"outer"`; by default it is inside the initial
    /// namespaces.
    #[serde(default)]
    pub parent: Option<String>,
    /// Whether it has namespaces of its own. With `false`, it is a process of this user in the namespaces of its
    /// `parent` or in the initial namespaces, where `caps` is required. It then pins in its parent's bpffs, or in a
    /// bpffs of the initial user namespace.
    #[serde(default = "default_unshare")]
    pub unshare: bool,
    /// Whether it can never gain privileges again (`PR_SET_NO_NEW_PRIVS`).
    #[serde(default)]
    pub no_new_privs: bool,
    /// A filter of its system calls after setup (`seccomp(2)`), such as `{ refuse = ["fsconfig"] }`; by default none.
    #[serde(default)]
    pub seccomp: Option<Seccomp>,
}

impl Default for ContainerSpec {
    fn default() -> Self {
        Self {
            kind: ContainerKind::default(),
            unit_file: None,
            unit: BTreeMap::new(),
            drop_ins: Vec::new(),
            instance: None,
            manager: Manager::default(),
            nspawn: None,
            uid: default_uid(),
            loginuid: None,
            namespaces: Vec::new(),
            caps: Capabilities::All,
            parent: None,
            unshare: default_unshare(),
            no_new_privs: false,
            seccomp: None,
        }
    }
}

const fn default_uid() -> u32 {
    1000
}

const fn default_unshare() -> bool {
    true
}

/// A further container, with a bpffs and a delegation of its own.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedContainer {
    /// The user and group id that it starts as. Inside its user namespace, this is root.
    #[serde(default = "default_uid")]
    #[schemars(range(min = 1, max = 65533))]
    pub uid: u32,
    /// The user id that it logged in as (`/proc/PID/loginuid`), such as `1000`; by default it belongs to no login. This
    /// needs `config = ["CONFIG_AUDIT"]`.
    #[serde(default)]
    pub loginuid: Option<u32>,
    /// The namespaces that it has in addition to those for users and mounts, such as `["net"]`; by default none.
    #[serde(default)]
    pub namespaces: Vec<Namespace>,
    /// The capabilities that it has in its user namespace after setup: `"all"`, or a list such as `["bpf"]`.
    #[serde(default)]
    #[schemars(extend("default" = "all"))]
    pub caps: Capabilities,
    /// The container inside whose namespaces it is set up, such as `"outer"`; by default it is inside the initial
    /// namespaces.
    #[serde(default)]
    pub parent: Option<String>,
    /// Whether it has namespaces of its own. With `false`, it is a process of this user in the namespaces of its
    /// `parent` or in the initial namespaces, where `caps` is required. It then pins in its parent's bpffs, or in a
    /// bpffs of the initial user namespace.
    #[serde(default = "default_unshare")]
    pub unshare: bool,
    /// Whether it can never gain privileges again (`PR_SET_NO_NEW_PRIVS`).
    #[serde(default)]
    pub no_new_privs: bool,
    /// A filter of its system calls after setup (`seccomp(2)`), such as `{ refuse = ["fsconfig"] }`; by default none.
    #[serde(default)]
    pub seccomp: Option<Seccomp>,
    /// What its bpffs delegates, such as `{ cmds = ["map_create"] }`; by default nothing.
    #[serde(default)]
    pub delegate: Delegate,
}

impl NamedContainer {
    /// Returns the keys that it shares with the container named `container`.
    pub fn container(&self) -> ContainerSpec {
        ContainerSpec {
            uid: self.uid,
            loginuid: self.loginuid,
            namespaces: self.namespaces.clone(),
            caps: self.caps.clone(),
            parent: self.parent.clone(),
            unshare: self.unshare,
            no_new_privs: self.no_new_privs,
            seccomp: self.seccomp.clone(),
            ..ContainerSpec::default()
        }
    }
}
