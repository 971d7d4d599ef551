//! Output for GitHub Actions: annotations, and a step summary.

use std::{collections::BTreeMap, env, fs, io::Write, path::Path};

use anyhow::{Context, Result};
use harness_protocol::name::ScenarioName;
use harness_runner::{
    report::{
        Results,
        github::{self, Location},
    },
    selection::Selection,
};

use crate::output::Delivery;

/// Reports the results of a run to GitHub, if this is a step of a workflow.
///
/// Annotations go to standard error, which GitHub also reads, so that standard output has only one format.
pub(crate) fn report(selection: &Selection, delivery: &Delivery, results: &Results) -> Result<()> {
    if env::var_os("GITHUB_ACTIONS").is_none_or(|value| value != "true") {
        return Ok(());
    }
    eprint!("{}", github::annotations(results, &locations(selection)));
    match env::var_os("GITHUB_STEP_SUMMARY") {
        Some(path) if !path.is_empty() => append(Path::new(&path), &delivery.matrix(results)),
        _ => Ok(()),
    }
}

/// Returns the file of each scenario, relative to the checkout.
fn locations(selection: &Selection) -> BTreeMap<ScenarioName, Location> {
    let root = env::var_os("GITHUB_WORKSPACE").and_then(|folder| fs::canonicalize(folder).ok());
    let location = |checked: &harness_planner::checked::Checked| {
        let path = selection.runner.suite().path(checked.name());
        let full = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let inside = root.as_ref().and_then(|root| full.strip_prefix(root).ok());
        let file = inside.map_or_else(|| selection.shown_path(path), |path| path.display().to_string());
        (checked.name().clone(), Location { file, attempts: checked.attempt_lines() })
    };
    selection.scenarios.iter().map(location).collect()
}

/// Appends as much to a summary as it has room for.
fn append(path: &Path, markdown: &str) -> Result<()> {
    let written = fs::metadata(path).map_or(0, |found| usize::try_from(found.len()).unwrap_or(usize::MAX));
    let text = github::step_summary(markdown, github::MOST_SUMMARY_BYTES.saturating_sub(written));
    let mut open = fs::OpenOptions::new();
    let file = open.append(true).create(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot append to the step summary {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_appended_and_never_too_long() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("summary.md");
        append(&path, "one\n").unwrap();
        append(&path, "two\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        append(&path, &"| a row |\n".repeat(200_000)).unwrap();
        append(&path, "| too late |\n").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.len() <= github::MOST_SUMMARY_BYTES, "{}", text.len());
        let end = text.lines().skip_while(|line| *line != "| a row |").filter(|line| *line != "| a row |");
        insta::assert_snapshot!(end.collect::<Vec<_>>().join("\n"), @r#"
        _Truncated: GitHub limits a step summary to 1 MiB. The log has the rest._
        | too late |
        "#);
    }
}
