//! A policy whose file has been checked.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use crate::{
    bits::Bits,
    file::{Identity, Mode, OnFailure, Otherwise, Reload, Signed, TokenNeed, Unrecorded, Userns},
    name::Family,
};

/// Which process may make which bpf(2) calls.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its number: only a policy with a higher one takes its place.
    pub revision: u64,
    /// What becomes of calls that it refuses, unless their rule has a mode of its own.
    pub mode: Mode,
    /// What becomes of calls that no rule takes.
    pub default: Otherwise,
    /// The guard itself.
    pub guard: Guard,
    /// The profiles, ordered by name; at most 64.
    pub profiles: Vec<Profile>,
    /// Known loaders, ordered by name; at most 32.
    pub loaders: Vec<Loader>,
    /// The rules, in order; at most 256, and 512 once they are expanded.
    pub rules: Vec<Rule>,
    /// The cgroups that rules name, each once; at most 64.
    pub cgroups: Vec<Cgroup>,
    /// The names in the file, without those that groups stand for.
    pub named: Vec<WrittenName>,
}

/// A name in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenName {
    /// Its family.
    pub family: Family,
    /// Its number.
    pub number: u32,
    /// Its bytes in the file.
    pub span: Range<usize>,
}

/// The guard itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// What becomes of a call whose record does not fit the ring.
    pub when_full: Unrecorded,
    /// What becomes of calls once nobody has read the rings for `patience`.
    pub on_no_reader: Unrecorded,
    /// The time without a reader that is accepted.
    pub patience: Duration,
    /// Commands that are only counted while they are allowed.
    pub count_only: Bits,
    /// What early boot does when the guard cannot be put in force.
    pub on_failure: OnFailure,
    /// The bytes of the value that switches self-protection off; `None` while it is on.
    pub unprotected: Option<Range<usize>>,
    /// Who may put another policy in its place.
    pub reload: Reload,
    /// The bytes of that value, if it is that root may; `None` otherwise.
    pub by_root: Option<Range<usize>>,
}

/// A set of what is allowed.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// Commands.
    pub cmds: Bits,
    /// Program types.
    pub progs: Bits,
    /// The attach types of each program type.
    pub attach: Vec<Bits>,
    /// Map types.
    pub maps: Bits,
    /// The most entries of a map; `None` for no limit.
    pub max_entries: Option<u32>,
    /// The most bytes of a map; `None` for no limit.
    pub max_bytes: Option<u64>,
    /// Helpers.
    pub helpers: Bits,
    /// Kfuncs, as the BTF of the kernel names them; `None` for any.
    pub kfuncs: Option<Vec<String>>,
    /// Targets, as the BTF of the kernel names them; `None` for any.
    pub targets: Option<Vec<String>>,
    /// The most instructions of a program; `None` for no limit.
    pub max_insns: Option<u32>,
    /// Whether programs and maps must come with a token.
    pub token: TokenNeed,
    /// The signature that programs must have.
    pub signed: Signed,
    /// The tags of the only programs that are allowed; `None` for any.
    pub tags: Option<Vec<[u8; 8]>>,
    /// Capabilities that a token may stand for.
    pub token_caps: Bits,
    /// Whether kfuncs and targets of modules are allowed.
    pub modules: bool,
    /// Whether programs may use only maps that the same user made.
    pub own_maps: bool,
    /// Its bytes in the file.
    pub span: Range<usize>,
    /// The bytes of the values of its keys.
    pub keys: BTreeMap<&'static str, Range<usize>>,
}

/// A known loader.
#[derive(Clone, Debug)]
pub struct Loader {
    /// Its name.
    pub name: String,
    /// Its file.
    pub file: String,
    /// What it is known by.
    pub identity: Identity,
    /// Its digests by SHA-256; none if it is known by its inode.
    pub digests: Vec<[u8; 32]>,
    /// The bytes of the value of `identity` in the file.
    pub span: Range<usize>,
}

/// A rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its number in the file, from 1.
    pub number: u16,
    /// Inclusive ranges of user ids; none stands for all.
    pub uid: Vec<(u32, u32)>,
    /// Inclusive ranges of login user ids; none stands for all.
    pub loginuid: Vec<(u32, u32)>,
    /// Indices into the policy's cgroups; none stands for all.
    pub cgroups: Vec<usize>,
    /// The user namespace; `None` for any.
    pub userns: Option<Userns>,
    /// As [`crate::layout::Rule::loader`]; none stands for every program.
    pub loaders: Vec<u8>,
    /// Commands that it takes.
    pub cmds: Bits,
    /// What becomes of the calls that it takes.
    pub action: Action,
    /// Its own mode.
    pub mode: Option<Mode>,
    /// Its bytes in the file.
    pub span: Range<usize>,
}

/// What becomes of the calls that a rule takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The profile with this index decides.
    Profile(usize),
    /// They are allowed.
    Allow,
    /// They are refused.
    Deny,
}

/// The path of a cgroup below the root of the unified hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cgroup(pub Vec<String>);

impl std::fmt::Display for Cgroup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "/{}", self.0.join("/"))
    }
}

impl Rule {
    /// The number of entries that it has among `rules`: one for each combination of a range of user ids, a range
    /// of login user ids, a cgroup and a loader.
    pub fn entries(&self) -> usize {
        let lists = [self.uid.len(), self.loginuid.len(), self.cgroups.len(), self.loaders.len()];
        lists.into_iter().fold(1, |product: usize, length| product.saturating_mul(length.max(1)))
    }
}
