//! `setup`: installs host packages.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;
use harness_builder::{
    host::{Mode, Purpose},
    progress::Progress,
};
use harness_runner::{preparation::prepare_host, qemu::Qemu};

use crate::Context;

/// Install the packages that this host lacks to build and boot kernels
#[derive(Debug, ClapArgs)]
#[command(mut_arg("no_install", |arg| arg.help("Print the installation command instead of running it")), after_help = "\
Examples:
  {program} setup                           asks before it installs, if it runs on a terminal
  {program} setup --yes                     installs without a question
  {program} setup --no-install              prints the command and installs nothing

Exit codes: 0 this host has everything; 3 something is missing that was not or could not be
installed.")]
pub struct Args {
    #[command(flatten)]
    installation: Installation,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let progress = Progress::detect();
    let is_needed = |purpose: &Purpose| context.bundle().is_none() || !purpose.is_brought();
    let purposes: Vec<Purpose> = Purpose::ALL.into_iter().filter(is_needed).collect();
    prepare_host(&purposes, args.installation.mode(), &progress)?;
    let qemu = Qemu::find()?;
    progress.note(&format!("this host has everything; {} is QEMU {}", qemu.path().display(), qemu.version()));
    Ok(ExitCode::SUCCESS)
}

/// What to do about missing host packages.
#[derive(Clone, Copy, Debug, ClapArgs)]
pub struct Installation {
    /// Install missing host packages without asking on a terminal
    #[arg(long, conflicts_with = "no_install")]
    yes: bool,

    /// Print missing host packages instead of installing them
    #[arg(long)]
    no_install: bool,
}

impl Installation {
    /// Whether nothing is asked.
    pub fn assumes_yes(self) -> bool {
        self.yes
    }

    /// Returns the mode.
    pub fn mode(self) -> Mode {
        match self {
            Self { no_install: true, .. } => Mode::Print,
            Self { yes: true, .. } => Mode::Install,
            _ => Mode::Ask,
        }
    }
}
