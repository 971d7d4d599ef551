//! Whether objects load under a configuration.

use std::collections::{BTreeMap, BTreeSet};

use harness_frontend::execution_context::{SystemCall, UserNamespace};
use harness_objects::{Library, Loader, Necessity, Note, Object, PredictedAnswer, RequestOwner, loading, needs};
use harness_uapi::{
    delegation::numbers,
    names,
    permission::{Bit, Capability, Element, Grant},
    vocabulary::Kind,
};

use super::kernel_check::KernelCheck;
use crate::{
    code::{Code, Level},
    finding::Finding,
    input,
};

/// `elsewhere` are the objects as other loaders load them: what those need is not called too much, nor is what programs need.
pub(super) fn check(
    check: &mut KernelCheck<'_>,
    objects: &[(String, Object)],
    elsewhere: &[(String, Object)],
    of_programs: &BTreeSet<Element>,
) {
    let Ok(delegation) = check.kernel.delegation(check.configuration) else { return };
    if (objects.is_empty() && of_programs.is_empty()) || !check.kernel.has_tokens() {
        return;
    }
    let grant = input::powers(check.configuration, delegation);
    for (name, object) in objects {
        left_open(check, name, object, &grant);
        if let Some(cause) = no_token(check, &grant) {
            without_token(check, (name, object), cause);
            continue;
        }
        let loading = loading(object, check.kernel.release.into(), &grant);
        let refused: Vec<&PredictedAnswer> = loading.refused().collect();
        refused.iter().for_each(|answer| refusal(check, name, answer));
        if loading.stops_at.is_none() {
            losses(check, (name, object.loader), &loading.answers);
        }
    }
    let release = check.kernel.release;
    let of = |objects: &[(String, Object)]| {
        let needed = needs(objects, release.into());
        needed.elements.into_keys().chain(needed.attaching.into_keys()).collect::<Vec<Element>>()
    };
    let others = elsewhere.iter().flat_map(|one| of(std::slice::from_ref(one)));
    let elements: BTreeSet<Element> =
        of(objects).into_iter().chain(others).chain(of_programs.iter().copied()).collect();
    let who =
        if of_programs.is_empty() { ("object", "objects") } else { ("object or program", "objects and programs") };
    beyond(check, &delegation.masks(), &elements, who);
}

/// Why the processes cannot create a token, as far as the configuration shows; `None` if they can, or need none.
pub(super) fn no_token(check: &KernelCheck<'_>, grant: &Grant) -> Option<&'static str> {
    let (configuration, context) = (check.configuration, &check.configuration.execution_context);
    if grant.makes_token() || input::is_outside(configuration) {
        return None;
    }
    let causes = [
        (configuration.bpffs.is_none(), "no bpffs is mounted"),
        (context.user_namespace.value == UserNamespace::Host, "there is no user namespace of their own"),
        (input::belongs_to_host(configuration), "the bpffs belongs to the host's user namespace"),
        (context.refused_calls.contains_key(&SystemCall::Bpf), "bpf(2) is refused"),
        (context.hides_bpffs.iter().any(|hides| hides.is_certain), "the bpffs cannot be opened"),
        (!input::capabilities(configuration).contains(&Capability::Bpf), "they lack CAP_BPF"),
    ];
    let found = causes.into_iter().find_map(|(holds, cause)| holds.then_some(cause));
    Some(found.unwrap_or("nothing is delegated"))
}

/// Reports that nothing of an object loads, by its cause alone: what is delegated plays no part.
fn without_token(check: &mut KernelCheck<'_>, (name, object): (&str, &Object), cause: &'static str) {
    let configuration = check.configuration;
    let message = format!("{name}: nothing of it loads, because the processes cannot create a token: {cause}");
    let why = "without a token the kernel checks the initial user namespace (bpf_token_create and bpf_token_capable in kernel/bpf/token.c)";
    let location = configuration.bpffs.as_ref().map(|bpffs| &bpffs.location);
    let location = configuration
        .execution_context
        .bounding_set
        .location
        .as_ref()
        .filter(|_| cause.contains("CAP_BPF"))
        .or(location);
    let finding = Finding::new(Code::ObjectRefused, message, why).at(location);
    check.add(finding.advice(format!("let them create a token, as {} needs one", object.loader.library)));
}

/// Reports what the object's file leaves open, as `caps` does.
fn left_open(check: &mut KernelCheck<'_>, name: &str, object: &Object, grant: &Grant) {
    let named = [(name.to_owned(), object.clone())];
    let location = check.configuration.bpffs.as_ref().map(|bpffs| bpffs.location.clone());
    for (_, note) in needs(&named, check.kernel.release.into()).notes {
        let is_told = match note {
            Note::Verifier(_) => !grant.is_capable(Capability::Perfmon) && grant.makes_token(),
            Note::Kconfig | Note::NoTypes | Note::Pinned(_) | Note::OwnCount(..) | Note::NeedsTypes(..) => false,
            _ => true,
        };
        if !is_told {
            continue;
        }
        let (code, level) = match note.prevents_opening() {
            true => (Code::ObjectRefused, Level::Error),
            false => (Code::ObjectNote, Level::Note),
        };
        let why = "by the object's file alone (`caps` lists all that it needs)";
        let finding = Finding::new(code, format!("{name}: {note}"), why).of_level(level).at(location.as_ref());
        check.add(finding);
    }
}

/// Reports a part of an object that the kernel refuses.
fn refusal(check: &mut KernelCheck<'_>, name: &str, answer: &PredictedAnswer) {
    let (asked, by) = (&answer.asked, &answer.asked.by);
    let obstacles: Vec<String> = answer.obstacles.iter().map(ToString::to_string).collect();
    // In the host's namespace these are not obstacles.
    if !obstacles.is_empty() && input::is_outside(check.configuration) {
        return;
    }
    if !obstacles.is_empty() {
        let level = if asked.must == Necessity::Attaches { Level::Warning } else { Level::Error };
        let message = format!("{name}: {by} needs {}", obstacles.join(", and "));
        let finding = Finding::new(Code::NotDelegable, message, "no token applies in the initial user namespace");
        check.add(finding.of_level(level).advice("do this outside of the container, or change the object"));
        return;
    }
    let missing: Vec<String> = answer.lacks.missing.keys().map(ToString::to_string).collect();
    let why: BTreeSet<&str> = answer.lacks.missing.values().flatten().map(|why| why.source).collect();
    let lacks = if missing.is_empty() { "a token".to_owned() } else { missing.join(", ") };
    let (code, level) = match (by, asked.must) {
        (RequestOwner::Btf, _) => (Code::TypesNotLoadable, Level::Error),
        (_, Necessity::Attaches) => (Code::ObjectRefused, Level::Warning),
        _ => (Code::ObjectRefused, Level::Error),
    };
    let message = format!("{name}: the kernel would refuse {by}: it lacks {lacks}");
    let why = if why.is_empty() { "bpf_token_create in kernel/bpf/token.c".to_owned() } else { list(why) };
    let location = answer.lacks.missing.keys().find_map(|element| check.place_of(element)).or(check.bpffs());
    check.add(Finding::new(code, message, why).of_level(level).at(location).advice(format!("grant {lacks}")));
}

fn list<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    texts.into_iter().collect::<Vec<_>>().join("; ")
}

/// Reports what the loader drops, in one finding per object.
fn losses(check: &mut KernelCheck<'_>, (name, loader): (&str, Loader), answers: &[PredictedAnswer]) {
    let mut lost: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for answer in answers.iter().filter(|answer| !answer.allowed) {
        if let Necessity::Improves(feature) = answer.asked.must {
            let kept_by = answer.lacks.missing.keys().map(ToString::to_string);
            let kept = lost.entry(feature.to_string()).or_default();
            kept.extend(kept_by.filter(|_| answer.obstacles.is_empty()));
        }
    }
    if lost.is_empty() {
        return;
    }
    let shown = lost.iter().map(|(feature, kept_by)| match kept_by.len() {
        0 => format!("{feature} (no delegation restores it)"),
        _ => format!("{feature} (to keep it, grant {})", list(kept_by.iter().map(String::as_str))),
    });
    let message = format!("{name}: {} silently drops {}", loader.library, shown.collect::<Vec<_>>().join(", "));
    let why = match loader.library {
        Library::Libbpf => "if a probe is refused, libbpf assumes that the kernel lacks the feature (src/features.c)",
        Library::CiliumEbpf | Library::Aya => {
            "if a probe is refused, the loader assumes that the kernel lacks the feature"
        }
    };
    check.add(Finding::new(Code::SilentLoss, message, why).at(check.bpffs()));
}

/// Reports what is delegated but needed by none of those who are named, one of them and all.
fn beyond(check: &mut KernelCheck<'_>, masks: &[u64; 4], needed: &BTreeSet<Element>, (one, all): (&str, &str)) {
    let needs = |kind: Kind, number: u32| needed.contains(&Element::Bit(Bit { kind, number }));
    for kind in Kind::ALL {
        let mask = masks[kind as usize];
        let is_unused = |number: &u32| names::name(kind, *number).is_some() && !needs(kind, *number);
        let unused: Vec<u32> = numbers(mask).filter(is_unused).collect();
        if unused.is_empty() {
            continue;
        }
        let message = if mask == u64::MAX {
            let kept: Vec<String> =
                numbers(mask).filter(|number| needs(kind, *number)).map(|n| names::shown(kind, n)).collect();
            format!(
                "every {} is delegated, but the {all} need {}",
                kind.noun(),
                if kept.is_empty() { "none".to_owned() } else { format!("only {}", kept.join(", ")) }
            )
        } else {
            let unused: Vec<String> = unused.into_iter().map(|number| names::shown(kind, number)).collect();
            format!("no {one} needs the {}s {}", kind.noun(), unused.join(", "))
        };
        let why = "whoever takes over the container can use everything that is delegated";
        check.add(
            Finding::new(Code::BeyondObjects, message, why)
                .at(check.option(kind))
                .advice(format!("delegate only what the {all} need")),
        );
    }
}
