//! The decision about a call, as the BPF programs must make it.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    bits::contains,
    compile::{Compiled, Named},
    layout::{self, Profile, Reason, Rule, Verdict},
};

/// Programs of type `ext`, which replace a function of another program: no BTF of the kernel has their target.
pub(crate) const EXT: u32 = 28;
/// The number of helpers, and of 0, which is none (`__BPF_FUNC_MAX_ID`, `include/uapi/linux/bpf.h`); Linux 6.2 added the last.
const HELPERS_OF_KERNEL: u32 = 212;
/// The command `BPF_PROG_LOAD`.
const PROG_LOAD: u32 = 5;
/// Kinds of keyrings (`enum guard_keyring` of `abi.h`).
const KEYRING_BUILTIN: u8 = 1;
/// The secondary one.
const KEYRING_SECONDARY: u8 = 2;
/// That of the platform.
const KEYRING_PLATFORM: u8 = 3;
/// One that the loading user named by its serial number.
const KEYRING_USER: u8 = 4;
/// Map types that have a size in bytes as their number of entries: `ringbuf` and `user_ringbuf`.
const RING_BUFFERS: [u32; 2] = [27, 31];

/// Who makes a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The user id in the initial namespace.
    pub uid: u32,
    /// The login user id; 4294967295 if it is not set, or on a kernel without it.
    pub loginuid: u32,
    /// Whether the user namespace is the initial one.
    pub initial_userns: bool,
    /// The path in the unified hierarchy, such as `/machine.slice/web.service`.
    pub cgroup: String,
    /// The known loader that it runs, 1 + its index in the policy; 0 for another program.
    pub loader: u8,
    /// Whether it is the guard's own process.
    pub is_guard: bool,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The command of the bpf(2) call that it is a part of.
    pub cmd: u32,
    /// The hook that sees it, and what it sees.
    pub hook: Hook,
    /// What a hard check has found, if one has: self-protection and the hard rule depend on facts of the running kernel.
    pub hard: Option<Hard>,
    /// The rings.
    pub ring: Ring,
}

impl Event {
    /// An event that no hard check objects to, with rings that have a reader and room.
    pub fn new(cmd: u32, hook: Hook) -> Self {
        Self { cmd, hook, hard: None, ring: Ring::default() }
    }
}

/// What a hard check has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hard {
    /// Why the call is refused.
    pub reason: Reason,
    /// The function, object, inode or process.
    pub what: u64,
}

/// The state of the rings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ring {
    /// Whether the ring `calls` has no room.
    pub is_full: bool,
    /// Nanoseconds since somebody has read the rings.
    pub unread_ns: u64,
}

/// A hook with what it sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hook {
    /// `bpf`: the call itself.
    Bpf,
    /// `bpf_prog_load`: a program before it is verified.
    ProgLoad(Program),
    /// `bpf_prog`: a program before there is a descriptor of it.
    Prog {
        /// Its tag.
        tag: [u8; 8],
        /// The maps that it uses.
        maps: Vec<UsedMap>,
    },
    /// `bpf_map_create`: a map before it is made.
    MapCreate {
        /// The map type.
        kind: u32,
        /// Bytes of a key.
        key_size: u32,
        /// Bytes of a value.
        value_size: u32,
        /// The number of entries.
        max_entries: u32,
        /// Whether it comes with a token.
        has_token: bool,
    },
    /// `bpf_map`: a map before there is a descriptor of it.
    Map,
    /// `bpf_token_create`: a token before it is made.
    TokenCreate,
    /// `bpf_token_cmd`: a token stands for a command.
    TokenCmd {
        /// The command.
        cmd: u32,
    },
    /// `bpf_token_capable`: a token stands for a capability.
    TokenCapable {
        /// The capability.
        cap: u32,
    },
}

/// A program before it is verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// Its type.
    pub kind: u32,
    /// The attach type that it asks for; 0 if it asks for none.
    pub attach_type: u32,
    /// The number of its instructions.
    pub insns: u32,
    /// Whether it comes with a token.
    pub has_token: bool,
    /// The kind of the keyring whose key its signature was verified by (`enum guard_keyring`); `None` if it has none.
    pub signed_by: Option<u8>,
    /// What it is bound to.
    pub target: Option<Target>,
    /// The calls among its instructions, in order.
    pub calls: Vec<Call>,
}

/// What a program is bound to when it is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its id in the BTF that has it.
    pub btf_id: u32,
    /// Whether that is not the BTF of vmlinux, but that of a module or program.
    pub of_module: bool,
}

/// A call of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Of the helper with this number.
    Helper(u32),
    /// Of a kfunc.
    Kfunc {
        /// Its id in the BTF that has it.
        btf_id: u32,
        /// Whether that is the BTF of a module: `off` of the instruction is not 0.
        of_module: bool,
    },
}

/// A map that a program uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsedMap {
    /// Its id.
    pub id: u32,
    /// The user id that made it; `None` if the guard was not in force then.
    pub made_by: Option<u32>,
}

/// The ids of names in the BTF of vmlinux.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(BTreeMap<String, BTreeSet<u32>>);

impl Names {
    /// Adds an id of a name.
    pub fn insert(&mut self, name: &str, btf_id: u32) {
        self.0.entry(name.to_owned()).or_default().insert(btf_id);
    }

    /// Whether the name has this id.
    pub fn has(&self, name: &str, btf_id: u32) -> bool {
        self.0.get(name).is_some_and(|ids| ids.contains(&btf_id))
    }
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it goes on.
    pub verdict: Verdict,
    /// Why it is refused.
    pub reason: Reason,
    /// What the reason is about; 0 for nothing. At hook `bpf_token_capable` it is the capability, also if it is allowed.
    pub what: u64,
    /// The number of the rule that took it; 0 for none.
    pub rule: u16,
    /// The index of the profile that decided.
    pub profile: Option<u16>,
    /// Whether it is only counted: it makes no record.
    pub is_counted: bool,
}

impl Decision {
    fn of(verdict: Verdict, (reason, what): (Reason, u64)) -> Self {
        Self { verdict, reason, what, rule: 0, profile: None, is_counted: false }
    }

    /// What follows from the rule that took the call.
    fn by(verdict: Verdict, why: (Reason, u64), rule: &Rule) -> Self {
        let profile = (rule.action == layout::USE_PROFILE).then_some(rule.profile);
        Self { rule: rule.number, profile, ..Self::of(verdict, why) }
    }
}

const ALLOWED: (Reason, u64) = (Reason::NoReason, 0);

/// Decides about an event: hard checks, the guard's own process, the first rule that takes the call, the checks of its
/// profile, the mode, and last whether the decision can be recorded.
pub fn decide(compiled: &Compiled, names: &Names, caller: &Caller, event: &Event) -> Decision {
    if let Some(Hard { reason, what }) = event.hard {
        return Decision::of(Verdict::Denied, (reason, what));
    }
    let decision = by_policy(compiled, names, caller, event);
    let decision = match (decision.verdict, &event.hook) {
        (Verdict::Allowed, Hook::TokenCapable { cap }) => Decision { what: u64::from(*cap), ..decision },
        _ => decision,
    };
    let is_counted = decision.verdict == Verdict::Allowed && contains(&[compiled.settings.count_only], event.cmd);
    recordable(compiled, caller, event, Decision { is_counted, ..decision })
}

/// Turns a decision that nobody would get to know into a denial, where the policy wants that.
fn recordable(compiled: &Compiled, caller: &Caller, event: &Event, decision: Decision) -> Decision {
    let settings = &compiled.settings;
    let denied = |reason, what| Decision { verdict: Verdict::Denied, reason, what, is_counted: false, ..decision };
    if decision.verdict == Verdict::Denied {
        return decision;
    }
    if settings.no_reader_deny == 1 && !caller.is_guard && event.ring.unread_ns > settings.patience_ns {
        return denied(Reason::NoReader, event.ring.unread_ns);
    }
    if settings.when_full_deny == 1 && event.ring.is_full && !decision.is_counted {
        return denied(Reason::NotRecorded, 0);
    }
    decision
}

fn by_policy(compiled: &Compiled, names: &Names, caller: &Caller, event: &Event) -> Decision {
    if caller.is_guard {
        return Decision::of(Verdict::Allowed, ALLOWED);
    }
    let refused = |mode: u8| {
        let enforced = match mode {
            layout::MODE_OF_POLICY => compiled.settings.enforce == 1,
            mode => mode == layout::MODE_ENFORCE,
        };
        if enforced { Verdict::Denied } else { Verdict::WouldDeny }
    };
    let Some(rule) = compiled.rules.iter().find(|rule| takes(compiled, rule, caller, event.cmd)) else {
        return match compiled.settings.default_allow {
            1 => Decision::of(Verdict::Allowed, ALLOWED),
            _ => Decision::of(refused(layout::MODE_OF_POLICY), (Reason::NoRule, 0)),
        };
    };
    match refusal(compiled, names, rule, caller, event) {
        None => Decision::by(Verdict::Allowed, ALLOWED, rule),
        Some(why) => Decision::by(refused(rule.mode), why, rule),
    }
}

/// Whether a rule takes a call.
fn takes(compiled: &Compiled, rule: &Rule, caller: &Caller, cmd: u32) -> bool {
    let is_in = |cgroup: u16| {
        let wanted = usize::from(cgroup).checked_sub(1).and_then(|index| compiled.cgroups.get(index));
        cgroup == 0 || wanted.is_some_and(|wanted| is_below(wanted, &caller.cgroup))
    };
    contains(&[rule.cmds], cmd)
        && (rule.uid_min..=rule.uid_max).contains(&caller.uid)
        && (rule.loginuid_min..=rule.loginuid_max).contains(&caller.loginuid)
        && match rule.userns {
            layout::USERNS_INITIAL => caller.initial_userns,
            layout::USERNS_NOT_INITIAL => !caller.initial_userns,
            _ => true,
        }
        && match rule.loader {
            0 => true,
            layout::ANY_LOADER => caller.loader != 0,
            loader => caller.loader == loader,
        }
        && is_in(rule.cgroup)
}

/// Whether a path is that of the cgroup or of one below it.
fn is_below(cgroup: &layout::Cgroup, path: &str) -> bool {
    let mut names = path.split('/').filter(|name| !name.is_empty());
    let wanted = cgroup.name.iter().zip(cgroup.length).take(cgroup.depth as usize);
    wanted
        .map(|(name, length)| &name[..length as usize])
        .all(|name| names.next().is_some_and(|at| at.as_bytes() == name))
}

type Refusal = Option<(Reason, u64)>;

fn refusal(compiled: &Compiled, names: &Names, rule: &Rule, caller: &Caller, event: &Event) -> Refusal {
    match rule.action {
        layout::ALLOW => return None,
        layout::DENY => return Some((Reason::Rule, 0)),
        _ => {}
    }
    let index = rule.profile;
    let profile = compiled.profiles.get(usize::from(index))?;
    match &event.hook {
        Hook::Bpf => command(profile, event.cmd),
        Hook::TokenCmd { cmd } => command(profile, *cmd),
        Hook::TokenCreate => command(profile, event.cmd),
        Hook::ProgLoad(program) => {
            let allowed = |list: &[Named], btf_id| {
                list.iter().any(|named| named.profile == u32::from(index) && names.has(&named.name, btf_id))
            };
            load(profile, program)
                .or_else(|| target(profile, program, |btf_id| allowed(&compiled.targets, btf_id)))
                .or_else(|| scan(profile, program, |btf_id| allowed(&compiled.kfuncs, btf_id)))
        }
        Hook::Prog { tag, maps } if event.cmd == PROG_LOAD => {
            let key = layout::SetKey::of_tag(index, *tag);
            if profile.only_tags == 1 && !compiled.tags.contains(&key) {
                return Some((Reason::Tag, 0));
            }
            let other = maps.iter().find(|map| profile.own_maps == 1 && map.made_by != Some(caller.uid));
            other.map(|map| (Reason::MapOfOther, map.id.into()))
        }
        Hook::MapCreate { kind, key_size, value_size, max_entries, has_token } => {
            let bytes = map_bytes(*kind, *key_size, *value_size, *max_entries);
            map(profile, *kind, *max_entries, bytes, *has_token)
        }
        Hook::TokenCapable { cap } => {
            (!contains(&[profile.token_caps], *cap)).then_some((Reason::TokenCap, u64::from(*cap)))
        }
        Hook::Prog { .. } | Hook::Map => None,
    }
}

fn command(profile: &Profile, cmd: u32) -> Refusal {
    (!contains(&[profile.cmds], cmd)).then_some((Reason::Cmd, cmd.into()))
}

/// Type, attach type, size, token and signature of a program.
fn load(profile: &Profile, program: &Program) -> Refusal {
    let attach = profile.attach.get(program.kind as usize);
    if !contains(&[profile.progs], program.kind) {
        Some((Reason::ProgType, program.kind.into()))
    } else if !attach.is_some_and(|attach| contains(attach, program.attach_type)) {
        Some((Reason::AttachType, program.attach_type.into()))
    } else if program.insns > profile.max_insns {
        Some((Reason::Insns, program.insns.into()))
    } else if profile.token_required == 1 && !program.has_token {
        Some((Reason::TokenMissing, 0))
    } else {
        signature(profile, program.signed_by)
    }
}

fn signature(profile: &Profile, signed_by: Option<u8>) -> Refusal {
    let accepted: &[u8] = match profile.signature {
        layout::SIGNED_NO => return None,
        layout::SIGNED_ANY => &[KEYRING_BUILTIN, KEYRING_SECONDARY, KEYRING_PLATFORM, KEYRING_USER],
        layout::SIGNED_BUILTIN => &[KEYRING_BUILTIN],
        layout::SIGNED_SECONDARY => &[KEYRING_BUILTIN, KEYRING_SECONDARY],
        _ => &[KEYRING_PLATFORM],
    };
    match signed_by {
        None => Some((Reason::Unsigned, 0)),
        Some(keyring) => (!accepted.contains(&keyring)).then_some((Reason::Keyring, keyring.into())),
    }
}

fn target(profile: &Profile, program: &Program, is_allowed: impl Fn(u32) -> bool) -> Refusal {
    let Target { btf_id, of_module } = program.target.filter(|target| target.btf_id != 0)?;
    let (is_allowed, reason) = match of_module {
        true => (profile.modules == 1 || program.kind == EXT, Reason::TargetOfModule),
        false => (profile.any_target == 1 || is_allowed(btf_id), Reason::Target),
    };
    (!is_allowed).then_some((reason, btf_id.into()))
}

/// The first call among the instructions that is not allowed.
fn scan(profile: &Profile, program: &Program, is_allowed: impl Fn(u32) -> bool) -> Refusal {
    program.calls.iter().find_map(|call| match *call {
        // libbpf puts such numbers where code cannot be reached; where it can, the verifier refuses them.
        Call::Helper(HELPERS_OF_KERNEL..) => None,
        Call::Helper(id) => (!contains(&profile.helpers, id)).then_some((Reason::Helper, id.into())),
        Call::Kfunc { btf_id, of_module: true } => {
            (profile.modules == 0).then_some((Reason::KfuncOfModule, btf_id.into()))
        }
        Call::Kfunc { btf_id, of_module: false } => {
            (profile.any_kfunc == 0 && !is_allowed(btf_id)).then_some((Reason::Kfunc, btf_id.into()))
        }
    })
}

fn map(profile: &Profile, kind: u32, max_entries: u32, bytes: u64, has_token: bool) -> Refusal {
    if !contains(&[profile.maps], kind) {
        Some((Reason::MapType, kind.into()))
    } else if u64::from(max_entries) > profile.max_entries {
        Some((Reason::MapEntries, max_entries.into()))
    } else if bytes > profile.max_bytes {
        Some((Reason::MapBytes, bytes))
    } else if profile.token_required == 1 && !has_token {
        Some((Reason::TokenMissing, 0))
    } else {
        None
    }
}

/// The bytes of a map as limits count them: its entries times key and value, each rounded up to 8 bytes; of a ring
/// buffer, its entries. `u64::MAX` if an entry has 4 GiB or more.
pub fn map_bytes(kind: u32, key_size: u32, value_size: u32, max_entries: u32) -> u64 {
    if RING_BUFFERS.contains(&kind) {
        return max_entries.into();
    }
    let rounded = |size: u32| u64::from(size).next_multiple_of(8);
    let entry = rounded(key_size) + rounded(value_size);
    // No kernel makes such a map; the BPF programs do not multiply with so much.
    if entry > u64::from(u32::MAX) && max_entries > 0 {
        return u64::MAX;
    }
    u64::from(max_entries).saturating_mul(entry)
}

#[cfg(test)]
mod tests;
