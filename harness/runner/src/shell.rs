//! A shell for a person in the VM that scenarios run in.

use std::{fs, io, io::IsTerminal, path::PathBuf};

use harness_builder::{
    cache::{Area, CacheError},
    image::{CopyError, SHELL_ARGUMENT},
};
use thiserror::Error;

use crate::{
    accel::{self, AccelError},
    launch,
    qemu::{Qemu, QemuError},
    session::{FolderError, RunFolder},
    testbed::Testbed,
    vm::{self, VmError, VmSpec},
};

/// Why there is no shell.
#[derive(Debug, Error)]
pub enum ShellError {
    /// Nobody could type into it.
    #[error("a shell needs a terminal, and the standard input is none; to run scenarios, use `cargo xtask run`")]
    NoTerminal,
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// QEMU is missing or too old.
    #[error(transparent)]
    Qemu(#[from] QemuError),
    /// The acceleration asked for is none.
    #[error(transparent)]
    Accel(#[from] AccelError),
    /// There is no folder to run a VM in.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A folder for the VM cannot be made.
    #[error("cannot make {}", path.display())]
    Make {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The image could not be copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
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
    let qemu = Qemu::find()?;
    let runs = testbed.supplies.cache.folder(Area::Runs)?;
    let decision = accel::choose(&qemu, &runs)?;
    testbed.supplies.progress.note(&format!("kernel {}: {decision}; ^A X ends the VM at once", testbed.kernel.name));
    let folder = RunFolder::create(&runs)?;
    let [root, share, own] = ["root", "share", "own"].map(|name| folder.path().join(name));
    for path in [&share, &own] {
        fs::create_dir(path).map_err(|source| ShellError::Make { path: path.clone(), source })?;
    }
    testbed.image.private_copy(&testbed.guest, &root)?;
    let mut spec = VmSpec { root, share, ..launch::spec(testbed, &qemu, decision.accel) };
    spec.kernel_args.extend([SHELL_ARGUMENT, QUIET].map(str::to_owned));
    Ok(vm::interactive(&spec, &own)?)
}
