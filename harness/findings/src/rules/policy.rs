//! A delegation under a policy of the guard: what one of them grants and the other refuses.

use std::collections::{BTreeMap, BTreeSet};

use guard_policy::{
    Action, Caller, Compiled, Decision, Event, Hook, Names, Policy, Program, Rule, TokenNeed,
    layout::{Reason, Verdict},
};
use harness_frontend::{
    Location,
    execution_context::{User, UserNamespace},
    frontend::ConfiguredObject,
};
use harness_uapi::{
    delegation::{Delegation, known_bits, numbers},
    names, permission,
    vocabulary::Kind,
};

use super::kernel_check::{KernelCheck, option};
use crate::{
    code::{Code, Level},
    finding::Finding,
    guard::{caller, in_words, listed, who},
};

/// The option of systemd that places a unit in the hierarchy of cgroups (`systemd.resource-control(5)`).
const SLICE: &str = "Slice";
/// Where systemd puts a service of the system that names no slice (`systemd.special(7)`).
const SYSTEM_SLICE: &str = "/system.slice";

/// Compares a configuration with the policy on one kernel.
pub(super) fn check(check: &mut KernelCheck<'_>, policy: &(String, Policy)) {
    let Ok(delegation) = check.kernel.delegation(check.configuration) else { return };
    let (label, policy) = policy;
    let compiled = policy.compile();
    let callers = callers(check, policy);
    let mut refused: BTreeMap<Refused, Vec<&str>> = BTreeMap::new();
    for (words, caller) in &callers {
        for one in refused_of(check, &delegation, &compiled, caller) {
            refused.entry(one).or_default().push(words);
        }
    }
    for (refused, who_is_refused) in refused {
        let location = refused.location(check);
        let is_everybody = who_is_refused.len() == callers.len();
        let level = if refused.is_denied && is_everybody { Level::Warning } else { Level::Note };
        let message = format!(
            "the token grants what the policy {label} {}: {} {}, {}, for {}",
            if refused.is_denied { "refuses" } else { "would refuse" },
            words(refused.kind),
            names_of(refused.kind, &refused.numbers),
            if refused.rule == 0 {
                "as no rule takes the call".to_owned()
            } else {
                format!("by {}", who(policy, refused.rule))
            },
            who_is_refused.join("; ")
        );
        let finding =
            Finding::new(Code::TokenWiderThanPolicy, message, "the guard decides after the token, and may only refuse");
        let advice = "delegate what the policy allows, or allow what is needed in the policy";
        check.add(finding.of_level(level).at(location.as_ref()).advice(advice));
    }
    for (profile, kind, idle) in idle(check, &delegation, policy, &compiled, callers.values()) {
        let message = format!(
            "profile `{profile}` of the policy {label} allows {} that no token of this configuration grants: {}",
            words(kind),
            names_of(kind, &idle)
        );
        let why = "the profile is for programs and maps that come with a token, and a token cannot be widened";
        let finding = Finding::new(Code::PolicyWiderThanToken, message, why).at(option(check.configuration, kind));
        check.add(finding.advice("delegate them, or leave them out of the profile"));
    }
}

/// What the policy refuses of one mask, by one rule.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Refused {
    kind: Kind,
    /// The number of the rule; 0 for none.
    rule: u16,
    is_denied: bool,
    numbers: Vec<u32>,
}

impl Refused {
    /// Where the configuration delegates it: its first name, or else the option.
    fn location(&self, check: &KernelCheck<'_>) -> Option<Location> {
        let named = self.numbers.iter().find_map(|number| check.element(self.kind, *number));
        named.or_else(|| check.option(self.kind)).cloned()
    }
}

/// Those who may make the calls of the configuration's processes, as far as its file says who they are: one for each rule of the
/// policy, and one whom no rule describes; by their words.
fn callers(check: &KernelCheck<'_>, policy: &Policy) -> BTreeMap<String, Caller> {
    let context = &check.configuration.execution_context;
    let is_unit = check.configuration.frontend.makes == ConfiguredObject::Unit;
    let has_slice = check.configuration.written.iter().any(|written| written.key == SLICE);
    let is_placed = is_unit && !has_slice && check.configuration.other_manager.is_none();
    let described = |rule: Option<&Rule>| {
        let mut caller = caller(policy, rule);
        caller.initial_userns = context.user_namespace.value == UserNamespace::Host;
        // The first process of `PrivateUsers=` is root of the host too; of other containers it is not known.
        if is_unit && context.user.value == User::Root {
            caller.uid = 0;
        }
        if is_placed {
            caller.cgroup = format!("{SYSTEM_SLICE}/{}", check.configuration.name);
        }
        caller
    };
    let all = std::iter::once(None).chain(policy.rules.iter().map(Some)).map(described);
    all.map(|caller| (in_words(&caller), caller)).collect()
}

/// What a caller is refused of what a configuration delegates.
fn refused_of(check: &KernelCheck<'_>, delegation: &Delegation, compiled: &Compiled, caller: &Caller) -> Vec<Refused> {
    let decide = |cmd: &str, hook| {
        let cmd = names::number(Kind::Cmd, cmd).unwrap_or_default();
        guard_policy::decide(compiled, &Names::default(), caller, &Event::new(cmd, hook))
    };
    let mut refused: BTreeMap<(Kind, u16, bool), Vec<u32>> = BTreeMap::new();
    let mut note = |kind: Kind, number: u32, decision: Decision, reason: Reason| {
        let is_refused = [reason, Reason::Rule, Reason::NoRule].contains(&decision.reason);
        if is_refused {
            let is_denied = decision.verdict == Verdict::Denied;
            refused.entry((kind, decision.rule, is_denied)).or_default().push(number);
        }
        is_refused
    };
    let judged = permission::commands_with_token(check.kernel.release);
    for cmd in delegated(check, delegation, Kind::Cmd).into_iter().filter(|cmd| judged.contains(cmd)) {
        let event = Event::new(cmd, Hook::TokenCmd { cmd });
        note(Kind::Cmd, cmd, guard_policy::decide(compiled, &Names::default(), caller, &event), Reason::Cmd);
    }
    for kind in delegated(check, delegation, Kind::Map) {
        let hook = Hook::MapCreate { kind, key_size: 4, value_size: 4, max_entries: 1, has_token: true };
        note(Kind::Map, kind, decide("map_create", hook), Reason::MapType);
    }
    let load = |kind: u32, attach_type: u32| {
        let program = Program { kind, attach_type, has_token: true, ..Program::default() };
        decide("prog_load", Hook::ProgLoad(program))
    };
    let mut progs = delegated(check, delegation, Kind::Prog);
    progs.retain(|kind| !note(Kind::Prog, *kind, load(*kind, 0), Reason::ProgType));
    // A set bit without a program type that may ask for it is no wish of the file; `any` is not one either.
    if delegation.attachs.bits() != u64::MAX {
        for attach in delegated(check, delegation, Kind::Attach) {
            let mut decisions = progs.iter().map(|kind| load(*kind, attach));
            let first = decisions.next().filter(|first| first.reason == Reason::AttachType);
            if let Some(first) = first
                && decisions.all(|other| other.reason == Reason::AttachType)
            {
                note(Kind::Attach, attach, first, Reason::AttachType);
            }
        }
    }
    let refused = refused.into_iter();
    refused.map(|((kind, rule, is_denied), numbers)| Refused { kind, rule, is_denied, numbers }).collect()
}

/// The numbers of a mask that have a meaning to the kernel.
fn delegated(check: &KernelCheck<'_>, delegation: &Delegation, kind: Kind) -> Vec<u32> {
    let mask = match kind {
        Kind::Cmd => delegation.cmds.bits(),
        Kind::Map => delegation.maps.bits(),
        Kind::Prog => delegation.progs.bits(),
        Kind::Attach => delegation.attachs.bits(),
    };
    numbers(mask & known_bits(check.kernel.vocabulary.table(kind))).collect()
}

/// What profiles that require a token allow of map and program types in vain, for those callers whom they judge.
fn idle<'a, 'c>(
    check: &KernelCheck<'_>,
    delegation: &Delegation,
    policy: &'a Policy,
    compiled: &Compiled,
    callers: impl Iterator<Item = &'c Caller>,
) -> BTreeSet<(&'a str, Kind, Vec<u32>)> {
    let mut idle = BTreeSet::new();
    for caller in callers {
        for (kind, cmd) in [(Kind::Map, "map_create"), (Kind::Prog, "prog_load")] {
            let cmd = names::number(Kind::Cmd, cmd).unwrap_or_default();
            let decision = guard_policy::decide(compiled, &Names::default(), caller, &Event::new(cmd, Hook::Bpf));
            let rule = policy.rules.iter().find(|rule| rule.number == decision.rule);
            let Some(Rule { action: Action::Profile(index), .. }) = rule else { continue };
            let profile = &policy.profiles[*index];
            if profile.token != TokenNeed::Required {
                continue;
            }
            let allowed = if kind == Kind::Map { &profile.maps } else { &profile.progs };
            let granted = delegated(check, delegation, kind);
            let known = numbers(known_bits(check.kernel.vocabulary.table(kind)));
            let in_vain: Vec<u32> =
                known.filter(|number| allowed.contains(*number) && !granted.contains(number)).collect();
            if !in_vain.is_empty() {
                idle.insert((profile.name.as_str(), kind, in_vain));
            }
        }
    }
    idle
}

const fn words(kind: Kind) -> &'static str {
    match kind {
        Kind::Cmd => "commands",
        Kind::Map => "map types",
        Kind::Prog => "program types",
        Kind::Attach => "attach types",
    }
}

fn names_of(kind: Kind, numbers: &[u32]) -> String {
    listed(&numbers.iter().map(|number| names::shown(kind, *number).to_string()).collect::<Vec<_>>())
}
