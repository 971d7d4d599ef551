//! What becomes of the objects that are to be loaded under a configuration.

use std::collections::{BTreeMap, BTreeSet};

use harness_objects::{Necessity, Object, PredictedAnswer, RequestOwner, loading, needs};
use harness_uapi::{
    delegation::numbers,
    names,
    permission::{Bit, Element},
    vocabulary::Kind,
};

use super::kernel_check::KernelCheck;
use crate::{
    code::{Code, Level},
    finding::Finding,
    input,
};

pub(super) fn judge(judged: &mut KernelCheck<'_>, objects: &[(String, Object)]) {
    let Ok(delegation) = judged.kernel.delegation(judged.configuration) else { return };
    if objects.is_empty() || !judged.kernel.has_tokens() {
        return;
    }
    let grant = input::powers(judged.configuration, delegation);
    for (name, object) in objects {
        let loading = loading(object, judged.kernel.release.into(), &grant);
        let refused: Vec<&PredictedAnswer> = loading.refused().collect();
        refused.iter().for_each(|answer| refusal(judged, name, answer));
        if loading.stops_at.is_none() {
            losses(judged, name, &loading.answers);
        }
    }
    let needed = needs(objects, judged.kernel.release.into());
    let elements: BTreeSet<Element> = needed.elements.into_keys().chain(needed.attaching.into_keys()).collect();
    beyond(judged, &delegation.masks(), &elements);
}

/// Something of an object that the kernel refuses.
fn refusal(judged: &mut KernelCheck<'_>, name: &str, answer: &PredictedAnswer) {
    let (asked, by) = (&answer.asked, &answer.asked.by);
    let obstacles: Vec<String> = answer.obstacles.iter().map(ToString::to_string).collect();
    // In the host's namespace they are none.
    if !obstacles.is_empty() && input::is_outside(judged.configuration) {
        return;
    }
    if !obstacles.is_empty() {
        let level = if asked.must == Necessity::Attaches { Level::Warning } else { Level::Error };
        let message = format!("{name}: {by} takes {}", obstacles.join(", and "));
        let finding = Finding::new(Code::NotDelegable, message, "no token stands for the initial user namespace");
        judged.tell(finding.of_level(level).advice("do it outside of the container, or do without"));
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
    let message = format!("{name}: {by} is refused: it lacks {lacks}");
    let why = if why.is_empty() { "bpf_token_create in kernel/bpf/token.c".to_owned() } else { list(why) };
    let location = answer.lacks.missing.keys().find_map(|element| match element {
        Element::Bit(bit) => judged.option(bit.kind),
        Element::Capability(_) => judged.configuration.execution_context.bounding_set.location.as_ref(),
    });
    let location = location.or(judged.configuration.bpffs.as_ref().map(|bpffs| &bpffs.location));
    judged.tell(Finding::new(code, message, why).of_level(level).at(location).advice(format!("give it {lacks}")));
}

fn list<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    texts.into_iter().collect::<Vec<_>>().join("; ")
}

/// What libbpf goes without, in one finding an object.
fn losses(judged: &mut KernelCheck<'_>, name: &str, answers: &[PredictedAnswer]) {
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
    let told = lost.iter().map(|(feature, kept_by)| match kept_by.len() {
        0 => format!("{feature} (nothing keeps it)"),
        _ => format!("{feature} (kept by {})", list(kept_by.iter().map(String::as_str))),
    });
    let message = format!("{name}: libbpf goes without {}", told.collect::<Vec<_>>().join(", "));
    let why = "libbpf takes what its probes are refused for missing in the kernel, and says nothing (src/features.c)";
    judged.tell(
        Finding::new(Code::SilentLoss, message, why).at(judged
            .configuration
            .bpffs
            .as_ref()
            .map(|bpffs| &bpffs.location)),
    );
}

/// What is delegated and needed by none of the objects.
fn beyond(judged: &mut KernelCheck<'_>, masks: &[u64; 4], needed: &BTreeSet<Element>) {
    let needs = |kind: Kind, number: u32| needed.contains(&Element::Bit(Bit { kind, number }));
    for kind in Kind::ALL {
        let mask = masks[kind as usize];
        let is_idle = |number: &u32| names::name(kind, *number).is_some() && !needs(kind, *number);
        let idle: Vec<u32> = numbers(mask).filter(is_idle).collect();
        if idle.is_empty() {
            continue;
        }
        let told = if mask == u64::MAX {
            let kept: Vec<String> =
                numbers(mask).filter(|number| needs(kind, *number)).map(|n| names::shown(kind, n)).collect();
            format!(
                "of every {} the objects need only {}",
                kind.noun(),
                if kept.is_empty() { "none".to_owned() } else { kept.join(", ") }
            )
        } else {
            let idle: Vec<String> = idle.into_iter().map(|number| names::shown(kind, number)).collect();
            format!("no object needs the {}s {}", kind.noun(), idle.join(", "))
        };
        let why = "what is delegated and not needed is there for whoever takes the container over";
        judged.tell(Finding::new(Code::BeyondObjects, told, why).at(judged.option(kind)).advice("leave it out"));
    }
}
