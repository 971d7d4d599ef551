//! `cargo xtask setup`: host packages.

use std::{env, process::ExitCode};

use anyhow::Result;
use clap::Args as ClapArgs;
use harness_builder::{
    host::{self, Mode, Purpose},
    progress::Progress,
};
use harness_runner::qemu::{QEMU_VARIABLE, Qemu};

/// Install what this host lacks to build and boot kernels
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Print the command that installs it instead
    #[arg(long)]
    no_install: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let progress = Progress::detect();
    prepare_host(&Purpose::ALL, args.no_install, &progress)?;
    let qemu = Qemu::find()?;
    progress.note(&format!("this host has everything; {} is QEMU {}", qemu.path().display(), qemu.version()));
    Ok(ExitCode::SUCCESS)
}

/// Makes sure that the host has what `purposes` need.
pub(crate) fn prepare_host(purposes: &[Purpose], no_install: bool, progress: &Progress) -> Result<()> {
    // Who names a QEMU of their own wants no other one installed.
    let own_qemu = env::var_os(QEMU_VARIABLE).is_some();
    let wanted: Vec<Purpose> =
        purposes.iter().copied().filter(|purpose| !(own_qemu && *purpose == Purpose::Vm)).collect();
    Ok(host::ensure(&wanted, if no_install { Mode::Print } else { Mode::Install }, progress)?)
}
