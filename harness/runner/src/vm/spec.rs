//! What a VM is made of.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::VmError;
use crate::accel::Accel;

/// Where the guest finds [`VmSpec::share`].
pub const SHARE_IN_GUEST: &str = "/mnt/vmtest";

/// What a VM is made of. All paths are absolute.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VmSpec {
    /// The QEMU program.
    pub qemu: PathBuf,
    /// Extra arguments for it.
    pub qemu_args: Vec<String>,
    /// What provides the processor.
    pub accel: Accel,
    /// Processors.
    pub cpus: u8,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// What `-kernel` gets: a bzImage, or a vmlinux with a PVH entry.
    pub kernel: PathBuf,
    /// Kernel arguments after those of `vmtest`; a later one wins over an earlier one of the same name.
    pub kernel_args: Vec<String>,
    /// The guest's root, writable: a private copy.
    pub root: PathBuf,
    /// The folder the guest sees as [`SHARE_IN_GUEST`], writable.
    pub share: PathBuf,
    /// What a shell in the guest runs, as root.
    pub command: String,
}

impl VmSpec {
    /// Whether QEMU can be given these paths: in its options a comma ends a value, and `vmtest` does not escape it.
    pub(super) fn check(&self) -> Result<(), VmError> {
        for path in [&self.root, &self.share] {
            let text = path.to_str().ok_or_else(|| unusable(path, "is not UTF-8"))?;
            if text.contains(',') {
                return Err(unusable(path, "contains a comma, which QEMU cannot take here"));
            }
            if !path.is_absolute() {
                return Err(unusable(path, "is not absolute"));
            }
        }
        if self.root == Path::new("/") {
            return Err(unusable(&self.root, "is the host's own root, which a guest must never write to"));
        }
        match [&self.qemu, &self.kernel, &self.root, &self.share].into_iter().find(|path| !path.exists()) {
            Some(missing) => Err(unusable(missing, "does not exist")),
            None => Ok(()),
        }
    }

    /// The arguments that make QEMU use what was decided, whatever `vmtest` would choose.
    pub(super) fn accel_args(&self) -> [&'static str; 4] {
        match self.accel {
            Accel::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Accel::Tcg => ["-accel", "tcg", "-cpu", "max"],
        }
    }
}

fn unusable(path: &Path, reason: &'static str) -> VmError {
    VmError::Unusable { path: path.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(root: &str, share: &str) -> VmSpec {
        VmSpec {
            qemu: "/bin/sh".into(),
            qemu_args: Vec::new(),
            accel: Accel::Tcg,
            cpus: 1,
            memory_mib: 256,
            kernel: "/bin/sh".into(),
            kernel_args: Vec::new(),
            root: root.into(),
            share: share.into(),
            command: "true".to_owned(),
        }
    }

    #[test]
    fn refuses_paths_that_qemu_would_misread_and_the_hosts_root() {
        for (root, share, expected) in [
            ("/tmp,x", "/tmp", "comma"),
            ("/tmp", "/tmp/a,b", "comma"),
            ("tmp", "/tmp", "absolute"),
            ("/", "/tmp", "own root"),
            ("/tmp", "/nowhere-at-all", "exist"),
        ] {
            let message = spec(root, share).check().unwrap_err().to_string();
            assert!(message.contains(expected), "{root} {share}: {message}");
        }
        spec("/tmp", "/tmp").check().unwrap();
    }
}
