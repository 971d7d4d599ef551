//! What decides, besides the delegation, whether a container can create a token and use it.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::Location;

/// A value, and what set it; nothing if it is the front-end's default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value in effect.
    pub value: T,
    /// The assignment that set it.
    pub location: Option<Location>,
}

impl<T> Setting<T> {
    /// Returns a default.
    pub const fn default_of(value: T) -> Self {
        Self { value, location: None }
    }

    /// Returns what an assignment sets.
    pub const fn assigned(value: T, location: Location) -> Self {
        Self { value, location: Some(location) }
    }
}

/// The user namespace of the processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserNamespace {
    /// The host's, where no token can be created (`kernel/bpf/token.c`, EOPNOTSUPP).
    Host,
    /// Their own.
    Own,
    /// The file does not say.
    Unknown,
}

/// Whether the processes have a namespace of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// The host's.
    Shared,
    /// Their own.
    Own,
    /// The file does not say.
    Unknown,
}

/// A type of namespace, by its name in systemd and `/proc/PID/ns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum NamespaceType {
    Cgroup,
    Ipc,
    Net,
    Mnt,
    Pid,
    Uts,
}

impl NamespaceType {
    /// All types that can be delegated (systemd.exec(5), `DelegateNamespaces=`); `time` and `user` cannot.
    pub const ALL: [Self; 6] = [Self::Cgroup, Self::Ipc, Self::Net, Self::Mnt, Self::Pid, Self::Uts];

    /// Returns its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cgroup => "cgroup",
            Self::Ipc => "ipc",
            Self::Net => "net",
            Self::Mnt => "mnt",
            Self::Pid => "pid",
            Self::Uts => "uts",
        }
    }
}

/// The user that the processes run as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum User {
    /// uid 0 of their user namespace.
    Root,
    /// This user, by name or number, specifiers unresolved.
    Named(String),
    /// One that systemd allocates (`DynamicUser=yes`).
    Dynamic,
    /// The file does not say.
    Unknown,
}

/// A set of capabilities: bit N is number N of `linux/capability.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapabilitySet(pub u64);

impl CapabilitySet {
    /// The empty set.
    pub const NONE: Self = Self(0);
    /// All capabilities of Linux 7.3.
    pub const ALL: Self = Self((1 << 41) - 1);

    /// Whether it has the capability of this number.
    pub const fn contains(self, number: u32) -> bool {
        number < 64 && self.0 & (1 << number) != 0
    }
}

/// A system call that creating or using a token needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum SystemCall {
    Bpf,
    Fsopen,
    Fsconfig,
    Fsmount,
    MoveMount,
    PerfEventOpen,
}

impl SystemCall {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Bpf, Self::Fsopen, Self::Fsconfig, Self::Fsmount, Self::MoveMount, Self::PerfEventOpen];

    /// Returns its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bpf => "bpf",
            Self::Fsopen => "fsopen",
            Self::Fsconfig => "fsconfig",
            Self::Fsmount => "fsmount",
            Self::MoveMount => "move_mount",
            Self::PerfEventOpen => "perf_event_open",
        }
    }

    /// Returns the group of systemd that has it, besides `@known` (`systemd-analyze syscall-filter` of systemd 262).
    pub const fn group(self) -> &'static str {
        match self {
            Self::Bpf => "@privileged",
            Self::Fsopen | Self::Fsconfig | Self::Fsmount | Self::MoveMount => "@mount",
            Self::PerfEventOpen => "@debug",
        }
    }
}

/// What surrounds a delegation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutionContext {
    /// The user namespace. For systemd: `PrivateUsers=`, or any `DelegateNamespaces=` that is not empty, `no` included
    /// (`src/core/exec-invoke.c`, `exec_context_get_effective_private_users`).
    pub user_namespace: Setting<UserNamespace>,
    /// The mount namespace. For systemd `PrivateMounts=`; `PrivateBPF=yes` implies one (`src/core/execute.c`,
    /// `exec_needs_mount_namespace`).
    pub mount_namespace: Setting<Namespace>,
    /// The network namespace: if it is shared, programs are attached to the host's.
    pub network_namespace: Setting<Namespace>,
    /// The namespaces that are created after the user namespace, and so belong to it. systemd opens the bpffs when it sets
    /// up the mount namespace, so without `mnt` here the bpffs belongs to the host's user namespace and no token can be
    /// created from it (`src/core/exec-invoke.c`, `setup_delegated_namespaces`, `exec_namespace_is_delegated`).
    pub delegated_namespaces: Setting<BTreeSet<NamespaceType>>,
    /// The capability bounding set in their user namespace.
    pub bounding_set: Setting<CapabilitySet>,
    /// The ambient capability set.
    pub ambient_set: Setting<CapabilitySet>,
    /// The user.
    pub user: Setting<User>,
    /// Whether `execve(2)` grants no privileges.
    pub no_new_privileges: Setting<bool>,
    /// Whether `/sys` and `/proc/sys` are read-only. For systemd: if on, the host's bpffs is read-only without
    /// `PrivateBPF=`; if off, a bpffs that cannot be mounted, as on an old kernel, is ignored (`src/core/namespace.c`,
    /// `append_private_bpf`).
    pub protect_kernel_tunables: Setting<bool>,
    /// The system calls of [`SystemCall::ALL`] that a filter refuses, each with the setting that refuses it.
    pub refused_calls: BTreeMap<SystemCall, Location>,
    /// The value of `LIBBPF_BPF_TOKEN_PATH`, if the processes get one: libbpf creates a token there and nowhere else, or none
    /// if it is empty.
    pub token_path: Option<Setting<String>>,
    /// Other paths in the container where the same bpffs is, by bind mounts.
    pub bpffs_copies: Vec<String>,
    /// Settings that keep the processes from opening the bpffs.
    pub hides_bpffs: Vec<HidesBpffs>,
    /// The setting by which the unit has an IPC namespace of the host's user namespace beside a mount namespace of its own one.
    pub ipc_of_host: Option<Location>,
}

/// The environment variable with the path of the bpffs for libbpf, and `=` (`bpf_object_open` in `tools/lib/bpf/libbpf.c`).
pub(crate) const TOKEN_PATH: &str = "LIBBPF_BPF_TOKEN_PATH=";

/// A setting that keeps the processes from opening the bpffs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HidesBpffs {
    /// The assignment.
    pub location: Location,
    /// The setting, with `=`.
    pub setting: &'static str,
    /// Whether it takes effect on every kernel; `RestrictFileSystems=` needs one with LSM programs.
    pub is_certain: bool,
}

impl Default for ExecutionContext {
    /// Returns systemd's defaults for a system service: all namespaces shared, all capabilities, no system call refused.
    fn default() -> Self {
        Self {
            user_namespace: Setting::default_of(UserNamespace::Host),
            mount_namespace: Setting::default_of(Namespace::Shared),
            network_namespace: Setting::default_of(Namespace::Shared),
            delegated_namespaces: Setting::default_of(BTreeSet::new()),
            bounding_set: Setting::default_of(CapabilitySet::ALL),
            ambient_set: Setting::default_of(CapabilitySet::NONE),
            user: Setting::default_of(User::Root),
            no_new_privileges: Setting::default_of(false),
            protect_kernel_tunables: Setting::default_of(false),
            refused_calls: BTreeMap::new(),
            token_path: None,
            bpffs_copies: Vec::new(),
            hides_bpffs: Vec::new(),
            ipc_of_host: None,
        }
    }
}

impl ExecutionContext {
    /// Returns that of an unprivileged system container of Incus or LXD: its own namespaces, all owned by its user
    /// namespace, root inside, and all capabilities except a few that BPF does not need (`lxc.cap.drop` of `initLXC`:
    /// `sys_time`, `sys_module`, `sys_rawio`, and `mac_admin`, `mac_override` where AppArmor cannot be stacked).
    pub(crate) fn of_container() -> Self {
        const DROPPED: u64 = 1 << 25 | 1 << 16 | 1 << 17;
        Self {
            user_namespace: Setting::default_of(UserNamespace::Own),
            mount_namespace: Setting::default_of(Namespace::Own),
            network_namespace: Setting::default_of(Namespace::Own),
            delegated_namespaces: Setting::default_of(NamespaceType::ALL.into()),
            bounding_set: Setting::default_of(CapabilitySet(CapabilitySet::ALL.0 & !DROPPED)),
            ..Self::default()
        }
    }

    /// Returns that of a list of mounts, which does not say anything about it.
    pub(crate) fn unknown() -> Self {
        Self {
            user_namespace: Setting::default_of(UserNamespace::Unknown),
            mount_namespace: Setting::default_of(Namespace::Unknown),
            network_namespace: Setting::default_of(Namespace::Unknown),
            user: Setting::default_of(User::Unknown),
            ..Self::default()
        }
    }
}
