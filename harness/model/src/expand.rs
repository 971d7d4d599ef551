//! What one kernel is asked to do for a scenario: every name a number, every combination of the matrix a case.

mod attempts;
mod calls;
mod capabilities;
mod delegation;
pub(crate) mod lexicon;
mod links;
pub(crate) mod matrix;
mod mounts;
mod object;
pub(crate) mod objects;
mod restrictions;
mod roster;
pub(crate) mod sink;
mod sweep;
mod unit;
mod values;
mod words;

use std::collections::BTreeMap;

use crate::{
    check::Checked,
    grid::{Grid, Part},
    plan,
    scenario::{Isolation, Report, Spec, node::Place},
    verdict::Expect,
};
use attempts::Desk;
use lexicon::Lexicon;
pub use lexicon::Target;
use matrix::Combination;
use objects::Objects;
use roster::Roster;
use sink::Sink;

/// A scenario makes at most this many attempts, all combinations of its matrix together.
pub const MOST_ATTEMPTS: usize = 10_000;

/// All combinations together may hold this many bytes of text: a long file with a large matrix would be slow to read.
const MOST_FILLED_BYTES: usize = 64 * 1024 * 1024;

/// What a scenario comes to on one kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expansion {
    /// The scenario is not meant for this kernel.
    Skipped {
        /// Why.
        reason: String,
    },
    /// It is to be run.
    Run(Box<Expanded>),
}

/// A scenario for one kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expanded {
    /// What it proves.
    pub summary: String,
    /// Which other scenarios may run in the same boot.
    pub isolation: Isolation,
    /// One for each case of the plan, in the same order.
    pub cases: Vec<ExpandedCase>,
    /// How the attempts are laid out, if it is a sweep.
    pub grid: Option<Box<Grid>>,
    /// What the guest is asked.
    pub plan: plan::Scenario,
}

/// One combination of a scenario's matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpandedCase {
    /// What tells it from others, such as `type=hash`; empty without a matrix.
    pub label: String,
    /// One for each attempt of the plan, in the same order.
    pub attempts: Vec<ExpandedAttempt>,
}

/// What is said about an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpandedAttempt {
    /// In a few words, for tables and snapshots: `by intruder: prog_load xdp attach=xdp, token t`.
    pub text: String,
    /// Its operation, such as `map_create`.
    pub op: &'static str,
    /// Who makes it: the name of a container, or `host`.
    pub container: String,
    /// What it must give.
    pub expect: Option<Expect>,
    /// Why this kernel cannot know it, if so.
    pub missing: Option<String>,
    /// What it is to its scenario.
    pub part: Part,
}

/// Works out what a scenario asks of one kernel.
///
/// # Errors
/// What is wrong with it on this kernel: a delegated name the kernel does not know, or too many attempts.
pub fn expand(checked: &Checked, target: Target<'_>) -> Result<Expansion, Report> {
    if let Some(reason) = not_meant(checked, target) {
        return Ok(Expansion::Skipped { reason });
    }
    let lexicon = Lexicon { known: &checked.known, target: Some(target) };
    let mut sink = Sink::new(&checked.file);
    let (grid, cases) = contents(checked.template(), &checked.spec, lexicon, &mut sink);
    match sink.count() {
        0 => Ok(Expansion::Run(Box::new(assemble(checked, grid, cases)))),
        _ => Err(checked.file.report(sink.into_problems())),
    }
}

/// Why a scenario is not meant for this kernel, if so.
fn not_meant(checked: &Checked, target: Target<'_>) -> Option<String> {
    let Target { name, image, release, configuration, .. } = target;
    if let Some(images) = checked.images.as_ref().filter(|images| !images.matches(image.as_str())) {
        return Some(format!("the image is {image}, and the scenario is for {images}"));
    }
    if let Some(range) = checked.kernels.as_ref().filter(|range| !range.contains(release)) {
        return Some(format!("kernel {name} is {release}, and the scenario is for {range}"));
    }
    let off = checked.spec.config.iter().find(|option| !configuration.has(option))?;
    Some(format!("kernel {name} is built without {off}, and the scenario is for kernels with it"))
}

/// Cases as they are described and as they are planned; of a sweep, also how they are laid out.
type Contents = (Option<Box<Grid>>, Vec<(ExpandedCase, plan::Case)>);

/// All a scenario comes to, as far as nothing is wrong with it.
pub(crate) fn contents(
    template: &serde_json::Value,
    spec: &Spec,
    lexicon: Lexicon<'_>,
    sink: &mut Sink<'_>,
) -> Contents {
    match &spec.sweep {
        None => (None, cases(template, spec, lexicon, sink)),
        Some(_) if lexicon.lacks_tokens().is_some() => {
            let advice = "add `kernels = \">=6.9\"`, the first release with tokens";
            sink.advise(&Place::default().key("sweep"), "every sweep makes tokens, and this kernel has none", advice);
            Contents::default()
        }
        Some(sweep) => sweep::cases(sweep, lexicon, sink)
            .map_or_else(Contents::default, |(grid, cases)| (Some(Box::new(grid)), cases)),
    }
}

fn assemble(checked: &Checked, grid: Option<Box<Grid>>, cases: Vec<(ExpandedCase, plan::Case)>) -> Expanded {
    let (described, planned) = cases.into_iter().unzip();
    Expanded {
        summary: checked.spec.summary.clone(),
        isolation: checked.spec.isolation,
        cases: described,
        grid,
        plan: plan::Scenario {
            name: checked.file.name.clone(),
            deadline_ms: checked.spec.deadline * 1000,
            sysctls: checked.sysctls.clone(),
            lsm: checked.spec.vm.lsm.clone(),
            lockdown: checked.spec.vm.lockdown,
            own_vm: checked.spec.isolation == Isolation::Vm,
            cases: planned,
        },
    }
}

/// Every case, as far as nothing is wrong with it; stops where the problems would not be told any more.
fn cases(
    template: &serde_json::Value,
    spec: &Spec,
    lexicon: Lexicon<'_>,
    sink: &mut Sink<'_>,
) -> Vec<(ExpandedCase, plan::Case)> {
    let axes = matrix::axes(&spec.matrix, &lexicon);
    if !is_bounded(&axes, spec, template, sink) {
        return Vec::new();
    }
    let mut cases = Vec::new();
    for combination in matrix::combinations(&axes) {
        match serde_json::from_value(combination.fill(template)) {
            Ok(filled) => cases.push(case(&combination, &filled, lexicon, sink)),
            Err(error) => sink.problem(&Place::default(), error.to_string()),
        }
        if sink.count() > crate::scenario::report::MOST_PROBLEMS {
            break;
        }
    }
    cases
}

fn is_bounded(
    axes: &BTreeMap<String, Vec<String>>,
    spec: &Spec,
    template: &serde_json::Value,
    sink: &mut Sink<'_>,
) -> bool {
    let times = |factor: usize| matrix::count(axes).and_then(|cases| cases.checked_mul(factor));
    let (place, what) = match axes.is_empty() {
        true => (Place::default().key("attempt"), "this scenario"),
        false => (Place::default().key("matrix"), "this matrix"),
    };
    if times(spec.attempt.len()).is_none_or(|attempts| attempts > MOST_ATTEMPTS) {
        let count = times(spec.attempt.len()).map_or_else(|| "countless".to_owned(), |attempts| attempts.to_string());
        let message = format!("{what} makes {count} attempts; {MOST_ATTEMPTS} are allowed");
        sink.advise(&place, message, "split it into several scenarios");
        return false;
    }
    if times(template.to_string().len()).is_none_or(|bytes| bytes > MOST_FILLED_BYTES) {
        sink.advise(&place, format!("{what} repeats a long file too often"), "split it into several scenarios");
        return false;
    }
    true
}

fn case(
    combination: &Combination,
    spec: &Spec,
    lexicon: Lexicon<'_>,
    sink: &mut Sink<'_>,
) -> (ExpandedCase, plan::Case) {
    let mut roster = Roster::of(spec, &lexicon, sink);
    let mut desk = Desk { lexicon, roster: &mut roster, objects: Objects::default(), ended: Vec::new(), sink };
    let root = Place::default().key("attempt");
    let made = spec.attempt.iter().enumerate().filter_map(|(index, attempt)| desk.attempt(attempt, root.index(index)));
    let (described, planned): (Vec<_>, Vec<_>) = made.unzip();
    let mut containers = roster.into_plan();
    if lexicon.lacks_tokens().is_some() {
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
