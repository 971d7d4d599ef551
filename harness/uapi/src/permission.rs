//! A reference model of the kernel's permission checks for `bpf(2)`, by release: what a request requires, and what a grant
//! lacks for it.
//!
//! The caller is in its own user namespace, where only a token helps: the kernel silently drops a token that lacks a bit,
//! and checks the call against the initial namespace instead (`kernel/bpf/token.c`). The model does not check whether a
//! request is well formed. Each rule names the kernel file it comes from. What is not listed here, the kernel does not
//! check.

mod attaching;
mod grant;
mod helpers;
mod programs;
mod types;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use crate::{names, release::Release, vocabulary::Kind};

pub use grant::{Element, Grant, Shortfall, may_know};
pub use programs::checked_attach_type;
pub use types::{MapClass, class_of_map};

/// The first release with tokens (commit 35f96de04127).
pub const FIRST_RELEASE: Release = Release { major: 6, minor: 9 };

/// A capability that `bpf(2)` checks for (`capabilities(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// `CAP_NET_ADMIN`.
    NetAdmin,
    /// `CAP_SYS_ADMIN`, which implies all the others but `CAP_SYS_BOOT`, except when a token is created (`bpf_ns_capable`
    /// in `kernel/bpf/token.c`).
    SysAdmin,
    /// `CAP_SYS_BOOT`, which is checked by itself, and only in the initial namespace (`check_kfunc_call` in
    /// `kernel/bpf/verifier.c`).
    SysBoot,
    /// `CAP_PERFMON`.
    Perfmon,
    /// `CAP_BPF`.
    Bpf,
}

impl Capability {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::NetAdmin, Self::SysAdmin, Self::SysBoot, Self::Perfmon, Self::Bpf];

    /// Its name in lower case without `CAP_`, as in scenario files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NetAdmin => "net_admin",
            Self::SysAdmin => "sys_admin",
            Self::SysBoot => "sys_boot",
            Self::Perfmon => "perfmon",
            Self::Bpf => "bpf",
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CAP_{}", self.name().to_ascii_uppercase())
    }
}

/// One bit of a delegation: a command, a map type, a program type or an attach type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bit {
    /// The mask.
    pub kind: Kind,
    /// The value of the enumerator.
    pub number: u32,
}

impl fmt::Display for Bit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, names::shown(self.kind, self.number))
    }
}

/// A request to the kernel. Numbers are enumerator values from `include/uapi/linux/bpf.h`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Request {
    /// `BPF_TOKEN_CREATE` from the bpffs of the caller's own user namespace.
    TokenCreate,
    /// `BPF_MAP_CREATE`.
    MapCreate {
        /// `map_type`.
        map_type: u32,
        /// Properties of the map that require a capability.
        traits: BTreeSet<MapTrait>,
    },
    /// `BPF_PROG_LOAD`.
    ProgLoad {
        /// `prog_type`.
        prog_type: u32,
        /// `expected_attach_type` as the loader passes it; 0 if it passes none.
        expected_attach_type: u32,
        /// What the program does that the verifier checks a capability for.
        uses: BTreeSet<Use>,
    },
    /// `BPF_BTF_LOAD`.
    BtfLoad,
    /// `BPF_BTF_GET_FD_BY_ID`.
    BtfGetFdById,
    /// `BPF_LINK_CREATE` or `BPF_PROG_ATTACH` of a program that was loaded with a token.
    Attach {
        /// The program's type.
        prog_type: u32,
    },
    /// `perf_event_open(2)` for an event that a program is to be attached to, opened as libbpf does.
    PerfEventOpen {
        /// What the event counts.
        event: PerfEvent,
    },
    /// Any other command of `bpf(2)`.
    Command {
        /// The command's number.
        cmd: u32,
    },
}

/// What an event that libbpf opens for a program counts. libbpf asks to count in the kernel, too; an event that excludes
/// the kernel requires less (`perf_event_open` in `kernel/events/core.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PerfEvent {
    /// Calls of a kernel function, hits of a tracepoint, or a counter.
    Kernel,
    /// Calls of a function in user space.
    UserProbe,
}

/// A property of a map that requires a capability of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MapTrait {
    /// Its values have fields that the kernel manages, such as a lock, a timer or a kernel pointer
    /// (`map_check_btf` in `kernel/bpf/syscall.c`).
    SpecialFields,
    /// `BPF_F_ZERO_SEED` (`htab_map_alloc_check` in `kernel/bpf/hashtab.c`).
    ZeroSeed,
    /// `map_ifindex`: it lives on a network device (`bpf_map_offload_map_alloc` in `kernel/bpf/offload.c`).
    Offloaded,
}

/// Something a program does that requires a capability beyond those of its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Use {
    /// It calls a helper, by its number in `enum bpf_func_id`.
    Helper(u32),
    /// It calls a kernel function, or a function of its own that is not inlined (`add_subprog_and_kfunc` in
    /// `kernel/bpf/verifier.c`). Since 7.3 the verifier also requires `CAP_PERFMON` for kernel functions that are marked
    /// `KF_PERFMON` (`check_kfunc_call`). An object file does not show which these are, so the model has no rule for it.
    Functions,
    /// It uses an arena (`check_map_prog_compatibility` and `resolve_pseudo_ldimm64` in `kernel/bpf/verifier.c`).
    Arena,
    /// It is of type `cgroup_skb`, and reads the packet directly or writes its timestamp
    /// (`cg_skb_is_valid_access` in `net/core/filter.c`).
    PacketOfCgroup,
    /// It calls a kernel function that can crash the machine (`check_kfunc_call` in `kernel/bpf/verifier.c`).
    Destruction,
}

/// Why something is required.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Justification {
    /// What requires it.
    pub what: Reason,
    /// The kernel function and file that check for it.
    pub source: &'static str,
}

/// What a capability or a bit is required for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The command itself.
    Command,
    /// Creating a token.
    Token,
    /// `bpf(2)` is closed to unprivileged users: `kernel.unprivileged_bpf_disabled` is not 0.
    Closed,
    /// The map type.
    MapType(u32),
    /// A property of the map.
    MapTrait(MapTrait),
    /// The program type.
    ProgType(u32),
    /// The attach type; 0 also stands for none.
    AttachType(u32),
    /// Something the program does.
    Use(Use),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command => write!(f, "the command itself"),
            Self::Token => write!(f, "making a token"),
            Self::Closed => write!(f, "kernel.unprivileged_bpf_disabled is not 0"),
            Self::MapType(number) => write!(f, "maps of type {}", names::shown(Kind::Map, *number)),
            Self::MapTrait(MapTrait::SpecialFields) => write!(f, "a map with locks, timers or kernel pointers"),
            Self::MapTrait(MapTrait::ZeroSeed) => write!(f, "a map with BPF_F_ZERO_SEED"),
            Self::MapTrait(MapTrait::Offloaded) => write!(f, "a map on a network device"),
            Self::ProgType(number) => write!(f, "programs of type {}", names::shown(Kind::Prog, *number)),
            Self::AttachType(0) => write!(f, "programs loaded without an attach type"),
            Self::AttachType(number) => write!(f, "programs to attach as {}", names::shown(Kind::Attach, *number)),
            Self::Use(Use::Helper(number)) => write!(f, "the helper bpf_{}", names::helper(*number)),
            Self::Use(Use::Functions) => write!(f, "a program that calls functions"),
            Self::Use(Use::Arena) => write!(f, "a program that uses an arena"),
            Self::Use(Use::PacketOfCgroup) => write!(f, "a cgroup_skb program that reads the packet"),
            Self::Use(Use::Destruction) => write!(f, "a kernel function that can crash the machine"),
        }
    }
}

/// What a request from a caller in its own user namespace requires.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirement {
    /// Bits of the token, and why.
    pub bits: BTreeMap<Bit, Justification>,
    /// Capabilities in the token's user namespace, and why.
    pub capabilities: BTreeMap<Capability, BTreeSet<Justification>>,
    /// Capabilities in the initial user namespace, which no token can replace, and why.
    pub undelegable: BTreeMap<Capability, BTreeSet<Justification>>,
    /// The first release whose kernel accepts a token for the request; `None` if the request requires none.
    pub since: Option<Release>,
    /// Whether all of this is required only while `kernel.unprivileged_bpf_disabled` is not 0.
    pub only_if_closed: bool,
}

impl Requirement {
    fn bit(&mut self, kind: Kind, number: u32, what: Reason, source: &'static str) {
        self.bits.insert(Bit { kind, number }, Justification { what, source });
    }

    fn capability(&mut self, capability: Capability, what: Reason, source: &'static str) {
        self.capabilities.entry(capability).or_default().insert(Justification { what, source });
    }

    fn initial(&mut self, capability: Capability, what: Reason, source: &'static str) {
        self.undelegable.entry(capability).or_default().insert(Justification { what, source });
    }
}

/// What a kernel of this release requires for a request from a caller in its own user namespace.
pub fn requirement(request: &Request, release: Release) -> Requirement {
    let mut needed = Requirement::default();
    match request {
        Request::TokenCreate => token_create(&mut needed),
        Request::MapCreate { map_type, traits } => types::map_create(&mut needed, *map_type, traits),
        Request::ProgLoad { prog_type, expected_attach_type, uses } => {
            programs::prog_load(&mut needed, *prog_type, *expected_attach_type, uses, release);
        }
        Request::BtfLoad => {
            command(&mut needed, "btf_load", FIRST_RELEASE);
            needed.capability(Capability::Bpf, Reason::Command, "bpf_btf_load in kernel/bpf/syscall.c");
        }
        Request::BtfGetFdById => attaching::btf_get_fd_by_id(&mut needed, release),
        Request::Attach { prog_type } => attaching::attach(&mut needed, *prog_type),
        Request::PerfEventOpen { event } => attaching::perf_event_open(&mut needed, *event),
        Request::Command { cmd } => attaching::command(&mut needed, *cmd),
    }
    needed
}

/// `bpf_token_create` in `kernel/bpf/token.c`: requires `CAP_BPF` itself, which `CAP_SYS_ADMIN` does not imply here.
fn token_create(needed: &mut Requirement) {
    needed.since = Some(FIRST_RELEASE);
    needed.capability(Capability::Bpf, Reason::Token, "bpf_token_create in kernel/bpf/token.c");
}

/// A command whose own bit the token must have (`bpf_token_allow_cmd` in `kernel/bpf/token.c`).
fn command(needed: &mut Requirement, name: &str, since: Release) {
    needed.since = Some(since);
    let number = names::number(Kind::Cmd, name).expect("the command is as old as tokens");
    needed.bit(Kind::Cmd, number, Reason::Command, "bpf_token_allow_cmd in kernel/bpf/token.c");
}

/// The commands that honour a token in this release; the bits of all others have no effect.
pub fn commands_with_token(release: Release) -> BTreeSet<u32> {
    let requests = [
        Request::MapCreate { map_type: 1, traits: BTreeSet::new() },
        Request::ProgLoad { prog_type: 1, expected_attach_type: 0, uses: BTreeSet::new() },
        Request::BtfLoad,
        Request::BtfGetFdById,
    ];
    let bits = requests.iter().flat_map(|request| requirement(request, release).bits.into_keys());
    bits.filter(|bit| bit.kind == Kind::Cmd).map(|bit| bit.number).collect()
}

#[cfg(test)]
mod tests;
