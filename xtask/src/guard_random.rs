//! `cargo xtask guard-random`: the guard's BPF programs against the function that says what they must decide.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;
use harness_builder::progress::Progress;
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
    /// What policies and calls are drawn from [default: another one each time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// How many policies are drawn, each for 400 calls
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u16).range(1..))]
    policies: u16,

    #[command(flatten)]
    installation: Installation,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let project = context.project()?.clone();
    let resources = Resources::open(project, Freshness::Any, Progress::detect())?.with_guard(None, true);
    for kernel in resources.default_kernels().map_err(Wrong::input)? {
        let environment = Environment { kernel, image: "minimal".parse()? };
        prepare_for(&resources, std::slice::from_ref(&environment), args.installation.mode())?;
        resources.build(&environment.kernel, &environment.image)?;
    }
    let mut variables = vec![("CI", "1".to_owned()), ("BPF_GUARD_POLICIES", args.policies.to_string())];
    variables.extend(args.seed.map(|seed| ("BPF_GUARD_SEED", seed.to_string())));
    let arguments = vec!["test", "--package", "harness-runner", "--test", "guard_decisions", "--", "--nocapture"];
    let mut tally = Tally::default();
    Step { name: "decisions of the guard", kind: Kind::Tests, arguments, variables }.run(&mut tally)?;
    test::close(&tally, context)
}
