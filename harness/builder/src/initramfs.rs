//! The first root file system of a kernel that cannot reach its real one by itself: modules to load, and a program that
//! loads them and goes on to the real root.
//!
//! A kernel unpacks what it is handed in the order it stands there (Documentation/driver-api/early-userspace), so the
//! archive of a kernel's modules, made once with the kernel, and that of the program are put together as they are.

use std::path::PathBuf;

use thiserror::Error;

use crate::{
    cache::{Area, Cache, CacheError},
    cpio,
    digest::Sha256,
    file::{self, FileError},
    guest_program::GuestProgram,
    kernel::Kernel,
    progress::Progress,
};

/// Why there is no initramfs.
#[derive(Debug, Error)]
pub enum InitramfsError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// The initramfs that this kernel is started with, made if need be; `None` if it reaches its root by itself.
///
/// # Errors
/// [`InitramfsError`] if it cannot be put together.
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
    if let Some(path) = entry.existing() {
        return Ok(Some(path));
    }
    let lock = entry.lock(progress)?;
    if let Some(path) = lock.entry().existing() {
        return Ok(Some(path));
    }
    let staging = lock.stage()?;
    file::write(staging.path(), [file::read(&modules)?, cpio::of_init(&init)].concat())?;
    Ok(Some(staging.publish()?))
}
