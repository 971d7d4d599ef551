//! `cargo xtask schema`: writes JSON Schemas and generated pages from the types, the scenarios and the recorded differences.

mod attacks;
mod reference;
mod signing;

use std::{fs, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::{Args as ClapArgs, Command};
use guard_policy::policy_schema;
use harness_builder::project::Project;
use harness_cli::{Context, exit::Wrong};
use harness_findings as findings;
use harness_runner::{
    report::{self, difference},
    scenario_runner::Runner,
};
use harness_scenario::schema::scenario_schema;
use serde::Serialize;

use crate::{
    commands, documents,
    generated::{Generated, Mode},
};

/// Write the JSON Schemas of scenarios, results, differences, findings, and the guard's policies and log, and the generated parts of pages in docs/
///
/// Pages: commands.md, scenario-reference.md, scenarios.md, differences.md, attacks.md, signing.md, results.md, findings.md, guard-policy.md and
/// what-a-token-grants.md.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  cargo xtask schema
  cargo xtask schema --check                  as CI does

Exit codes: 0 written or up to date; 1 a file is out of date; 2 a scenario file is invalid;
3 a file cannot be read or written.")]
pub(crate) struct Args {
    /// Write nothing; exit with 1 if a file is out of date
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args, command: Command, context: &Context) -> Result<ExitCode> {
    let generated = generate(context.project()?, command)?;
    Mode::of_check(args.check).apply(&generated, "cargo xtask schema")
}

fn generate(project: &Project, command: Command) -> Result<Vec<Generated>> {
    let mut generated = Vec::from(of_scenarios(project)?);
    generated.extend(of_results(project)?);
    generated.extend(of_findings(project)?);
    generated.extend(of_policies(project)?);
    generated.extend(of_grants(project)?);
    for (name, schema) in harness_cli::schemas().into_iter().chain(documents::schemas()) {
        let path = project.root().join(format!("docs/{name}.schema.json"));
        generated.push(Generated { path, text: pretty(&schema)? });
    }
    let path = project.root().join("docs/diff.schema.json");
    generated.push(Generated { path, text: pretty(&difference::schema())? });
    let path = project.root().join("docs/guard-log.schema.json");
    generated.push(Generated { path, text: pretty(&guard_record::schema())? });
    generated.push(commands::generated(project, command));
    Ok(generated)
}

fn pretty(schema: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string_pretty(schema).context("cannot write a schema as JSON")? + "\n")
}

fn of_results(project: &Project) -> Result<[Generated; 2]> {
    let schema = report::results_schema();
    page_and_schema(project, "results", &schema, &report::keys(&schema))
}

fn of_findings(project: &Project) -> Result<[Generated; 2]> {
    page_and_schema(project, "findings", &findings::report::schema(), &findings_reference())
}

fn of_grants(project: &Project) -> Result<[Generated; 2]> {
    page_and_schema(project, "what-a-token-grants", &findings::grants::schema(), &findings::grants::page())
}

/// Returns the generated part of findings.md: all codes, and the first versions that findings refer to.
fn findings_reference() -> String {
    let (codes, versions) = (findings::reference::codes(), findings::first_versions::table());
    format!("{codes}\n### First versions\n\nThe first versions that findings go by:\n\n{versions}")
}

fn of_policies(project: &Project) -> Result<[Generated; 2]> {
    let schema = policy_schema();
    page_and_schema(project, "guard-policy", schema, &reference::policy(schema))
}

/// Generates the part of the same name in a page of `docs/`, and the schema beside the page.
fn page_and_schema(project: &Project, name: &str, schema: &impl Serialize, part: &str) -> Result<[Generated; 2]> {
    let path = project.root().join(format!("docs/{name}.schema.json"));
    Ok([Generated { path, text: pretty(schema)? }, page(project, name, name, part)?])
}

/// Replaces one generated part of a page of `docs/`.
fn page(project: &Project, name: &str, part: &str, generated: &str) -> Result<Generated> {
    let path = project.root().join(format!("docs/{name}.md"));
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = splice(&text, part, generated).with_context(|| format!("cannot update {}", path.display()))?;
    Ok(Generated { path, text })
}

fn of_scenarios(project: &Project) -> Result<[Generated; 6]> {
    let folder = project.scenarios();
    let schema = scenario_schema();
    let runner = Runner::open(project, &folder).map_err(Wrong::input)?;
    Ok([
        Generated { path: folder.join("schema.json"), text: pretty(schema)? },
        page(project, "scenario-reference", "keys", &reference::keys(schema))?,
        page(project, "scenarios", "scenarios", &scenario_list(&runner)?)?,
        page(project, "differences", "differences", &reference::differences(runner.reasons()))?,
        page(project, "signing", "signing", &signing::page(project.root(), &runner).map_err(Wrong::input)?)?,
        page(project, "attacks", "attacks", &attacks::page(project.root(), runner.suite()).map_err(Wrong::input)?)?,
    ])
}

fn scenario_list(runner: &Runner) -> Result<String> {
    let names: Vec<_> = runner.suite().names().cloned().collect();
    let checked = runner.check(&names).map_err(Wrong::input)?;
    Ok(reference::scenarios(&checked))
}

/// Replaces the text between the two comments that mark the generated part of this name.
fn splice(text: &str, name: &str, generated: &str) -> Result<String> {
    let begin = format!("<!-- begin: {name} (written by `cargo xtask schema`) -->\n");
    let end = format!("<!-- end: {name} -->");
    let parts = text.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)));
    let Some((before, after)) = parts else {
        bail!("the page has no markers for the generated {name}: add `{}` and `{end}`", begin.trim_end());
    };
    Ok(format!("{before}{begin}\n{}\n\n{end}{after}", generated.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_only_the_marked_part_and_is_idempotent() {
        let text = "a\n<!-- begin: keys (written by `cargo xtask schema`) -->\nold\n<!-- end: keys -->\nb\n";
        let once = splice(text, "keys", "new\n").unwrap();
        assert!(once.starts_with("a\n<!-- begin: keys") && once.ends_with("<!-- end: keys -->\nb\n"));
        assert!(once.contains("-->\n\nnew\n\n<!--") && !once.contains("old"));
        assert_eq!(splice(&once, "keys", "new\n").unwrap(), once);
    }

    #[test]
    fn a_page_without_markers_is_an_error_that_names_them() {
        let error = splice("nothing", "keys", "new").unwrap_err().to_string();
        assert!(error.contains("<!-- begin: keys") && error.contains("<!-- end: keys -->"), "{error}");
    }

    #[test]
    fn the_schema_of_the_guards_log_takes_its_lines_and_no_others() {
        use guard_record::{Chain, Gap, GapReason, Hook, Line, Logged, NoNames, Record, Start, Time};

        let schema = serde_json::to_value(guard_record::schema()).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let start = Start {
            version: 1,
            program: "bpf-guard".to_owned(),
            kernel: "7.3.4".to_owned(),
            boot_id: "0123abcd-0000".to_owned(),
            guard: 1,
            file: 1,
            time: Time::of(5, Some(0)),
            seq: 0,
            read: 0,
            lost: 0,
            previous: None,
        };
        let (mut chain, mut text) = Chain::begin(&start);
        let records =
            Hook::ALL.iter().zip(0..).map(|(hook, seq)| Logged::Record(Line::of(&Record::of(seq, *hook), &NoNames)));
        for logged in records.chain([Logged::Gap(Gap { first: 15, count: 1, why: GapReason::Lost })]) {
            let (next, line) = chain.then(&logged);
            text.push_str(&line);
            chain = next;
        }
        for line in text.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(validator.is_valid(&line), "{line}");
            for key in ["chain", "boot"] {
                let mut without = line.clone();
                without.as_object_mut().unwrap().remove(key);
                assert!(!validator.is_valid(&without), "{without}");
            }
        }
        let line = text.lines().nth(1).unwrap();
        for wrong in [line.replace("\"uid\":0", "\"uid\":-1"), line.replace("\"seq\":0", "\"seq\":0,\"more\":1")] {
            assert!(wrong != line && !validator.is_valid(&serde_json::from_str(&wrong).unwrap()), "{wrong}");
        }
    }
}
