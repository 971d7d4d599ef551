//! The guard: audits and enforces what bpf(2) is used for.

mod early;
mod machine;
mod policy_file;
mod try_policy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Audits and enforces what bpf(2) is used for, by BPF programs on LSM hooks.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Try(try_policy::TryArgs),
    Early(early::EarlyArgs),
}

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Try(args) => try_policy::run(&args),
        Verb::Early(args) => early::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bpf-guard: {error:#}");
            let is_policy = error.downcast_ref::<policy_file::PolicyError>().is_some();
            if is_policy { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}
