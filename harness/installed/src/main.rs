//! The installed program: the verbs of a user outside of a checkout, with what they read of the repository inside.

mod guard;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::CompleteEnv;
use harness_builder::bundle::Bundle;
use harness_cli::{Context, diagnostic, screen::ScreenOptions};

/// The program's name.
const NAME: &str = env!("CARGO_BIN_NAME");

/// What the program brings; `build.rs` makes it.
const BUNDLE: Bundle = Bundle {
    archive: include_bytes!(concat!(env!("OUT_DIR"), "/bundle.tar.zst")),
    sum: include_str!(concat!(env!("OUT_DIR"), "/bundle.sum")),
};

/// Test what BPF tokens allow: check configurations, boot kernels, run scenarios, compare verdicts
#[derive(Debug, Parser)]
#[command(name = NAME, bin_name = NAME, version, after_help = HELP)]
struct Cli {
    #[command(flatten)]
    screen: ScreenOptions,

    #[command(subcommand)]
    verb: Verb,
}

const HELP: &str = "\
Manifests of kernels and images, scenarios and the guest's programs are part of the program. When a
verb needs them, they are unpacked to $BPF_TOKEN_HARNESS_CACHE or ~/.cache/bpf-token-harness.

Examples:
  {program} validate packets.service --object packets.bpf.o
  {program} run --kernel 6.12-debian --filter 'token/*'
  source <(COMPLETE=bash {program})           completes verbs, options and names

Exit codes: 0 as recorded; 1 verdicts differ or a configuration is refused; 2 wrong usage or a bad
file; 3 the harness, QEMU or a build failed; 4 nothing was selected.";

#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "a run has one")]
enum Verb {
    #[command(flatten)]
    User(harness_cli::Verb),
    /// List and build kernels; print their paths
    #[command(subcommand)]
    Kernel(harness_cli::kernel::Verb),
    /// List and build images: root file systems of guests
    #[command(subcommand)]
    Image(harness_cli::image::Verb),
    Guard(guard::Args),
}

impl Verb {
    fn run(&self, context: &Context) -> Result<ExitCode> {
        match self {
            Self::User(verb) => verb.run(context),
            Self::Kernel(verb) => verb.run(context),
            Self::Image(verb) => verb.run(context),
            Self::Guard(args) => guard::run(args, BUNDLE),
        }
    }
}

fn command() -> Command {
    harness_cli::named(Cli::command())
}

fn main() -> ExitCode {
    harness_runner::vm::run_child_if_asked();
    harness_program::NAME.set(NAME);
    Context::bring(BUNDLE);
    CompleteEnv::with_factory(command).complete();
    let cli = Cli::from_arg_matches(&command().get_matches()).unwrap_or_else(|error| error.exit());
    cli.screen.apply();
    diagnostic::conclude(cli.verb.run(&Context::find()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_names_this_program() {
        harness_program::NAME.set(NAME);
        command().debug_assert();
        let mut help = command().render_long_help().to_string();
        for verb in command().get_subcommands() {
            help += &verb.clone().render_long_help().to_string();
        }
        assert!(help.contains(NAME) && !help.contains("cargo xtask") && !help.contains("{program}"), "{help}");
    }
}
