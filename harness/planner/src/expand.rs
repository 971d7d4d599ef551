//! Expands a scenario for one kernel: names become numbers, and each combination of the matrix becomes a case.

pub(crate) mod attack;
mod attempts;
mod calls;
mod capabilities;
mod containers;
pub(crate) mod contents;
mod context;
pub(crate) mod copies;
mod delegation;
mod label;
mod links;
pub(crate) mod matrix;
pub(crate) mod objects;
pub(crate) mod problems;
mod restrictions;
mod setting;
mod sweep;
pub(crate) mod sysctl;
mod unit;
mod values;

use harness_diagnostics::report::Report;
use harness_protocol::plan;
use harness_scenario::{
    expanded::{Expanded, ExpandedCase},
    layout::SweepLayout,
    spec::{GuardSetting, Isolation},
};
use harness_uapi::resolver::{KernelProfile, NameResolver};

use crate::checked::Checked;
use contents::contents;
use problems::Problems;

/// The most attempts of a scenario, over all combinations of its matrix.
pub(crate) const MOST_ATTEMPTS: usize = 10_000;

/// The result of expanding a scenario for one kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expansion {
    /// The scenario is not for this kernel or image.
    Skipped {
        /// Why.
        reason: String,
    },
    /// The scenario runs.
    Run(Box<Expanded>),
}

/// Expands a scenario for one kernel.
///
/// # Errors
/// What is wrong with it on this kernel: a delegated name that the kernel does not know, or too many attempts.
pub fn expand(checked: &Checked, target: KernelProfile<'_>) -> Result<Expansion, Report> {
    if let Some(reason) = skip_reason(checked, target) {
        return Ok(Expansion::Skipped { reason });
    }
    let resolver = NameResolver { known: &checked.known, target: Some(target) };
    let mut problems = Problems::new(&checked.file);
    let (grid, cases) = contents(checked.template(), &checked.spec, resolver, &mut problems);
    match problems.count() {
        0 => Ok(Expansion::Run(Box::new(assemble(checked, grid, cases)))),
        _ => Err(checked.file.report(problems.into_problems())),
    }
}

/// Returns why a scenario does not run on this kernel, if so.
fn skip_reason(checked: &Checked, target: KernelProfile<'_>) -> Option<String> {
    let KernelProfile { name, image, release, configuration, .. } = target;
    if let Some(images) = checked.images.as_ref().filter(|images| !images.matches(image.as_str())) {
        return Some(format!("the image is {image}, but the scenario is for {images}"));
    }
    if let Some(range) = checked.kernels.as_ref().filter(|range| !range.contains(release)) {
        return Some(format!("kernel {name} is {release}, but the scenario is for {range}"));
    }
    let off = checked.spec.config.iter().find(|option| !configuration.has(option))?;
    Some(format!("kernel {name} is built without {off}, which the scenario requires"))
}

fn guard(setting: &GuardSetting) -> plan::Guard {
    plan::Guard {
        policy: setting.text.clone(),
        mode: setting.mode,
        early: setting.early,
        pinned: setting.pinned,
        reader: setting.reader,
        copies: setting.copies.clone(),
    }
}

fn assemble(checked: &Checked, grid: Option<Box<SweepLayout>>, cases: Vec<(ExpandedCase, plan::Case)>) -> Expanded {
    let (described, planned) = cases.into_iter().unzip();
    Expanded {
        summary: checked.spec.summary.clone(),
        isolation: checked.spec.isolation,
        cases: described,
        grid,
        plan: plan::Scenario {
            name: checked.file.name().clone(),
            deadline_ms: checked.spec.deadline * 1000,
            sysctls: checked.sysctls.clone(),
            lsm: checked.spec.vm.lsm.clone(),
            lockdown: checked.spec.vm.lockdown,
            guard: checked.spec.vm.guard.as_ref().map(guard),
            memory_mib: checked.spec.vm.memory_mib,
            own_vm: checked.spec.isolation == Isolation::Vm,
            cases: planned,
        },
    }
}
