//! How an object loads under a grant, as the reference model predicts it.

use std::collections::BTreeSet;

use harness_uapi::permission::{Grant, Shortfall};

use crate::{
    feature::TokenUse,
    loading::{Kernel, LibbpfSequence, LoadInput, LoadRequest, Necessity, RequestOwner},
    needs::{Obstacle, PermissionModel},
    object::Object,
};

/// A request and the predicted answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PredictedAnswer {
    /// The request.
    pub asked: LoadRequest,
    /// Whether it is allowed.
    pub allowed: bool,
    /// What the grant lacks for it.
    pub lacks: Shortfall,
    /// What no grant can provide for it.
    pub obstacles: BTreeSet<Obstacle>,
}

/// The predicted course of a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PredictedLoad {
    /// All requests in libbpf's order, including those after a refusal, which libbpf would not reach.
    pub answers: Vec<PredictedAnswer>,
    /// Where libbpf gives up; `None` if the object loads.
    pub stops_at: Option<RequestOwner>,
}

impl PredictedLoad {
    /// The refused requests without which the object does not load, or a program is not attached. Alternatives are left
    /// out if one of them is allowed.
    pub fn refused(&self) -> impl Iterator<Item = &PredictedAnswer> {
        self.answers.iter().filter(|answer| !answer.allowed && answer.is_needed(self))
    }
}

impl PredictedAnswer {
    fn is_needed(&self, loading: &PredictedLoad) -> bool {
        match self.asked.must {
            Necessity::Always | Necessity::Attaches => true,
            // The first of several alternatives represents all of them.
            Necessity::OneOf(_) => {
                let mut alternatives = loading.answers.iter().filter(|other| other.asked.must == self.asked.must);
                alternatives.clone().next() == Some(self) && !alternatives.any(|other| other.allowed)
            }
            Necessity::Improves(_) => false,
        }
    }
}

/// Predicts how an object loads under this grant.
pub fn loading(object: &Object, kernel: Kernel<'_>, grant: &Grant) -> PredictedLoad {
    let mut model = PermissionModel::new(kernel);
    let mut answers = Vec::new();
    let mut answer = |asked: LoadRequest| {
        let obstacles = model.obstacles(&asked);
        let lacks = grant.lacks(&model.requirement(&asked.request), kernel.release);
        let by_token = asked.handed == TokenUse::Token && lacks.since.is_none() && model.allows(&asked, grant);
        let allowed = by_token && obstacles.is_empty();
        // The sequence goes on after a refusal, so that all refusals are reported at once.
        let goes_on = allowed || matches!(asked.must, Necessity::Always | Necessity::Attaches);
        answers.push(PredictedAnswer { asked, allowed, lacks, obstacles });
        goes_on
    };
    let ended = LibbpfSequence::new(&LoadInput::new(object, kernel), &mut answer).run().err();
    let loading = PredictedLoad { answers, stops_at: None };
    let first =
        loading.refused().find(|answer| answer.asked.must != Necessity::Attaches).map(|answer| answer.asked.by.clone());
    PredictedLoad { stops_at: first.or(ended), ..loading }
}
