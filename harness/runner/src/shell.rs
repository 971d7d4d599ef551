//! An interactive shell in a VM.

use std::{
    fs,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};

use harness_builder::image::SHELL_ARGUMENT;
use harness_protocol::plan::GUARD_PROGRAM;
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
    /// The guard's program or its policy could not be put where the VM finds it.
    #[error("cannot copy {} into the folder shared with the VM: {source}", path.display())]
    Share {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
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

/// The name of the policy in the folder shared with the VM.
pub const POLICY: &str = "policy.guard.toml";

/// Boots the testbed's kernel and image, gives the terminal to a shell there, and returns when the VM has ended.
///
/// The shell is full root in the initial namespaces of a private copy of the image; its changes are discarded.
/// With a policy, the shared folder has it as [`POLICY`], and the guard's program beside it.
///
/// # Errors
/// [`ShellError`] if there is no terminal or the VM cannot be run.
pub fn open(testbed: &Testbed<'_>, policy: Option<&Path>) -> Result<(), ShellError> {
    check_terminal()?;
    let host = Host::ready(testbed.resources)?;
    let note = format!("kernel {}: {}; press ^A X to end the VM at once", testbed.kernel.name, host.decision);
    testbed.resources.progress.note(&note);
    let mut idle_vm = IdleVm::prepare(testbed, &host, String::new())?;
    let share = |path: &Path, name: &str| {
        let to = idle_vm.spec.share.join(name);
        fs::copy(path, to).map(drop).map_err(|source| ShellError::Share { path: path.to_owned(), source })
    };
    if let (Some(policy), Some(guard)) = (policy, &testbed.guard) {
        share(guard.path(), GUARD_PROGRAM)?;
        share(policy, POLICY)?;
    }
    idle_vm.spec.kernel_args.extend([SHELL_ARGUMENT, QUIET].map(str::to_owned));
    Ok(vm::interactive(&idle_vm.spec, &idle_vm.own)?)
}
