//! The command line of the project: `cargo xtask --help`.

mod actions;
mod bench;
mod bless;
mod bpf_objects;
mod candidates;
mod caps;
mod ci;
mod clean;
mod codegen;
mod complaint;
mod completions;
mod configurations;
mod convert;
mod diff;
mod doctor;
mod exit;
mod generated;
#[cfg(test)]
mod help;
mod image;
mod kernel;
mod known_kernels;
mod man;
mod merge;
mod mutate;
mod outlet;
mod partition;
mod proving;
mod replacement;
mod report;
mod run;
mod schema;
mod screen;
mod selection;
mod setup;
mod shell;
mod steps;
mod test;
mod validate;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Test what BPF tokens allow: build kernels, boot them, run scenarios, compare verdicts
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const EXIT_CODES: &str = "\
Examples:
  cargo xtask run                                     installs, builds, boots, shows the verdicts
  cargo xtask run --kernel 7.3 --filter 'token/*'
  cargo xtask bless --filter maps/mine                records what you have seen
  source <(cargo xtask completions bash)

Exit codes: 0 as recorded; 1 verdicts differ or a configuration is refused; 2 wrong usage or a bad
file; 3 the harness, QEMU or a build failed; 4 nothing was selected.";

#[derive(Debug, Subcommand)]
enum Verb {
    Run(run::Args),
    Report(report::Args),
    Test(test::Args),
    Bless(bless::Args),
    Diff(diff::Args),
    Kernel(kernel::Args),
    Image(image::Args),
    Shell(shell::Args),
    Validate(validate::Args),
    Convert(convert::Args),
    Caps(caps::Args),
    Schema(schema::Args),
    Codegen(codegen::Args),
    Setup(setup::Args),
    Bench(bench::Args),
    Merge(merge::Args),
    Mutate(mutate::Args),
    Ci(ci::Args),
    Doctor(doctor::Args),
    Clean(clean::Args),
    Completions(completions::Args),
    Man(man::Args),
}

impl Verb {
    fn run(&self) -> Result<ExitCode> {
        match self {
            Self::Run(args) => run::run(args),
            Self::Report(args) => report::run(args),
            Self::Test(args) => test::run(args),
            Self::Bless(args) => bless::run(args),
            Self::Diff(args) => diff::run(args),
            Self::Kernel(args) => kernel::run(args),
            Self::Image(args) => image::run(args),
            Self::Shell(args) => shell::run(args),
            Self::Codegen(args) => codegen::run(args),
            Self::Validate(args) => validate::run(args),
            Self::Convert(args) => convert::run(args),
            Self::Caps(args) => caps::run(args),
            Self::Schema(args) => schema::run(args),
            Self::Setup(args) => setup::run(args),
            Self::Bench(args) => bench::run(args),
            Self::Merge(args) => merge::run(args),
            Self::Mutate(args) => mutate::run(args),
            Self::Ci(args) => ci::run(args),
            Self::Doctor(args) => doctor::run(args),
            Self::Clean(args) => clean::run(args),
            Self::Completions(args) => completions::run(args),
            Self::Man(args) => man::run(args),
        }
    }
}

fn main() -> ExitCode {
    harness_runner::vm::run_child_if_asked();
    completions::answer_if_asked();
    match Cli::parse().verb.run() {
        Ok(code) => code,
        Err(error) => {
            complaint::tell(&error);
            exit::code_of(&error)
        }
    }
}
