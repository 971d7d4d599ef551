//! `cargo xtask guard-random`: the guard's BPF programs against the function that says what they must decide.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;
use harness_builder::{host::Mode, progress::Progress};
use harness_cli::{Context, exit::Wrong, setup::Installation};
use harness_protocol::name::Environment;
use harness_runner::{preparation::prepare_for, resources::Resources, store::Freshness};

use crate::{
    steps::{Kind, Step, Tally},
    test,
};

/// Make 10,000 random calls under random policies of the guard on each default kernel, and check every decision
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
`cargo xtask test` makes some of them. The same seed draws the same policies and calls.

Examples:
  cargo xtask guard-random
  cargo xtask guard-random --seed 6178555315907851692

Exit codes: 0 all decisions are right; 1 one is wrong; 3 the harness, QEMU or a build failed.")]
pub(crate) struct Args {
    #[command(flatten)]
    drawn: Drawn,

    #[command(flatten)]
    installation: Installation,
}

/// What is drawn.
#[derive(Debug, ClapArgs)]
pub(crate) struct Drawn {
    /// What policies and calls are drawn from [default: another one each time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// How many policies are drawn, each for 400 calls
    #[arg(long, value_name = "N", default_value_t = POLICIES, value_parser = clap::value_parser!(u16).range(1..))]
    policies: u16,
}

const POLICIES: u16 = 25;

impl Default for Drawn {
    fn default() -> Self {
        Self { seed: None, policies: POLICIES }
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let mut tally = Tally::default();
    all(&args.drawn, args.installation.mode(), context, &mut tally)?;
    test::close(&tally, context)
}

/// Checks the decisions on each default kernel, which is built first.
pub(crate) fn all(drawn: &Drawn, mode: Mode, context: &Context, tally: &mut Tally) -> Result<()> {
    let project = context.project()?.clone();
    let resources = Resources::open(project, Freshness::Any, Progress::detect())?.with_guard(None, true);
    for kernel in resources.default_kernels().map_err(Wrong::input)? {
        let environment = Environment { kernel, image: "minimal".parse()? };
        prepare_for(&resources, std::slice::from_ref(&environment), mode)?;
        resources.build(&environment.kernel, &environment.image)?;
    }
    let mut variables = vec![("CI", "1".to_owned()), ("BPF_GUARD_POLICIES", drawn.policies.to_string())];
    variables.extend(drawn.seed.map(|seed| ("BPF_GUARD_SEED", seed.to_string())));
    let arguments = vec!["test", "--package", "harness-runner", "--test", "guard_decisions", "--", "--nocapture"];
    Step { name: "decisions of the guard", kind: Kind::Tests, arguments, variables }.run(tally)
}
