//! Proposes the snapshot changes for a scenario's results.

use std::collections::BTreeSet;

use harness_protocol::name::{Environment, ImageName};
use harness_snapshot::{owner::Lineage, recorded::Recorded};

use super::Change;
use crate::{
    report::{Naming, ScenarioResult, Status},
    selection::{Selection, SelectionError},
};

/// Returns the changes for one scenario, or why it cannot be blessed.
///
/// # Errors
/// [`SelectionError`] if the recorded snapshots or the manifests cannot be read.
pub fn proposed(
    selection: &Selection,
    group: &[ScenarioResult],
    naming: Naming,
) -> Result<Result<Vec<Change>, String>, SelectionError> {
    let mut texts: Vec<(Lineage, String)> = Vec::new();
    let name = &group[0].scenario;
    let recorded = selection.runner.suite().recorded(name)?;
    let first = selection.first_image(name)?;
    let mut held = held(selection, &recorded, group, &first)?;
    let mut complaints: Vec<String> = Vec::new();
    for result in group {
        let environment = naming.name(&result.environment);
        match &result.status {
            Status::Skipped { .. } => held.retain(|lineage| lineage.environment != result.environment),
            Status::Judged { judgement, comparison } if judgement.is_sound() => {
                texts.push((selection.resources.lineage(&result.environment)?, comparison.now().to_owned()));
            }
            // Only the first line: the reason is the same for every scenario of the environment.
            Status::NotRun { cause } => {
                let first = cause.lines().next().unwrap_or_default();
                complaints.push(format!("  {environment}: not run: {first}"));
            }
            Status::Judged { .. } | Status::Fault { .. } => {
                complaints.extend(result.complaints().iter().map(|line| format!("  {environment}: {line}")));
            }
        }
    }
    if !complaints.is_empty() {
        return Ok(Err(complaints.join("\n")));
    }
    Ok(Ok(super::changes(selection.runner.suite(), name, &recorded, &texts, &held, &first)))
}

/// Returns the environments that a scenario must match: the default kernels with the first image it is meant for, and
/// with every other image that ran or has its own snapshot.
fn held(
    selection: &Selection,
    recorded: &Recorded,
    group: &[ScenarioResult],
    first: &ImageName,
) -> Result<Vec<Lineage>, SelectionError> {
    let ran = group.iter().map(|result| &result.environment.image);
    let own = recorded.texts.keys().filter_map(|owner| owner.image.as_ref());
    let images: BTreeSet<&ImageName> = std::iter::once(first).chain(ran).chain(own).collect();
    let mut held = Vec::new();
    for kernel in selection.resources.default_kernels()? {
        for image in &images {
            let environment = Environment { kernel: kernel.clone(), image: (*image).clone() };
            held.push(selection.resources.lineage(&environment)?);
        }
    }
    Ok(held)
}
