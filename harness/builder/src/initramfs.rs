//! The initial root file system of a kernel that cannot reach its real one by itself, or that starts the guard first: the
//! modules to load, and the init that loads them and continues on the real root.
//!
//! A kernel unpacks concatenated archives in order (Documentation/driver-api/early-userspace), so the archive of a
//! kernel's modules, made once with the kernel, and that of init are concatenated as they are.

use std::path::{Path, PathBuf};

use harness_protocol::plan::Guard;
use thiserror::Error;
use toml_edit::DocumentMut;

use crate::{
    cache::{Area, Cache, CacheError, Part},
    cpio,
    digest::Sha256,
    file::{self, FileError},
    guest_program::{GuestProgram, guard::GuardProgram},
    kernel::Kernel,
    progress::Progress,
};

/// Why the initramfs could not be made.
#[derive(Debug, Error)]
pub enum InitramfsError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A cache operation failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// Returns the initramfs of a kernel, made if needed; `None` if the kernel reaches its root by itself.
///
/// # Errors
/// [`InitramfsError`] if it cannot be made.
pub fn of(
    kernel: &Kernel,
    program: &GuestProgram,
    cache: &Cache,
    progress: &Progress,
) -> Result<Option<PathBuf>, InitramfsError> {
    let Some(modules) = kernel.modules() else { return Ok(None) };
    let init = file::read(&program.init())?;
    let name = format!("initramfs-{}-{}", kernel.key, Sha256::of_parts([&init[..]]).short());
    let entry = cache.entry(Area::Images, &name)?;
    if let Some(path) = entry.intact(Part::Whole, progress)? {
        return Ok(Some(path));
    }
    let lock = entry.lock(progress)?;
    if let Some(path) = lock.intact(Part::Whole, progress)? {
        return Ok(Some(path));
    }
    let staging = lock.stage()?;
    file::write(staging.path(), [file::read(&modules)?, cpio::of_init(&init)].concat())?;
    Ok(Some(staging.publish()?))
}

/// Writes an initramfs that starts a guard before anything else. A kernel that reaches its root by
/// itself leaves that to the initramfs, too.
///
/// # Errors
/// [`InitramfsError::File`] if a file cannot be read or written.
pub fn with_guard(
    kernel: &Kernel,
    program: &GuestProgram,
    guard_program: &GuardProgram,
    guard: &Guard,
    into: &Path,
) -> Result<(), InitramfsError> {
    let modules = kernel.modules().map(|path| file::read(&path)).transpose()?;
    let modules = modules.unwrap_or_else(|| cpio::of_modules([]));
    let init = cpio::of_init(&file::read(&program.init())?);
    let guard = cpio::of_guard(&file::read(guard_program.path())?, policy(guard).as_bytes());
    Ok(file::write(into, [modules, init, guard].concat())?)
}

/// Returns the text of a guard's policy in the guard's mode. A text that is not TOML is left to the guard to complain about.
fn policy(guard: &Guard) -> String {
    match (guard.mode, guard.policy.parse::<DocumentMut>()) {
        (Some(mode), Ok(mut policy)) => {
            policy["mode"] = toml_edit::value(mode.as_str());
            policy.to_string()
        }
        _ => guard.policy.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use harness_protocol::plan::GuardMode;

    use super::*;
    use crate::kernel::Record;

    #[test]
    fn the_guards_mode_takes_the_place_of_its_policys() {
        let of = |text: &str, mode| policy(&Guard { mode, early: true, ..Guard::new(text) });
        let text = "version = 1\nmode = 'audit' # for now\n[[rule]]\nallow = true\n";
        assert_eq!(of(text, None), text);
        assert_eq!(of(text, Some(GuardMode::Enforce)), text.replace("'audit' # for now", "\"enforce\""));
        let without = of("version = 1\n[[rule]]\nallow = true\n", Some(GuardMode::Enforce));
        assert_eq!(without, "version = 1\nmode = \"enforce\"\n[[rule]]\nallow = true\n");
        assert_eq!(of("version =", Some(GuardMode::Audit)), "version =");
    }

    #[test]
    fn an_initramfs_with_a_flipped_bit_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("cache")).unwrap();
        for name in ["modules.cpio", "harness-guest", "harness-init"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let program = GuestProgram::in_folder(folder.path().to_owned()).unwrap();
        let record = Record::not_compiled("9.9".parse().unwrap(), "9.9.0", "");
        let kernel = Kernel {
            name: record.name.clone(),
            key: "key".to_owned(),
            dir: folder.path().to_owned(),
            args: Vec::new(),
            memory_mib: None,
            lsm: None,
            alike: Vec::new(),
            record,
            replaced: Vec::new(),
        };
        let (progress, log) = Progress::captured();
        let made = || of(&kernel, &program, &cache, &progress).unwrap().unwrap();
        let whole = fs::read(made()).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        fs::write(made(), flipped).unwrap();
        assert_eq!(fs::read(made()).unwrap(), whole);
        let shown = log.text().replace(made().to_str().unwrap(), "INITRAMFS");
        let shown = shown.lines().find(|line| line.contains("SHA-256")).unwrap();
        insta::assert_snapshot!(shown, @"INITRAMFS has another SHA-256 sum than when it was built; building INITRAMFS again");
    }
}
