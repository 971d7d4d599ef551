//! `setup`: installs host packages.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;
use harness_builder::{
    host::{Mode, Purpose},
    progress::Progress,
};
use harness_runner::{preparation::prepare_host, qemu::Qemu};

/// Install the packages that this host lacks to build and boot kernels
#[derive(Debug, ClapArgs)]
#[command(mut_arg("no_install", |arg| arg.help("Print the installation command instead of running it")), after_help = "\
Examples:
  {program} setup
  {program} setup --no-install              print the command and install nothing

Exit codes: 0 this host has everything; 3 something is missing that was not or could not be
installed.")]
pub struct Args {
    #[command(flatten)]
    installation: Installation,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let progress = Progress::detect();
    prepare_host(&Purpose::ALL, args.installation.mode(), &progress)?;
    let qemu = Qemu::find()?;
    progress.note(&format!("this host has everything; {} is QEMU {}", qemu.path().display(), qemu.version()));
    Ok(ExitCode::SUCCESS)
}

/// What to do about missing host packages.
#[derive(Clone, Copy, Debug, ClapArgs)]
pub struct Installation {
    /// Print missing host packages instead of installing them
    #[arg(long)]
    no_install: bool,
}

impl Installation {
    /// Returns the mode.
    pub fn mode(self) -> Mode {
        if self.no_install { Mode::Print } else { Mode::Install }
    }
}
