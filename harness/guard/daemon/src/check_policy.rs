//! `check`: whether a policy is right.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Args;
use guard_policy::{Finding, Mode, findings};
use harness_diagnostics::report::position;

use crate::policy_file::{self, PolicyError};

/// Check a policy without loading anything
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bpf-guard check /etc/bpf-guard/policy.toml

Exit codes: 0 nothing is wrong with it; 1 it can be put in force, but there are findings; 2 it is wrong, or cannot be read.")]
pub(crate) struct CheckArgs {
    /// The policy
    policy: PathBuf,
}

/// Runs the command.
pub(crate) fn run(args: &CheckArgs) -> Result<ExitCode> {
    let label = args.policy.display().to_string();
    let text = policy_file::text(&args.policy)?;
    let (policy, warnings) =
        guard_policy::parse(&label, &text).map_err(|report| PolicyError::Wrong(Box::new(report)))?;
    for warning in &warnings {
        let (line, column) = position(&text, warning.span().start);
        println!("{label}:{line}:{column}: warning: {}", warning.message());
    }
    let found = findings(&policy);
    found.iter().for_each(|finding| println!("{}", shown(finding, &label, &text)));
    let mode = if policy.mode == Mode::Enforce { "enforce" } else { "audit" };
    println!("{label}: {} rules, {} profiles, mode {mode}", policy.rules.len(), policy.profiles.len());
    let is_good = warnings.is_empty() && found.iter().all(|finding| finding.kind.is_note());
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn shown(finding: &Finding, label: &str, text: &str) -> String {
    let Finding { kind, span, message, why, advice } = finding;
    let (line, column) = position(text, span.start);
    let level = if kind.is_note() { "note" } else { "warning" };
    format!("{label}:{line}:{column}: {level}: {message} [{}]\n  why: {why}\n  help: {advice}", kind.id())
}
