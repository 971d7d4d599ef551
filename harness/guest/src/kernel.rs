//! Proof that the kernel is the one asked for, before anything is attempted on it.

use std::io::{self, BufReader, Read};

use flate2::{CrcReader, read::GzDecoder};
use harness_protocol::plan::ExpectedKernel;
use thiserror::Error;

use crate::{bpffs, error::SysError, pseudofile};

/// Why the kernel is not the one asked for.
#[derive(Debug, Error)]
pub(crate) enum KernelError {
    /// It is another.
    #[error(
        "the kernel's {what} is {found}, but {expected} was asked for: the VM booted another kernel than the plan is for"
    )]
    Other {
        /// What differs.
        what: &'static str,
        /// What it is.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// Its LSM list lacks a name.
    #[error("the kernel's LSM list is `{found}`, which lacks `{missing}`: add it to the kernel's `lsm=` option")]
    Lsm {
        /// The list.
        found: String,
        /// The name.
        missing: String,
    },
    /// It cannot be told.
    #[error("the kernel cannot be identified: {0}")]
    Sys(#[from] SysError),
    /// It cannot be told.
    #[error("the kernel cannot be identified: read {path}: {source}")]
    Io {
        /// The file.
        path: &'static str,
        /// Why not.
        source: io::Error,
    },
}

const BTF: &str = "/sys/kernel/btf/vmlinux";
const CONFIG: &str = "/proc/config.gz";
const NOTES: &str = "/sys/kernel/notes";

/// `uname -r`.
pub(crate) fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Proves what is expected; what is `None` costs nothing.
pub(crate) fn prove(expected: &ExpectedKernel) -> Result<(), KernelError> {
    same("release", expected.release.as_ref(), || Ok(release()))?;
    same("BTF checksum", expected.btf_crc32.map(hex).as_ref(), || checksum(BTF, open(BTF)?).map(hex))?;
    same("configuration checksum", expected.config_crc32.map(hex).as_ref(), || {
        checksum(CONFIG, GzDecoder::new(open(CONFIG)?)).map(hex)
    })?;
    same("checksum of its notes", expected.notes_crc32.map(hex).as_ref(), || checksum(NOTES, open(NOTES)?).map(hex))?;
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

/// Bytes read at once.
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
    fn another_kernel_is_told_with_both_values() {
        let asked = ExpectedKernel { release: Some("0.0-none".to_owned()), ..Default::default() };
        let error = prove(&asked).unwrap_err().to_string();
        assert!(error.contains(&release()) && error.contains("0.0-none"), "{error}");
        assert!(prove(&ExpectedKernel { release: Some(release()), ..Default::default() }).is_ok());
    }

    #[test]
    fn every_lsm_asked_for_must_be_listed() {
        let asked = |name: &str| vec!["bpf".to_owned(), name.to_owned()];
        assert!(lists_all("capability,selinux,bpf\n", &asked("selinux")).is_ok());
        let error = lists_all("capability,bpf", &asked("linux")).unwrap_err().to_string();
        assert!(error.contains("`capability,bpf`, which lacks `linux`"), "{error}");
    }

    #[test]
    fn checksums_are_the_usual_crc_32() {
        assert_eq!(checksum(BTF, &b"123456789"[..]).unwrap(), 0xcbf4_3926);
        assert_eq!(hex(0x12), "0x00000012");
        assert!(checksum(CONFIG, GzDecoder::new(&b"not gzip"[..])).is_err());
    }
}
