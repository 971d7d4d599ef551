//! `cargo xtask ci`: everything that must hold before a change is taken.

use std::{num::NonZeroU16, process::ExitCode};

use anyhow::Result;
use clap::Args as ClapArgs;
use harness_builder::{
    host::{Mode, Purpose},
    progress::Progress,
};
use harness_cli::{Context, exit::Wrong, screen::print};
use harness_protocol::name::KernelName;
use harness_runner::{preparation::prepare_host, resources::Resources, store::Freshness};
use serde_json::{Value, json};

use crate::{
    steps::{Kind, Step, Tally},
    test,
};

/// Check formatting and lints, then run all tests afresh
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
The last line says how many tests and checks passed, failed and were skipped.
Snapshots are compared and never updated.

Examples:
  cargo xtask ci
  cargo xtask ci --quick                      what needs no kernel
  cargo xtask ci --matrix --shards 2          the jobs of a GitHub workflow, as JSON
  cargo xtask ci | tee ci.log                 plain lines, without bars and colours

Exit codes: 0 all passed; 1 a test or a check failed; 3 the harness, QEMU or a build failed.")]
pub(crate) struct Args {
    /// Only what needs no kernel: formatting, lints, generated files and unit tests
    #[arg(long, conflicts_with = "matrix")]
    quick: bool,

    /// Print the jobs of a GitHub workflow as JSON: a kernel and a part of its tests each
    #[arg(long)]
    matrix: bool,

    /// So many jobs a kernel
    #[arg(long, value_name = "N", default_value = "1", requires = "matrix")]
    shards: NonZeroU16,
}

/// What fails within a minute or two comes first.
const EARLY: [(&str, &[&str]); 4] = [
    ("formatting (mend it by `cargo fmt`)", &["fmt", "--all", "--check"]),
    ("lints", &["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"]),
    ("generated files", &["xtask", "schema", "--check"]),
    ("the table of names", &["xtask", "codegen", "--check"]),
];

/// What needs built kernels.
const LATE: [(&str, &[&str]); 1] = [("committed vocabularies", &["xtask", "kernel", "names", "--check"])];

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    if args.matrix {
        let resources = Resources::open(context.project()?.clone(), Freshness::Any, Progress::silent())?;
        let kernels = resources.kernels(["all"]).map_err(Wrong::input)?;
        let defaults = resources.default_kernels().map_err(Wrong::input)?;
        print(&format!("{}\n", matrix(&kernels, &defaults, args.shards)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut tally = Tally::default();
    // Even the lints compile C libraries.
    prepare_host(&Purpose::ALL, Mode::Install, &Progress::detect())?;
    check(&EARLY, &mut tally)?;
    if args.quick {
        test::units(&mut tally)?;
        return test::close(tally);
    }
    test::all(context, Freshness::ThisRun, Mode::Install, &mut tally)?;
    check(&LATE, &mut tally)?;
    test::close(tally)
}

/// The jobs of a workflow, as GitHub reads them (`strategy.matrix`): a kernel, a part of its tests for `cargo xtask test
/// --partition`, and which tests, as a filter of nextest's.
///
/// The first default kernel gets all tests that boot VMs, any other one its scenarios.
fn matrix(kernels: &[KernelName], defaults: &[KernelName], shards: NonZeroU16) -> Value {
    let job = |kernel: &KernelName, part: u16| {
        let tests = if defaults.first() == Some(kernel) { "package(harness-runner)" } else { "binary(=scenarios)" };
        json!({ "kernel": kernel.as_str(), "partition": format!("slice:{part}/{shards}"), "tests": tests })
    };
    let jobs = |kernel| (1..=shards.get()).map(move |part| job(kernel, part));
    json!({ "include": kernels.iter().flat_map(jobs).collect::<Vec<_>>() })
}

fn check(checks: &[(&'static str, &'static [&'static str])], tally: &mut Tally) -> Result<()> {
    checks.iter().try_for_each(|&(name, arguments)| {
        Step { name, kind: Kind::Check, arguments, variables: Vec::new() }.run(tally)
    })
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
