//! A reference model of the kernel's permission checks for `bpf(2)`, by release: what a request needs of a token, and
//! what a grant lacks for it.
//!
//! The model is of a caller in a user namespace of its own, where nothing but a token helps: a token that lacks a bit
//! is dropped without a word, and what is left is judged by the initial namespace (`kernel/bpf/token.c`). Whether a
//! request is well formed is not its business. Each rule names the file of the kernel it comes from; what is not in
//! here the kernel does not ask for.

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

pub use grant::{Element, Grant, Shortfall};
pub use programs::checked_attach_type;
pub use types::{MapClass, class_of_map};

/// The first release with tokens (commit 35f96de04127).
pub const FIRST_RELEASE: Release = Release { major: 6, minor: 9 };

/// A capability that `bpf(2)` asks for (`capabilities(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// `CAP_NET_ADMIN`.
    NetAdmin,
    /// `CAP_SYS_ADMIN`, which stands for any of the others too, except where a token is made.
    SysAdmin,
    /// `CAP_SYS_BOOT`.
    SysBoot,
    /// `CAP_PERFMON`.
    Perfmon,
    /// `CAP_BPF`.
    Bpf,
}

impl Capability {
    /// Its name in lower case without `CAP_`, as scenarios have it.
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
    /// Of which mask.
    pub kind: Kind,
    /// The value of the enumerator.
    pub number: u32,
}

impl fmt::Display for Bit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, names::shown(self.kind, self.number))
    }
}

/// What is asked of the kernel. Numbers are values of the enumerators of `include/uapi/linux/bpf.h`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Request {
    /// `BPF_TOKEN_CREATE` from the bpffs of the caller's own user namespace.
    TokenCreate,
    /// `BPF_MAP_CREATE`.
    MapCreate {
        /// `map_type`.
        map_type: u32,
        /// What is unusual about the map.
        traits: BTreeSet<MapTrait>,
    },
    /// `BPF_PROG_LOAD`.
    ProgLoad {
        /// `prog_type`.
        prog_type: u32,
        /// `expected_attach_type` as the loader hands it over; 0 if it hands over none.
        expected_attach_type: u32,
        /// What the program does that the verifier asks a capability for.
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
    /// `perf_event_open(2)` of a probe or a tracepoint, to attach a program to it.
    PerfEventOpen,
    /// Any other command of `bpf(2)`.
    Command {
        /// Which.
        cmd: u32,
    },
}

/// Something about a map that takes a capability by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MapTrait {
    /// Its values have fields that the kernel looks after, such as a lock, a timer or a kernel pointer
    /// (`map_check_btf` in `kernel/bpf/syscall.c`).
    SpecialFields,
    /// `BPF_F_ZERO_SEED` (`htab_map_alloc_check` in `kernel/bpf/hashtab.c`).
    ZeroSeed,
    /// `map_ifindex`: it lives on a network device (`bpf_map_offload_map_alloc` in `kernel/bpf/offload.c`).
    Offloaded,
}

/// Something a program does that takes a capability beyond those of its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Use {
    /// It calls a helper, by its number in `enum bpf_func_id`.
    Helper(u32),
    /// It calls a function of the kernel, or one of its own that it does not inline (`add_subprog_and_kfunc` in
    /// `kernel/bpf/verifier.c`).
    Functions,
    /// It uses an arena (`check_map_prog_compatibility` and `resolve_pseudo_ldimm64` in `kernel/bpf/verifier.c`).
    Arena,
    /// It reads the packet directly, or writes its time stamp, in a program of type `cgroup_skb`
    /// (`cg_skb_is_valid_access` in `net/core/filter.c`).
    PacketOfCgroup,
    /// It calls a function of the kernel that can stop the machine (`check_kfunc_call` in `kernel/bpf/verifier.c`).
    Destruction,
}

/// Why something is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Justification {
    /// In a few words, such as `a program of this type`.
    pub what: Reason,
    /// The function and file of the kernel that asks.
    pub source: &'static str,
}

/// What a capability or a bit is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The command itself.
    Command,
    /// Making a token.
    Token,
    /// `bpf(2)` is closed to the unprivileged: `kernel.unprivileged_bpf_disabled` is not 0.
    Closed,
    /// A type of map.
    MapType(u32),
    /// Something about the map.
    MapTrait(MapTrait),
    /// A type of program.
    ProgType(u32),
    /// An attach type; 0 stands for none as well.
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
            Self::Use(Use::Destruction) => write!(f, "a function that can stop the machine"),
        }
    }
}

/// What a request needs if it comes from a user namespace of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirement {
    /// Bits of the token, and what for.
    pub bits: BTreeMap<Bit, Justification>,
    /// Capabilities in the token's user namespace, and what for.
    pub capabilities: BTreeMap<Capability, BTreeSet<Justification>>,
    /// Capabilities in the initial user namespace: no token stands for them.
    pub undelegable: BTreeMap<Capability, BTreeSet<Justification>>,
    /// The first release whose kernel takes a token for the request; `None` if none is asked for.
    pub since: Option<Release>,
    /// Whether all of it is asked for only while `kernel.unprivileged_bpf_disabled` is not 0.
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

/// What a kernel of this release needs for a request that comes from a user namespace of its own.
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
        Request::PerfEventOpen => attaching::perf_event_open(&mut needed),
        Request::Command { cmd } => attaching::command(&mut needed, *cmd),
    }
    needed
}

/// `bpf_token_create` in `kernel/bpf/token.c`: `CAP_BPF` itself, for which `CAP_SYS_ADMIN` does not stand.
fn token_create(needed: &mut Requirement) {
    needed.since = Some(FIRST_RELEASE);
    needed.capability(Capability::Bpf, Reason::Token, "bpf_token_create in kernel/bpf/token.c");
}

/// A command that looks for its own bit in the token (`bpf_token_allow_cmd` in `kernel/bpf/token.c`).
fn command(needed: &mut Requirement, name: &str, since: Release) {
    needed.since = Some(since);
    let number = names::number(Kind::Cmd, name).expect("the command is as old as tokens");
    needed.bit(Kind::Cmd, number, Reason::Command, "bpf_token_allow_cmd in kernel/bpf/token.c");
}

/// Commands on which a token has an effect in this release; the bits of all others mean nothing.
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
