//! One finding: what, where, why, on which kernels, and how to fix it.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
};

use harness_frontend::Location;
use harness_protocol::name::KernelName;

use crate::code::{Code, Level};

/// Something that is wrong with a configuration, or worth knowing about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its kind.
    pub code: Code,
    /// Its severity here.
    pub level: Level,
    /// Where; `None` if it is about the whole configuration.
    pub location: Option<Location>,
    /// What is wrong, in a sentence.
    pub message: String,
    /// The rule behind it, with the kernel file or manual page that has it.
    pub why: String,
    /// How to fix it.
    pub fix: Option<Fix>,
    /// The kernels it applies to; empty if it does not depend on the kernel.
    pub kernels: BTreeSet<KernelName>,
}

/// A change that fixes a finding.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fix {
    /// What to do, in a sentence.
    pub words: String,
    /// The same as edits of the text; none if a person has to decide.
    pub edits: Vec<Edit>,
    /// Whether it can be applied without asking.
    pub safety: Safety,
}

/// Whether a fix can be applied without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Safety {
    /// Grants what was written and nothing else.
    Safe,
    /// Grants more or less than before, or guesses: a person has to decide.
    Review,
}

/// A text that replaces another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Edit {
    /// What it replaces; nothing if the location is empty.
    pub location: Location,
    /// The new text.
    pub text: String,
}

impl Finding {
    /// Returns a finding of this kind and its default severity, about the whole configuration.
    pub fn new(code: Code, message: impl Into<String>, why: impl Into<String>) -> Self {
        let (level, message, why) = (code.level(), message.into(), why.into());
        Self { code, level, location: None, message, why, fix: None, kernels: BTreeSet::new() }
    }

    /// Sets the location.
    #[must_use]
    pub fn at(self, location: Option<&Location>) -> Self {
        Self { location: location.cloned(), ..self }
    }

    /// Sets the severity.
    #[must_use]
    pub fn of_level(self, level: Level) -> Self {
        Self { level, ..self }
    }

    /// Limits it to this kernel.
    #[must_use]
    pub fn on(self, kernel: &KernelName) -> Self {
        Self { kernels: BTreeSet::from([kernel.clone()]), ..self }
    }

    /// Adds advice for a person to follow.
    #[must_use]
    pub fn advice(self, words: impl Into<String>) -> Self {
        self.fix(Fix { words: words.into(), edits: Vec::new(), safety: Safety::Review })
    }

    /// Adds a fix.
    #[must_use]
    pub fn fix(self, fix: Fix) -> Self {
        Self { fix: Some(fix), ..self }
    }

    /// Returns what it says and where, apart from kernels.
    fn statement(&self) -> impl Eq + Hash + '_ {
        (self.code, self.level, &self.location, &self.message, &self.fix)
    }
}

/// Returns findings in the order of their locations; one that several kernels have in common appears once.
pub fn merged(findings: impl IntoIterator<Item = Finding>) -> Vec<Finding> {
    let findings: Vec<Finding> = findings.into_iter().collect();
    let mut known = HashMap::new();
    let mut indices = Vec::with_capacity(findings.len());
    for finding in &findings {
        let next = known.len();
        indices.push(*known.entry(finding.statement()).or_insert(next));
    }
    drop(known);
    let mut merged: Vec<Finding> = Vec::new();
    for (finding, index) in findings.into_iter().zip(indices) {
        match merged.get_mut(index) {
            // A finding that does not depend on the kernel stays so.
            Some(known) if known.kernels.is_empty() || finding.kernels.is_empty() => known.kernels.clear(),
            Some(known) => known.kernels.extend(finding.kernels),
            None => merged.push(finding),
        }
    }
    let location = |finding: &Finding| finding.location.as_ref().map(|location| (location.source, location.span.start));
    merged.sort_by(|a, b| (location(a), b.level, a.code).cmp(&(location(b), a.level, b.code)));
    merged
}
