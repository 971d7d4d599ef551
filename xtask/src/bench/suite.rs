//! Whole commands whose times have an aim: units of systemd, all kernels, and runs with nothing to do.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};
use harness_builder::project::Project;
use harness_cli::exit;
use harness_protocol::name::KernelName;
use harness_runner::resources::Resources;
use serde_json::Value;

use super::{
    all, figure,
    figures::{Figure, Missing, Suite},
    hyperfine,
    sample::Sample,
    whole,
};

/// How many scenarios the folder has that shows how a run with nothing to do grows.
pub(crate) const MANY: usize = 1_000;

/// How often hyperfine runs a command.
const RUNS: u32 = 10;

/// Measures the commands. `all_kernels` is whether every kernel is run, which takes many minutes.
pub(crate) fn measure(resources: &Resources, runs: u32, all_kernels: bool) -> Result<Suite> {
    let (project, progress) = (resources.project(), resources.progress());
    let kernels = resources.default_kernels()?;
    let root = project.root();
    progress.note("units of systemd");
    let units = kernels.iter().map(|kernel| (kernel.clone(), once(root, &units(kernel)))).collect();
    progress.note("runs with nothing to do");
    let json = ["xtask", "run", "--format", "json"];
    let warm = whole::time(root, &json).and_then(|_| hyperfine::time(root, &json, runs.min(RUNS), &whole::DONE));
    let many = kernels.first().context("there is no default kernel").and_then(|kernel| many(project, kernel, runs));
    let all_kernels = match all_kernels {
        true => once(root, &["xtask", "run", "--kernel", "all", "--image", super::IMAGE, "--fresh"]),
        false => Err(Missing("only with --all-kernels".to_owned())),
    };
    // Then all kernels have outcomes to report.
    let report = report(root, runs);
    Ok(Suite { units, warm: figure(warm), many: figure(many), report: figure(report), all_kernels })
}

fn units(kernel: &KernelName) -> [&str; 7] {
    ["xtask", "run", "--kernel", kernel.as_str(), "--filter", "systemd/*", "--fresh"]
}

fn once(root: &Path, words: &[&str]) -> Figure<Sample> {
    all(vec![whole::time(root, words)])
}

/// Times a report of all kernels. It also ends with the code of a failure if a kernel has never run, so it is looked at first
/// whether it comes to its end.
fn report(root: &Path, runs: u32) -> Result<Sample> {
    let words = ["xtask", "report", "--kernel", "all"];
    let codes = [0, exit::DIFFERS, exit::FAILED];
    let text = whole::output(root, &[&words[..], &["--format", "json"]].concat(), &codes)?;
    if !is_complete(&text) {
        bail!("the report has no last line");
    }
    hyperfine::time(root, &words, runs.min(RUNS), &codes)
}

/// Whether results in JSON have their last line, which counts scenarios that were judged.
fn is_complete(lines: &str) -> bool {
    let last = lines.lines().last().and_then(|line| serde_json::from_str::<Value>(line).ok());
    last.is_some_and(|end| end["kind"] == "end" && end["judged"].as_u64().is_some_and(|judged| judged > 0))
}

/// Times a run with nothing to do on one kernel, of many copies of one scenario.
fn many(project: &Project, kernel: &KernelName, runs: u32) -> Result<Sample> {
    let folder = tempfile::tempdir().context("cannot make a folder for scenarios")?;
    for number in 0..MANY {
        for extension in ["toml", "snap"] {
            let from = project.scenarios().join("maps").join("no-token").with_extension(extension);
            let into = folder.path().join(format!("copy-{number}")).with_extension(extension);
            fs::copy(&from, &into).with_context(|| format!("cannot copy {}", from.display()))?;
        }
    }
    let scenarios = folder.path().display().to_string();
    let words = ["xtask", "run", "--format", "json", "--kernel", kernel.as_str(), "--scenarios", &scenarios];
    whole::time(project.root(), &words)?;
    hyperfine::time(project.root(), &words, runs.min(RUNS), &whole::DONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_without_verdicts_or_without_an_end_is_not_timed() {
        assert!(is_complete("{\"kind\":\"start\"}\n{\"kind\":\"end\",\"judged\":3,\"not_run\":7}\n"));
        for text in ["", "{\"kind\":\"start\"}\n", "{\"kind\":\"end\",\"judged\":0,\"not_run\":7}\n", "error"] {
            assert!(!is_complete(text), "{text}");
        }
    }
}
