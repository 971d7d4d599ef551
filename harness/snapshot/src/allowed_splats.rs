//! The splats that are known and allowed: the file `splats.toml` at the top of a scenario folder, each with a reason.

use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use harness_diagnostics::{document::Document, report::Report};
use harness_protocol::name::{Environment, ScenarioName};
use harness_scenario::schema::schema_of;

use crate::{
    entry::{EntryReader, glob},
    reasons::Explanation,
};

/// The file's name, which no scenario can have.
pub const FILE_NAME: &str = "splats.toml";

/// The whole file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SplatsFile {
    /// The allowed splats.
    #[serde(default)]
    allow: Vec<Entry>,
}

/// An allowed splat.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// The line that names the fault, as a glob, such as `UBSAN: shift-out-of-bounds in *kernel/bpf/inode.c:*`.
    text: String,
    /// The kernels that may print it, by name or by a glob such as `*-debian`.
    kernels: Vec<String>,
    /// The scenarios during which they may, likewise.
    scenarios: Vec<String>,
    /// Why it is allowed, in one sentence.
    reason: String,
}

/// The allowed splats of a scenario folder.
#[derive(Clone, Debug, Default)]
pub struct AllowedSplats(Vec<Resolved>);

#[derive(Clone, Debug)]
struct Resolved {
    text: glob::Pattern,
    kernels: Vec<glob::Pattern>,
    scenarios: Vec<glob::Pattern>,
    reason: String,
}

fn schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(schema_of::<SplatsFile>);
    &SCHEMA
}

impl AllowedSplats {
    /// Returns the list that allows none.
    pub fn none() -> &'static Self {
        static NONE: AllowedSplats = AllowedSplats(Vec::new());
        &NONE
    }

    /// Parses the file; messages call it `label`.
    ///
    /// # Errors
    /// All problems in the file, each with its location.
    pub fn parse(label: &str, bytes: &[u8]) -> Result<Self, Report> {
        let Document { text, root, file, mut problems } = Document::<SplatsFile>::read(label, bytes, schema())?;
        let entries = file.allow.iter().enumerate();
        let known = entries.filter_map(|(at, entry)| {
            let mut reader = EntryReader::of(&root, "allow", at, &mut problems);
            resolve(&mut reader, entry)
        });
        let known = known.collect();
        if problems.is_empty() { Ok(Self(known)) } else { Err(Report::new(label, text, problems)) }
    }

    /// Returns why a splat with this text is allowed during a scenario, if it is.
    pub fn reason(&self, text: &str, scenario: &ScenarioName, environment: &Environment) -> Option<&str> {
        let matches = |globs: &[glob::Pattern], name: &str| globs.iter().any(|glob| glob.matches(name));
        let allows = |entry: &&Resolved| {
            entry.text.matches(text)
                && matches(&entry.kernels, environment.kernel.as_str())
                && matches(&entry.scenarios, scenario.as_str())
        };
        self.0.iter().find(allows).map(|entry| entry.reason.as_str())
    }
}

fn resolve(reader: &mut EntryReader<'_>, entry: &Entry) -> Option<Resolved> {
    let reason = reader.noted("reason", Explanation::new(&entry.reason, None));
    let text = reader.noted("text", glob(&entry.text));
    let kernels = reader.list("kernels", &entry.kernels, glob);
    let scenarios = reader.list("scenarios", &entry.scenarios, glob);
    Some(Resolved { text: text?, kernels: kernels?, scenarios: scenarios?, reason: reason?.reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "[[allow]]\ntext = 'UBSAN: shift-out-of-bounds in *kernel/bpf/inode.c:*'\nkernels = ['7.3-*']\n\
        scenarios = ['mount/*']\nreason = 'it fails safe'\n";

    fn reason(text: &str, scenario: &str, kernel: &str) -> Option<String> {
        let allowed = AllowedSplats::parse("splats.toml", FILE.as_bytes()).unwrap();
        let environment = Environment { kernel: kernel.parse().unwrap(), image: "minimal".parse().unwrap() };
        allowed.reason(text, &scenario.parse().unwrap(), &environment).map(str::to_owned)
    }

    #[test]
    fn a_splat_is_allowed_where_text_kernel_and_scenario_match() {
        let text = "UBSAN: shift-out-of-bounds in kernel/bpf/inode.c:721:23";
        assert_eq!(reason(text, "mount/any", "7.3-sanitize").as_deref(), Some("it fails safe"));
        assert_eq!(reason(text, "mount/any", "7.3"), None);
        assert_eq!(reason(text, "token/any", "7.3-sanitize"), None);
        assert_eq!(reason("WARNING: other", "mount/any", "7.3-sanitize"), None);
    }

    #[test]
    fn every_problem_is_reported() {
        let text = "[[allow]]\ntext = '['\nkernels = []\nscenarios = ['[']\nreason = ''\n\
            [[allow]]\ntext = 'a'\nkernels = ['6.12', '6.12']\nscenario = ['x']\nreason = 'b'\n";
        let report = AllowedSplats::parse("splats.toml", text.as_bytes()).unwrap_err().to_string();
        insta::assert_snapshot!(report, @"
        splats.toml:2:8: `[` is not a valid glob: invalid range pattern
        splats.toml:3:11: the list of kernels is empty; list at least one
        splats.toml:4:14: `[` is not a valid glob: invalid range pattern
        splats.toml:5:10: the reason is empty; say why the verdicts differ
        splats.toml:9:1: unknown key `scenario` (did you mean `scenarios`?)
        ");
        assert!(AllowedSplats::parse("splats.toml", b"").unwrap().0.is_empty());
    }
}
