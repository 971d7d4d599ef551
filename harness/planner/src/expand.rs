//! What one kernel is asked to do for a scenario: every name a number, every combination of the matrix a case.

mod attempts;
mod calls;
mod capabilities;
pub(crate) mod contents;
mod delegation;
mod desk;
mod links;
pub(crate) mod matrix;
pub(crate) mod objects;
mod restrictions;
mod roster;
pub(crate) mod sink;
mod sweep;
pub(crate) mod sysctl;
mod unit;
mod values;
mod words;

use harness_diagnostics::report::Report;
use harness_protocol::plan;
use harness_scenario::{
    expanded::{Expanded, ExpandedCase},
    grid::Grid,
    spec::Isolation,
};
use harness_uapi::resolver::{Lexicon, Target};

use crate::checked::Checked;
use contents::contents;
use sink::Sink;

/// A scenario makes at most this many attempts, all combinations of its matrix together.
pub(crate) const MOST_ATTEMPTS: usize = 10_000;

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

fn assemble(checked: &Checked, grid: Option<Box<Grid>>, cases: Vec<(ExpandedCase, plan::Case)>) -> Expanded {
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
            own_vm: checked.spec.isolation == Isolation::Vm,
            cases: planned,
        },
    }
}
