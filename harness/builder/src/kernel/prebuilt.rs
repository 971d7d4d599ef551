//! A kernel that somebody else built, taken apart for what a VM and its judges need.
//!
//! Its type information comes out of the packed kernel itself and not from a look at the booted one: so the guest's own
//! look is a proof that the right one was booted, and a kernel needs no boot to be known.

mod bzimage;
mod compression;
mod elf;
mod modules;
mod package;
mod parts;

use std::{
    fs,
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::{
    BOOT_IMAGE, BTF, CONFIG, MODULES, NOTES, SYMBOLS,
    manifest::{Manifest, PrebuiltSource},
    source::{self, SourceError},
};
use crate::{
    cache::Cache,
    digest::Sha256,
    file::FileError,
    initramfs,
    progress::{Progress, Unit},
};
use bzimage::BootImage;
pub use bzimage::ImageError;
use elf::Elf;
pub use elf::ElfError;
pub use modules::ModulesError;
use parts::Parts;
pub use parts::PartsError;

/// Raised when the same inputs would give other files.
const RECIPE: &str = "1";

/// Why a prebuilt kernel cannot be used.
#[derive(Debug, Error)]
pub enum PrebuiltError {
    /// Its files are not to be had.
    #[error(transparent)]
    Parts(#[from] PartsError),
    /// Its boot image is none.
    #[error("{}: {source}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ImageError,
    },
    /// The kernel packed into its boot image is none.
    #[error("the kernel packed into {}: {source}", path.display())]
    Elf {
        /// The boot image.
        path: PathBuf,
        /// Why.
        source: ElfError,
    },
    /// It says nothing about its types.
    #[error("{} has no type information; it must be built with CONFIG_DEBUG_INFO_BTF", .0.display())]
    NoBtf(PathBuf),
    /// Its modules are another kernel's.
    #[error("the modules in {} are not those of kernel {release}", folder.display())]
    ForeignModules {
        /// The modules.
        folder: PathBuf,
        /// What the boot image calls itself.
        release: String,
    },
    /// Its modules cannot be used.
    #[error(transparent)]
    Modules(#[from] ModulesError),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

impl PrebuiltError {}

/// A text that differs if the kernel differs: nothing is fetched for it.
pub(super) fn identity(source: &PrebuiltSource) -> Result<String, SourceError> {
    let sum = |path: &PathBuf| Sha256::of_file(path).map_err(FileError::of("read", path));
    let parts: Vec<String> = match source {
        PrebuiltSource::Debian(debian) => {
            let each = debian.each();
            each.map(|package| format!("{} {} {}", package.package, package.version, package.sha256)).collect()
        }
        PrebuiltSource::Packages(packages) => {
            packages.files.iter().map(|path| Ok(sum(path)?.to_string())).collect::<Result<_, SourceError>>()?
        }
        PrebuiltSource::Files(files) => {
            let modules = files.modules.as_deref().map(source::listing_sum).transpose()?;
            let modules = modules.map(|sum| sum.to_string()).unwrap_or_default();
            vec![sum(&files.vmlinuz)?.to_string(), sum(&files.config)?.to_string(), modules]
        }
    };
    Ok(format!("prebuilt {RECIPE} {}", parts.join(" ")))
}

/// Puts what is kept of a prebuilt kernel into a folder, which is empty; returns its release.
pub(super) fn take(
    manifest: &Manifest,
    source: &PrebuiltSource,
    cache: &Cache,
    into: &Path,
    progress: &Progress,
) -> Result<String, PrebuiltError> {
    let task = progress.task(&format!("kernel {}", manifest.build_name()), Unit::Things("files"), None);
    let parts = Parts::of(source, manifest.build_name().as_str(), cache, progress)?;
    let packed = fs::read(&parts.vmlinuz).map_err(FileError::of("read", &parts.vmlinuz))?;
    let failed = |source| PrebuiltError::Image { path: parts.vmlinuz.clone(), source };
    let image = BootImage::of(&packed).map_err(failed)?;
    let release = image.release().map_err(failed)?.to_owned();
    keep_kernel(&parts.vmlinuz, &packed, &image.vmlinux().map_err(failed)?, into)?;
    copy(&parts.config, &into.join(CONFIG))?;
    parts.symbols.iter().try_for_each(|symbols| copy(symbols, &into.join(SYMBOLS)))?;
    if let Some(folder) = &parts.modules {
        keep_modules(folder, &release, into)?;
    }
    task.finish("unpacked");
    Ok(release)
}

/// Keeps the kernel as it starts fastest, its types, and what tells it from all others.
fn keep_kernel(vmlinuz: &Path, packed: &[u8], vmlinux: &[u8], into: &Path) -> Result<(), PrebuiltError> {
    let failed = |source| PrebuiltError::Elf { path: vmlinuz.to_owned(), source };
    let elf = Elf::of(vmlinux).map_err(failed)?;
    let btf = elf.section(".BTF").map_err(failed)?.ok_or_else(|| PrebuiltError::NoBtf(vmlinuz.to_owned()))?;
    write(&into.join(BTF), btf)?;
    if let Some(notes) = elf.section(".notes").map_err(failed)? {
        write(&into.join(NOTES), notes)?;
    }
    let boot = if elf.has_pvh_entry().map_err(failed)? { vmlinux } else { packed };
    Ok(write(&into.join(BOOT_IMAGE), boot)?)
}

fn keep_modules(folder: &Path, release: &str, into: &Path) -> Result<(), PrebuiltError> {
    if folder.file_name().is_none_or(|name| name != release) {
        return Err(PrebuiltError::ForeignModules { folder: folder.to_owned(), release: release.to_owned() });
    }
    let modules = modules::to_load(folder)?;
    let archive =
        initramfs::of_modules(modules.iter().map(|module| (module.name.as_str(), module.contents.as_slice())));
    Ok(write(&into.join(MODULES), &archive)?)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    fs::write(path, bytes).map_err(FileError::of("write", path))
}

fn copy(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::copy(from, to).map(drop).map_err(FileError::of("copy", from))
}
