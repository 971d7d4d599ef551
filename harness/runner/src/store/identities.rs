//! Records of the identities that the outcomes in a store belong to.

use std::{
    cmp::Reverse,
    fs, io,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use harness_protocol::name::{ImageName, KernelName};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Store, StoreError, now, record_file, write};
use crate::{
    guard::RunGuard,
    identity::{Artefacts, Identity, IdentityRecord},
};

/// The folder of a store that holds identity records.
pub(super) const FOLDER: &str = "testbeds";

/// The largest record that is read, in bytes; a vocabulary takes some ten thousand.
pub(super) const LARGEST: u64 = 4 << 20;

/// The part of a record that says whose it is. The rest takes far longer to read, and is wanted of one only.
#[derive(Deserialize)]
struct Head {
    kernel: KernelName,
    image: ImageName,
    artefacts: Artefacts,
    at: u64,
}

impl Store {
    /// Stores an identity; the names of objects recorded before are kept.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be written.
    pub fn remember(&self, identity: &Identity) -> Result<(), StoreError> {
        self.remember_record(identity.record(now()))
    }

    /// Stores a record, adding the names of objects from the existing one, and the guard's program if only that one had
    /// it: a run without guarded scenarios needs none.
    pub(super) fn remember_record(&self, record: IdentityRecord) -> Result<(), StoreError> {
        let path = self.root.join(FOLDER).join(file_name(&record));
        let (before, guard) = self.identity(&path).map(|old| (old.objects, old.artefacts.guard)).unwrap_or_default();
        let objects = before.into_iter().chain(record.objects).collect();
        let artefacts = Artefacts { guard: record.artefacts.guard.or(guard), ..record.artefacts };
        write(&path, &IdentityRecord { objects, artefacts, ..record })
    }

    /// Returns the identity that last ran under the names of this kernel and this image and under this guard, if any.
    ///
    /// # Errors
    /// [`StoreError`] if the folder cannot be read.
    pub fn recall(
        &self,
        kernel: &KernelName,
        image: &ImageName,
        guard: Option<RunGuard>,
    ) -> Result<Option<Identity>, StoreError> {
        let prefix = format!("{kernel}-");
        let may_be = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix));
        let is_same = |head: &Head| &head.kernel == kernel && &head.image == image && head.artefacts.run_guard == guard;
        let mut files: Vec<_> =
            self.identities()?.into_iter().filter(may_be).map(|path| (written(&path), path)).collect();
        files.sort_by_key(|(written, _)| Reverse(*written));
        let mut latest: Option<(u64, PathBuf)> = None;
        for (written, path) in files {
            // A record is never later than its file.
            if latest.as_ref().is_some_and(|(at, _)| written < *at) {
                break;
            }
            if let Some(head) = self.head(&path).filter(is_same)
                && latest.as_ref().is_none_or(|(at, _)| *at < head.at)
            {
                latest = Some((head.at, path));
            }
        }
        let latest = latest.and_then(|(_, path)| self.identity(&path));
        Ok(latest.and_then(Identity::recorded))
    }

    /// Reads a record. A damaged one is removed, and shown.
    pub(super) fn identity(&self, path: &Path) -> Option<IdentityRecord> {
        self.load(path, LARGEST, "its outcomes are found only after another run")
    }

    /// Reads the head of a record. A damaged one is removed, and shown.
    fn head(&self, path: &Path) -> Option<Head> {
        let read = record_file::read(path, LARGEST);
        read.map(|read| read.record).map_err(|_| self.identity(path)).ok()
    }

    fn identities(&self) -> Result<Vec<PathBuf>, StoreError> {
        let folder = self.root.join(FOLDER);
        let list = || fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>();
        match list() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            other => {
                let mut paths = other.map_err(StoreError::of("list", &folder))?;
                paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
                Ok(paths)
            }
        }
    }
}

/// Returns when a file was written, in seconds since 1970; the end of time if the file system does not say.
fn written(path: &Path) -> u64 {
    let when = fs::metadata(path).and_then(|metadata| metadata.modified());
    when.ok().and_then(|when| when.duration_since(UNIX_EPOCH).ok()).map_or(u64::MAX, |since| since.as_secs())
}

/// Returns the name of a record's file: the kernel, and a digest of everything its outcomes depend on, except for the
/// guard's program.
pub(super) fn file_name(record: &IdentityRecord) -> String {
    let mut digest = Sha256::new();
    let artefacts = Artefacts { guard: None, ..record.artefacts.clone() };
    digest.update(serde_json::to_vec(&(&record.image, &artefacts)).unwrap_or_default());
    let sum: String = digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{sum}.json", record.kernel)
}
