//! An interactive shell in a VM.

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
    /// The standard input is not a terminal.
    #[error(
        "a shell needs a terminal, but the standard input is not one; to run scenarios, use `{} run`",
        harness_program::NAME
    )]
    NoTerminal,
    /// VMs cannot be run.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The VM did not run.
    #[error(transparent)]
    Vm(#[from] VmError),
}

/// Suppresses kernel messages, except errors, so that they do not disturb the shell.
const QUIET: &str = "loglevel=3";

/// Checks what [`open`] needs before anything is built for it.
///
/// # Errors
/// [`ShellError::NoTerminal`] if the standard input is not a terminal.
pub fn check_terminal() -> Result<(), ShellError> {
    if io::stdin().is_terminal() { Ok(()) } else { Err(ShellError::NoTerminal) }
}

/// Boots the testbed's kernel and image, gives the terminal to a shell there, and returns when the VM has ended.
///
/// The shell is full root in the initial namespaces of a private copy of the image; its changes are discarded.
///
/// # Errors
/// [`ShellError`] if there is no terminal or the VM cannot be run.
pub fn open(testbed: &Testbed<'_>) -> Result<(), ShellError> {
    check_terminal()?;
    let host = Host::ready(testbed.resources)?;
    let note = format!("kernel {}: {}; press ^A X to end the VM at once", testbed.kernel.name, host.decision);
    testbed.resources.progress.note(&note);
    let mut idle_vm = IdleVm::prepare(testbed, &host, String::new())?;
    idle_vm.spec.kernel_args.extend([SHELL_ARGUMENT, QUIET].map(str::to_owned));
    Ok(vm::interactive(&idle_vm.spec, &idle_vm.own)?)
}
