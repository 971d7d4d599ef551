//! One finding: what, where, why, on which kernels, and what would mend it.

use std::collections::BTreeSet;

use harness_frontend::Location;
use harness_protocol::name::KernelName;

use crate::code::{Code, Level};

/// Something that is wrong with a configuration, or worth knowing of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind of finding.
    pub code: Code,
    /// How grave it is here.
    pub level: Level,
    /// Where; `None` if it is about all of the configuration.
    pub location: Option<Location>,
    /// What, in a sentence.
    pub message: String,
    /// The rule behind it, with the file of the kernel or the manual page it comes from.
    pub why: String,
    /// What would mend it.
    pub fix: Option<Fix>,
    /// The kernels it holds for; empty if it depends on none.
    pub kernels: BTreeSet<KernelName>,
}

/// A change that mends a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// What to do, in a sentence.
    pub words: String,
    /// The same as changes of the text; none if a person has to decide.
    pub edits: Vec<Edit>,
    /// Whether it can be done unasked.
    pub safety: Safety,
}

/// Whether a change can be made without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safety {
    /// It grants what was written and nothing else.
    Safe,
    /// It grants more or less than before, or it guesses.
    Judgement,
}

/// A piece of text that takes the place of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// What it replaces; nothing if the place is empty.
    pub location: Location,
    /// The new text.
    pub text: String,
}

impl Finding {
    /// A finding of this kind, of its usual gravity, about all of a configuration.
    pub fn new(code: Code, message: impl Into<String>, why: impl Into<String>) -> Self {
        let (level, message, why) = (code.level(), message.into(), why.into());
        Self { code, level, location: None, message, why, fix: None, kernels: BTreeSet::new() }
    }

    /// The same at this place.
    #[must_use]
    pub fn at(self, location: Option<&Location>) -> Self {
        Self { location: location.cloned(), ..self }
    }

    /// The same as grave as this.
    #[must_use]
    pub fn of_level(self, level: Level) -> Self {
        Self { level, ..self }
    }

    /// The same on this kernel.
    #[must_use]
    pub fn on(self, kernel: &KernelName) -> Self {
        Self { kernels: BTreeSet::from([kernel.clone()]), ..self }
    }

    /// The same with advice that a person has to follow.
    #[must_use]
    pub fn advice(self, words: impl Into<String>) -> Self {
        self.fix(Fix { words: words.into(), edits: Vec::new(), safety: Safety::Judgement })
    }

    /// The same with a fix.
    #[must_use]
    pub fn fix(self, fix: Fix) -> Self {
        Self { fix: Some(fix), ..self }
    }

    /// Whether it says the same of the same place as another, be it of other kernels.
    fn is_like(&self, other: &Self) -> bool {
        (self.code, self.level, &self.location, &self.message, &self.fix)
            == (other.code, other.level, &other.location, &other.message, &other.fix)
    }
}

/// Findings in the order of their places, what several kernels have in common told once.
pub fn merged(findings: impl IntoIterator<Item = Finding>) -> Vec<Finding> {
    let mut merged: Vec<Finding> = Vec::new();
    for finding in findings {
        match merged.iter_mut().find(|known| known.is_like(&finding)) {
            // What holds whatever the kernel is not narrowed down.
            Some(known) if known.kernels.is_empty() || finding.kernels.is_empty() => known.kernels.clear(),
            Some(known) => known.kernels.extend(finding.kernels),
            None => merged.push(finding),
        }
    }
    let location = |finding: &Finding| finding.location.as_ref().map(|location| (location.source, location.span.start));
    merged.sort_by(|a, b| (location(a), b.level, a.code).cmp(&(location(b), a.level, b.code)));
    merged
}
