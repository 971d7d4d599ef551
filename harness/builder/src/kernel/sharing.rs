//! Built kernels that are shared: by an OCI registry, an HTTP server, or a folder.
//!
//! A shared kernel is named by the sum of its inputs, without the toolchain: whoever has a manifest knows the name, and takes what another
//! machine compiled. It is the record of the build and the files that the record lists, which are held against its sums on
//! arrival. That shows that a kernel arrived as it was pushed, and not who pushed it.

mod files;
mod place;
mod registry;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use thiserror::Error;

use super::{
    Kernel, Manifest, SourceError, entry_name,
    key::Inputs,
    manifest::Source,
    record::{self, Damage, FileRecord, Record},
};
use crate::{
    cache::{Area, Cache, CacheError, Part},
    error_chain::chain,
    file::{self, FileError},
    progress::{Progress, Task, Unit},
};
pub use place::{BadPlace, Place, VARIABLE};

/// The largest record that is read, in bytes.
const LARGEST_RECORD: u64 = 1 << 20;
/// The most bytes that the files of a kernel may have: those of a distribution have 80 MiB.
const MOST_BYTES: u64 = 4 << 30;

/// Why a kernel cannot be pushed or pulled.
#[derive(Debug, Error)]
pub enum SharingError {
    /// The place has no such kernel.
    #[error("{place} has no kernel `{name}`; push it from a machine that has built it: `{program} kernel push`", program = harness_program::NAME)]
    NotShared {
        /// The place.
        place: String,
        /// The kernel's name there.
        name: String,
    },
    /// A folder or server does not answer.
    #[error("cannot reach {place}; check the address, that the server runs, and the network, and try again")]
    Unreachable {
        /// The place.
        place: String,
        /// What failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A server's certificate is of an authority that this system does not know, or for another name.
    #[error(
        "{place} has a certificate that this system does not trust; add its authority to the system's, or name the file of it in SSL_CERT_FILE"
    )]
    Untrusted {
        /// The place.
        place: String,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A transfer failed after it had begun.
    #[error("the transfer of {file} of `{name}` was interrupted, and nothing of it was kept; try again")]
    Interrupted {
        /// The kernel's name at its place.
        name: String,
        /// The file.
        file: String,
        /// What failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A registry wants to know who this is.
    #[error("{place} refuses this: not authorized; log in with `docker login`, whose credentials are used here, too")]
    Refused {
        /// The place.
        place: String,
    },
    /// What arrived is not what its record or its name says.
    #[error("{place} has a damaged `{name}`: {what}; nothing of it was kept. Build it here, or mend it with `{program} kernel push --replace` where it is whole; a registry that keeps a damaged blob must delete it before", program = harness_program::NAME)]
    Damaged {
        /// The place.
        place: String,
        /// The kernel's name there.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// The place cannot be pushed to.
    #[error("{place} is an HTTP server, which can only be pulled from; push to the folder that it serves")]
    ReadOnly {
        /// The place.
        place: String,
    },
    /// A kernel of this machine cannot be shared.
    #[error("kernel {0} is the running kernel or a working tree, which is no build that others can ask for")]
    Private(String),
    /// A kernel of this machine is damaged.
    #[error("the kernel of this machine is damaged; `{program} kernel build` builds it again", program = harness_program::NAME)]
    Own(#[source] Damage),
    /// A file of this machine could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The source of a kernel cannot be identified.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl SharingError {
    /// Returns why a place does not answer.
    fn unreachable(place: String, source: Box<dyn std::error::Error + Send + Sync>) -> Self {
        // The clients have no type for it: this is what rustls says.
        match chain(source.as_ref()).contains("invalid peer certificate") {
            true => Self::Untrusted { place, source },
            false => Self::Unreachable { place, source },
        }
    }
}

/// Whether a kernel that is shared already is pushed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// It stays as it is.
    Missing,
    /// It is replaced.
    Replace,
}

/// A kernel at a place, opened.
trait Shared {
    /// Its record, as text.
    fn record(&mut self) -> Result<Vec<u8>, SharingError>;

    /// Copies a file of it to a path that does not exist yet.
    fn fetch(&mut self, file: &str, record: &FileRecord, into: &Path, task: &Task) -> Result<(), SharingError>;
}

/// Returns the name under which a kernel of this manifest is shared.
///
/// # Errors
/// [`SharingError::Private`] if its source is only on this machine; [`SharingError::Source`] if it cannot be read.
pub fn name(manifest: &Manifest) -> Result<String, SharingError> {
    if matches!(manifest.source, Source::Tree(_)) {
        return Err(SharingError::Private(manifest.name.to_string()));
    }
    Ok(shared_name(manifest, &Inputs::of(manifest)?))
}

fn shared_name(manifest: &Manifest, inputs: &Inputs) -> String {
    // A tag of a registry has no `+`.
    entry_name(manifest, &inputs.key(None)).replace('+', "_")
}

/// Pulls the kernel of a manifest into the cache, unless it is there. What another toolchain compiled counts as this machine's.
///
/// # Errors
/// [`SharingError`] if it is not shared, or does not arrive as it was pushed.
pub fn pull(manifest: &Manifest, place: &Place, cache: &Cache, progress: &Progress) -> Result<Kernel, SharingError> {
    let name = name(manifest)?;
    let mut shared = open(place, &name)?;
    let damaged = |what: String| SharingError::Damaged { place: place.to_string(), name: name.clone(), what };
    let record: Record = serde_json::from_slice(&shared.record()?)
        .map_err(|error| damaged(format!("its record cannot be read: {error}")))?;
    let inputs = Inputs::of(manifest)?;
    check(&record, manifest, &inputs).map_err(damaged)?;
    let key = inputs.key(record.toolchain.as_ref());
    let load = |folder: PathBuf| Kernel::load(manifest, &key, folder).map_err(|error| damaged(error.to_string()));
    let entry = cache.entry(Area::Kernels, &entry_name(manifest, &key))?;
    if let Some(folder) = entry.intact(Part::Whole, progress)? {
        return load(folder);
    }
    let lock = entry.lock(progress)?;
    // Another process may have pulled it while this one was waiting.
    if let Some(folder) = lock.intact(Part::Whole, progress)? {
        return load(folder);
    }
    let staging = lock.stage_folder()?;
    let bytes = record.files.values().map(|file| file.bytes).sum();
    let task = progress.task(&format!("pull kernel {} from {place}", manifest.build_name()), Unit::Bytes, Some(bytes));
    for (file, expected) in &record.files {
        task.detail(file);
        shared.fetch(file, expected, &staging.path().join(file), &task)?;
    }
    record.verify(staging.path()).map_err(|damage| damaged(damage.to_string()))?;
    task.finish("whole");
    let record = Record { pulled: Some(place.to_string()), ..record };
    let path = staging.path().join(record::FILE_NAME);
    let text = serde_json::to_string_pretty(&record).map_err(io::Error::from).map_err(FileError::of("write", &path))?;
    file::write(&path, text + "\n")?;
    load(staging.publish()?)
}

/// Says what is wrong with a record of a kernel of this manifest. Nothing in it may lead out of the kernel's folder, or fill the disk.
fn check(record: &Record, manifest: &Manifest, inputs: &Inputs) -> Result<(), String> {
    if record.name != *manifest.build_name() || record.source != inputs.source {
        return Err("its record is that of another kernel".to_owned());
    }
    if record.toolchain.is_none() != matches!(manifest.source, Source::Prebuilt(_)) {
        return Err("its record does not say how it was made".to_owned());
    }
    if let Some(file) = record.files.keys().find(|file| !record::FILES.contains(&file.as_str())) {
        let file: String = file.chars().take(80).collect();
        return Err(format!("its record has a file `{file}`, which no kernel has"));
    }
    if let Some(file) = record::ALWAYS.iter().find(|file| !record.files.contains_key(**file)) {
        return Err(format!("its record has no file `{file}`"));
    }
    let bytes = record.files.values().try_fold(0_u64, |sum, file| sum.checked_add(file.bytes));
    if bytes.is_none_or(|bytes| bytes > MOST_BYTES) {
        return Err("its record has more bytes than a kernel".to_owned());
    }
    Ok(())
}

/// Pushes a built kernel of a manifest. Returns whether it did: one that is shared already stays, unless it is to be replaced.
///
/// # Errors
/// [`SharingError`] if it is damaged here, or if the place does not take it.
pub fn push(
    manifest: &Manifest,
    kernel: &Kernel,
    place: &Place,
    push: Push,
    progress: &Progress,
) -> Result<bool, SharingError> {
    let name = name(manifest)?;
    kernel.record.verify(&kernel.dir).map_err(SharingError::Own)?;
    let record = Record { pulled: None, ..kernel.record.clone() };
    let path = kernel.dir.join(record::FILE_NAME);
    let text = serde_json::to_vec_pretty(&record).map_err(io::Error::from).map_err(FileError::of("write", &path))?;
    let pushed = Pushed { name: &name, record: text, files: &record.files, folder: &kernel.dir };
    let bytes = record.files.values().map(|file| file.bytes).sum();
    let task = progress.task(&format!("push kernel {} to {place}", manifest.build_name()), Unit::Bytes, Some(bytes));
    let done = match place {
        Place::Folder(folder) => files::push(folder, &pushed, push, &task)?,
        Place::Http(_) => return Err(SharingError::ReadOnly { place: place.to_string() }),
        Place::Registry(registry) => registry::push(registry, &pushed, push, &task)?,
    };
    task.finish(if done { "pushed" } else { "there already" });
    Ok(done)
}

/// What is pushed.
struct Pushed<'a> {
    name: &'a str,
    record: Vec<u8>,
    files: &'a BTreeMap<String, FileRecord>,
    folder: &'a Path,
}

fn open<'a>(place: &'a Place, name: &'a str) -> Result<Box<dyn Shared + 'a>, SharingError> {
    Ok(match place {
        Place::Folder(folder) => Box::new(files::InFolder::open(folder, name)?),
        Place::Http(url) => Box::new(files::AtServer { url, name }),
        Place::Registry(registry) => Box::new(registry::InRegistry::open(registry, name)?),
    })
}

/// Pulls a kernel from the place that the environment names, if it names one. What stands in the way is shown: the kernel can be
/// built instead.
pub(super) fn pull_if_shared(manifest: &Manifest, cache: &Cache, progress: &Progress) -> Option<Kernel> {
    // A place that does not answer costs its time limit once.
    static TRIED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let what = cache.root().join(manifest.build_name().as_str());
    if !TRIED.lock().unwrap_or_else(PoisonError::into_inner).insert(what) {
        return None;
    }
    let pulled = match Place::of_environment() {
        Ok(None) => return None,
        Ok(Some(_)) if matches!(manifest.source, Source::Tree(_)) => return None,
        Ok(Some(place)) => pull(manifest, &place, cache, progress).map_err(|error| chain(&error)),
        Err(error) => Err(error.to_string()),
    };
    pulled.map_err(|why| progress.note(&format!("{why}; kernel {} is built instead", manifest.name))).ok()
}

/// Returns a name beside a folder's final one that no other process uses.
fn beside(folder: &Path, kind: &str, name: &str) -> PathBuf {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    folder.join(format!(".{kind}-{name}-{}-{}", std::process::id(), now.as_nanos()))
}

/// Removes a folder that is not needed any more; what is left of it has a hidden name.
fn discard(folder: &Path) {
    let _ = fs::remove_dir_all(folder);
}

#[cfg(test)]
mod tests;
