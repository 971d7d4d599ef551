//! The specification of a VM.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::VmError;
use crate::{accel::Accel, confinement::Confinement};

/// The processor that QEMU emulates.
pub(crate) const EMULATED_CPU: &str = "max,erms=off";

/// Where the guest mounts [`VmSpec::share`].
pub const SHARE_IN_GUEST: &str = "/mnt/vmtest";

/// The specification of a VM. All paths are absolute.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VmSpec {
    /// The QEMU program.
    pub qemu: PathBuf,
    /// Extra arguments for QEMU.
    pub qemu_args: Vec<String>,
    /// The accelerator.
    pub accel: Accel,
    /// What QEMU is kept from.
    pub confinement: Confinement,
    /// The number of processors.
    pub cpus: u8,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// The kernel for `-kernel`: a bzImage, or a vmlinux with a PVH entry.
    pub kernel: PathBuf,
    /// Kernel arguments after those of `vmtest`; the last one of a name wins.
    pub kernel_args: Vec<String>,
    /// The guest's writable root: a private copy.
    pub root: PathBuf,
    /// The folder that the guest sees as [`SHARE_IN_GUEST`], writable.
    pub share: PathBuf,
    /// The command that a shell in the guest runs, as root.
    pub command: String,
}

impl VmSpec {
    /// Errors if QEMU cannot use these paths: in its options a comma ends a value, and `vmtest` does not escape it.
    pub(super) fn check(&self) -> Result<(), VmError> {
        for path in [&self.root, &self.share] {
            let text = path.to_str().ok_or_else(|| unusable(path, "is not UTF-8"))?;
            if text.contains(',') {
                return Err(unusable(path, "contains a comma, which ends a value in QEMU's options"));
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

    /// Returns the arguments that make QEMU use the chosen accelerator, whatever `vmtest` would choose.
    ///
    /// Emulated, `rep stosb` and `rep movsb` store byte by byte, and a kernel uses them for whole pages if the processor
    /// claims that they are fast (`ERMS`, `arch/x86/lib/clear_page_64.S`).
    pub(super) fn accel_args(&self) -> [&'static str; 4] {
        match self.accel {
            Accel::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Accel::Tcg => ["-accel", "tcg", "-cpu", EMULATED_CPU],
        }
    }

    /// Returns the kernel's command line, with what the chosen accelerator benefits from.
    ///
    /// An emulated local timer has no deadline mode, so the kernel measures it for a tenth of a second and checks it for
    /// another (`calibrate_APIC_clock`, `arch/x86/kernel/apic/apic.c`). A single processor does as well without it.
    pub(crate) fn command_line(&self) -> String {
        let for_accel = match (self.accel, self.cpus) {
            (Accel::Tcg, 1) => Some("nolapic_timer"),
            _ => None,
        };
        self.kernel_args.iter().map(String::as_str).chain(for_accel).collect::<Vec<_>>().join(" ")
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
            confinement: Confinement::default(),
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
    fn only_a_single_emulated_processor_does_without_its_local_timer() {
        let of = |(accel, cpus)| {
            VmSpec { accel, cpus, kernel_args: vec!["quiet".to_owned()], ..spec("/tmp", "/tmp") }.command_line()
        };
        assert_eq!([(Accel::Kvm, 1), (Accel::Tcg, 2)].map(of), ["quiet", "quiet"]);
        assert_eq!(of((Accel::Tcg, 1)), "quiet nolapic_timer");
    }

    #[test]
    fn paths_that_qemu_misreads_and_the_hosts_root_are_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().to_str().unwrap();
        let missing = format!("{folder}/missing");
        let messages = [("/tmp,x", "/tmp"), ("/tmp", "/tmp/a,b"), ("tmp", "/tmp"), ("/", "/tmp"), ("/tmp", &missing)]
            .map(|(root, share)| spec(root, share).check().unwrap_err().to_string());
        insta::assert_snapshot!(messages.join("\n").replace(folder, "FOLDER"), @"
        /tmp,x cannot be used for a VM: it contains a comma, which ends a value in QEMU's options
        /tmp/a,b cannot be used for a VM: it contains a comma, which ends a value in QEMU's options
        tmp cannot be used for a VM: it is not absolute
        / cannot be used for a VM: it is the host's own root, which a guest must never write to
        FOLDER/missing cannot be used for a VM: it does not exist
        ");
        spec("/tmp", "/tmp").check().unwrap();
    }
}
