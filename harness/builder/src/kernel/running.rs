//! The kernel this machine runs (host mode), from what it shows of itself.

use std::{fs, io::Read, path::Path};

use flate2::read::GzDecoder;
use harness_protocol::name::KernelName;
use harness_uapi::release::Release;
use thiserror::Error;

pub use super::manifest::RUNNING as NAME;
use super::{
    built::{self, Kernel},
    error::KernelError,
    manifest::Manifest,
    record::{BTF, CONFIG, Record},
};
use crate::{
    cache::{Area, Cache, CacheError, Part},
    digest::Sha256,
    file::{self, FileError},
    progress::Progress,
};

const RUNNING_BTF: &str = "/sys/kernel/btf/vmlinux";

/// The most bytes to read of a configuration.
const LONGEST_CONFIG: u64 = 4 << 20;

/// Why the running kernel cannot be used.
#[derive(Debug, Error)]
pub enum RunningError {
    /// It does not show its type information.
    #[error(
        "the running kernel {release} has no type information at {RUNNING_BTF}, from which its names are read; it must be \
         built with CONFIG_DEBUG_INFO_BTF"
    )]
    NoBtf {
        /// The output of `uname -r`.
        release: String,
    },
    /// Its type information is not usable.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A cache operation failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// Reads the running kernel, and copies what it shows of itself into the cache, under a key that differs for each boot.
///
/// `alike` are the kernels whose snapshots it inherits, the nearest first.
///
/// # Errors
/// [`RunningError`] if it does not show its type information, or if the copy fails.
pub fn look(alike: Vec<KernelName>, cache: &Cache, progress: &Progress) -> Result<Kernel, RunningError> {
    let release = release();
    let btf = fs::read(RUNNING_BTF).map_err(|_| RunningError::NoBtf { release: release.clone() })?;
    let boot = ["/proc/sys/kernel/random/boot_id", "/proc/cmdline"].map(|path| fs::read(path).unwrap_or_default());
    let sum = Sha256::of_parts([release.as_bytes(), &boot[0], &boot[1], &btf]);
    let key = sum.short();
    let lock = cache.entry(Area::Kernels, &format!("{NAME}-{key}"))?.lock(progress)?;
    if lock.intact(Part::Whole, progress)?.is_none() {
        let staging = lock.stage_folder()?;
        keep(staging.path(), &btf, &release)?;
        staging.publish()?;
    }
    let dir = lock.entry().path();
    let record = Record::read(&dir).map_err(|damage| KernelError::Damaged(damage, name()))?;
    let lsm = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    let lsm = lsm.trim().split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let args = vec![String::from_utf8_lossy(&boot[1]).trim().to_owned()];
    Ok(Kernel { name: name(), key, dir, args, memory_mib: None, lsm: Some(lsm), alike, record, replaced: Vec::new() })
}

/// Returns the output of `uname -r`.
pub fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Returns [`NAME`].
pub fn name() -> KernelName {
    NAME.parse().expect("it is a name")
}

/// Returns the kernel to compare snapshots with, and those whose snapshots it inherits: the newest one that is not
/// newer than `release`, or else the oldest. A default kernel comes before others of the same version.
pub fn nearest(release: &Release, manifests: &[Manifest]) -> Vec<KernelName> {
    let versions = manifests.iter().filter(|manifest| manifest.base.is_none());
    let versions: Vec<(Release, &Manifest)> =
        versions.filter_map(|manifest| Some((manifest.name.as_str().parse().ok()?, manifest))).collect();
    let older = versions.iter().filter(|(version, _)| version <= release);
    let found = older
        .max_by_key(|(version, manifest)| (*version, manifest.is_default))
        .or_else(|| versions.iter().min_by_key(|(version, manifest)| (*version, !manifest.is_default)));
    found
        .map(|(_, manifest)| std::iter::once(&manifest.name).chain(&manifest.alike).cloned().collect())
        .unwrap_or_default()
}

fn keep(into: &Path, btf: &[u8], release: &str) -> Result<(), RunningError> {
    file::write(&into.join(BTF), btf)?;
    file::write(&into.join(CONFIG), config(release))?;
    let record = Record::not_compiled(name(), release, "the running kernel");
    Ok(built::finish(into, record)?)
}

/// Returns its configuration, if the kernel or its package shows it, or else an empty text.
fn config(release: &str) -> String {
    let mut text = String::new();
    let shown = fs::File::open("/proc/config.gz").map(GzDecoder::new);
    let read = shown.and_then(|file| file.take(LONGEST_CONFIG).read_to_string(&mut text));
    if read.is_ok() { text } else { fs::read_to_string(format!("/boot/config-{release}")).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifests(names: &[(&str, &str)]) -> Vec<Manifest> {
        let folder = tempfile::tempdir().unwrap();
        let source = format!("source.git = {{ url = \"u\", revision = \"{}\" }}", "0".repeat(40));
        for (name, more) in names {
            let text = format!("summary = \"s\"\n{source}\n{more}\n");
            fs::write(folder.path().join(format!("{name}.toml")), text).unwrap();
        }
        names.iter().map(|(name, _)| Manifest::read(&folder.path().join(format!("{name}.toml"))).unwrap()).collect()
    }

    fn nearest_to(release: &str, manifests: &[Manifest]) -> Vec<String> {
        nearest(&release.parse().unwrap(), manifests).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_nearest_is_the_newest_that_is_not_newer_else_the_oldest() {
        let all = manifests(&[
            ("6.1-debian", "alike = \"6.12\""),
            ("6.12", "default = true"),
            ("6.12-debian", ""),
            ("7.3", ""),
            ("mine", ""),
        ]);
        assert_eq!(nearest_to("6.18.44-generic", &all), ["6.12"]);
        assert_eq!(nearest_to("6.12.1", &all), ["6.12"]);
        assert_eq!(nearest_to("8.0", &all), ["7.3"]);
        assert_eq!(nearest_to("5.15", &all), ["6.1-debian", "6.12"]);
        assert!(nearest_to("6.12", &[]).is_empty());
    }
}
