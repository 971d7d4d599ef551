//! What one VM is asked to do: scenarios with every name resolved to the booted kernel's number.
//!
//! The host writes a [`Plan`] as JSON into the run folder, the guest program reads it. Everything the guest needs is in
//! it; the guest knows no vocabulary of its own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    delegation::MountOption,
    name::{ContainerName, ScenarioName},
};

/// Raised when the meaning of a plan or of an outcome changes, so that old stored outcomes are not believed.
pub const FORMAT: u32 = 1;

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
    /// Names that `/sys/kernel/security/lsm` must list.
    pub lsm: Vec<String>,
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
    /// Whether the VM ends with the scenario: then settings need not be restored, and some cannot be.
    pub own_vm: bool,
    /// One for each combination of its matrix; exactly one if it has none.
    pub cases: Vec<Case>,
}

/// One combination of a scenario's matrix: containers, and attempts in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
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
}

/// A namespace besides user and mount, which every container has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "host", derive(schemars::JsonSchema))]
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
    /// The token it hands over, for the commands that take one.
    pub token: Token,
    /// What is attempted.
    pub call: Call,
    /// The name under which the resulting file descriptor is kept for later attempts of the case.
    pub save: Option<String>,
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
}

/// A BPF operation with all its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Call {
    /// `BPF_TOKEN_CREATE`.
    TokenCreate {
        /// Whose bpffs.
        from: Actor,
        /// Which file descriptor of it.
        fd: BpffsFd,
    },
    /// `BPF_MAP_CREATE`.
    MapCreate {
        /// `enum bpf_map_type`.
        map_type: u32,
        /// Bytes of a key.
        key_size: u32,
        /// Bytes of a value.
        value_size: u32,
        /// Number of entries.
        max_entries: u32,
        /// `map_flags` without `BPF_F_TOKEN_FD`.
        map_flags: u32,
        /// For maps of maps, the saved map that serves as the pattern.
        inner_map: Option<String>,
    },
    /// `BPF_PROG_LOAD` of a program that returns a constant.
    ProgLoad {
        /// `enum bpf_prog_type`.
        prog_type: u32,
        /// `enum bpf_attach_type`.
        expected_attach_type: u32,
        /// `prog_flags` without `BPF_F_TOKEN_FD`.
        prog_flags: u32,
        /// What the program returns.
        returns: i32,
        /// The license string.
        license: String,
    },
    /// `BPF_BTF_LOAD` of a minimal valid blob.
    BtfLoad,
    /// `BPF_BTF_GET_FD_BY_ID`.
    BtfGetFdById {
        /// The id asked for; 1 is vmlinux.
        id: u32,
    },
    /// `BPF_OBJ_GET_INFO_BY_FD` of the attempt's token.
    TokenInfo,
    /// `fsopen("bpf")`, the options by `fsconfig(2)`, and `FSCONFIG_CMD_CREATE` if asked, all by the actor itself.
    MountDelegate {
        /// Set in this order.
        options: Vec<MountOption>,
        /// Whether the file system is created afterwards.
        create: bool,
    },
    /// `BPF_OBJ_PIN` in the actor's bpffs.
    ObjPin {
        /// What is pinned, by the name it was saved under.
        object: String,
        /// A file name below the bpffs root.
        path: String,
    },
    /// `BPF_OBJ_GET` from the actor's bpffs.
    ObjGet {
        /// A file name below the bpffs root.
        path: String,
    },
    /// `BPF_MAP_UPDATE_ELEM`.
    MapUpdate {
        /// The map, by the name it was saved under.
        map: String,
        /// The key's bytes.
        key: Vec<u8>,
        /// The value's bytes.
        value: Vec<u8>,
    },
    /// `BPF_MAP_LOOKUP_ELEM`.
    MapLookup {
        /// The map, by the name it was saved under.
        map: String,
        /// The key's bytes.
        key: Vec<u8>,
        /// Bytes of a value.
        value_size: u32,
    },
    /// `BPF_PROG_TEST_RUN` on a 64-byte packet.
    ProgTestRun {
        /// The program, by the name it was saved under.
        prog: String,
    },
    /// `BPF_LINK_CREATE`.
    LinkCreate {
        /// The program, by the name it was saved under.
        prog: String,
        /// `enum bpf_attach_type`.
        attach_type: u32,
        /// What it is attached to.
        target: LinkTarget,
    },
    /// Not a BPF operation: kills or hangs the guest, so that the harness can prove that it survives that. Never
    /// written in a scenario file.
    Sabotage(Sabotage),
}

/// Which file descriptor of a bpffs a token is asked from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "host", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BpffsFd {
    /// The root directory, opened for reading: what the kernel wants.
    #[default]
    Root,
    /// A directory below the root.
    Subdir,
    /// The descriptor `fsmount(2)` gives, which is opened like `O_PATH`.
    OPath,
    /// The root directory of a tmpfs in the actor's mount namespace: another file system.
    Tmpfs,
}

/// What a link attaches to, found by the actor in its own namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkTarget {
    /// A network interface by name.
    Interface(String),
    /// The cgroup made for the actor's container.
    Cgroup,
    /// The root cgroup.
    RootCgroup,
    /// A netfilter hook.
    Netfilter {
        /// `NFPROTO_*`.
        pf: u32,
        /// `NF_INET_*`.
        hooknum: u32,
        /// Smaller runs earlier.
        priority: i32,
    },
}

/// A way to harm the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sabotage {
    /// Panic the kernel by `/proc/sysrq-trigger`.
    Panic,
    /// Never come back.
    Hang,
    /// Exit the guest program without a word.
    Exit,
    /// Write to the console without end.
    Flood,
}
