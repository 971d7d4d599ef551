//! `cargo xtask ci`: everything that must hold before a change is taken.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;
use harness_runner::store::Freshness;

use crate::{
    steps::{Kind, Step, Tally},
    test,
};

/// Check formatting and lints, then run all tests afresh
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
The last line says how many tests and checks passed, failed and were skipped.
Snapshots are compared and never updated.")]
pub(crate) struct Args {}

const CHECKS: [(&str, &[&str]); 2] = [
    ("formatting (mend it by `cargo fmt`)", &["fmt", "--all", "--check"]),
    ("lints", &["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"]),
];

pub(crate) fn run(_args: &Args) -> Result<ExitCode> {
    let mut tally = Tally::default();
    for (name, arguments) in CHECKS {
        Step { name, kind: Kind::Check, arguments, variables: Vec::new() }.run(&mut tally)?;
    }
    test::all(Freshness::ThisRun, false, &mut tally)?;
    test::close(tally)
}
