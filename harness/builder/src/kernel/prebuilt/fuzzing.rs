//! What the fuzz targets call: readers of files that somebody else made, which this crate does not export.

use std::path::Path;

pub use super::{ModulesError, PartsError};
use super::{
    bzimage::{BootImage, ImageError},
    elf::Elf,
    modules, package,
};

/// Reads a boot image, and the kernel in it as far as it is one.
///
/// # Errors
/// If it is not a boot image, or the kernel cannot be unpacked.
pub fn read_boot_image(bytes: &[u8]) -> Result<(), ImageError> {
    let image = BootImage::of(bytes)?;
    let (release, kernel) = (image.release(), image.vmlinux()?);
    assert!(release.is_err() || release.is_ok_and(|release| !release.is_empty()));
    read_kernel(&kernel);
    Ok(())
}

/// Reads what is taken from a kernel, if it is an ELF file.
pub fn read_kernel(bytes: &[u8]) {
    if let Ok(elf) = Elf::of(bytes) {
        let sections = [".BTF", ".notes"].map(|name| elf.section(name));
        assert!(sections.into_iter().flatten().flatten().all(|section| section.len() <= bytes.len()));
        let _ = elf.has_pvh_entry();
    }
}

/// Reads the modules of a folder, with their dependencies.
///
/// # Errors
/// If one is missing or cannot be read.
pub fn read_modules(folder: &Path) -> Result<(), ModulesError> {
    let modules = modules::to_load(folder)?;
    assert!(modules.iter().all(|module| !module.name.is_empty()));
    Ok(())
}

/// Unpacks a package file into a folder.
///
/// # Errors
/// If it cannot be unpacked.
pub fn unpack_package(package: &Path, into: &Path) -> Result<(), PartsError> {
    package::unpack(package, into)
}

/// Unpacks the archive in a `.deb` into a folder.
///
/// # Errors
/// If it cannot be unpacked.
pub fn unpack_archive(archive: &[u8], into: &Path) -> Result<(), PartsError> {
    package::unpack_archive(archive, into)
}
