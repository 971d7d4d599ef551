//! What becomes of an object under a grant, by the reference model.

use std::collections::BTreeSet;

use harness_uapi::permission::{Grant, Shortfall};

use crate::{
    feature::Handed,
    loading::{Asked, Course, Kernel, Must, Owner, Subject},
    needs::{Judge, Obstacle},
    object::Object,
};

/// A request, and what the kernel answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The request.
    pub asked: Asked,
    /// Whether it is allowed.
    pub allowed: bool,
    /// What the grant lacks for it.
    pub lacks: Shortfall,
    /// What no grant gives.
    pub obstacles: BTreeSet<Obstacle>,
}

/// How loading goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loading {
    /// All requests, in libbpf's order, those included that it does not come to after a refusal.
    pub answers: Vec<Answer>,
    /// What libbpf gives up at; `None` if the object is loaded.
    pub stops_at: Option<Owner>,
}

impl Loading {
    /// The requests without which the object, or one of its programs' attachments, comes to nothing, and which are
    /// refused. Of alternatives there is none if one is allowed.
    pub fn refused(&self) -> impl Iterator<Item = &Answer> {
        self.answers.iter().filter(|answer| !answer.allowed && answer.is_needed(self))
    }
}

impl Answer {
    fn is_needed(&self, loading: &Loading) -> bool {
        match self.asked.must {
            Must::Always | Must::Attaches => true,
            // The first of several alternatives stands for all.
            Must::OneOf(_) => {
                let mut alternatives = loading.answers.iter().filter(|other| other.asked.must == self.asked.must);
                alternatives.clone().next() == Some(self) && !alternatives.any(|other| other.allowed)
            }
            Must::Improves(_) => false,
        }
    }
}

/// Loads an object under this grant, as far as the reference model tells.
pub fn loading(object: &Object, kernel: Kernel<'_>, grant: &Grant) -> Loading {
    let mut judge = Judge::new(kernel);
    let mut answers = Vec::new();
    let mut answer = |asked: Asked| {
        let obstacles = judge.obstacles(&asked);
        let lacks = grant.lacks(&judge.requirement(&asked.request), kernel.release);
        let by_token = asked.handed == Handed::Token && lacks.since.is_none() && judge.allows(&asked, grant);
        let allowed = by_token && obstacles.is_empty();
        // What comes after a refusal is asked too, so that all of it can be told at once.
        let goes_on = allowed || matches!(asked.must, Must::Always | Must::Attaches);
        answers.push(Answer { asked, allowed, lacks, obstacles });
        goes_on
    };
    let ended = Course::new(&Subject::new(object, kernel), &mut answer).run().err();
    let loading = Loading { answers, stops_at: None };
    let first =
        loading.refused().find(|answer| answer.asked.must != Must::Attaches).map(|answer| answer.asked.by.clone());
    Loading { stops_at: first.or(ended), ..loading }
}
