//! The keys of a scenario file. Their documentation is what `scenarios/README.md` and editors show.

use std::collections::BTreeMap;

use harness_protocol::plan::{Assignment, FilterErrno, Lockdown, LsmHook, Manager, Namespace};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    attempt::Attempt,
    choice::{Assigned, Axis, Capabilities, Setting, Texts},
    sweep::Sweep,
};

/// One scenario: what is delegated, who acts, and what is attempted in which order.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Scenario")]
pub struct Spec {
    /// What the scenario proves, in one sentence.
    pub summary: String,
    /// The kernels it is meant for, as comparisons of MAJOR.MINOR that must all hold: `">=6.9"`, `">=6.12, <7.0"`. On
    /// any other kernel it is skipped. Without it every kernel is meant.
    #[serde(default)]
    pub kernels: Option<String>,
    /// Kconfig options that must be on in a kernel, built in or as modules, such as `["CONFIG_BPF_JIT_ALWAYS_ON"]`. On
    /// any other kernel the scenario is skipped.
    #[serde(default)]
    pub config: Vec<String>,
    /// The images it is meant for, by name or by a glob such as `systemd-*`. On any other image it is skipped. Without it
    /// every image is meant; a scenario with a unit of systemd must say it.
    #[serde(default)]
    pub images: Option<String>,
    /// What the unit file of the container assigns, and each of its drop-ins; read beside the scenario, not written in it.
    #[serde(default)]
    #[schemars(skip)]
    pub unit_file: Vec<Vec<Assignment>>,
    /// Which other scenarios may run in the same boot of the kernel.
    #[serde(default)]
    pub isolation: Isolation,
    /// Seconds the scenario may take before it counts as hung.
    #[serde(default = "default_deadline")]
    #[schemars(range(min = 1, max = 300))]
    pub deadline: u64,
    /// Settings of the whole virtual machine while the scenario runs.
    #[serde(default)]
    pub vm: VmSettings,
    /// Runs the scenario once for each combination of values: `type = ["hash", "array"]` puts each of the two in the
    /// place of `{type}` in any string below `delegate`, `container`, `containers` and `attempt`. `"@map_types"`,
    /// `"@prog_types"`, `"@attach_types"` and `"@cmds"` stand for every name the booted kernel knows, except types that
    /// need an object made before.
    #[serde(default)]
    pub matrix: BTreeMap<String, Axis>,
    /// What the bpffs of the container named `container` delegates. Without it nothing is delegated.
    #[serde(default)]
    pub delegate: Delegate,
    /// The container named `container`, in which an attempt is made unless it says otherwise.
    #[serde(default)]
    pub container: Option<ContainerSpec>,
    /// Further containers by name, such as `[containers.intruder]`; `container` and `host` are taken.
    #[serde(default)]
    #[schemars(extend("maxProperties" = MOST_CONTAINERS))]
    pub containers: BTreeMap<String, NamedContainer>,
    /// What is attempted, in this order: one `[[attempt]]` each.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub attempt: Vec<Attempt>,
    /// Attempts everything of one kind that the booted kernel knows, in place of `[[attempt]]`. It makes its own
    /// container.
    #[serde(default)]
    pub sweep: Option<Sweep>,
}

/// A scenario has at most this many named containers.
pub const MOST_CONTAINERS: usize = 16;

const fn default_deadline() -> u64 {
    20
}

/// Which other scenarios may run in the same boot of the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// Any: every scenario has namespaces, bpffs and cgroup of its own, and one runs after the other.
    #[default]
    Shared,
    /// None: the scenario changes the kernel for good, and has a boot of its own.
    Vm,
}

/// Settings of the whole virtual machine while the scenario runs.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VmSettings {
    /// Kernel settings below `/proc/sys`, by dotted name: `kernel.unprivileged_bpf_disabled = 0`. Only those below
    /// `kernel.`, `net.`, `user.`, `vm.` and `fs.`; the values found are put back afterwards.
    #[serde(default)]
    pub sysctl: BTreeMap<String, Setting>,
    /// Hooks of the security modules on which a BPF program refuses everything with `EPERM` while attempts are made.
    /// Controls are made without it.
    #[serde(default)]
    pub lsm: Vec<LsmHook>,
    /// Locks the kernel down (`kernel_lockdown(7)`), which no scenario can take back: it needs `isolation = "vm"`.
    #[serde(default)]
    pub lockdown: Option<Lockdown>,
}

/// A system call filter: what it refuses never reaches the kernel, and all else does.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Seccomp {
    /// System calls by name, or commands of `bpf(2)`: `["fsconfig", "bpf:map_create"]`. Of system calls there are
    /// `bpf`, `fsopen`, `fsconfig`, `fspick`, `open_tree` and `perf_event_open`.
    #[schemars(length(min = 1, max = 64))]
    pub refuse: Vec<String>,
    /// What they are answered.
    #[serde(default)]
    pub errno: FilterErrno,
}

/// What a bpffs delegates: names, upper or lower case, with or without their `BPF_` prefix, or `["any"]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Delegate {
    /// Commands of `bpf(2)`: the option `delegate_cmds`.
    #[serde(default)]
    pub cmds: Vec<String>,
    /// Map types: the option `delegate_maps`.
    #[serde(default)]
    pub maps: Vec<String>,
    /// Program types: the option `delegate_progs`.
    #[serde(default)]
    pub progs: Vec<String>,
    /// Attach types: the option `delegate_attachs`.
    #[serde(default)]
    pub attachs: Vec<String>,
    /// Mount options handed to the kernel as they are, for scenarios about its parser: `delegate_cmds = "0x21"`, or a
    /// list of values that are set one after the other.
    #[serde(default)]
    pub raw: BTreeMap<String, Texts>,
}

/// What makes a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContainerKind {
    /// The guest program: a process in namespaces of its own.
    #[default]
    Namespaces,
    /// The systemd of the guest: the process of a service.
    Systemd,
}

/// The key of [`Spec::unit_file`].
pub(crate) const UNIT_FILE: &str = "unit_file";

/// What a unit may assign to this many keys, and how many drop-ins it may have.
pub const MOST_ASSIGNMENTS: usize = 64;

/// A container: a process that starts as an unprivileged user, in user and mount namespaces of its own.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContainerSpec {
    /// What makes it. With `"systemd"` it is a service, and all that can be said about it is `unit_file`,
    /// `unit`, `drop_ins`, `instance`, `manager` and `nspawn`.
    #[serde(default)]
    pub kind: ContainerKind,
    /// A unit file beside the scenario, such as `"agent.service"`, with the drop-ins in `agent.service.d`, as systemd would
    /// read them; what cannot hold in a VM is left out or replaced as `cargo xtask validate --prove` tells. `unit` is then
    /// one drop-in more, and `drop_ins` stand behind it.
    #[serde(default)]
    pub unit_file: Option<String>,
    /// What the section `[Service]` of its unit file assigns: `PrivateBPF = true`; a list is one assignment each, in its
    /// order, and an empty string resets. What starts a process in it is added.
    #[serde(default)]
    #[schemars(extend("maxProperties" = MOST_ASSIGNMENTS))]
    pub unit: BTreeMap<String, Assigned>,
    /// The same of each of its drop-ins, in the order systemd reads them.
    #[serde(default)]
    #[schemars(length(max = MOST_ASSIGNMENTS))]
    pub drop_ins: Vec<BTreeMap<String, Assigned>>,
    /// Its unit file is a template, and this is the name of the instance: `%i` stands for it.
    #[serde(default)]
    pub instance: Option<String>,
    /// Whose unit it is: `"user"` is the manager of an unprivileged user, uid 1000.
    #[serde(default)]
    pub manager: Manager,
    /// The unit runs systemd-nspawn with these options, such as `["--private-users=65536:65536"]`, and the attempts are
    /// made in its container, which has the image's `/usr` and nothing else of the machine.
    #[serde(default)]
    #[schemars(length(max = MOST_ASSIGNMENTS))]
    pub nspawn: Option<Vec<String>>,
    /// The user and group id it starts as, which is root inside.
    #[serde(default = "default_uid")]
    #[schemars(range(min = 1, max = 65533))]
    pub uid: u32,
    /// Namespaces of its own besides user and mount.
    #[serde(default)]
    pub namespaces: Vec<Namespace>,
    /// The capabilities it has in its user namespace once it is set up: `"all"`, or a list such as `["bpf",
    /// "net_admin"]`. A token it makes while it is set up is made before the others are dropped.
    #[serde(default)]
    #[schemars(extend("default" = "all"))]
    pub caps: Capabilities,
    /// The container in whose namespaces it is made; without it the initial ones.
    #[serde(default)]
    pub parent: Option<String>,
    /// Whether it has namespaces of its own. With `false` it is a process of that user in the namespaces of its
    /// `parent`, or in the initial ones, where `caps` must be written; it pins in its parent's bpffs, or in one of the
    /// initial user namespace.
    #[serde(default = "default_unshare")]
    pub unshare: bool,
    /// Whether it gives up new privileges for good (`PR_SET_NO_NEW_PRIVS`).
    #[serde(default)]
    pub no_new_privs: bool,
    /// A filter of its system calls from the moment it is set up (`seccomp(2)`).
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

/// A container with a bpffs that delegates its own.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedContainer {
    /// The user and group id it starts as, which is root inside.
    #[serde(default = "default_uid")]
    #[schemars(range(min = 1, max = 65533))]
    pub uid: u32,
    /// Namespaces of its own besides user and mount.
    #[serde(default)]
    pub namespaces: Vec<Namespace>,
    /// The capabilities it has in its user namespace once it is set up: `"all"` or a list.
    #[serde(default)]
    #[schemars(extend("default" = "all"))]
    pub caps: Capabilities,
    /// The container in whose namespaces it is made; without it the initial ones.
    #[serde(default)]
    pub parent: Option<String>,
    /// Whether it has namespaces of its own. With `false` it is a process of that user in the namespaces of its
    /// `parent`, or in the initial ones, where `caps` must be written; it pins in its parent's bpffs, or in one of the
    /// initial user namespace.
    #[serde(default = "default_unshare")]
    pub unshare: bool,
    /// Whether it gives up new privileges for good (`PR_SET_NO_NEW_PRIVS`).
    #[serde(default)]
    pub no_new_privs: bool,
    /// A filter of its system calls from the moment it is set up (`seccomp(2)`).
    #[serde(default)]
    pub seccomp: Option<Seccomp>,
    /// What its bpffs delegates. Without it nothing is delegated.
    #[serde(default)]
    pub delegate: Delegate,
}

impl NamedContainer {
    /// What it shares with the container named `container`.
    pub fn container(&self) -> ContainerSpec {
        ContainerSpec {
            uid: self.uid,
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
