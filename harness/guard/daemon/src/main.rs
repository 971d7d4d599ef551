//! The guard: audits and enforces what bpf(2) is used for.

mod anchorage;
mod check_policy;
mod compile_policy;
#[cfg(test)]
mod dist;
mod early;
mod learn;
mod log;
mod log_page;
mod machine;
mod order;
mod policy_file;
mod recorder;
mod reload_policy;
mod run_log;
mod source;
mod status;
mod try_policy;
mod verify_log;

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
    Run(run_log::RunArgs),
    Status(status::StatusArgs),
    Verify(verify_log::VerifyArgs),
    Check(check_policy::CheckArgs),
    Compile(compile_policy::CompileArgs),
    Reload(reload_policy::ReloadArgs),
    Learn(learn::LearnArgs),
}

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Try(args) => try_policy::run(&args).map(|()| ExitCode::SUCCESS),
        Verb::Early(args) => early::run(&args).map(|()| ExitCode::SUCCESS),
        Verb::Run(args) => run_log::run(&args).map(|()| ExitCode::SUCCESS),
        Verb::Status(args) => status::run(&args),
        Verb::Verify(args) => Ok(verify_log::run(&args)),
        Verb::Check(args) => check_policy::run(&args),
        Verb::Compile(args) => compile_policy::run(&args).map(|()| ExitCode::SUCCESS),
        Verb::Reload(args) => reload_policy::run(&args).map(|()| ExitCode::SUCCESS),
        Verb::Learn(args) => learn::run(&args),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bpf-guard: {error:#}");
            let is_policy = error.downcast_ref::<policy_file::PolicyError>().is_some();
            if is_policy { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}
