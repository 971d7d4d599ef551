//! Expands the contents of a scenario: the combinations of its matrix, or the rows of its sweep.

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

/// The most bytes of text in all combinations together: a long file with a large matrix would be slow to read.
const MOST_FILLED_BYTES: usize = 64 * 1024 * 1024;

/// The cases with their descriptions and plans, and the layout of a sweep.
type Contents = (Option<Box<SweepLayout>>, Vec<(ExpandedCase, plan::Case)>);

/// Expands a scenario. What is wrong is left out.
pub(crate) fn contents(
    template: &serde_json::Value,
    spec: &Spec,
    resolver: NameResolver<'_>,
    problems: &mut Problems<'_>,
) -> Contents {
    match &spec.sweep {
        None => (None, cases(template, spec, resolver, problems)),
        Some(_) if resolver.lacks_tokens().is_some() => {
            let advice = "add `kernels = \">=6.9\"`: 6.9 was the first release with tokens";
            problems.advise(
                &KeyPath::default().key("sweep"),
                "a sweep needs tokens, which this kernel does not have",
                advice,
            );
            Contents::default()
        }
        Some(sweep) => sweep::cases(sweep, resolver, problems)
            .map_or_else(Contents::default, |(grid, cases)| (Some(Box::new(grid)), cases)),
    }
}

/// Expands every case, until there are more problems than a report lists.
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
    let attempts = times(spec.attempt.len());
    if attempts.is_none_or(|attempts| attempts > MOST_ATTEMPTS) {
        let count = attempts.map_or_else(|| "far too many".to_owned(), |attempts| attempts.to_string());
        let message = format!("{what} makes {count} attempts; the limit is {MOST_ATTEMPTS}");
        problems.advise(&key_path, message, "split it into several scenarios");
        return false;
    }
    if times(template.to_string().len()).is_none_or(|bytes| bytes > MOST_FILLED_BYTES) {
        problems.advise(
            &key_path,
            format!("{what} has too many combinations for a file of this length"),
            "split it into several scenarios",
        );
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
    let root = KeyPath::default().key("attempt");
    let mut objects = Objects::default();
    if !problems.is_complete(&root) {
        objects.may_lack_names();
    }
    let (none, ended) = (BTreeMap::new(), Vec::new());
    let copies = spec.vm.guard.as_ref().map_or(&none, |guard| &guard.copies);
    let mut context = ExpandContext { resolver, containers: &mut containers, objects, ended, copies, problems };
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

/// Removes the delegation for a kernel without tokens. What the container attempts with a token is then unsupported,
/// and what it attempts without one is judged.
fn without_token(container: &mut plan::Container) {
    container.options.clear();
    container.token = false;
}
