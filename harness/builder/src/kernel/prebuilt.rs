//! A prebuilt kernel, unpacked into the files that a VM and the analysis of its results need.
//!
//! Its type information comes from the packed kernel itself, not from a booted one. So comparing it with that of the
//! guest proves that the right kernel was booted, and a kernel is known without booting it.

mod bzimage;
mod compression;
mod elf;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod modules;
mod package;
mod parts;
mod rpm_header;

use std::path::Path;

use super::{
    manifest::{Manifest, PrebuiltSource},
    record::{BOOT_IMAGE, BTF, CONFIG, MODULES, NOTES, SYMBOLS},
};
use crate::{
    cache::Cache,
    cpio, file,
    progress::{Progress, Unit},
};
use bzimage::BootImage;
pub use bzimage::ImageError;
use elf::Elf;
pub use elf::ElfError;
pub use error::{PartsError, PrebuiltError};
pub use modules::ModulesError;
use parts::Parts;

/// Copies the kept files of a prebuilt kernel into an empty folder; returns its release.
pub(super) fn take(
    manifest: &Manifest,
    source: &PrebuiltSource,
    cache: &Cache,
    into: &Path,
    progress: &Progress,
) -> Result<String, PrebuiltError> {
    let task = progress.task(&format!("kernel {}", manifest.build_name()), Unit::Things("files"), None);
    let parts = Parts::of(source, manifest.build_name().as_str(), cache, progress)?;
    let packed = file::read(&parts.vmlinuz)?;
    let failed = |source| PrebuiltError::Image { path: parts.vmlinuz.clone(), source };
    let image = BootImage::of(&packed).map_err(failed)?;
    let release = image.release().map_err(failed)?.to_owned();
    keep_kernel(&parts.vmlinuz, &packed, &image.vmlinux().map_err(failed)?, into)?;
    file::copy(&parts.config, &into.join(CONFIG))?;
    parts.symbols.iter().try_for_each(|symbols| file::copy(symbols, &into.join(SYMBOLS)))?;
    if let Some(folder) = &parts.modules {
        keep_modules(folder, &release, into)?;
    }
    task.finish("unpacked");
    Ok(release)
}

/// Keeps the kernel in the form that starts fastest, its type information, and the notes that identify it.
fn keep_kernel(vmlinuz: &Path, packed: &[u8], vmlinux: &[u8], into: &Path) -> Result<(), PrebuiltError> {
    let failed = |source| PrebuiltError::Elf { path: vmlinuz.to_owned(), source };
    let elf = Elf::of(vmlinux).map_err(failed)?;
    let btf = elf.section(".BTF").map_err(failed)?.ok_or_else(|| PrebuiltError::NoBtf(vmlinuz.to_owned()))?;
    file::write(&into.join(BTF), btf)?;
    if let Some(notes) = elf.section(".notes").map_err(failed)? {
        file::write(&into.join(NOTES), notes)?;
    }
    let boot = if elf.has_pvh_entry().map_err(failed)? { vmlinux } else { packed };
    Ok(file::write(&into.join(BOOT_IMAGE), boot)?)
}

fn keep_modules(folder: &Path, release: &str, into: &Path) -> Result<(), PrebuiltError> {
    if folder.file_name().is_none_or(|name| name != release) {
        return Err(PrebuiltError::ForeignModules { folder: folder.to_owned(), release: release.to_owned() });
    }
    let modules = modules::to_load(folder)?;
    let archive = cpio::of_modules(modules.iter().map(|module| (module.name.as_str(), module.contents.as_slice())));
    Ok(file::write(&into.join(MODULES), archive)?)
}
