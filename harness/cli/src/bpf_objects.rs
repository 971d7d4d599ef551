//! BPF objects named on the command line: object files, and programs with embedded objects.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow};
use clap::Args;
use harness_objects::{Library, Loader, Named, Object, read_for};

use crate::exit::Wrong;

/// The maximum size of a file in bytes; programs with embedded objects are far smaller.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// The option that names the loader.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct LoaderOption {
    /// What loads the objects: libbpf, libbpf-MAJOR.MINOR, cilium-ebpf or aya [default: what a program with embedded objects
    /// has built in, else libbpf]
    #[arg(long, value_name = "LOADER")]
    loader: Option<Loader>,
}

impl LoaderOption {
    /// Refuses what a VM cannot try: the guest program loads objects by libbpf.
    ///
    /// # Errors
    /// If the objects are for another loader.
    pub(crate) fn check_provable(objects: &[Named]) -> Result<()> {
        match objects.iter().map(|named| named.object.loader).find(|loader| *loader != Loader::LIBBPF) {
            Some(other) => {
                Err(Wrong::input(anyhow!("--prove loads objects by {}, and these are for {other}", Loader::LIBBPF)))
            }
            None => Ok(()),
        }
    }
}

/// Reads all objects in these files.
///
/// # Errors
/// If a file cannot be read or has no object.
pub(crate) fn read(paths: &[PathBuf], option: LoaderOption) -> Result<Vec<Named>> {
    let mut all = Vec::new();
    for path in paths {
        all.extend(in_file(path, option).map_err(Wrong::input)?);
    }
    Ok(all)
}

fn in_file(path: &Path, option: LoaderOption) -> Result<Vec<Named>> {
    let bytes = bytes_of(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Named::of_bytes(&path.display().to_string(), bytes, option.loader)?)
}

/// The objects with their names, to which a loader other than the modelled libbpf is added.
pub(crate) fn labelled(objects: &[Named]) -> Vec<(String, Object)> {
    let label = |named: &Named| match named.object.loader {
        Loader::LIBBPF => named.plain(),
        other => (format!("{} by {other}", named.name), named.object.clone()),
    };
    objects.iter().map(label).collect()
}

/// The objects as other loaders load them; none if the loader is named, or known from the file.
pub(crate) fn elsewhere(objects: &[Named], option: LoaderOption) -> Vec<(String, Object)> {
    let unknown = objects.iter().filter(|named| option.loader.is_none() && !named.has_loader);
    let others = [Library::CiliumEbpf, Library::Aya].map(Loader::newest);
    let by = |named: &Named, loader| Some((named.name.clone(), read_for(&named.bytes, loader).ok()?));
    unknown.flat_map(|named| others.into_iter().filter_map(|loader| by(named, loader))).collect()
}

fn bytes_of(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(anyhow!("the file is larger than {MOST_BYTES} bytes"));
    }
    Ok(bytes)
}
