//! Policies of the guard: what is wrong with them, which objects they refuse, and the profile that an object needs.

mod calls;
mod profile;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use guard_policy::{
    Action, Caller, Compiled, Decision, Family, FindingKind, Rule, Userns,
    layout::{ANY_LOADER, Reason, Verdict},
};
use harness_diagnostics::report::Report;
use harness_frontend::{Location, Source, Sources, suppressions_of_toml};
use harness_objects::Object;

use crate::{
    code::{Code, Level},
    finding::{Finding, merged},
    input::KernelFacts,
    suppressions,
};
pub use calls::{KnownFunctions, ObjectCall, calls};
pub use guard_policy::Policy;
pub use profile::profile;

/// Whether a file is a policy, by its name `*.guard.toml`, or by the keys of a TOML file.
pub fn is_policy(source: &Source) -> bool {
    let has = |start: &str| source.text().lines().any(|line| line.trim_start().starts_with(start));
    source.label().ends_with(".guard.toml") || has("version") && (has("[[rule]]") || has("[profiles"))
}

/// Reads a policy.
///
/// # Errors
/// Everything that is wrong with the file itself.
pub fn read(sources: &Sources) -> Result<Policy, Report> {
    let source = sources.get(0);
    guard_policy::parse(source.label(), source.text()).map(|(policy, _)| policy)
}

/// Checks a policy for these kernels and objects. Returns its findings in the order of its text, without those that a
/// comment suppresses.
///
/// # Errors
/// Everything that is wrong with the file itself.
pub fn check(sources: &Sources, kernels: &[KernelFacts], objects: &[(String, Object)]) -> Result<Vec<Finding>, Report> {
    let source = sources.get(0);
    let (policy, _) = guard_policy::parse(source.label(), source.text())?;
    let mut findings: Vec<Finding> = guard_policy::findings(&policy).iter().map(finding).collect();
    for kernel in kernels {
        let missing = guard_policy::not_on_kernel(&policy, &kernel.vocabulary);
        findings.extend(missing.iter().map(|one| finding(one).on(&kernel.name)));
    }
    for kernel in kernels {
        findings.extend(refusals(&policy, kernel, objects));
    }
    let (suppressions, malformed) = suppressions_of_toml(0, source.text());
    findings.extend(malformed.into_iter().map(|(location, message)| {
        let why = "a comment that is not read suppresses nothing";
        Finding::new(Code::UselessSuppression, message, why).at(Some(&location)).advice("correct or remove it")
    }));
    Ok(suppressions::applied(merged(findings), &suppressions, sources))
}

fn code(kind: FindingKind) -> Code {
    match kind {
        FindingKind::RuleNeverReached => Code::RuleNeverReached,
        FindingKind::UnusedProfile => Code::UnusedProfile,
        FindingKind::AllowsLsmPrograms => Code::AllowsLsmPrograms,
        FindingKind::AllowsInterference => Code::AllowsInterference,
        FindingKind::AllowsAnyTarget => Code::AllowsAnyTarget,
        FindingKind::AllowsModules => Code::AllowsModules,
        FindingKind::AllowsEverything => Code::AllowsEverything,
        FindingKind::IdentityByInode => Code::IdentityByInode,
        FindingKind::Unprotected => Code::UnprotectedGuard,
        FindingKind::ReloadByRoot => Code::ReloadByRoot,
        FindingKind::NameNotOnKernel => Code::NameNotOnKernel,
    }
}

fn at(span: std::ops::Range<usize>) -> Location {
    Location { source: 0, span }
}

fn finding(found: &guard_policy::Finding) -> Finding {
    let level = if found.kind.is_note() { Level::Note } else { Level::Warning };
    Finding::new(code(found.kind), found.message.clone(), found.why)
        .of_level(level)
        .at(Some(&at(found.span.clone())))
        .advice(found.advice.clone())
}

/// The most parts of an object, or names, that a finding lists.
const MOST_PARTS: usize = 5;

/// Lists the first parts, and says how many more there are.
pub(crate) fn listed(parts: &[String]) -> String {
    let (first, more) = parts.split_at(parts.len().min(MOST_PARTS));
    let more = (!more.is_empty()).then(|| format!("{} more", more.len()));
    first.iter().cloned().chain(more).collect::<Vec<_>>().join(", ")
}

/// A refusal of a part of an object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Refusal {
    object: Arc<str>,
    /// The number of the rule; 0 for none.
    rule: u16,
    why: String,
    is_denied: bool,
}

/// Finds what the policy refuses of objects: to root in the initial user namespace, and to those whom each rule takes.
fn refusals(policy: &Policy, kernel: &KernelFacts, objects: &[(String, Object)]) -> Vec<Finding> {
    let compiled = policy.compile();
    let root = caller(policy, None);
    let callers: BTreeMap<String, Caller> =
        policy.rules.iter().map(|rule| caller(policy, Some(rule))).map(|caller| (in_words(&caller), caller)).collect();
    let mut all: BTreeMap<(Refusal, String), BTreeSet<String>> = BTreeMap::new();
    for (name, object) in objects {
        let name: Arc<str> = name.as_str().into();
        let mut functions = KnownFunctions::default();
        let calls = calls(object, kernel.release, &mut functions);
        for caller in std::iter::once(&root).chain(callers.values()) {
            for refusal in refused(&compiled, &functions, caller, &calls, &name) {
                all.entry(refusal).or_default().insert(in_words(caller));
            }
        }
    }
    let mut parts: BTreeMap<(Refusal, BTreeSet<String>), Vec<String>> = BTreeMap::new();
    for ((refusal, part), callers) in all {
        parts.entry((refusal, callers)).or_default().push(part);
    }
    let root = in_words(&root);
    let finding = |((refusal, callers), parts): ((Refusal, BTreeSet<String>), Vec<String>)| {
        refusal.finding(policy, &parts, &callers, &root).on(&kernel.name)
    };
    parts.into_iter().map(finding).collect()
}

/// The first refusal of each part of an object, with the part.
fn refused(
    compiled: &Compiled,
    functions: &KnownFunctions,
    caller: &Caller,
    calls: &[ObjectCall],
    object: &Arc<str>,
) -> Vec<(Refusal, String)> {
    let mut refusals: Vec<(Refusal, String)> = Vec::new();
    for call in calls.iter().filter(|call| call.is_needed) {
        let decision = guard_policy::decide(compiled, functions.names(), caller, &call.event);
        if decision.verdict != Verdict::Allowed && refusals.iter().all(|(_, part)| *part != call.by) {
            let refusal = Refusal {
                object: object.clone(),
                rule: decision.rule,
                why: why(&decision, functions),
                is_denied: decision.verdict == Verdict::Denied,
            };
            refusals.push((refusal, call.by.clone()));
        }
    }
    refusals
}

impl Refusal {
    fn finding(&self, policy: &Policy, parts: &[String], callers: &BTreeSet<String>, root: &str) -> Finding {
        let rule = policy.rules.iter().find(|rule| rule.number == self.rule);
        let who = who(policy, self.rule);
        let Self { object, why, .. } = self;
        let parts = listed(parts);
        let callers: Vec<&str> = callers.iter().map(String::as_str).collect();
        let verb = if self.is_denied { "refuses" } else { "would refuse" };
        let message = format!("{object}: {who} {verb} {parts} for {}: {why}", callers.join("; "));
        let level = match (callers.contains(&root), self.is_denied) {
            (true, true) => Level::Error,
            (true, false) => Level::Warning,
            (false, _) => Level::Note,
        };
        Finding::new(
            Code::GuardRefusesObject,
            message,
            "the first rule that takes a call decides, and then its profile",
        )
        .of_level(level)
        .at(rule.map(|rule| at(rule.span.clone())).as_ref())
        .advice("`caps --format guard-policy` prints the profile that the object needs")
    }
}

/// Which rule refuses a call, in words; 0 for none.
pub(crate) fn who(policy: &Policy, rule: u16) -> String {
    match policy.rules.iter().find(|one| one.number == rule) {
        None => "no rule takes the call, so the policy".to_owned(),
        Some(Rule { number, action: Action::Profile(index), .. }) => {
            format!("rule {number} with profile `{}`", policy.profiles[*index].name)
        }
        Some(rule) => format!("rule {}", rule.number),
    }
}

/// Why a part is refused, in words.
fn why(decision: &Decision, functions: &KnownFunctions) -> String {
    let number = u32::try_from(decision.what).unwrap_or(u32::MAX);
    let lacks = |family: Family| format!("the {family} `{}` is not in it", family.shown(number));
    let function = || functions.name(number).unwrap_or("another");
    match decision.reason {
        Reason::NoRule => "the default is to deny".to_owned(),
        Reason::Rule => "it denies everything that it takes".to_owned(),
        Reason::Cmd => lacks(Family::Cmd),
        Reason::ProgType => lacks(Family::Prog),
        Reason::AttachType => lacks(Family::Attach),
        Reason::MapType => lacks(Family::Map),
        Reason::Helper => lacks(Family::Helper),
        Reason::Kfunc => format!("the kfunc `{}` is not in it", function()),
        Reason::Target => format!("the target `{}` is not in it", function()),
        Reason::TargetOfModule => format!("the target `{}` is in a module", function()),
        Reason::Insns => format!("it has {number} instructions"),
        Reason::MapEntries => format!("it has {number} entries"),
        Reason::MapBytes => format!("it has {} bytes", decision.what),
        Reason::TokenMissing => "it comes without a token".to_owned(),
        Reason::Unsigned => "it has no signature".to_owned(),
        other => format!("{other:?}"),
    }
}

/// One of those whom a rule takes; without a rule, root in the initial user namespace outside of all cgroups.
pub(crate) fn caller(policy: &Policy, rule: Option<&Rule>) -> Caller {
    let first = |ranges: &[(u32, u32)], otherwise: u32| ranges.first().map_or(otherwise, |(first, _)| *first);
    let cgroup = rule.and_then(|rule| rule.cgroups.first()).map(|index| policy.cgroups[*index].to_string());
    Caller {
        uid: rule.map_or(0, |rule| first(&rule.uid, 0)),
        loginuid: rule.map_or(u32::MAX, |rule| first(&rule.loginuid, u32::MAX)),
        initial_userns: rule.is_none_or(|rule| rule.userns != Some(Userns::NotInitial)),
        cgroup: cgroup.unwrap_or_else(|| "/".to_owned()),
        loader: rule
            .and_then(|rule| rule.loaders.first())
            .map_or(0, |loader| if *loader == ANY_LOADER { 1 } else { *loader }),
        is_guard: false,
    }
}

pub(crate) fn in_words(caller: &Caller) -> String {
    let mut text = format!("uid {}", caller.uid);
    if caller.loginuid != u32::MAX {
        text += &format!(", loginuid {}", caller.loginuid);
    }
    if caller.cgroup != "/" {
        text += &format!(", cgroup {}", caller.cgroup);
    }
    if !caller.initial_userns {
        text += ", in a user namespace";
    }
    if caller.loader != 0 {
        text += &format!(", known loader {}", caller.loader);
    }
    text
}
