//! Whole commands whose times have an aim: units of systemd, and runs with nothing to do.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use harness_builder::project::Project;
use harness_protocol::name::KernelName;
use harness_runner::resources::Resources;

use super::{
    all, figure,
    figures::{Figure, Suite},
    hyperfine,
    sample::Sample,
    whole,
};

/// How many scenarios the folder has that shows how a run with nothing to do grows.
pub(crate) const MANY: usize = 1_000;

/// How often hyperfine runs a command.
const RUNS: u32 = 10;

/// Measures the commands.
pub(crate) fn measure(resources: &Resources) -> Result<Suite> {
    let (project, progress) = (resources.project(), resources.progress());
    let kernels = resources.default_kernels()?;
    let root = project.root();
    progress.note("units of systemd");
    let units = kernels.iter().map(|kernel| (kernel.clone(), once(root, &units(kernel)))).collect();
    progress.note("runs with nothing to do");
    let json = ["xtask", "run", "--format", "json"];
    let warm = whole::time(root, &json).and_then(|_| hyperfine::time(root, &json, RUNS, &whole::DONE));
    let many = kernels.first().context("there is no default kernel").and_then(|kernel| many(project, kernel));
    Ok(Suite { units, warm: figure(warm), many: figure(many) })
}

fn units(kernel: &KernelName) -> [&str; 7] {
    ["xtask", "run", "--kernel", kernel.as_str(), "--filter", "systemd/*", "--fresh"]
}

fn once(root: &Path, words: &[&str]) -> Figure<Sample> {
    all(vec![whole::time(root, words)])
}

/// Times a run with nothing to do on one kernel, of many copies of one scenario.
fn many(project: &Project, kernel: &KernelName) -> Result<Sample> {
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
    hyperfine::time(project.root(), &words, RUNS, &whole::DONE)
}
