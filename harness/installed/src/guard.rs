//! `guard`: the guard's program, which is part of this one.

use std::{
    ffi::OsString,
    fs::File,
    io::Write,
    os::{fd::AsRawFd, unix::process::CommandExt},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, anyhow};
use clap::Args as ClapArgs;
use harness_builder::bundle::Bundle;
use rustix::fs::{MemfdFlags, memfd_create};

/// Audit and enforce what bpf(2) is used for: the program bpf-guard
#[derive(Debug, ClapArgs)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Arguments of bpf-guard; `--help` lists its verbs
    #[arg(value_name = "ARGUMENT", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Becomes the guard's program. It is started from memory: what root runs is in no folder that another user may change.
pub(crate) fn run(args: &Args, bundle: Bundle) -> Result<ExitCode> {
    let program =
        bundle.guard().context("cannot read the guard's program, which is part of this one; install it again")?;
    let memory = memfd_create("bpf-guard", MemfdFlags::CLOEXEC).context("cannot make a file in memory")?;
    let mut memory = File::from(memory);
    memory.write_all(&program).context("cannot write the guard's program to memory")?;
    let mut command = Command::new(format!("/proc/self/fd/{}", memory.as_raw_fd()));
    let error = command.arg0("bpf-guard").args(&args.arguments).exec();
    Err(anyhow!(error)
        .context("cannot start the guard's program from memory; it needs /proc and a system that allows it"))
}
