//! The command line of the project: `cargo xtask --help`.

mod bench;
mod ci;
mod clean;
mod codegen;
mod commands;
mod commits;
mod completions;
mod doctor;
mod documents;
mod failures;
mod fuzz;
mod generated;
mod guard_random;
#[cfg(test)]
mod help;
mod image;
mod kernel;
mod man;
mod merge;
mod mutate;
mod not_run;
mod partition;
mod pin;
mod schema;
mod shell;
mod steps;
mod test;
mod tools;
mod variables;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use harness_cli::{Context, diagnostic, screen::ScreenOptions};

/// Test what BPF tokens allow: build kernels, boot them, run scenarios, compare verdicts
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    screen: ScreenOptions,

    #[command(subcommand)]
    verb: Verb,
}

const EXIT_CODES: &str = "\
Examples:
  cargo xtask run                                     installs, builds, boots, shows the verdicts
  cargo xtask run --kernel 7.3 --filter 'token/*'
  cargo xtask bless --filter maps/mine                accepts the verdicts you have seen
  source <(cargo xtask completions bash)

Exit codes: 0 as recorded; 1 verdicts differ or a configuration is refused; 2 wrong usage or a bad
file; 3 the harness, QEMU or a build failed; 4 nothing was selected.";

#[derive(Debug, Subcommand)]
enum Verb {
    #[command(flatten)]
    Product(Box<harness_cli::Verb>),
    Test(test::Args),
    Kernel(kernel::Args),
    Image(image::Args),
    Pin(pin::Args),
    Shell(shell::Args),
    Schema(schema::Args),
    Codegen(codegen::Args),
    Bench(bench::Args),
    Merge(merge::Args),
    Mutate(mutate::Args),
    Fuzz(fuzz::Args),
    GuardRandom(guard_random::Args),
    Ci(ci::Args),
    Doctor(doctor::Args),
    Clean(clean::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// The order of verbs in help texts and manual pages, most used first.
const ORDER: [&str; 29] = [
    "run",
    "report",
    "list",
    "show",
    "new",
    "test",
    "bless",
    "diff",
    "kernel",
    "image",
    "pin",
    "shell",
    "validate",
    "convert",
    "caps",
    "grants",
    "schema",
    "codegen",
    "setup",
    "bench",
    "merge",
    "mutate",
    "fuzz",
    "guard-random",
    "ci",
    "doctor",
    "clean",
    "completions",
    "man",
];

impl Verb {
    fn run(&self, context: &Context) -> Result<ExitCode> {
        match self {
            Self::Product(verb) => verb.run(context),
            Self::Test(args) => test::run(args, context),
            Self::Kernel(args) => kernel::run(args, context),
            Self::Image(args) => image::run(args, context),
            Self::Pin(args) => pin::run(args, context),
            Self::Shell(args) => shell::run(args, context),
            Self::Schema(args) => schema::run(args, command(), context),
            Self::Codegen(args) => codegen::run(args, context),
            Self::Bench(args) => bench::run(args, context),
            Self::Merge(args) => merge::run(args, context),
            Self::Mutate(args) => mutate::run(args, context),
            Self::Fuzz(args) => fuzz::run(args, context),
            Self::GuardRandom(args) => guard_random::run(args, context),
            Self::Ci(args) => ci::run(args, context),
            Self::Doctor(args) => doctor::run(args, context),
            Self::Clean(args) => clean::run(args, context),
            Self::Completions(args) => completions::run(args),
            Self::Man(args) => man::run(args, command(), context),
        }
    }
}

/// Returns the command line, its verbs in [`ORDER`].
fn command() -> Command {
    // `mut_subcommand` moves a verb to the end, so changing each in turn sorts them.
    let in_order = |command: Command, (place, name): (usize, &&str)| {
        command.mut_subcommand(name, |verb| verb.display_order(place))
    };
    ORDER.iter().enumerate().fold(harness_cli::named(Cli::command()), in_order)
}

fn main() -> ExitCode {
    harness_runner::vm::run_child_if_asked();
    completions::answer_if_asked(command);
    let cli = Cli::from_arg_matches(&command().get_matches()).unwrap_or_else(|error| error.exit());
    cli.screen.apply();
    diagnostic::conclude(cli.verb.run(&Context::find()))
}
