//! `cargo xtask setup`: host packages.

use std::{env, process::ExitCode};

use anyhow::Result;
use clap::Args as ClapArgs;
use harness_builder::{
    host::{self, Mode, Purpose},
    progress::Progress,
};
use harness_model::{
    ground::Ground,
    name::{ImageName, KernelName},
};
use harness_runner::{
    qemu::{QEMU_VARIABLE, Qemu},
    supplies::Supplies,
};

/// Install what this host lacks to build and boot kernels
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  cargo xtask setup
  cargo xtask setup --no-install              prints the command and installs nothing

Exit codes: 0 this host has everything; 3 it lacks something that was not or could not be installed.")]
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

/// Makes sure that the host has what it takes to boot these kernels, and to build what is not built of them.
pub(crate) fn prepare_for(
    supplies: &Supplies,
    kernels: &[KernelName],
    image: &ImageName,
    no_install: bool,
) -> Result<()> {
    let ground = |kernel: &KernelName| Ground { kernel: kernel.clone(), image: image.clone() };
    prepare_for_grounds(supplies, &kernels.iter().map(ground).collect::<Vec<_>>(), no_install)
}

/// The same for kernels with images.
pub(crate) fn prepare_for_grounds(supplies: &Supplies, grounds: &[Ground], no_install: bool) -> Result<()> {
    let all_built = grounds.iter().all(|ground| supplies.built(&ground.kernel, &ground.image).is_ok());
    let purposes: &[Purpose] = if all_built { &[Purpose::Vm] } else { &Purpose::ALL };
    prepare_host(purposes, no_install, supplies.progress())
}

/// Makes sure that the host has what `purposes` need.
pub(crate) fn prepare_host(purposes: &[Purpose], no_install: bool, progress: &Progress) -> Result<()> {
    // Who names a QEMU of their own wants no other one installed.
    let own_qemu = env::var_os(QEMU_VARIABLE).is_some();
    let wanted: Vec<Purpose> =
        purposes.iter().copied().filter(|purpose| !(own_qemu && *purpose == Purpose::Vm)).collect();
    Ok(host::ensure(&wanted, if no_install { Mode::Print } else { Mode::Install }, progress)?)
}
