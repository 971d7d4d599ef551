//! What a shell offers for a name on the command line. Whatever goes wrong, it offers nothing.

use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use harness_builder::{image, kernel::Catalogue, kernel::mutant::Mutants, project::Project};
use harness_runner::suite::Suite;

use crate::Context;

/// Kernels that have a manifest.
pub fn kernels() -> ArgValueCandidates {
    ArgValueCandidates::new(|| offered(|project| Some(words(Catalogue::of_folder(&project.kernels()).ok()?.names()))))
}

/// Images that have a recipe.
pub fn images() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        offered(|project| Some(words(image::catalogue::Catalogue::of_folder(&project.images()).ok()?.names())))
    })
}

/// The project's scenarios.
pub fn scenarios() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        offered(|project| Some(words(Suite::find(&project.scenarios()).ok()?.names().map(|name| name.as_str()))))
    })
}

/// Mutants of any kernel.
pub fn mutants() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        offered(|project| {
            let mutants = Mutants::of_folder(&project.kernels().join("mutants"), &[]).ok()?;
            Some(words(mutants.iter().map(|mutant| mutant.name.as_str())))
        })
    })
}

fn offered(of: impl Fn(&Project) -> Option<Vec<CompletionCandidate>>) -> Vec<CompletionCandidate> {
    Context::find().project().ok().and_then(of).unwrap_or_default()
}

fn words<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<CompletionCandidate> {
    names.into_iter().map(CompletionCandidate::new).collect()
}
