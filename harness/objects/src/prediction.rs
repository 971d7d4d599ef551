//! What becomes of an object under a grant, by the reference model.

use std::collections::BTreeSet;

use harness_uapi::permission::{Grant, Shortfall};

use crate::{
    feature::TokenUse,
    loading::{Kernel, LibbpfSequence, LoadInput, LoadRequest, Necessity, RequestOwner},
    needs::{Obstacle, PermissionModel},
    object::Object,
};

/// A request, and what the kernel answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PredictedAnswer {
    /// The request.
    pub asked: LoadRequest,
    /// Whether it is allowed.
    pub allowed: bool,
    /// What the grant lacks for it.
    pub lacks: Shortfall,
    /// What no grant gives.
    pub obstacles: BTreeSet<Obstacle>,
}

/// How loading goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PredictedLoad {
    /// All requests, in libbpf's order, those included that it does not come to after a refusal.
    pub answers: Vec<PredictedAnswer>,
    /// What libbpf gives up at; `None` if the object is loaded.
    pub stops_at: Option<RequestOwner>,
}

impl PredictedLoad {
    /// The requests without which the object, or one of its programs' attachments, comes to nothing, and which are
    /// refused. Of alternatives there is none if one is allowed.
    pub fn refused(&self) -> impl Iterator<Item = &PredictedAnswer> {
        self.answers.iter().filter(|answer| !answer.allowed && answer.is_needed(self))
    }
}

impl PredictedAnswer {
    fn is_needed(&self, loading: &PredictedLoad) -> bool {
        match self.asked.must {
            Necessity::Always | Necessity::Attaches => true,
            // The first of several alternatives stands for all.
            Necessity::OneOf(_) => {
                let mut alternatives = loading.answers.iter().filter(|other| other.asked.must == self.asked.must);
                alternatives.clone().next() == Some(self) && !alternatives.any(|other| other.allowed)
            }
            Necessity::Improves(_) => false,
        }
    }
}

/// Loads an object under this grant, as far as the reference model tells.
pub fn loading(object: &Object, kernel: Kernel<'_>, grant: &Grant) -> PredictedLoad {
    let mut judge = PermissionModel::new(kernel);
    let mut answers = Vec::new();
    let mut answer = |asked: LoadRequest| {
        let obstacles = judge.obstacles(&asked);
        let lacks = grant.lacks(&judge.requirement(&asked.request), kernel.release);
        let by_token = asked.handed == TokenUse::Token && lacks.since.is_none() && judge.allows(&asked, grant);
        let allowed = by_token && obstacles.is_empty();
        // What comes after a refusal is asked too, so that all of it can be told at once.
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
