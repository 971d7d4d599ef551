//! `cargo xtask schema`: the files that are written from the types, the scenarios and the reasons for which kernels differ.

mod reference;

use std::{fs, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::Args as ClapArgs;
use harness_builder::project::Project;
use harness_cli::{Context, exit::Wrong};
use harness_findings as findings;
use harness_runner::{
    lab::Lab,
    report::{self, difference},
};
use harness_scenario::schema::scenario_schema;
use serde::Serialize;

use crate::generated::{Generated, Mode};

/// Write the JSON Schemas of scenarios, results, differences and findings, and the generated parts of scenarios/README.md,
/// docs/results.md and docs/findings.md
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  cargo xtask schema
  cargo xtask schema --check                  as CI does

Exit codes: 0 written, or as it would be written; 1 a file is out of date; 2 a bad scenario file;
3 a file cannot be read or written.")]
pub(crate) struct Args {
    /// Write nothing; exit with 1 if a file is not as it would be written
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let generated = generate(context.project()?)?;
    Mode::of_check(args.check).apply(&generated, "cargo xtask schema")
}

fn generate(project: &Project) -> Result<Vec<Generated>> {
    let mut generated = of_scenarios(project)?;
    generated.extend(of_results(project)?);
    generated.extend(of_findings(project)?);
    let path = project.root().join("docs/diff.schema.json");
    generated.push(Generated { path, text: pretty(&difference::schema())? });
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
    page_and_schema(project, "findings", &findings::report::schema(), &findings::reference::codes())
}

/// A page of `docs/` with its generated part of the same name, and the schema beside it.
fn page_and_schema(project: &Project, name: &str, schema: &impl Serialize, part: &str) -> Result<[Generated; 2]> {
    let folder = project.root().join("docs");
    let page = folder.join(format!("{name}.md"));
    let text = fs::read_to_string(&page).with_context(|| format!("cannot read {}", page.display()))?;
    let text = splice(&text, name, part)?;
    let schema = Generated { path: folder.join(format!("{name}.schema.json")), text: pretty(schema)? };
    Ok([schema, Generated { path: page, text }])
}

fn of_scenarios(project: &Project) -> Result<Vec<Generated>> {
    let folder = project.scenarios();
    let schema = scenario_schema();
    let json = pretty(schema)?;
    let lab = Lab::open(project, &folder).map_err(Wrong::input)?;
    let readme = folder.join("README.md");
    let text = fs::read_to_string(&readme).with_context(|| format!("cannot read {}", readme.display()))?;
    let text = splice(&text, "scenarios", &scenario_list(&lab)?)?;
    let text = splice(&text, "differences", &reference::differences(lab.reasons()))?;
    let text = splice(&text, "keys", &reference::keys(schema))?;
    Ok(vec![Generated { path: folder.join("schema.json"), text: json }, Generated { path: readme, text }])
}

fn scenario_list(lab: &Lab) -> Result<String> {
    let names: Vec<_> = lab.suite().names().cloned().collect();
    let checked = lab.check(&names).map_err(Wrong::input)?;
    Ok(reference::scenarios(&checked))
}

/// The text with this put between the two comments that mark the generated part of this name.
fn splice(text: &str, name: &str, generated: &str) -> Result<String> {
    let begin = format!("<!-- begin: {name} (written by `cargo xtask schema`) -->\n");
    let end = format!("<!-- end: {name} -->");
    let parts = text.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)));
    let Some((before, after)) = parts else {
        bail!("the page has no place for the generated {name}: put `{}` and `{end}` there", begin.trim_end());
    };
    Ok(format!("{before}{begin}\n{}\n\n{end}{after}", generated.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_marked_part_is_replaced_and_twice_gives_the_same() {
        let text = "a\n<!-- begin: keys (written by `cargo xtask schema`) -->\nold\n<!-- end: keys -->\nb\n";
        let once = splice(text, "keys", "new\n").unwrap();
        assert!(once.starts_with("a\n<!-- begin: keys") && once.ends_with("<!-- end: keys -->\nb\n"));
        assert!(once.contains("-->\n\nnew\n\n<!--") && !once.contains("old"));
        assert_eq!(splice(&once, "keys", "new\n").unwrap(), once);
    }

    #[test]
    fn a_text_without_the_marks_is_refused_with_what_to_write() {
        let error = splice("nothing", "keys", "new").unwrap_err().to_string();
        assert!(error.contains("<!-- begin: keys") && error.contains("<!-- end: keys -->"), "{error}");
    }
}
