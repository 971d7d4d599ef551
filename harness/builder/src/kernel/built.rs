//! A kernel in the cache: its files, how it is started, and how the record of a build is written.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use harness_protocol::name::KernelName;
use harness_uapi::{configuration::Configuration, vocabulary::Vocabulary};

use super::{
    error::KernelError,
    manifest::Manifest,
    record::{self, BOOT_IMAGE, BTF, CONFIG, Damage, MODULES, NOTES, Record, VOCABULARY},
    toolchain::Toolchain,
};
use crate::file::{self, FileError};

/// What every kernel's command line needs or gains from. Where an argument is given twice the kernel takes the last one, so
/// these also override what stands before them. `kernels/README.md` says what they gain.
pub const DEFAULT_ARGS: &[&str] = &[
    // Without block devices the kernel looks for a root only if it is told to (init/do_mounts.c, mount_root).
    "root=/dev/root",
    // The virtio devices use message-signalled interrupts. Routing the old lines that nobody uses runs AML code for each
    // device, which alone takes over a second under emulation.
    "acpi=noirq",
    // Each character of a boot message is a trap; errors and panics are still shown.
    "quiet",
    // No measuring how fast a processor counts: nothing here needs short delays to be exact.
    "lpj=25000000",
    // Under load an emulated clock looks unsteady, and the kernel would change to a slow one.
    "tsc=reliable",
    // Namespaces and mounts end with grace periods: containers come and go a third faster.
    "rcupdate.rcu_expedited=1",
];

/// A kernel that was built.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Its name.
    pub name: KernelName,
    /// What it was built from, as a sum: equal keys, equal kernels.
    pub key: String,
    /// The folder of its files.
    pub dir: PathBuf,
    /// What its command line needs: [`DEFAULT_ARGS`], then the manifest's.
    pub args: Vec<String>,
    /// Memory of a VM in MiB, if it needs another amount than usual.
    pub memory_mib: Option<u32>,
    /// The security modules it starts with; those of its configuration if `None`.
    pub lsm: Option<Vec<String>>,
    /// The kernels whose snapshots hold for it where it has none of its own, the nearest first.
    pub alike: Vec<KernelName>,
    /// How it was built.
    pub record: Record,
}

impl Kernel {
    /// What QEMU's `-kernel` gets: an ELF image with a PVH entry, uncompressed.
    pub fn boot_image(&self) -> PathBuf {
        self.dir.join(BOOT_IMAGE)
    }

    /// Its type information, byte for byte what `/sys/kernel/btf/vmlinux` shows in it.
    pub fn btf(&self) -> PathBuf {
        self.dir.join(BTF)
    }

    /// Its resolved configuration, which `/proc/config.gz` shows in it.
    pub fn config(&self) -> PathBuf {
        self.dir.join(CONFIG)
    }

    /// Which options are on in it.
    ///
    /// # Errors
    /// [`KernelError`] if its configuration cannot be read.
    pub fn configuration(&self) -> Result<Configuration, KernelError> {
        let path = self.config();
        Ok(Configuration::of(&file::read_text(&path)?))
    }

    /// What `/sys/kernel/notes` shows in it, its build id among it; `None` where its configuration tells it apart.
    pub fn notes(&self) -> Option<PathBuf> {
        Some(self.dir.join(NOTES)).filter(|path| path.exists())
    }

    /// The modules it needs to reach its root file system, as an archive for the kernel; `None` if it needs none.
    pub fn modules(&self) -> Option<PathBuf> {
        Some(self.dir.join(MODULES)).filter(|path| path.exists())
    }

    /// What `uname -r` says in it.
    pub fn release(&self) -> &str {
        &self.record.release
    }

    /// The names it knows.
    pub fn vocabulary(&self) -> Result<Vocabulary, KernelError> {
        let path = self.dir.join(VOCABULARY);
        let text = file::read_text(&path)?;
        let vocabulary: Vocabulary = serde_json::from_str(&text)
            .map_err(|source| KernelError::Damaged(Damage::Malformed { path, source }, self.name.clone()))?;
        // A build whose vocabulary was written before helpers were read is as good as any other.
        if vocabulary.helpers.is_empty() { vocabulary_in(&self.btf()) } else { Ok(vocabulary) }
    }

    /// Compares the sums of all its files with those of the build, which takes a moment.
    pub fn verify(&self) -> Result<(), KernelError> {
        self.record.verify(&self.dir).map_err(|damage| KernelError::Damaged(damage, self.name.clone()))
    }

    pub(super) fn load(manifest: &Manifest, key: &str, dir: PathBuf) -> Result<Self, Damage> {
        let record = Record::read(&dir)?;
        let lsm = manifest.lsm.iter().map(|names| format!("lsm={}", names.join(",")));
        let args = DEFAULT_ARGS.iter().map(|arg| (*arg).to_owned()).chain(lsm).chain(manifest.args.iter().cloned());
        Ok(Self {
            name: manifest.name.clone(),
            key: key.to_owned(),
            dir,
            args: args.collect(),
            memory_mib: manifest.memory_mib,
            lsm: manifest.lsm.clone(),
            alike: manifest.alike.clone(),
            record,
        })
    }
}

/// A build that has just ended.
#[derive(Debug)]
pub(super) struct Built<'a> {
    /// What it was made from.
    pub(super) manifest: &'a Manifest,
    /// The identity of the source, as it was when the build began.
    pub(super) source: String,
    /// What it was made with, if it was compiled here.
    pub(super) toolchain: Option<Toolchain>,
    /// How many objects were compiled.
    pub(super) objects_compiled: u64,
    /// When it began.
    pub(super) started: Instant,
}

impl Built<'_> {
    /// Adds the names the kernel knows and the record to what is kept of it.
    pub(super) fn record(self, into: &Path, release: String) -> Result<(), KernelError> {
        let record = Record {
            name: self.manifest.build_name().clone(),
            release,
            source: self.source,
            toolchain: self.toolchain,
            objects_compiled: self.objects_compiled,
            seconds: self.started.elapsed().as_secs_f64(),
            built: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            files: Default::default(),
        };
        finish(into, record)
    }
}

/// Completes a folder of files with the names the kernel knows and the record, to which all files are added.
pub(super) fn finish(into: &Path, mut record: Record) -> Result<(), KernelError> {
    write_json(&into.join(VOCABULARY), &vocabulary_in(&into.join(BTF))?)?;
    record.files = record::files(into).map_err(FileError::of("read", into))?;
    Ok(write_json(&into.join(record::FILE_NAME), &record)?)
}

/// The names in a file of BTF.
fn vocabulary_in(btf: &Path) -> Result<Vocabulary, KernelError> {
    let bytes = file::read(btf)?;
    Vocabulary::from_btf(&bytes).map_err(|source| KernelError::Btf { path: btf.to_owned(), source })
}

fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), FileError> {
    let text = serde_json::to_string_pretty(value).map_err(io::Error::from).map_err(FileError::of("write", path))?;
    file::write(path, text + "\n")
}
