//! What a guard refuses although it only audits: its self-protection and its hard rule hold whatever the policy and its
//! mode say. The file `guard-audit.toml` at the top of a scenario folder lists the lines of snapshots that differ under
//! it for that reason.

use std::{collections::BTreeSet, sync::LazyLock};

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
pub const FILE_NAME: &str = "guard-audit.toml";

/// The whole file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RefusalsFile {
    /// What is refused.
    #[serde(default)]
    refused: Vec<Entry>,
}

/// Lines that differ.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// The lines that the snapshot has and those that the run has instead, as globs; of a fault, its message.
    lines: Vec<String>,
    /// The kernels, by name or by a glob such as `*-debian`.
    kernels: Vec<String>,
    /// The scenarios, likewise.
    scenarios: Vec<String>,
    /// Why the guard refuses it, in one sentence.
    reason: String,
}

/// What a guard refuses although it only audits.
#[derive(Clone, Debug, Default)]
pub struct AuditRefusals(Vec<Resolved>);

#[derive(Clone, Debug)]
struct Resolved {
    lines: Vec<glob::Pattern>,
    kernels: Vec<glob::Pattern>,
    scenarios: Vec<glob::Pattern>,
    reason: String,
}

fn schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(schema_of::<RefusalsFile>);
    &SCHEMA
}

impl AuditRefusals {
    /// Parses the file; messages call it `label`.
    ///
    /// # Errors
    /// All problems in the file, each with its location.
    pub fn parse(label: &str, bytes: &[u8]) -> Result<Self, Report> {
        let Document { text, root, file, mut problems } = Document::<RefusalsFile>::read(label, bytes, schema())?;
        let entries = file.refused.iter().enumerate().filter_map(|(at, entry)| {
            let mut reader = EntryReader::of(&root, "refused", at, &mut problems);
            resolve(&mut reader, entry)
        });
        let entries = entries.collect();
        if problems.is_empty() { Ok(Self(entries)) } else { Err(Report::new(label, text, problems)) }
    }

    /// Returns the entries (counted from 0) that together name all lines that differ in a scenario; `None` if they do not.
    pub fn entries_for(
        &self,
        lines: &[&str],
        scenario: &ScenarioName,
        environment: &Environment,
    ) -> Option<BTreeSet<usize>> {
        let mut used = BTreeSet::new();
        for line in lines {
            let names = |entry: &Resolved| {
                any(&entry.lines, line)
                    && any(&entry.kernels, environment.kernel.as_str())
                    && any(&entry.scenarios, scenario.as_str())
            };
            used.insert(self.0.iter().position(names)?);
        }
        Some(used)
    }

    /// Describes the entries that concern these environments, but of which none was used.
    pub fn unused(&self, environments: &[Environment], used: &BTreeSet<usize>) -> Vec<String> {
        let concerns =
            |entry: &Resolved| environments.iter().any(|environment| any(&entry.kernels, environment.kernel.as_str()));
        let idle = self.0.iter().enumerate().filter(|(at, entry)| !used.contains(at) && concerns(entry));
        idle.map(|(at, entry)| {
            let reason = &entry.reason;
            format!("{FILE_NAME}: nothing differs as entry {} says ({reason}); remove the entry", at + 1)
        })
        .collect()
    }
}

fn any(globs: &[glob::Pattern], name: &str) -> bool {
    globs.iter().any(|glob| glob.matches(name))
}

fn resolve(reader: &mut EntryReader<'_>, entry: &Entry) -> Option<Resolved> {
    let reason = reader.noted("reason", Explanation::new(&entry.reason, None));
    let lines = reader.list("lines", &entry.lines, glob);
    let kernels = reader.list("kernels", &entry.kernels, glob);
    let scenarios = reader.list("scenarios", &entry.scenarios, glob);
    Some(Resolved { lines: lines?, kernels: kernels?, scenarios: scenarios?, reason: reason?.reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "[[refused]]\nlines = ['* prog_load  allowed', '* prog_load  malformed EPERM']\nkernels = ['7.3']\n\
        scenarios = ['lsm/*']\nreason = 'no program may trace security hooks'\n";

    fn environment(kernel: &str) -> Environment {
        Environment { kernel: kernel.parse().unwrap(), image: "minimal".parse().unwrap() }
    }

    #[test]
    fn a_difference_is_accepted_only_if_every_line_of_it_is_named() {
        let refusals = AuditRefusals::parse(FILE_NAME, FILE.as_bytes()).unwrap();
        let of = |lines: &[&str], scenario: &str, kernel: &str| {
            refusals.entries_for(lines, &scenario.parse().unwrap(), &environment(kernel))
        };
        let named = ["1  prog_load  allowed", "1  prog_load  malformed EPERM"];
        assert_eq!(of(&named, "lsm/any", "7.3"), Some(BTreeSet::from([0])));
        assert_eq!(of(&[named[0], "2  map_create  allowed"], "lsm/any", "7.3"), None);
        assert_eq!(of(&named, "token/any", "7.3"), None);
        assert_eq!(of(&named, "lsm/any", "6.12"), None);
    }

    #[test]
    fn an_entry_that_names_nothing_is_an_error_on_its_kernels() {
        let refusals = AuditRefusals::parse(FILE_NAME, FILE.as_bytes()).unwrap();
        let unused = |kernel: &str, used: &[usize]| {
            refusals.unused(&[environment(kernel)], &used.iter().copied().collect()).join("\n")
        };
        insta::assert_snapshot!(unused("7.3", &[]), @"guard-audit.toml: nothing differs as entry 1 says (no program may trace security hooks); remove the entry");
        assert_eq!(unused("7.3", &[0]), "");
        assert_eq!(unused("6.12", &[]), "");
    }

    #[test]
    fn every_problem_is_reported() {
        let text = "[[refused]]\nlines = []\nkernels = ['[']\nscenarios = ['a']\nreason = ''\n\
            [[refused]]\nlines = ['a']\nkernel = ['a']\nscenarios = ['a']\nreason = 'b'\n";
        let report = AuditRefusals::parse(FILE_NAME, text.as_bytes()).unwrap_err().to_string();
        insta::assert_snapshot!(report, @"
        guard-audit.toml:2:9: the list of lines is empty; list at least one
        guard-audit.toml:3:12: `[` is not a valid glob: invalid range pattern
        guard-audit.toml:5:10: the reason is empty; say why the verdicts differ
        guard-audit.toml:8:1: unknown key `kernel` (did you mean `kernels`?)
        ");
    }
}
