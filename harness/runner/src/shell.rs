//! A shell for a person in the VM that scenarios run in.

use std::io::{self, IsTerminal};

use harness_builder::image::SHELL_ARGUMENT;
use thiserror::Error;

use crate::{
    launch::{Host, IdleVm, LaunchError},
    testbed::Testbed,
    vm::{self, VmError},
};

/// Why there is no shell.
#[derive(Debug, Error)]
pub enum ShellError {
    /// Nobody could type into it.
    #[error(
        "a shell needs a terminal, and the standard input is none; to run scenarios, use `{} run`",
        harness_program::NAME
    )]
    NoTerminal,
    /// VMs cannot be had.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The VM did not run.
    #[error(transparent)]
    Vm(#[from] VmError),
}

/// Keeps the kernel from writing over what the person types, short of trouble.
const QUIET: &str = "loglevel=3";

/// Boots the testbed's kernel and image, gives the terminal to a shell there, and returns when the VM has ended.
///
/// The shell is full root in the initial namespaces of a private copy of the image; nothing it does outlives it.
///
/// # Errors
/// [`ShellError`] if there is no terminal or the VM cannot be had.
pub fn open(testbed: &Testbed<'_>) -> Result<(), ShellError> {
    if !io::stdin().is_terminal() {
        return Err(ShellError::NoTerminal);
    }
    let host = Host::ready(testbed.resources)?;
    let note = format!("kernel {}: {}; ^A X ends the VM at once", testbed.kernel.name, host.decision);
    testbed.resources.progress.note(&note);
    let mut idle_vm = IdleVm::prepare(testbed, &host, String::new())?;
    idle_vm.spec.kernel_args.extend([SHELL_ARGUMENT, QUIET].map(str::to_owned));
    Ok(vm::interactive(&idle_vm.spec, &idle_vm.own)?)
}
