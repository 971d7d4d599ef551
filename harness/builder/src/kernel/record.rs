//! The record of a build: kept beside the kernel, it also proves that the files are complete.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use harness_protocol::name::KernelName;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::toolchain::Toolchain;
use crate::{
    digest::Sha256,
    file::{self, FileError},
    pins::Repinned,
};

/// Its file name.
pub const FILE_NAME: &str = "record.json";

// The other files that are kept of a kernel.
pub(super) const BOOT_IMAGE: &str = "boot";
pub(super) const BTF: &str = "vmlinux.btf";
pub(super) const CONFIG: &str = "config";
pub(super) const SYMBOLS: &str = "System.map";
pub(super) const VOCABULARY: &str = "vocabulary.json";
pub(super) const NOTES: &str = "notes";
pub(super) const MODULES: &str = "modules.cpio";
pub(super) const SIGNING_KEY: &str = "signing-key.pem";

/// The files that a kernel may have, except for its record.
pub(super) const FILES: [&str; 8] = [BOOT_IMAGE, BTF, CONFIG, SYMBOLS, VOCABULARY, NOTES, MODULES, SIGNING_KEY];
/// Those that every kernel has.
pub(super) const ALWAYS: [&str; 4] = [BOOT_IMAGE, BTF, CONFIG, VOCABULARY];

/// Why a folder does not have a complete build.
#[derive(Debug, Error)]
pub enum Damage {
    /// The record cannot be read.
    #[error(transparent)]
    Unreadable(#[from] FileError),
    /// The file is not a build record.
    #[error("{} is not a build record", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A file is missing, or not the one that was built.
    #[error("{} is not the file that was built: {reason}", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// The difference.
        reason: String,
    },
}

/// One file of a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRecord {
    /// Its size.
    pub bytes: u64,
    /// Its sum.
    pub sha256: Sha256,
}

/// One build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The kernel's name.
    pub name: KernelName,
    /// The output of `uname -r`.
    pub release: String,
    /// Where the source came from, with version or sum.
    pub source: String,
    /// What differs from the pins of the manifest at that time, because those had left the mirror.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<Repinned>,
    /// The toolchain, if it was built here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toolchain: Option<Toolchain>,
    /// The number of compiled objects; fewer than the kernel has if the object tree was reused.
    pub objects_compiled: u64,
    /// The time to configure, compile and link, in seconds.
    pub seconds: f64,
    /// The time of completion, in seconds since 1970.
    pub built: u64,
    /// Where it was pulled from; `None` if it was built here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulled: Option<String>,
    /// All files except the record.
    pub files: BTreeMap<String, FileRecord>,
}

impl Record {
    /// Returns the record of a kernel that was not compiled here, without files yet.
    pub(crate) fn not_compiled(name: KernelName, release: &str, source: &str) -> Self {
        Self {
            name,
            release: release.to_owned(),
            source: source.to_owned(),
            replaced: Vec::new(),
            toolchain: None,
            objects_compiled: 0,
            seconds: 0.0,
            built: 0,
            pulled: None,
            files: BTreeMap::new(),
        }
    }

    /// Reads the record of the build in a folder; errors if a file is missing or has another size.
    pub fn read(folder: &Path) -> Result<Self, Damage> {
        let path = folder.join(FILE_NAME);
        let text = file::read_text(&path)?;
        let record: Self = serde_json::from_str(&text).map_err(|source| Damage::Malformed { path, source })?;
        record.each(folder, |path, file| {
            let size = fs::metadata(path)?.len();
            Ok((size != file.bytes).then(|| format!("it has {size} bytes instead of {}", file.bytes)))
        })?;
        Ok(record)
    }

    /// Compares the sums of all files. This takes a moment.
    pub fn verify(&self, folder: &Path) -> Result<(), Damage> {
        self.each(folder, |path, file| {
            let sum = Sha256::of_file(path)?;
            Ok((sum != file.sha256).then(|| format!("its SHA-256 sum is {sum} instead of {}", file.sha256)))
        })
    }

    fn each(
        &self,
        folder: &Path,
        fault: impl Fn(&Path, &FileRecord) -> io::Result<Option<String>>,
    ) -> Result<(), Damage> {
        for (name, file) in &self.files {
            let path = folder.join(name);
            if let Some(reason) = fault(&path, file).unwrap_or_else(|error| Some(error.to_string())) {
                return Err(Damage::Changed { path, reason });
            }
        }
        Ok(())
    }
}

/// Computes the sizes and sums of all files in a folder.
pub fn files(folder: &Path) -> io::Result<BTreeMap<String, FileRecord>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let record = FileRecord { bytes: entry.metadata()?.len(), sha256: Sha256::of_file(&entry.path())? };
        files.insert(entry.file_name().to_string_lossy().into_owned(), record);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("boot"), "kernel").unwrap();
        let line = || "1.0".to_owned();
        let record = Record {
            name: "6.12".parse().unwrap(),
            release: "6.12.1".into(),
            source: "a folder".into(),
            replaced: Vec::new(),
            toolchain: Some(Toolchain { gcc: line(), ld: line(), pahole: line() }),
            objects_compiled: 1,
            seconds: 1.5,
            built: 1,
            pulled: None,
            files: files(folder.path()).unwrap(),
        };
        fs::write(folder.path().join(FILE_NAME), serde_json::to_string(&record).unwrap()).unwrap();
        folder
    }

    #[test]
    fn a_complete_build_is_accepted() {
        let folder = build();
        Record::read(folder.path()).unwrap().verify(folder.path()).unwrap();
    }

    #[test]
    fn damage_is_found_and_named() {
        let folder = build();
        let boot = folder.path().join("boot");
        fs::write(&boot, "kernal").unwrap();
        let record = Record::read(folder.path()).unwrap();
        let message = |result: Result<(), Damage>| {
            result.unwrap_err().to_string().replace(folder.path().to_str().unwrap(), "/KERNEL")
        };
        let read = || Record::read(folder.path()).map(drop);
        insta::assert_snapshot!(message(record.verify(folder.path())), @"/KERNEL/boot is not the file that was built: its SHA-256 sum is 808730cafaba3c9ef116a522ea92e787d1e1b80bba7ae0bc227549dfe584bbb9 instead of 6923dd1bc0460082c5d55a831908c24a282860b7f1cd6c2b79cf1bc8857c639c");
        fs::write(&boot, "kern").unwrap();
        insta::assert_snapshot!(message(read()), @"/KERNEL/boot is not the file that was built: it has 4 bytes instead of 6");
        fs::remove_file(&boot).unwrap();
        insta::assert_snapshot!(message(read()), @"/KERNEL/boot is not the file that was built: No such file or directory (os error 2)");
        fs::write(folder.path().join(FILE_NAME), "{").unwrap();
        insta::assert_snapshot!(message(read()), @"/KERNEL/record.json is not a build record");
        fs::remove_file(folder.path().join(FILE_NAME)).unwrap();
        insta::assert_snapshot!(message(read()), @"cannot read /KERNEL/record.json");
    }
}
