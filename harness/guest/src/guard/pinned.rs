//! A guard that is started late, yet pinned as an early one.

use std::{fs, path::Path, process::Command};

use harness_protocol::plan;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

use super::{GuardError, failed};
use crate::target::Target;

/// The mount that its bpffs is mounted on.
const PARENT: &str = "/run/guard-parent";
/// Its bpffs.
const BPFFS: &str = "/run/guard-parent/bpffs";
/// The bpffs of a guard that was started early, on the root of the initramfs (`harness/init/src/early.rs`).
const EARLY: &str = "/guard";

/// Runs `bpf-guard early` in the running system, as an initramfs runs it.
pub(super) fn put_in_force(program: &Path, policy: &Path) -> Result<(), GuardError> {
    // As systemd leaves the root. Otherwise each mount namespace made from now on keeps the bpffs, whatever is unmounted here.
    mount_change("/", MountPropagationFlags::SHARED | MountPropagationFlags::REC)
        .map_err(|error| failed("share the mounts")(error.into()))?;
    fs::create_dir_all(PARENT).map_err(failed("make the folder of its bpffs"))?;
    mount("guard-parent", PARENT, "tmpfs", MountFlags::empty(), None)
        .map_err(|error| failed("mount the parent of its bpffs")(error.into()))?;
    let output = Command::new(program).arg("early").arg("--policy").arg(policy).args(["--bpffs", BPFFS]).output();
    let output = output.map_err(failed("start it"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(GuardError::Ended {
            how: output.status.to_string(),
            complaint: format!(": {}", String::from_utf8_lossy(&output.stderr).trim_end()),
        }),
    }
}

/// Returns where a guard has its pins, if it has any. The paths of an early one lead nowhere.
pub(super) fn target(plan: &plan::Guard) -> Target {
    let (parent, bpffs) = match (plan.pinned, plan.early) {
        (true, _) => (PARENT, BPFFS),
        (false, true) => (EARLY, EARLY),
        (false, false) => ("", ""),
    };
    Target { parent: parent.to_owned(), bpffs: bpffs.to_owned(), ..Target::default() }
}
