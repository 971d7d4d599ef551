//! `compile`: a policy that may take the place of the one in force, as an image.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use guard_loader::{Kernel, build_id, names};
use guard_policy::{Compiled, Image};

use crate::policy_file;

/// Compile a policy that is to take the place of the one in force, so that it can be signed
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bpf-guard compile policy.toml --output policy.image
  openssl cms -sign -binary -noattr -nocerts -md sha512 -outform DER -signer guard.crt -inkey guard.key -in policy.image -out policy.sig
  bpf-guard reload policy.image --signature policy.sig

A policy that names kfuncs or targets is compiled for the running kernel, and no other takes it.")]
pub(crate) struct CompileArgs {
    /// The policy
    policy: PathBuf,

    /// Where the image goes
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

/// Runs the command.
pub(crate) fn run(args: &CompileArgs) -> Result<()> {
    let policy = policy_file::read(&args.policy, None)?;
    let image = image(&policy.compile())?;
    fs::write(&args.output, image.bytes()).with_context(|| format!("cannot write {}", args.output.display()))?;
    println!("{}: revision {}, {} rules", args.output.display(), policy.revision, policy.rules.len());
    Ok(())
}

fn image(compiled: &Compiled) -> Result<Image> {
    if compiled.kfuncs.is_empty() && compiled.targets.is_empty() {
        return Ok(Image::of(compiled, None, &[])?);
    }
    Ok(Image::of(compiled, Some(build_id()?), &names(compiled, &Kernel::running()?)?)?)
}
