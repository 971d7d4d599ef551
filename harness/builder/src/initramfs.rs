//! The initial root file system of a kernel that cannot reach its real one by itself: the modules to load, and the init
//! that loads them and continues on the real root.
//!
//! A kernel unpacks concatenated archives in order (Documentation/driver-api/early-userspace), so the archive of a
//! kernel's modules, made once with the kernel, and that of init are concatenated as they are.

use std::path::PathBuf;

use thiserror::Error;

use crate::{
    cache::{Area, Cache, CacheError, Part},
    cpio,
    digest::Sha256,
    file::{self, FileError},
    guest_program::GuestProgram,
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
