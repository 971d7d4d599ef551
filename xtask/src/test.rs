//! `cargo xtask test`: all tests.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;
use harness_builder::{host::Purpose, progress::Progress, project::Project};
use harness_model::name::ImageName;
use harness_runner::{store::Freshness, supplies::Supplies};

use crate::{
    exit, run, setup,
    steps::{Kind, Step, Tally},
};

/// Run all tests: unit tests, and every scenario on the default kernels
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  cargo xtask test
  cargo xtask test --fresh                    boots and attempts everything again

Scenarios alone, with the options of cargo's own test programs (--list, a filter, --exact):
  cargo test -p harness-runner --test scenarios -- 7.3::token

Exit codes: 0 all passed; 1 a test failed; 3 the harness, QEMU or a build failed.")]
pub(crate) struct Args {
    /// Do not believe outcomes of earlier runs: boot and attempt everything again
    #[arg(long)]
    fresh: bool,

    /// Print what would be installed on the host instead of installing it
    #[arg(long)]
    no_install: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut tally = Tally::default();
    let freshness = if args.fresh { Freshness::ThisRun } else { Freshness::Any };
    all(freshness, args.no_install, &mut tally)?;
    close(tally)
}

/// Prints the closing line, and what it means as an exit code.
pub(crate) fn close(tally: Tally) -> Result<ExitCode> {
    run::print(&format!("{tally}\n"))?;
    Ok(if tally.is_good() { ExitCode::SUCCESS } else { ExitCode::from(exit::DIFFERS) })
}

/// Runs all tests: those that need no VM first, because they fail within seconds.
pub(crate) fn all(freshness: Freshness, no_install: bool, tally: &mut Tally) -> Result<()> {
    let progress = Progress::detect();
    setup::prepare_host(&Purpose::ALL, no_install, &progress)?;
    let step = |name, arguments, variables| Step { name, kind: Kind::Tests, arguments, variables };
    step("unit tests", &["test", "--workspace", "--exclude", "harness-runner", "--no-fail-fast"], Vec::new())
        .run(tally)?;
    build_supplies(freshness, progress)?;
    let fresh = (freshness == Freshness::ThisRun).then_some(("BPF_TOKEN_HARNESS_FRESH", "1"));
    let scenarios = &["test", "--package", "harness-runner", "--no-fail-fast"];
    step("the runner and all scenarios", scenarios, fresh.into_iter().collect()).run(tally)
}

/// Builds what the scenarios need, so that no test waits for a compiler.
fn build_supplies(freshness: Freshness, progress: Progress) -> Result<()> {
    let supplies = Supplies::open(Project::find()?, freshness, progress)?;
    let image: ImageName = "minimal".parse()?;
    for kernel in supplies.default_kernels()? {
        supplies.build(&kernel, &image)?;
    }
    Ok(())
}
