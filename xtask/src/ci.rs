//! `cargo xtask ci`: every check and test that a change must pass.

use std::{
    num::NonZeroU16,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::Args as ClapArgs;
use harness_builder::{cache::Cache, host::Purpose, progress::Progress};
use harness_cli::{Context, exit::Wrong, pin_options::PinOptions, screen::print, setup::Installation};
use harness_protocol::name::KernelName;
use harness_runner::{preparation::prepare_host, resources::Resources, store::Freshness};
use serde_json::{Value, json};

use crate::{
    bench::{
        history::{self, Entry, History},
        host,
    },
    commits, fuzz, guard_random,
    steps::{Kind, Step, Tally},
    test, tools,
};

/// Run every check, then all tests with fresh boots
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
The last line says how many tests and checks passed, failed and were skipped. The lines before it
name each skipped test; one that xtask/not-run.toml does not list fails the run.
Snapshots are compared and never updated.

Examples:
  cargo xtask ci
  cargo xtask ci --quick                      only what needs no kernel
  cargo xtask ci --nightly                    only what no push waits for: fuzzing, random calls
  cargo xtask ci --matrix --shards 2          the jobs of a GitHub workflow, as JSON
  cargo xtask ci | tee ci.log                 plain lines, without bars and colours

Exit codes: 0 all passed; 1 a test or a check failed; 3 a test did not run, or the harness, QEMU or
a build failed.")]
pub(crate) struct Args {
    /// Run only the checks and unit tests that need no kernel
    #[arg(long, conflicts_with = "matrix")]
    quick: bool,

    /// Run only what no push waits for: the fuzz targets, and random calls under random policies of the guard
    #[arg(long, conflicts_with_all = ["matrix", "quick"])]
    nightly: bool,

    /// Print the jobs of a GitHub workflow as JSON: one kernel and a part of its tests per job
    #[arg(long)]
    matrix: bool,

    /// Jobs per kernel
    #[arg(long, value_name = "N", default_value = "1", requires = "matrix")]
    shards: NonZeroU16,

    #[command(flatten)]
    installation: Installation,

    #[command(flatten)]
    pins: PinOptions,
}

/// Checks that need no kernel. They run first, because they fail within minutes.
const EARLY: [(&str, &[&str]); 8] = [
    ("formatting (fix it with `cargo fmt`)", &["fmt", "--all", "--check"]),
    // The fuzz targets are a workspace of their own: nothing else notices that its lock file lacks a dependency.
    ("lock file of the fuzz targets", &["fetch", "--locked", "--manifest-path", "harness/fuzz/Cargo.toml"]),
    ("licences, versions and sources of dependencies", &["deny", "--locked", "check", "licenses", "bans", "sources"]),
    ("unused dependencies", &["machete"]),
    ("lints", &["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"]),
    ("documentation", &["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"]),
    ("generated files", &["xtask", "schema", "--check"]),
    ("the table of names", &["xtask", "codegen", "--check"]),
];

/// What makes warnings of `cargo doc` errors.
const DENIED_WARNINGS: (&str, &str) = ("RUSTDOCFLAGS", "--deny warnings");

/// Checks that need built kernels.
const LATE: [(&str, &[&str]); 1] = [("committed vocabularies", &["xtask", "kernel", "names", "--check"])];

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    if args.matrix {
        let resources = Resources::open(context.project()?.clone(), Freshness::Any, Progress::silent())?;
        let kernels = resources.kernels(["all"]).map_err(Wrong::input)?;
        let defaults = resources.default_kernels().map_err(Wrong::input)?;
        print(&format!("{}\n", matrix(&kernels, &defaults, args.shards)))?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.nightly {
        return nightly(args, context);
    }
    let (start, mut tally) = (Instant::now(), Tally::default());
    // Even the lints compile C libraries.
    prepare_host(&Purpose::ALL, args.installation.mode(), &Progress::detect())?;
    if let Some(step) = tools::installation() {
        step.run(&mut tally)?;
    }
    check_commits(context, &mut tally)?;
    check(&EARLY, &mut tally)?;
    if args.quick {
        test::units(&mut tally)?;
        return test::close(&tally, context);
    }
    // Not before the host has the compiler, whose version is part of what a build is known by.
    let built = kernels_are_built(context)?;
    test::all(context, Freshness::ThisRun, args.installation.mode(), args.pins.pins(), &mut tally)?;
    check(&LATE, &mut tally)?;
    if tally.is_good() {
        remember(start.elapsed(), built)?;
    }
    test::close(&tally, context)
}

/// How long each fuzz target runs at night, in seconds.
const NIGHTLY_SECONDS: u32 = 60;

fn nightly(args: &Args, context: &Context) -> Result<ExitCode> {
    let mut tally = Tally::default();
    prepare_host(&[Purpose::Fuzzing], args.installation.mode(), &Progress::detect())?;
    fuzz::all(context.project()?.root(), NIGHTLY_SECONDS, &mut tally)?;
    guard_random::all(&guard_random::Drawn::default(), args.installation.mode(), context, &mut tally)?;
    test::close(&tally, context)
}

fn kernels_are_built(context: &Context) -> Result<bool> {
    let resources = Resources::open(context.project()?.clone(), Freshness::Any, Progress::silent())?;
    let is_built = |kernel| -> Result<bool> { Ok(resources.built_kernel(kernel)?.is_some()) };
    resources.default_kernels()?.iter().try_fold(true, |all, kernel| Ok(all && is_built(kernel)?))
}

/// Keeps how long it took, for `cargo xtask bench`.
fn remember(took: Duration, kernels_were_built: bool) -> Result<()> {
    let host = host::without_qemu();
    let name = if kernels_were_built { history::CI_CACHED } else { history::CI_CLEAN };
    let figures = [(name.to_owned(), took.as_secs_f64())].into();
    History::read(&Cache::from_env()?)?.add(&Entry { machine: host.machine(), date: host.date, figures })
}

/// Returns the jobs of a workflow in the form of GitHub's `strategy.matrix`: a kernel, a part of its tests for `cargo xtask
/// test --partition`, and a nextest filter that selects the tests.
///
/// The first default kernel gets all tests that boot VMs, each other kernel only its scenarios.
fn matrix(kernels: &[KernelName], defaults: &[KernelName], shards: NonZeroU16) -> Value {
    let job = |kernel: &KernelName, part: u16| {
        let tests = if defaults.first() == Some(kernel) { "package(harness-runner)" } else { "binary(=scenarios)" };
        json!({ "kernel": kernel.as_str(), "partition": format!("slice:{part}/{shards}"), "tests": tests })
    };
    let jobs = |kernel| (1..=shards.get()).map(move |part| job(kernel, part));
    json!({ "include": kernels.iter().flat_map(jobs).collect::<Vec<_>>() })
}

fn check(checks: &[(&'static str, &'static [&'static str])], tally: &mut Tally) -> Result<()> {
    let (variable, value) = DENIED_WARNINGS;
    checks.iter().try_for_each(|&(name, arguments)| {
        let variables = vec![(variable, value.to_owned())];
        Step { name, kind: Kind::Check, arguments: arguments.to_vec(), variables }.run(tally)
    })
}

fn check_commits(context: &Context, tally: &mut Tally) -> Result<()> {
    let complaints = commits::too_long(context.project()?.root());
    complaints.iter().for_each(|complaint| eprintln!("error: {complaint}"));
    tally.add_check("subjects of commits", complaints.is_empty());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kernel_has_its_jobs_and_one_has_all_tests() {
        let kernels: Vec<KernelName> = ["6.1-debian", "6.12", "7.3"].map(|name| name.parse().unwrap()).into();
        let matrix = matrix(&kernels, &kernels[1..], NonZeroU16::new(2).unwrap());
        let jobs = matrix["include"].as_array().unwrap();
        assert_eq!(jobs.len(), 6);
        assert_eq!(
            jobs[1].to_string(),
            r#"{"kernel":"6.1-debian","partition":"slice:2/2","tests":"binary(=scenarios)"}"#
        );
        let whole: Vec<&Value> = jobs.iter().filter(|job| job["tests"] != "binary(=scenarios)").collect();
        assert!(whole.len() == 2 && whole.iter().all(|job| job["kernel"] == "6.12"), "{whole:?}");
    }
}
