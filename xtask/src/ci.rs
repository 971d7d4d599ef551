//! `cargo xtask ci`: everything that must hold before a change is taken.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;
use harness_builder::{host::Purpose, progress::Progress};
use harness_runner::store::Freshness;

use crate::{
    setup,
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
  cargo xtask ci | tee ci.log                 plain lines, without bars and colours

Exit codes: 0 all passed; 1 a test or a check failed; 3 the harness, QEMU or a build failed.")]
pub(crate) struct Args {}

/// What fails within a minute or two comes first.
const EARLY: [(&str, &[&str]); 3] = [
    ("formatting (mend it by `cargo fmt`)", &["fmt", "--all", "--check"]),
    ("lints", &["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"]),
    ("generated files", &["xtask", "schema", "--check"]),
];

/// What needs built kernels.
const LATE: [(&str, &[&str]); 1] = [("committed vocabularies", &["xtask", "kernel", "names", "--check"])];

pub(crate) fn run(_args: &Args) -> Result<ExitCode> {
    let mut tally = Tally::default();
    // Even the lints compile C libraries.
    setup::prepare_host(&Purpose::ALL, false, &Progress::detect())?;
    check(&EARLY, &mut tally)?;
    test::all(Freshness::ThisRun, false, &mut tally)?;
    check(&LATE, &mut tally)?;
    test::close(tally)
}

fn check(checks: &[(&'static str, &'static [&'static str])], tally: &mut Tally) -> Result<()> {
    checks.iter().try_for_each(|&(name, arguments)| {
        Step { name, kind: Kind::Check, arguments, variables: Vec::new() }.run(tally)
    })
}
