//! A judgement's text beside the snapshot that applies.

use harness_snapshot::render;
use harness_verdict::judgement::Judgement;

/// What a snapshot of a judgement would say, and the snapshot that applies to its environment. It is made once for each
/// judgement: every form of the results, the counts and the exit code need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    now: String,
    recorded: Option<String>,
    same: bool,
}

impl Comparison {
    /// Compares a judgement with the snapshot that applies, if there is one. A judgement that changes afterwards needs another
    /// comparison, unless only its expectations change: a snapshot does not have them.
    pub fn of(judgement: &Judgement, recorded: Option<String>) -> Self {
        let now = render::render(judgement);
        let same = recorded.as_deref().is_some_and(|text| render::same(text, &now));
        Self { now, recorded, same }
    }

    /// Returns the judgement as a snapshot has it.
    pub fn now(&self) -> &str {
        &self.now
    }

    /// Returns the snapshot that applies.
    pub fn recorded(&self) -> Option<&str> {
        self.recorded.as_deref()
    }

    /// Returns whether there is a snapshot, and it says the same.
    pub fn is_same(&self) -> bool {
        self.same
    }

    /// Takes what the judgement says as its snapshot.
    pub(crate) fn accept(&mut self) {
        self.recorded = Some(self.now.clone());
        self.same = true;
    }
}
