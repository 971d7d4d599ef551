//! Kernels: from a manifest in `kernels/` to a boot image and its type information in the cache.
//!
//! A build is identified by its key, a sum over its source, its configuration and the toolchain. Each key is built
//! once: [`find_built`] looks for a build, and [`build()`] makes one if there is none.

mod build;
mod built;
pub mod catalogue;
mod error;
mod forecast;
pub mod fragment;
mod key;
pub mod manifest;
pub mod mutant;
pub mod pin;
pub mod prebuilt;
pub mod record;
pub mod running;
pub mod sharing;
mod source;
mod toolchain;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

pub use built::{DEFAULT_ARGS, Kernel};
pub use catalogue::{Catalogue, CatalogueError};
pub use error::KernelError;
pub use forecast::Forecast;
pub use manifest::{Manifest, ManifestError};
pub use prebuilt::PrebuiltError;
pub use record::{Damage, Record};
pub use source::SourceError;
pub use toolchain::Toolchain;

use crate::{
    cache::{Area, Cache, Lock, Part, cleaning::References},
    command::CommandError,
    file::{self, FileError},
    pins::{self, Pins},
    progress::Progress,
};
use build::BuildTree;
use built::Built;
use fragment::Mismatch;
use key::Inputs;
use manifest::{PrebuiltSource, Source};

/// Returns the toolchain to compile a kernel with; `None` if it is prebuilt, or if this machine has no toolchain.
fn toolchain(manifest: &Manifest) -> Result<Option<Toolchain>, CommandError> {
    if matches!(manifest.source, Source::Prebuilt(_)) {
        return Ok(None);
    }
    match Toolchain::of_this_machine() {
        Err(CommandError::Missing { .. }) => Ok(None),
        toolchain => toolchain.map(Some),
    }
}

/// Returns the kernel of a manifest, if it was built from what the manifest says now, with this machine's toolchain;
/// otherwise the one that was built from what took the place of its pins, when they had left the mirror. On a machine
/// without a toolchain, such as one with a copied cache, a build with any toolchain counts, the newest first; and one that
/// was pulled counts on every machine.
///
/// A build with damaged files does not count.
pub fn find_built(manifest: &Manifest, cache: &Cache) -> Result<Option<Kernel>, KernelError> {
    let found = find_pinned(manifest, cache)?;
    if found.is_some() {
        return Ok(found);
    }
    pin::recorded(manifest, cache.root()).map_or(Ok(None), |replacement| find_pinned(&replacement, cache))
}

/// Returns the manifest that [`find_built`] finds a build of: with other pins if those of this one have left the mirror.
pub fn in_use(manifest: Manifest, cache: &Cache) -> Result<Manifest, KernelError> {
    match pin::recorded(&manifest, cache.root()) {
        Some(replacement) if find_pinned(&manifest, cache)?.is_none() => Ok(replacement),
        _ => Ok(manifest),
    }
}

/// Returns the kernel of a manifest, if it was built from what the manifest says.
fn find_pinned(manifest: &Manifest, cache: &Cache) -> Result<Option<Kernel>, KernelError> {
    find(manifest, &Inputs::of(manifest)?, toolchain(manifest)?.as_ref(), cache)
}

/// [`find_pinned`] for inputs and a toolchain that are known already.
fn find(
    manifest: &Manifest,
    inputs: &Inputs,
    toolchain: Option<&Toolchain>,
    cache: &Cache,
) -> Result<Option<Kernel>, KernelError> {
    let keys = match (&manifest.source, toolchain) {
        (Source::Prebuilt(_), _) | (_, Some(_)) => vec![inputs.key(toolchain)],
        (_, None) => keys_of_any_toolchain(&cache.folder(Area::Kernels)?, manifest, &inputs.key(None))?,
    };
    let load = |key: &String| {
        let entry = cache.entry(Area::Kernels, &entry_name(manifest, key)).ok()?;
        let kernel = Kernel::load(manifest, key, entry.undamaged(OPENED).ok()??).ok()?;
        // The record of a build from before the cache had sums has those of its files.
        (entry.is_sealed() || (kernel.verify().is_ok() && entry.adopt().is_ok())).then_some(kernel)
    };
    let newest = |keys: &[String]| keys.iter().filter_map(load).max_by_key(|kernel| kernel.record.built);
    let pulled = || -> Result<Option<Kernel>, KernelError> {
        let keys = keys_of_any_toolchain(&cache.folder(Area::Kernels)?, manifest, &inputs.key(None))?;
        Ok(newest(&keys).filter(|kernel| kernel.record.pulled.is_some()))
    };
    let found = match newest(&keys) {
        None if toolchain.is_some() => pulled()?,
        found => found,
    };
    found.map(|kernel| has_required(manifest, kernel)).transpose()
}

/// Returns a kernel if its configuration has what its manifest requires.
fn has_required(manifest: &Manifest, kernel: Kernel) -> Result<Kernel, KernelError> {
    if manifest.required.is_empty() {
        return Ok(kernel);
    }
    let path = kernel.config();
    let resolved = fragment::parse(&file::read_text(&path)?);
    let resolved = resolved.map_err(|source| KernelError::ResolvedConfig { path, source })?;
    let problems = fragment::mismatches(&manifest.required, &resolved, &BTreeSet::new());
    if problems.is_empty() {
        return Ok(kernel);
    }
    let problems = problems.iter().map(Mismatch::to_string).collect();
    Err(KernelError::Required { path: manifest.path.clone(), problems })
}

/// The files that are read of a kernel before a VM starts from it. All of them are compared with their sums then.
const OPENED: Part<'_> = Part::Files(&[record::FILE_NAME, record::VOCABULARY, record::CONFIG, record::MODULES]);

fn entry_name(manifest: &Manifest, key: &str) -> String {
    format!("{}-{key}", manifest.build_name())
}

/// Adds the cache items of a manifest, whatever toolchain built them. `root` is the cache folder.
pub(crate) fn add_references(manifest: &Manifest, root: &Path, references: &mut References) {
    add_pinned_references(manifest, references);
    pin::file_name(manifest).into_iter().for_each(|name| references.add(Area::Downloads, name));
    pin::recorded(manifest, root).iter().for_each(|replacement| add_pinned_references(replacement, references));
}

fn add_pinned_references(manifest: &Manifest, references: &mut References) {
    let name = manifest.build_name();
    // A source that cannot be read now may be readable tomorrow.
    let inputs = Inputs::of(manifest).map(|inputs| inputs.key(None)).unwrap_or_default();
    references.add_all(Area::Kernels, format!("{name}-{inputs}"));
    references.add_all(Area::Images, format!("initramfs-{inputs}"));
    if !matches!(manifest.source, Source::Prebuilt(_)) {
        // The copy for mutants is named like the kernel.
        ["kernel", "mutants"].into_iter().for_each(|kind| references.add(Area::Trees, format!("{kind}-{name}")));
    }
    source::add_downloads(&manifest.source, references);
}

fn keys_of_any_toolchain(folder: &Path, manifest: &Manifest, inputs: &str) -> Result<Vec<String>, KernelError> {
    let listing = fs::read_dir(folder).map_err(FileError::of("list", folder))?;
    let names = listing.filter_map(Result::ok).filter_map(|entry| entry.file_name().into_string().ok());
    let of_build =
        |name: String| Some(name.strip_prefix(manifest.build_name().as_str())?.strip_prefix('-')?.to_owned());
    Ok(names.filter_map(of_build).filter(|key| key.starts_with(inputs)).collect())
}

/// Returns the kernel of a manifest, fetched and built if needed. A pin that has left the mirror is replaced or not, as
/// `pins` says.
///
/// # Errors
/// [`KernelError`] if it cannot be built, or if somebody edits its source during the build.
pub fn build(manifest: &Manifest, pins: Pins, cache: &Cache, progress: &Progress) -> Result<Kernel, KernelError> {
    if pins == Pins::Locked {
        return build_pinned(manifest, cache, progress);
    }
    if let Some(kernel) = find_built(manifest, cache)? {
        return Ok(kernel);
    }
    let gone = match build_pinned(manifest, cache, progress) {
        Err(gone) if gone.is_gone() => gone,
        result => return result,
    };
    let replacement = pin::replace(manifest, cache, progress).map_err(|error| KernelError::Pin(error.into()))?;
    let Some(replacement) = replacement else { return Err(gone) };
    let owner = format!("kernel {}", manifest.build_name());
    progress.note(&pins::described(&owner, &replacement.replaced));
    build_pinned(&replacement, cache, progress)
}

/// Pulls the kernel of a manifest if it is not built, and if it is shared at the place that the environment names. What stands in the
/// way is shown, and is no error: the kernel can be built instead.
///
/// # Errors
/// [`KernelError`] if the cache cannot be read.
pub fn pull_if_shared(manifest: &Manifest, cache: &Cache, progress: &Progress) -> Result<(), KernelError> {
    if find_built(manifest, cache)?.is_none() {
        sharing::pull_if_shared(manifest, cache, progress);
    }
    Ok(())
}

/// Returns the kernel of a manifest, fetched and built if needed from exactly what it says.
fn build_pinned(manifest: &Manifest, cache: &Cache, progress: &Progress) -> Result<Kernel, KernelError> {
    let inputs = Inputs::of(manifest)?;
    let toolchain = toolchain(manifest)?;
    if let Some(kernel) = find(manifest, &inputs, toolchain.as_ref(), cache)? {
        return Ok(kernel);
    }
    if let Some(kernel) = sharing::pull_if_shared(manifest, cache, progress) {
        return has_required(manifest, kernel);
    }
    let toolchain = match &manifest.source {
        Source::Prebuilt(_) => None,
        // Without a toolchain, this second attempt returns the error that names what is missing.
        _ => Some(toolchain.map_or_else(Toolchain::of_this_machine, Ok)?),
    };
    let key = inputs.key(toolchain.as_ref());
    let lock = cache.entry(Area::Kernels, &entry_name(manifest, &key))?.lock(progress)?;
    // Another process may have built it while this one was waiting.
    if let Some(kernel) = find(manifest, &inputs, toolchain.as_ref(), cache)? {
        return Ok(kernel);
    }
    // What `find` did not accept is damaged, even if its sums do not show that.
    if let Some(damaged) = lock.intact(OPENED, progress)? {
        progress.note(&format!("{} is damaged; building it again", damaged.display()));
        lock.discard()?;
    }
    let dir = match &manifest.source {
        Source::Prebuilt(prebuilt) => unpack(manifest, prebuilt, inputs, cache, &lock, progress)?,
        _ => compile(manifest, inputs, toolchain, cache, &lock, progress)?,
    };
    let kernel = Kernel::load(manifest, &key, dir);
    has_required(manifest, kernel.map_err(|damage| KernelError::Damaged(damage, manifest.name.clone()))?)
}

/// Compiles a kernel from source; returns the folder of the files that are kept.
fn compile(
    manifest: &Manifest,
    inputs: Inputs,
    toolchain: Option<Toolchain>,
    cache: &Cache,
    lock: &Lock,
    progress: &Progress,
) -> Result<PathBuf, KernelError> {
    let tree = BuildTree::prepare(manifest, &inputs.source, cache, progress)?;
    let started = Instant::now();
    tree.begin()?;
    tree.configure(manifest)?;
    let objects_compiled = tree.compile(manifest, progress)?;
    let staging = lock.stage_folder()?;
    let built = Built { manifest, source: inputs.source.clone(), toolchain, objects_compiled, started };
    tree.keep(staging.path(), built)?;
    inputs.check_unchanged(manifest)?;
    tree.end()?;
    Ok(staging.publish()?)
}

/// Unpacks a prebuilt kernel; returns the folder of the files that are kept.
fn unpack(
    manifest: &Manifest,
    prebuilt: &PrebuiltSource,
    inputs: Inputs,
    cache: &Cache,
    lock: &Lock,
    progress: &Progress,
) -> Result<PathBuf, KernelError> {
    let started = Instant::now();
    let staging = lock.stage_folder()?;
    let release = prebuilt::take(manifest, prebuilt, cache, staging.path(), progress)
        .map_err(|source| KernelError::Prebuilt { kernel: manifest.name.clone(), source: source.into() })?;
    let source = inputs.source.clone();
    Built { manifest, source, toolchain: None, objects_compiled: 0, started }.record(staging.path(), release)?;
    inputs.check_unchanged(manifest)?;
    Ok(staging.publish()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_toolchain_every_build_of_the_same_inputs_counts() {
        let folder = tempfile::tempdir().unwrap();
        let (kernels, built) = (folder.path().join("kernels"), folder.path().join("built"));
        fs::create_dir_all(kernels.join("fragments")).unwrap();
        fs::write(kernels.join("6.12.toml"), "summary = ''\nfragments = []\n[source.tree]\npath = 'l'\n").unwrap();
        let manifest = Manifest::read(&kernels.join("6.12.toml")).unwrap();
        for name in ["6.12-aa-t1", "6.12-aa-t2", "6.12-bb-t1", "6.12.1-aa-t1", "7.3-aa-t1", ".partial-6.12-aa-t3"] {
            fs::create_dir_all(built.join(name)).unwrap();
        }
        let mut keys = keys_of_any_toolchain(&built, &manifest, "aa").unwrap();
        keys.sort();
        assert_eq!(keys, ["aa-t1", "aa-t2"]);
    }
}
