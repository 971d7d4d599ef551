//! Proof that the kernel is the expected one, before any attempt.

use std::io::{self, BufReader, Read};

use flate2::{CrcReader, read::GzDecoder};
use harness_protocol::plan::ExpectedKernel;
use thiserror::Error;

use crate::{
    bpffs,
    error::{During, SysError},
    pseudofile,
};

/// Why the kernel is not the expected one.
#[derive(Debug, Error)]
pub(crate) enum KernelError {
    /// One of its properties differs.
    #[error("the kernel's {what} is {found}, expected {expected}: the VM booted another kernel than the plan is for")]
    Other {
        /// The property.
        what: &'static str,
        /// Its value.
        found: String,
        /// The expected value.
        expected: String,
    },
    /// Its LSM list lacks a name.
    #[error("the kernel's LSM list `{found}` lacks `{missing}`: add it to the kernel's `lsm=` option")]
    Lsm {
        /// The list.
        found: String,
        /// The name.
        missing: String,
    },
    /// A system call failed.
    #[error("cannot identify the kernel: {0}")]
    Sys(#[from] SysError),
    /// A file cannot be read.
    #[error("cannot identify the kernel: read {path}: {source}")]
    Io {
        /// The file.
        path: &'static str,
        /// The error.
        source: io::Error,
    },
}

const BTF: &str = "/sys/kernel/btf/vmlinux";
const CONFIG: &str = "/proc/config.gz";
const NOTES: &str = "/sys/kernel/notes";

/// Returns `uname -r`.
pub(crate) fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Returns the taint flags, `/proc/sys/kernel/tainted` (`Documentation/admin-guide/tainted-kernels.rst`).
pub(crate) fn taint() -> Result<u64, SysError> {
    const TAINT: &str = "/proc/sys/kernel/tainted";
    let text = pseudofile::read(TAINT)?;
    text.trim().parse().map_err(|_| rustix::io::Errno::INVAL).during(|| format!("parse {TAINT}"))
}

/// Checks what is expected; a property that is `None` costs nothing.
pub(crate) fn prove(expected: &ExpectedKernel) -> Result<(), KernelError> {
    same("release", expected.release.as_ref(), || Ok(release()))?;
    same("BTF checksum", expected.btf_crc32.map(hex).as_ref(), || checksum(BTF, open(BTF)?).map(hex))?;
    same("configuration checksum", expected.config_crc32.map(hex).as_ref(), || {
        checksum(CONFIG, GzDecoder::new(open(CONFIG)?)).map(hex)
    })?;
    same("notes checksum", expected.notes_crc32.map(hex).as_ref(), || checksum(NOTES, open(NOTES)?).map(hex))?;
    if expected.lsm.is_empty() {
        return Ok(());
    }
    lists_all(&pseudofile::read_at(bpffs::Mounted::of("securityfs", &[])?.root(), "lsm")?, &expected.lsm)
}

fn same(
    what: &'static str,
    expected: Option<&String>,
    find: impl FnOnce() -> Result<String, KernelError>,
) -> Result<(), KernelError> {
    let Some(expected) = expected else { return Ok(()) };
    let found = find()?;
    if found == *expected { Ok(()) } else { Err(KernelError::Other { what, found, expected: expected.clone() }) }
}

fn lists_all(list: &str, names: &[String]) -> Result<(), KernelError> {
    let list = list.trim();
    match names.iter().find(|name| !list.split(',').any(|listed| listed == name.as_str())) {
        None => Ok(()),
        Some(missing) => Err(KernelError::Lsm { found: list.to_owned(), missing: missing.clone() }),
    }
}

fn open(path: &'static str) -> Result<BufReader<std::fs::File>, KernelError> {
    let file = pseudofile::open(path)?;
    Ok(BufReader::with_capacity(CHUNK, std::fs::File::from(file)))
}

/// Bytes per read.
const CHUNK: usize = 64 * 1024;

fn checksum(path: &'static str, from: impl Read) -> Result<u32, KernelError> {
    let mut read = CrcReader::new(from);
    io::copy(&mut read, &mut io::sink()).map_err(|source| KernelError::Io { path, source })?;
    Ok(read.crc().sum())
}

fn hex(checksum: u32) -> String {
    format!("{checksum:#010x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_kernel_is_reported_with_both_values() {
        let expected = ExpectedKernel { release: Some("0.0-none".to_owned()), ..Default::default() };
        let error = prove(&expected).unwrap_err().to_string().replace(&release(), "[RUNNING]");
        insta::assert_snapshot!(
            error,
            @"the kernel's release is [RUNNING], expected 0.0-none: the VM booted another kernel than the plan is for"
        );
        assert!(prove(&ExpectedKernel { release: Some(release()), ..Default::default() }).is_ok());
    }

    #[test]
    fn every_expected_lsm_must_be_listed() {
        let asked = |name: &str| vec!["bpf".to_owned(), name.to_owned()];
        assert!(lists_all("capability,selinux,bpf\n", &asked("selinux")).is_ok());
        insta::assert_snapshot!(
            lists_all("capability,bpf", &asked("linux")).unwrap_err(),
            @"the kernel's LSM list `capability,bpf` lacks `linux`: add it to the kernel's `lsm=` option"
        );
    }

    #[test]
    fn checksums_are_the_usual_crc_32() {
        assert_eq!(checksum(BTF, &b"123456789"[..]).unwrap(), 0xcbf4_3926);
        assert_eq!(hex(0x12), "0x00000012");
        assert!(checksum(CONFIG, GzDecoder::new(&b"not gzip"[..])).is_err());
    }
}
