//! The keys of a policy file. [`crate::parse()`] checks what they say.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::list::{Functions, Ids, NameList, ProgList, Size, Texts};

/// What becomes of calls that the policy refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// They are recorded as `would-deny` and go on.
    #[default]
    Audit,
    /// They fail with EPERM.
    Enforce,
}

/// What becomes of calls that no rule takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Otherwise {
    /// They are refused.
    #[default]
    Deny,
    /// They are allowed.
    Allow,
}

/// What the guard does when it cannot record a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unrecorded {
    /// It counts the call.
    #[default]
    Count,
    /// It refuses the call.
    Deny,
}

/// What early boot does when the guard cannot be put in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// It stops.
    Halt,
    /// It prints a warning and goes on.
    #[default]
    Warn,
}

/// Whether programs and maps must come with a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenNeed {
    /// They must.
    Required,
    /// They need not.
    #[default]
    Optional,
}

/// The signature that a program must have, which the kernel has verified when it is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Signed {
    /// None.
    #[default]
    No,
    /// One by a key of any keyring, that of the loading user included.
    Any,
    /// One by a key that is built into the kernel.
    Builtin,
    /// One by a key of the built-in or the secondary keyring. The secondary one takes keys that those of either vouch for.
    Secondary,
    /// One by a key of the platform's keyring, which is filled by the firmware.
    Platform,
}

/// Who may put another policy in the place of the one in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reload {
    /// Nobody: it stays until the machine is switched off.
    #[default]
    Never,
    /// Root of the initial user namespace. This is for tests, and for machines whose root is trusted.
    Root,
    /// Root, with a policy that is signed by a key that is built into the kernel.
    Builtin,
    /// Root, with one that is signed by a key of the built-in or the secondary keyring.
    Secondary,
    /// Root, with one that is signed by a key of the platform's keyring, which is filled by the firmware.
    Platform,
}

/// The user namespace of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Userns {
    /// The initial one.
    Initial,
    /// Any other.
    NotInitial,
}

/// A policy of the guard: which process may make which bpf(2) calls.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Policy of the guard")]
pub(crate) struct PolicyKeys {
    /// The version of this format: 1.
    #[schemars(range(min = 1, max = 1))]
    #[allow(dead_code)]
    pub(crate) version: u32,
    /// Its number among the policies of this machine, 0 by default: only one with a higher number takes its place.
    #[serde(default)]
    #[schemars(range(max = 9_223_372_036_854_775_807_u64))]
    pub(crate) revision: u64,
    /// What becomes of calls that the policy refuses, unless their rule has a mode of its own; `audit` by default.
    #[serde(default)]
    pub(crate) mode: Mode,
    /// What becomes of calls that no rule takes; `deny` by default.
    #[serde(default)]
    pub(crate) default: Otherwise,
    /// The guard itself.
    #[serde(default)]
    pub(crate) guard: GuardKeys,
    /// Sets of what is allowed, by name. Rules refer to them.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 64))]
    pub(crate) profiles: BTreeMap<String, ProfileKeys>,
    /// Programs that rules can refer to: known loaders, by name.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 32))]
    pub(crate) loaders: BTreeMap<String, LoaderKeys>,
    /// The rules, in order. The first that takes a call decides.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub(crate) rule: Vec<RuleKeys>,
}

/// The guard itself.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GuardKeys {
    /// What becomes of a call whose record does not fit the ring; `count` by default.
    #[serde(default)]
    pub(crate) when_full: Unrecorded,
    /// What becomes of calls once nobody has read the rings for `patience`; `count` by default.
    #[serde(default)]
    pub(crate) on_no_reader: Unrecorded,
    /// The time without a reader that `on_no_reader` accepts, such as `10s`; from `1s` to `60m`. Without this key it is
    /// 10 seconds.
    pub(crate) patience: Option<String>,
    /// Commands that are only counted while they are allowed: their calls make no records. Without this key these are
    /// `@read`; an empty list records everything.
    pub(crate) count_only: Option<NameList>,
    /// What early boot does when the guard cannot be put in force; `warn` by default.
    #[serde(default)]
    pub(crate) on_failure: OnFailure,
    /// Whether the guard protects its own objects, mounts and processes, and the hard rule holds. `false` is for tests that
    /// show what an attack does without it.
    #[serde(default = "yes")]
    pub(crate) self_protection: bool,
    /// Who may put another policy in the place of this one while the machine runs; `never` by default. The other one must have
    /// the same value here.
    #[serde(default)]
    pub(crate) reload: Reload,
}

impl Default for GuardKeys {
    fn default() -> Self {
        let (when_full, on_no_reader, on_failure, reload) = Default::default();
        Self { when_full, on_no_reader, patience: None, count_only: None, on_failure, self_protection: yes(), reload }
    }
}

const fn yes() -> bool {
    true
}

/// What a program is known by. It is found out when the program is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Identity {
    /// The digest of fs-verity, which the file system keeps unchanged. The file must have fs-verity enabled.
    FsVerity,
    /// The SHA-256 of the file, which IMA computes at each exec.
    Ima,
    /// The device and inode that the file has when the guard is loaded. Whoever may write the file makes another program
    /// of it.
    Inode,
}

/// A program that rules can refer to, however it is called by. It starts with AT_SECURE set, so that its dynamic linker
/// ignores variables such as LD_PRELOAD, and only its own kind may trace it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoaderKeys {
    /// Its file, as an absolute path. Of a loader that is known by a digest only the last name counts: files of other names
    /// are not looked at.
    pub(crate) file: String,
    /// What it is known by.
    pub(crate) identity: Identity,
    /// Its digest, as `sha256:` and 64 hexadecimal digits; needed for `fs-verity` and `ima`. A list is for several versions.
    pub(crate) digest: Option<Texts>,
}

/// What is allowed. A missing list allows nothing, a missing limit everything.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProfileKeys {
    /// Commands of bpf(2): a list of names and groups, `any`, or a table with `except`.
    pub(crate) cmds: Option<NameList>,
    /// Program types, each by its name alone or as a table with the attach types it may ask for.
    pub(crate) progs: Option<ProgList>,
    /// Maps.
    #[serde(default)]
    pub(crate) maps: MapKeys,
    /// Helpers that programs may call: a list of names and groups, `any`, or a table with `except`.
    pub(crate) helpers: Option<NameList>,
    /// Kfuncs that programs may call, as the BTF of the kernel names them, or `any`.
    #[serde(default)]
    pub(crate) kfuncs: Functions,
    /// What programs may be bound to when they are loaded, as the BTF of the kernel names it (`do_unlinkat`,
    /// `bpf_lsm_file_open`, `btf_trace_sched_switch`, `bpf_iter_task`), or `any`. The functions that the guard depends on
    /// are never among them. Programs of type `ext` are bound to another program and need none.
    #[serde(default)]
    pub(crate) targets: Functions,
    /// The most instructions of a program.
    pub(crate) max_insns: Option<u32>,
    /// Whether programs and maps must come with a token; `optional` by default.
    #[serde(default)]
    pub(crate) token: TokenNeed,
    /// The signature that programs must have; `no` by default. Signatures came with Linux 6.18: on older kernels no program has
    /// one.
    #[serde(default)]
    pub(crate) signed: Signed,
    /// Tags of programs, 16 hexadecimal digits each. With this key only programs with one of these tags get a descriptor. A tag
    /// is a digest of the instructions, which kernels from 6.18 on compute in another way than older ones; list both.
    #[schemars(length(max = 512))]
    pub(crate) tags: Option<Vec<String>>,
    /// Capabilities that a token may stand for: a list of names, `any`, or a table with `except`; by default any.
    pub(crate) token_caps: Option<NameList>,
    /// Whether kfuncs and targets outside of the kernel's own BTF are allowed, all of any module.
    #[serde(default)]
    pub(crate) modules: bool,
    /// Whether programs may use only maps that the same user made.
    #[serde(default)]
    pub(crate) own_maps: bool,
}

/// Maps that may be made.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MapKeys {
    /// Map types: a list of names and groups, `any`, or a table with `except`.
    pub(crate) types: Option<NameList>,
    /// The most entries of a map.
    pub(crate) max_entries: Option<u32>,
    /// The most bytes of a map: its entries times key and value, each rounded up to 8 bytes; of a ring buffer, its
    /// entries. A number, or a string such as `256MiB`.
    pub(crate) max_bytes: Option<Size>,
}

/// A rule: whose calls it takes, and what becomes of them. It has exactly one of `profile`, `allow` and `deny`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleKeys {
    /// User ids in the initial namespace: numbers and ranges such as `1000-1999`.
    pub(crate) uid: Option<Ids>,
    /// User ids that people logged in as, which setuid(2) does not change. `unset` is that of processes of no login.
    pub(crate) loginuid: Option<Ids>,
    /// Paths below the root of the unified hierarchy, such as `/machine.slice`. A rule takes their processes and those
    /// of all cgroups below.
    pub(crate) cgroup: Option<Texts>,
    /// The user namespace.
    pub(crate) userns: Option<Userns>,
    /// The known loaders that call: names, or `any` for each of them. Without this key it takes the calls of every program.
    pub(crate) loader: Option<Texts>,
    /// Commands that it takes. Without this key it takes all.
    pub(crate) cmds: Option<NameList>,
    /// The profile that decides.
    pub(crate) profile: Option<String>,
    /// Everything that it takes is allowed.
    pub(crate) allow: Option<bool>,
    /// Everything that it takes is refused.
    pub(crate) deny: Option<bool>,
    /// What becomes of calls that it refuses. Without this key it is the mode of the policy.
    pub(crate) mode: Option<Mode>,
}
