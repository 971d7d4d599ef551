//! Why kernels differ on purpose: the file `differences.toml` at the top of a folder of scenarios.
//!
//! A snapshot of a kernel's or an image's own says that verdicts differ there; the reason says why that is right. Each such
//! snapshot has one, and a reason that no snapshot is left for is told too.

pub mod edit;
mod mismatches;

use std::{collections::BTreeMap, collections::BTreeSet, fmt, str::FromStr, sync::Arc, sync::LazyLock};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

pub use mismatches::Complaint;

use crate::owner::Owner;
use harness_diagnostics::{
    limits::MOST_BYTES,
    node::{KeyPath, Node},
    report::{Problem, Report},
    structure,
};
use harness_protocol::name::{Environment, ScenarioName};
use harness_scenario::schema::schema_of;

/// What the file is called. No scenario can have this name.
pub const FILE_NAME: &str = "differences.toml";

/// Who has snapshots of their own, by scenario; a scenario without any is there too.
pub type OwnSnapshots = BTreeMap<ScenarioName, BTreeSet<Owner>>;

/// The whole file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ReasonsFile {
    /// Each reason for which kernels differ.
    #[serde(default)]
    difference: Vec<Entry>,
}

/// One reason for which kernels differ.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Why the verdicts differ, in one sentence.
    reason: String,
    /// The commit of Linux that made the difference, in full, where it is known.
    commit: Option<String>,
    /// The kernels whose own snapshots it is a reason for, by name or by a glob such as `*-debian`. Kernels that are held
    /// to these snapshots because they are like such a kernel need not be named. Left out: `images` alone says.
    kernels: Option<Vec<String>>,
    /// The images whose own snapshots it is a reason for, likewise; with `kernels`, what these kernels have with these
    /// images. Left out: any.
    images: Option<Vec<String>>,
    /// The scenarios it is a reason in, by their whole names.
    scenarios: Vec<String>,
    /// Left out, what attempts `expect` holds on these kernels too. `"otherwise"`: it is meant for kernels that are not
    /// set up so, and verdicts are held to the snapshots of these kernels alone.
    #[serde(default)]
    expect: Option<Intent>,
}

/// What becomes of what a scenario's author expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Intent {
    /// It does not hold.
    Otherwise,
}

/// A commit of a git repository, by its 40 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Commit(String);

/// Why a text names no commit.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is no commit: write all 40 hexadecimal digits of it, in lower case")]
pub struct BadCommit(String);

impl FromStr for Commit {
    type Err = BadCommit;

    fn from_str(text: &str) -> Result<Self, BadCommit> {
        let good = text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if good { Ok(Self(text.to_owned())) } else { Err(BadCommit(text.chars().take(60).collect())) }
    }
}

impl Commit {
    /// As many digits as people write.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Why kernels differ, as it is told to people.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Explanation {
    /// One sentence.
    pub reason: String,
    /// The commit that made the difference, where it is known.
    pub commit: Option<Commit>,
}

/// Why a text cannot be the reason of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadReason {
    /// There is nothing in it.
    #[error("a reason says why the verdicts differ, and this one is empty")]
    Empty,
    /// It has line breaks or other control characters in it.
    #[error("a reason is one sentence on one line")]
    Lines,
    /// It is longer than anybody reads.
    #[error("a reason is one sentence: at most {MOST_OF_A_REASON} bytes")]
    Long,
}

const MOST_OF_A_REASON: usize = 300;

impl Explanation {
    /// This sentence, without blanks around it, and this commit.
    ///
    /// # Errors
    /// [`BadReason`] if it is no sentence.
    pub fn new(reason: &str, commit: Option<Commit>) -> Result<Self, BadReason> {
        let reason = reason.trim();
        match reason {
            "" => Err(BadReason::Empty),
            _ if reason.chars().any(char::is_control) => Err(BadReason::Lines),
            _ if reason.len() > MOST_OF_A_REASON => Err(BadReason::Long),
            _ => Ok(Self { reason: reason.to_owned(), commit }),
        }
    }
}

/// All reasons of a folder of scenarios.
#[derive(Clone, Debug)]
pub struct Reasons {
    label: String,
    text: Arc<str>,
    root: Option<Node>,
    known: Vec<ResolvedEntry>,
}

/// An entry, understood.
#[derive(Clone, Debug)]
struct ResolvedEntry {
    explanation: Explanation,
    extent: Extent,
    scenarios: Vec<ScenarioName>,
    lifts_expectations: bool,
}

/// Whose snapshots an entry is for.
#[derive(Clone, Debug, Default)]
struct Extent {
    /// The kernels; empty if the images alone say.
    kernels: Vec<glob::Pattern>,
    /// The images; empty if it is for any.
    images: Vec<glob::Pattern>,
}

impl Extent {
    fn covers(&self, owner: &Owner) -> bool {
        covers(&self.kernels, owner.kernel.as_ref().map(|name| name.as_str()))
            && covers(&self.images, owner.image.as_ref().map(|name| name.as_str()))
    }

    /// The same with one of the two lists cut down to this name.
    fn with_only(&self, glob: &glob::Pattern, part: Part) -> Self {
        let globs = vec![glob.clone()];
        match part {
            Part::Kernels => Self { kernels: globs, images: self.images.clone() },
            Part::Images => Self { kernels: self.kernels.clone(), images: globs },
        }
    }
}

/// One of the two lists that say whose snapshots an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Kernels,
    Images,
}

fn covers(globs: &[glob::Pattern], name: Option<&str>) -> bool {
    globs.is_empty() || name.is_some_and(|name| globs.iter().any(|glob| glob.matches(name)))
}

impl ResolvedEntry {
    fn is_for(&self, scenario: &ScenarioName, owner: &Owner) -> bool {
        self.scenarios.contains(scenario) && self.extent.covers(owner)
    }
}

/// The JSON Schema of the file.
fn schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(schema_of::<ReasonsFile>);
    &SCHEMA
}

impl Reasons {
    /// No reasons at all: those of a folder without the file, which would be called `label`.
    pub fn none(label: &str) -> Self {
        Self { label: label.to_owned(), text: "".into(), root: None, known: Vec::new() }
    }

    /// Reads the bytes of the file; `label` is what messages call it.
    ///
    /// # Errors
    /// Everything in it that is wrong, each with its place.
    pub fn parse(label: &str, bytes: &[u8]) -> Result<Self, Report> {
        let whole = |message: String| Report::new(label, "".into(), vec![Problem::new(0..0, message)]);
        if bytes.len() > MOST_BYTES {
            return Err(whole(format!("the file has more than {MOST_BYTES} bytes, the most it may have")));
        }
        let text: Arc<str> =
            std::str::from_utf8(bytes).map_err(|error| whole(format!("this is no text: {error}")))?.into();
        let report = |problems| Report::new(label, text.clone(), problems);
        let root = Node::read(&text).map_err(report)?;
        let problems = structure::problems(&root, schema());
        if !problems.is_empty() {
            return Err(report(problems));
        }
        let file: ReasonsFile = serde_json::from_value(root.to_json())
            .map_err(|error| report(vec![Problem::new(root.span.clone(), error.to_string())]))?;
        let mut problems = Vec::new();
        let entries = file.difference.iter().enumerate();
        let known = entries.filter_map(|(at, entry)| Reader::of(&root, at, &mut problems).entry(entry)).collect();
        if !problems.is_empty() {
            return Err(report(problems));
        }
        Ok(Self { label: label.to_owned(), text, root: Some(root), known })
    }

    /// The file's name as it was given.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// What is in the file.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Why there is a snapshot of this owner's for this scenario; nothing if nobody has said.
    pub fn of(&self, scenario: &ScenarioName, owner: &Owner) -> Vec<Explanation> {
        let known = self.known.iter().filter(|known| known.is_for(scenario, owner));
        known.map(|known| known.explanation.clone()).collect()
    }

    /// Whether somebody has said why there is a snapshot of this owner's for this scenario.
    pub fn covers(&self, scenario: &ScenarioName, owner: &Owner) -> bool {
        self.known.iter().any(|known| known.is_for(scenario, owner))
    }

    /// Whether what the attempts of this scenario expect is meant for other grounds than this one.
    pub fn lifts_expectations(&self, scenario: &ScenarioName, environment: &Environment) -> bool {
        let owner = Owner::exactly(environment);
        self.known.iter().any(|known| known.lifts_expectations && known.is_for(scenario, &owner))
    }

    /// Each reason with its kernels or images and its scenarios, as they are written.
    pub fn iter(&self) -> impl Iterator<Item = (&Explanation, Vec<&str>, &[ScenarioName])> {
        self.known.iter().map(|known| {
            let Extent { kernels, images } = &known.extent;
            let owners = kernels.iter().chain(images).map(glob::Pattern::as_str).collect();
            (&known.explanation, owners, &*known.scenarios)
        })
    }
}

/// Understands one entry, and notes what cannot be understood.
struct Reader<'a> {
    root: &'a Node,
    place: KeyPath,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Reader<'a> {
    fn of(root: &'a Node, at: usize, problems: &'a mut Vec<Problem>) -> Self {
        Self { root, place: KeyPath::default().key("difference").index(at), problems }
    }

    fn entry(&mut self, entry: &Entry) -> Option<ResolvedEntry> {
        let commit = entry.commit.as_ref().map(|text| self.noted("commit", text.parse::<Commit>()));
        let explanation = self.noted("reason", Explanation::new(&entry.reason, None));
        let extent = self.extent(entry);
        let scenarios = self.list("scenarios", &entry.scenarios, ScenarioName::from_str);
        let commit = match commit {
            Some(commit) => Some(commit?),
            None => None,
        };
        Some(ResolvedEntry {
            explanation: Explanation { commit, ..explanation? },
            extent: extent?,
            scenarios: scenarios?,
            lifts_expectations: entry.expect.is_some(),
        })
    }

    fn extent(&mut self, entry: &Entry) -> Option<Extent> {
        if entry.kernels.is_none() && entry.images.is_none() {
            self.note(self.place.clone(), "a reason is for `kernels` or `images`, and neither is there".to_owned());
        }
        let mut globs = |key: &str, texts: &Option<Vec<String>>| match texts {
            None => Some(Vec::new()),
            Some(texts) => self.list(key, texts, glob::Pattern::new),
        };
        let (kernels, images) = (globs("kernels", &entry.kernels), globs("images", &entry.images));
        Some(Extent { kernels: kernels?, images: images? })
    }

    fn noted<T, E: fmt::Display>(&mut self, key: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.note(self.place.key(key), error.to_string())).ok()
    }

    fn note(&mut self, place: KeyPath, message: String) {
        self.problems.push(Problem::new(self.root.span_of(&place), message));
    }

    /// Each text of a list, understood; none may be there twice, and the list not empty.
    fn list<T, E: fmt::Display>(
        &mut self,
        key: &str,
        texts: &[String],
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        let before = self.problems.len();
        if texts.is_empty() {
            self.note(self.place.key(key), format!("a reason is for one or more {key}, and this list is empty"));
        }
        let mut values = Vec::new();
        for (at, text) in texts.iter().enumerate() {
            let place = self.place.key(key).index(at);
            match read(text) {
                Ok(_) if texts[..at].contains(text) => {
                    self.note(place, format!("`{}` is listed twice", text.escape_debug()));
                }
                Ok(value) => values.push(value),
                Err(error) => self.note(place, error.to_string()),
            }
        }
        (self.problems.len() == before).then_some(values)
    }
}

#[cfg(test)]
mod tests;
