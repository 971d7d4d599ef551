//! What an author of a policy should look at: what has no effect, and what allows getting past the guard.

use std::ops::Range;

use harness_uapi::vocabulary::Vocabulary;

use crate::{
    danger::LSM,
    decision::EXT,
    file::Identity,
    layout::ANY_LOADER,
    name::Family,
    policy::{Action, Loader, Policy, Profile, Rule, WrittenName},
};

/// A kind of finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FindingKind {
    /// One rule before it takes all its calls.
    RuleNeverReached,
    /// No rule refers to it.
    UnusedProfile,
    /// It allows programs that can deny calls before the guard sees them.
    AllowsLsmPrograms,
    /// It allows helpers that change other processes or the results of functions.
    AllowsInterference,
    /// It allows programs at any function.
    AllowsAnyTarget,
    /// It allows functions of modules.
    AllowsModules,
    /// It allows any program.
    AllowsEverything,
    /// A loader is known by its inode.
    IdentityByInode,
    /// The guard does not protect itself.
    Unprotected,
    /// Root can put another policy in its place.
    ReloadByRoot,
    /// A kernel does not have a name.
    NameNotOnKernel,
}

impl FindingKind {
    /// All kinds.
    pub const ALL: [Self; 11] = [
        Self::RuleNeverReached,
        Self::UnusedProfile,
        Self::AllowsLsmPrograms,
        Self::AllowsInterference,
        Self::AllowsAnyTarget,
        Self::AllowsModules,
        Self::AllowsEverything,
        Self::IdentityByInode,
        Self::Unprotected,
        Self::ReloadByRoot,
        Self::NameNotOnKernel,
    ];

    /// Its code.
    pub const fn id(self) -> &'static str {
        match self {
            Self::RuleNeverReached => "rule-never-reached",
            Self::UnusedProfile => "unused-profile",
            Self::AllowsLsmPrograms => "allows-lsm-programs",
            Self::AllowsInterference => "allows-interference",
            Self::AllowsAnyTarget => "allows-any-target",
            Self::AllowsModules => "allows-modules",
            Self::AllowsEverything => "allows-everything",
            Self::IdentityByInode => "identity-by-inode",
            Self::Unprotected => "unprotected-guard",
            Self::ReloadByRoot => "reload-by-root",
            Self::NameNotOnKernel => "name-not-on-kernel",
        }
    }

    /// Whether it is only worth knowing.
    pub const fn is_note(self) -> bool {
        matches!(self, Self::AllowsEverything | Self::NameNotOnKernel)
    }
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its kind.
    pub kind: FindingKind,
    /// The bytes of the file that it is about.
    pub span: Range<usize>,
    /// What is found.
    pub message: String,
    /// Why it matters.
    pub why: &'static str,
    /// What to do about it.
    pub advice: String,
}

/// Types of programs that are bound to a function: `tracing`, `ext` and `lsm`.
const BOUND: [u32; 3] = [26, EXT, LSM];
/// `probe_write_user` and `override_return`.
const INTERFERING: [u32; 2] = [36, 58];
const PROG_LOAD: u32 = 5;

/// Returns what to look at, in the order of rules and profiles.
pub fn findings(policy: &Policy) -> Vec<Finding> {
    let mut findings: Vec<Finding> = policy.guard.unprotected.iter().map(unprotected).collect();
    findings.extend(policy.guard.by_root.iter().map(by_root));
    findings.extend(policy.loaders.iter().filter(|loader| loader.identity == Identity::Inode).map(by_inode));
    findings.extend(policy.rules.iter().filter_map(|rule| never_reached(policy, rule)));
    findings.extend(policy.rules.iter().filter_map(allows_everything));
    for (index, profile) in policy.profiles.iter().enumerate() {
        let is_used = policy.rules.iter().any(|rule| rule.action == Action::Profile(index));
        findings.extend((!is_used).then(|| unused(profile)));
        findings.extend(risks(profile));
    }
    findings
}

/// Returns a note for each name in the policy that this kernel does not have, in the order of the text.
pub fn not_on_kernel(policy: &Policy, vocabulary: &Vocabulary) -> Vec<Finding> {
    let is_missing = |family: Family, number: u32| match (family.kind(), family) {
        (Some(kind), _) => vocabulary.table(kind).name(number).is_none(),
        // Vocabularies from before helpers were recorded have none.
        (None, Family::Helper) => !vocabulary.helpers.is_empty() && vocabulary.helpers.name(number).is_none(),
        (None, _) => false,
    };
    let named = policy.named.iter().filter(|named| is_missing(named.family, named.number));
    let finding = |named: &WrittenName| Finding {
        kind: FindingKind::NameNotOnKernel,
        span: named.span.clone(),
        message: format!("the kernel has no {} `{}`", named.family, named.family.shown(named.number)),
        why: "nobody can ask such a kernel for it, so the name has no effect there",
        advice: "keep it if the policy is also for newer kernels".to_owned(),
    };
    let mut findings: Vec<Finding> = named.map(finding).collect();
    findings.sort_by_key(|finding| finding.span.start);
    findings
}

/// Finds the first rule before this one that takes every call that it takes. Rules that only together do are not found.
fn never_reached(policy: &Policy, rule: &Rule) -> Option<Finding> {
    let earlier = policy.rules.iter().take_while(|other| other.number < rule.number);
    let number = earlier.into_iter().find(|other| covers(policy, other, rule))?.number;
    Some(Finding {
        kind: FindingKind::RuleNeverReached,
        span: rule.span.clone(),
        message: format!("rule {} is never reached: rule {number} takes all its calls", rule.number),
        why: "the first rule that takes a call decides",
        advice: format!("move it before rule {number}, or remove it"),
    })
}

/// Whether a rule takes every call that another takes: each of its conditions must hold wherever the other's does.
fn covers(policy: &Policy, rule: &Rule, other: &Rule) -> bool {
    let is_below = |cgroup: usize| {
        let path = &policy.cgroups[cgroup].0;
        rule.cgroups.iter().any(|above| path.starts_with(&policy.cgroups[*above].0))
    };
    let has_cgroups = match (rule.cgroups.as_slice(), other.cgroups.as_slice()) {
        ([], _) => true,
        (_, []) => false,
        (_, cgroups) => cgroups.iter().all(|cgroup| is_below(*cgroup)),
    };
    let has_loaders = match (rule.loaders.as_slice(), other.loaders.as_slice()) {
        ([], _) => true,
        (_, []) => false,
        (mine, loaders) => mine.contains(&ANY_LOADER) || loaders.iter().all(|loader| mine.contains(loader)),
    };
    // Only the commands below 64 exist.
    let [cmds, others] = [rule, other].map(|rule| rule.cmds.word());
    others & !cmds == 0
        && (rule.userns.is_none() || rule.userns == other.userns)
        && has_ids(&rule.uid, &other.uid)
        && has_ids(&rule.loginuid, &other.loginuid)
        && has_cgroups
        && has_loaders
}

/// Whether ranges contain all ids of others; no ranges stand for all ids.
fn has_ids(ranges: &[(u32, u32)], others: &[(u32, u32)]) -> bool {
    if ranges.is_empty() {
        return true;
    }
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    let all = [(0, u32::MAX)];
    let others = if others.is_empty() { &all[..] } else { others };
    others.iter().all(|(first, last)| {
        // The first id that no range so far contains.
        let mut next = u64::from(*first);
        for (start, end) in &sorted {
            if u64::from(*start) <= next {
                next = next.max(u64::from(*end) + 1);
            }
        }
        next > u64::from(*last)
    })
}

fn allows_everything(rule: &Rule) -> Option<Finding> {
    let is_open = rule.action == Action::Allow && rule.cmds.contains(PROG_LOAD);
    is_open.then(|| Finding {
        kind: FindingKind::AllowsEverything,
        span: rule.span.clone(),
        message: format!("rule {} allows every program", rule.number),
        why: "that includes programs of type lsm, helpers that write into processes, and functions of modules",
        advice: "give those whom it takes a profile, unless they are trusted with the machine".to_owned(),
    })
}

fn by_inode(loader: &Loader) -> Finding {
    Finding {
        kind: FindingKind::IdentityByInode,
        span: loader.span.clone(),
        message: format!("loader `{}` is known by its inode", loader.name),
        why: "whoever may write the file makes another program of it, and a file system may use an inode again",
        advice: "use `fs-verity` where the file system has it, else `ima`".to_owned(),
    }
}

fn unprotected(span: &Range<usize>) -> Finding {
    Finding {
        kind: FindingKind::Unprotected,
        span: span.clone(),
        message: "the guard does not protect itself".to_owned(),
        why: "root can remove its pins, unmount its bpffs, open its maps and programs, end its processes, and attach tracing \
              programs to the functions that decide",
        advice: "leave out `self_protection`: it is for tests only".to_owned(),
    }
}

fn by_root(span: &Range<usize>) -> Finding {
    Finding {
        kind: FindingKind::ReloadByRoot,
        span: span.clone(),
        message: "root can put any policy in the place of this one".to_owned(),
        why: "no signature is asked for, so whoever gets to be root on this machine decides what the policy is",
        advice: "name the keyring that has your key, such as `reload = \"builtin\"`, or leave `reload` out".to_owned(),
    }
}

fn unused(profile: &Profile) -> Finding {
    Finding {
        kind: FindingKind::UnusedProfile,
        span: profile.span.clone(),
        message: format!("no rule refers to profile `{}`", profile.name),
        why: "a profile decides only about calls of rules that refer to it",
        advice: "remove it, or add a rule".to_owned(),
    }
}

/// What a profile allows that gets past the guard.
fn risks(profile: &Profile) -> Vec<Finding> {
    let name = &profile.name;
    let mut findings = Vec::new();
    let mut find = |kind, key: &str, message: String, why, advice: &str| {
        let span = profile.keys.get(key).unwrap_or(&profile.span).clone();
        findings.push(Finding { kind, span, message, why, advice: advice.to_owned() });
    };
    if profile.progs.contains(LSM) {
        find(
            FindingKind::AllowsLsmPrograms,
            "progs",
            format!("profile `{name}` allows programs of type lsm"),
            "a newer program of type lsm runs before the guard's, and calls that it denies are not on record",
            "leave out `lsm`, or give this profile only to those who are trusted with the machine",
        );
    }
    let has_progs = !profile.progs.is_empty();
    let interfering: Vec<String> = INTERFERING
        .into_iter()
        .filter(|helper| has_progs && profile.helpers.contains(*helper))
        .map(|helper| format!("`{}`", Family::Helper.shown(helper)))
        .collect();
    if !interfering.is_empty() {
        find(
            FindingKind::AllowsInterference,
            "helpers",
            format!("profile `{name}` allows the helpers {}", interfering.join(" and ")),
            "they write into the memory of processes, the guard's daemon included, or replace the results of functions",
            "leave them out: `helpers = { except = [\"@interfere\"] }`",
        );
    }
    let bound: Vec<String> = BOUND
        .into_iter()
        .filter(|kind| profile.targets.is_none() && profile.progs.contains(*kind))
        .map(|kind| format!("`{}`", Family::Prog.shown(kind)))
        .collect();
    if !bound.is_empty() {
        find(
            FindingKind::AllowsAnyTarget,
            "targets",
            format!("profile `{name}` allows programs of type {} at any function", bound.join(", ")),
            "such programs see, and by modify_return change, what the kernel does for everybody; only the functions that \
             the guard depends on are kept from them",
            "list the functions in `targets`",
        );
    }
    if profile.modules && has_progs {
        find(
            FindingKind::AllowsModules,
            "modules",
            format!("profile `{name}` allows kfuncs and targets of modules"),
            "modules are not in the kernel's own BTF: neither `kfuncs` nor `targets` says which of their functions are meant",
            "leave out `modules`",
        );
    }
    findings
}

#[cfg(test)]
mod tests;
