//! Completion of names on the command line. On any error there are no candidates.

use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use harness_builder::{image, kernel::Catalogue, kernel::mutant::Mutants, project::Project};
use harness_runner::suite::Suite;

use crate::Context;

/// Completes kernels that have a manifest.
pub fn kernels() -> ArgValueCandidates {
    ArgValueCandidates::new(|| offered(|project| Some(words(Catalogue::of_folder(&project.kernels()).ok()?.names()))))
}

/// Completes images that have a manifest.
pub fn images() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        offered(|project| Some(words(image::catalogue::Catalogue::of_folder(&project.images()).ok()?.names())))
    })
}

/// Completes the project's scenarios.
pub fn scenarios() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        offered(|project| Some(words(Suite::find(&project.scenarios()).ok()?.names().map(|name| name.as_str()))))
    })
}

/// Completes the mutants of all kernels, and of the guard.
pub fn mutants() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        offered(|project| {
            let folder = project.kernels().join("mutants");
            let (kernels, guard) = (Mutants::of_folder(&folder, &[]).ok()?, Mutants::of_guard(&folder, &[]).ok()?);
            Some(words(kernels.iter().chain(guard.iter()).map(|mutant| mutant.name.as_str())))
        })
    })
}

fn offered(of: impl Fn(&Project) -> Option<Vec<CompletionCandidate>>) -> Vec<CompletionCandidate> {
    Context::find().project().ok().and_then(of).unwrap_or_default()
}

fn words<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<CompletionCandidate> {
    names.into_iter().map(CompletionCandidate::new).collect()
}
