//! The cases of a scenario: every combination of its matrix, or the rows of its sweep.

use std::collections::BTreeMap;

use harness_diagnostics::node::KeyPath;
use harness_protocol::plan;
use harness_scenario::{expanded::ExpandedCase, layout::SweepLayout, spec::Spec};
use harness_uapi::resolver::NameResolver;

use super::{
    MOST_ATTEMPTS,
    containers::Containers,
    context::ExpandContext,
    matrix::{self, Combination},
    objects::Objects,
    problems::Problems,
    sweep,
};

/// All combinations together may hold this many bytes of text: a long file with a large matrix would be slow to read.
const MOST_FILLED_BYTES: usize = 64 * 1024 * 1024;

/// Cases as they are described and as they are planned; of a sweep, also how they are laid out.
type Contents = (Option<Box<SweepLayout>>, Vec<(ExpandedCase, plan::Case)>);

/// All a scenario comes to, as far as nothing is wrong with it.
pub(crate) fn contents(
    template: &serde_json::Value,
    spec: &Spec,
    resolver: NameResolver<'_>,
    problems: &mut Problems<'_>,
) -> Contents {
    match &spec.sweep {
        None => (None, cases(template, spec, resolver, problems)),
        Some(_) if resolver.lacks_tokens().is_some() => {
            let advice = "add `kernels = \">=6.9\"`, the first release with tokens";
            problems.advise(
                &KeyPath::default().key("sweep"),
                "every sweep makes tokens, and this kernel has none",
                advice,
            );
            Contents::default()
        }
        Some(sweep) => sweep::cases(sweep, resolver, problems)
            .map_or_else(Contents::default, |(grid, cases)| (Some(Box::new(grid)), cases)),
    }
}

/// Every case, as far as nothing is wrong with it; stops where the problems would not be told any more.
fn cases(
    template: &serde_json::Value,
    spec: &Spec,
    resolver: NameResolver<'_>,
    problems: &mut Problems<'_>,
) -> Vec<(ExpandedCase, plan::Case)> {
    let axes = matrix::axes(&spec.matrix, &resolver);
    if !is_bounded(&axes, spec, template, problems) {
        return Vec::new();
    }
    let mut cases = Vec::new();
    for combination in matrix::combinations(&axes) {
        match serde_json::from_value(combination.fill(template)) {
            Ok(filled) => cases.push(case(&combination, &filled, resolver, problems)),
            Err(error) => problems.problem(&KeyPath::default(), error.to_string()),
        }
        if problems.count() > harness_diagnostics::report::MOST_PROBLEMS {
            break;
        }
    }
    cases
}

fn is_bounded(
    axes: &BTreeMap<String, Vec<String>>,
    spec: &Spec,
    template: &serde_json::Value,
    problems: &mut Problems<'_>,
) -> bool {
    let times = |factor: usize| matrix::count(axes).and_then(|cases| cases.checked_mul(factor));
    let (key_path, what) = match axes.is_empty() {
        true => (KeyPath::default().key("attempt"), "this scenario"),
        false => (KeyPath::default().key("matrix"), "this matrix"),
    };
    if times(spec.attempt.len()).is_none_or(|attempts| attempts > MOST_ATTEMPTS) {
        let count = times(spec.attempt.len()).map_or_else(|| "countless".to_owned(), |attempts| attempts.to_string());
        let message = format!("{what} makes {count} attempts; {MOST_ATTEMPTS} are allowed");
        problems.advise(&key_path, message, "split it into several scenarios");
        return false;
    }
    if times(template.to_string().len()).is_none_or(|bytes| bytes > MOST_FILLED_BYTES) {
        problems.advise(&key_path, format!("{what} repeats a long file too often"), "split it into several scenarios");
        return false;
    }
    true
}

fn case(
    combination: &Combination,
    spec: &Spec,
    resolver: NameResolver<'_>,
    problems: &mut Problems<'_>,
) -> (ExpandedCase, plan::Case) {
    let mut containers = Containers::of(spec, &resolver, problems);
    let mut context = ExpandContext {
        resolver,
        containers: &mut containers,
        objects: Objects::default(),
        ended: Vec::new(),
        problems,
    };
    let root = KeyPath::default().key("attempt");
    let made =
        spec.attempt.iter().enumerate().filter_map(|(index, attempt)| context.attempt(attempt, root.index(index)));
    let (described, planned): (Vec<_>, Vec<_>) = made.unzip();
    let mut containers = containers.into_plan();
    if resolver.lacks_tokens().is_some() {
        containers.iter_mut().for_each(without_token);
    }
    (
        ExpandedCase { label: combination.label(), attempts: described },
        plan::Case { sysctls: BTreeMap::new(), containers, attempts: planned },
    )
}

/// Before tokens nothing can be delegated. The container stands all the same: what it attempts with a token is told to be
/// unsupported, and what it attempts without one is judged.
fn without_token(container: &mut plan::Container) {
    container.options.clear();
    container.token = false;
}
