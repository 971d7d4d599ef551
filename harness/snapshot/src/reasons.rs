//! Recorded differences: the file `differences.toml` at the top of a scenario folder says why kernels or images differ.
//!
//! A snapshot of a kernel or an image says that verdicts differ there; the reason says why that is right. Each such snapshot
//! needs a reason, and a reason without a snapshot is reported too.

pub mod edit;
mod mismatches;

use std::{collections::BTreeMap, collections::BTreeSet, fmt, str::FromStr, sync::Arc, sync::LazyLock};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

pub use mismatches::Complaint;

use crate::{
    entry::{EntryReader, glob},
    owner::Owner,
};
use harness_diagnostics::{
    document::Document,
    node::Node,
    report::{Problem, Report},
};
use harness_protocol::name::{Environment, ScenarioName};
use harness_scenario::schema::schema_of;

/// The file's name, which no scenario can have.
pub const FILE_NAME: &str = "differences.toml";

/// The owners of snapshots other than `NAME.snap`, by scenario; scenarios without any are included.
pub type OwnSnapshots = BTreeMap<ScenarioName, BTreeSet<Owner>>;

/// The whole file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ReasonsFile {
    /// The reasons why kernels or images differ.
    #[serde(default)]
    difference: Vec<Entry>,
}

/// A reason why kernels or images differ.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Why the verdicts differ, in one sentence.
    reason: String,
    /// The full hash of the Linux commit that made the difference, if it is known.
    commit: Option<String>,
    /// The kernels whose own snapshots it explains, by name or by a glob such as `*-debian`. Kernels that inherit these
    /// snapshots need not be listed. If left out, `images` alone decides.
    kernels: Option<Vec<String>>,
    /// The images whose own snapshots it explains, likewise; with `kernels`, the snapshots of these kernels with these
    /// images. If left out, any image.
    images: Option<Vec<String>>,
    /// The scenarios it applies to, by their full names.
    scenarios: Vec<String>,
    /// If left out, what attempts `expect` applies to these kernels too. `"otherwise"`: it is meant for kernels that are set
    /// up differently, and only the snapshots of these kernels apply.
    #[serde(default)]
    expect: Option<Intent>,
}

/// Whether what a scenario's author expects applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Intent {
    /// It does not apply.
    Otherwise,
}

/// A commit of a git repository, by its 40 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Commit(String);

/// The error for a text that is not a commit hash.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not a commit hash; write all 40 hexadecimal digits in lower case")]
pub struct BadCommit(String);

impl FromStr for Commit {
    type Err = BadCommit;

    fn from_str(text: &str) -> Result<Self, BadCommit> {
        let good = text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if good { Ok(Self(text.to_owned())) } else { Err(BadCommit(text.chars().take(60).collect())) }
    }
}

impl Commit {
    /// The first 12 digits.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Why kernels differ, for people.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Explanation {
    /// One sentence.
    pub reason: String,
    /// The commit that made the difference, if it is known.
    pub commit: Option<Commit>,
}

/// Why a text cannot be the reason for a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadReason {
    /// It is empty.
    #[error("the reason is empty; say why the verdicts differ")]
    Empty,
    /// It has line breaks or other control characters.
    #[error("the reason has line breaks or control characters; write one sentence on one line")]
    Lines,
    /// It is too long.
    #[error("the reason is longer than {MOST_OF_A_REASON} bytes; write one sentence")]
    Long,
}

const MOST_OF_A_REASON: usize = 300;

impl Explanation {
    /// An explanation of this sentence, without surrounding white space, and this commit.
    ///
    /// # Errors
    /// [`BadReason`] if the sentence is empty, too long or not on one line.
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

/// All reasons of a scenario folder.
#[derive(Clone, Debug)]
pub struct Reasons {
    label: String,
    text: Arc<str>,
    root: Option<Node>,
    known: Vec<ResolvedEntry>,
}

/// A resolved entry.
#[derive(Clone, Debug)]
struct ResolvedEntry {
    explanation: Explanation,
    extent: Extent,
    scenarios: Vec<ScenarioName>,
    lifts_expectations: bool,
}

/// The owners whose snapshots an entry explains.
#[derive(Clone, Debug, Default)]
struct Extent {
    /// The kernels; empty for any.
    kernels: Vec<glob::Pattern>,
    /// The images; empty for any.
    images: Vec<glob::Pattern>,
}

impl Extent {
    fn covers(&self, owner: &Owner) -> bool {
        covers(&self.kernels, owner.kernel.as_ref().map(|name| name.as_str()))
            && covers(&self.images, owner.image.as_ref().map(|name| name.as_str()))
    }

    /// Returns a copy with one of the two lists reduced to this glob.
    fn with_only(&self, glob: &glob::Pattern, part: Part) -> Self {
        let globs = vec![glob.clone()];
        match part {
            Part::Kernels => Self { kernels: globs, images: self.images.clone() },
            Part::Images => Self { kernels: self.kernels.clone(), images: globs },
        }
    }
}

/// One of the two lists of an extent.
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
    /// No reasons, for a folder without the file; messages call it `label`.
    pub fn none(label: &str) -> Self {
        Self { label: label.to_owned(), text: "".into(), root: None, known: Vec::new() }
    }

    /// Parses the file; messages call it `label`.
    ///
    /// # Errors
    /// All problems in the file, each with its location.
    pub fn parse(label: &str, bytes: &[u8]) -> Result<Self, Report> {
        let Document { text, root, file, mut problems } = Document::<ReasonsFile>::read(label, bytes, schema())?;
        let entries = file.difference.iter().enumerate();
        let known = entries.filter_map(|(at, entry)| resolve(&mut reader(&root, at, &mut problems), entry)).collect();
        if !problems.is_empty() {
            return Err(Report::new(label, text, problems));
        }
        Ok(Self { label: label.to_owned(), text, root: Some(root), known })
    }

    /// The file's name in messages.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The file's text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The recorded reasons for this owner's snapshot of this scenario.
    pub fn of(&self, scenario: &ScenarioName, owner: &Owner) -> Vec<Explanation> {
        let known = self.known.iter().filter(|known| known.is_for(scenario, owner));
        known.map(|known| known.explanation.clone()).collect()
    }

    /// Whether a reason for this owner's snapshot of this scenario is recorded.
    pub fn covers(&self, scenario: &ScenarioName, owner: &Owner) -> bool {
        self.known.iter().any(|known| known.is_for(scenario, owner))
    }

    /// Whether the expectations of this scenario's attempts do not apply in this environment.
    pub fn lifts_expectations(&self, scenario: &ScenarioName, environment: &Environment) -> bool {
        let owner = Owner::exactly(environment);
        self.known.iter().any(|known| known.lifts_expectations && known.is_for(scenario, &owner))
    }

    /// All reasons, each with its kernels or images and its scenarios, as written.
    pub fn iter(&self) -> impl Iterator<Item = (&Explanation, Vec<&str>, &[ScenarioName])> {
        self.known.iter().map(|known| {
            let Extent { kernels, images } = &known.extent;
            let owners = kernels.iter().chain(images).map(glob::Pattern::as_str).collect();
            (&known.explanation, owners, &*known.scenarios)
        })
    }
}

fn reader<'a>(root: &'a Node, at: usize, problems: &'a mut Vec<Problem>) -> EntryReader<'a> {
    EntryReader::of(root, "difference", at, problems)
}

fn resolve(reader: &mut EntryReader<'_>, entry: &Entry) -> Option<ResolvedEntry> {
    let commit = entry.commit.as_ref().map(|text| reader.noted("commit", text.parse::<Commit>()));
    let explanation = reader.noted("reason", Explanation::new(&entry.reason, None));
    let extent = extent(reader, entry);
    let scenarios = reader.list("scenarios", &entry.scenarios, ScenarioName::from_str);
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

fn extent(reader: &mut EntryReader<'_>, entry: &Entry) -> Option<Extent> {
    let may_have = |key: &str| reader.root.may_be_dropped(&reader.path.key(key));
    let has_neither = entry.kernels.is_none() && entry.images.is_none();
    if has_neither && !may_have("kernels") && !may_have("images") {
        let message = "`kernels` and `images` are both missing; list at least one of them";
        reader.note(reader.path.clone(), message.to_owned());
    }
    let mut globs = |key: &str, texts: &Option<Vec<String>>| match texts {
        None => Some(Vec::new()),
        Some(texts) => reader.list(key, texts, glob),
    };
    let (kernels, images) = (globs("kernels", &entry.kernels), globs("images", &entry.images));
    Some(Extent { kernels: kernels?, images: images? })
}

#[cfg(test)]
mod tests;
