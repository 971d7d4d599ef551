//! A kernel in the cache: its files, how to start it, and the record of its build.

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
    record::{self, BOOT_IMAGE, BTF, CONFIG, Damage, MODULES, NOTES, Record, SIGNING_KEY, VOCABULARY},
    toolchain::Toolchain,
};
use crate::{
    file::{self, FileError},
    pins::Repinned,
};

/// The arguments that every kernel's command line needs or benefits from. The kernel uses the last one of a repeated
/// argument, so these override earlier ones. `kernels/README.md` describes their benefits.
pub const DEFAULT_ARGS: &[&str] = &[
    // Without block devices the kernel looks for a root only if this argument is set (init/do_mounts.c, mount_root).
    "root=/dev/root",
    // The virtio devices use message-signalled interrupts. Routing the unused legacy lines runs AML code for each
    // device, which alone takes over a second under emulation.
    "acpi=noirq",
    // Each character of a boot message causes a trap. systemd prints less, too.
    "quiet",
    // Warnings are shown, as every splat is at least one (`__warn`, kernel/panic.c).
    "loglevel=5",
    // A kernel that oopsed must not give another verdict, whatever its configuration says.
    "oops=panic",
    // Skips calibrating the delay loop: nothing here needs exact short delays.
    "lpj=25000000",
    // Under load an emulated clock looks unstable, and the kernel would switch to a slow one.
    "tsc=reliable",
    // Destroying namespaces and mounts waits for grace periods; expedited ones make containers a third faster.
    "rcupdate.rcu_expedited=1",
];

/// A built kernel.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Its name.
    pub name: KernelName,
    /// A sum over everything it was built from: equal keys mean equal kernels.
    pub key: String,
    /// The folder of its files.
    pub dir: PathBuf,
    /// Its command line: [`DEFAULT_ARGS`], then the manifest's arguments.
    pub args: Vec<String>,
    /// The memory of a VM in MiB, if it differs from the default.
    pub memory_mib: Option<u32>,
    /// The security modules it starts with; `None` for those of its configuration.
    pub lsm: Option<Vec<String>>,
    /// The kernels whose snapshots it inherits if it has none of its own, the nearest first.
    pub alike: Vec<KernelName>,
    /// How it was built.
    pub record: Record,
    /// What differs from the pins of its manifest, because those have left the mirror.
    pub replaced: Vec<Repinned>,
}

impl Kernel {
    /// The file for QEMU's `-kernel`: an uncompressed ELF image with a PVH entry.
    pub fn boot_image(&self) -> PathBuf {
        self.dir.join(BOOT_IMAGE)
    }

    /// The file of its type information: the same bytes as its `/sys/kernel/btf/vmlinux`.
    pub fn btf(&self) -> PathBuf {
        self.dir.join(BTF)
    }

    /// The file of its resolved configuration: the same text as its `/proc/config.gz`.
    pub fn config(&self) -> PathBuf {
        self.dir.join(CONFIG)
    }

    /// Reads which options are on.
    ///
    /// # Errors
    /// [`KernelError`] if its configuration cannot be read.
    pub fn configuration(&self) -> Result<Configuration, KernelError> {
        let path = self.config();
        Ok(Configuration::of(&file::read_text(&path)?))
    }

    /// The file of what its `/sys/kernel/notes` shows, including its build id; `None` if its configuration identifies
    /// it.
    pub fn notes(&self) -> Option<PathBuf> {
        Some(self.dir.join(NOTES)).filter(|path| path.exists())
    }

    /// The archive of the modules it needs to reach its root file system; `None` if it needs none.
    pub fn modules(&self) -> Option<PathBuf> {
        Some(self.dir.join(MODULES)).filter(|path| path.exists())
    }

    /// The private key that its build made, with its certificate, which is in the kernel's built-in keyring; `None` if
    /// its build made none.
    pub fn signing_key(&self) -> Option<PathBuf> {
        Some(self.dir.join(SIGNING_KEY)).filter(|path| path.exists())
    }

    /// The output of `uname -r`.
    pub fn release(&self) -> &str {
        &self.record.release
    }

    /// Reads the names it knows.
    pub fn vocabulary(&self) -> Result<Vocabulary, KernelError> {
        let path = self.dir.join(VOCABULARY);
        let text = file::read_text(&path)?;
        let vocabulary: Vocabulary = serde_json::from_str(&text)
            .map_err(|source| KernelError::Damaged(Damage::Malformed { path, source }, self.name.clone()))?;
        // The vocabulary of an older build may lack helpers; the BTF has them.
        if vocabulary.helpers.is_empty() { vocabulary_in(&self.btf()) } else { Ok(vocabulary) }
    }

    /// Compares the sums of all its files with those of the build. This takes a moment.
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
            replaced: manifest.replaced.clone(),
        })
    }
}

/// A completed build.
#[derive(Debug)]
pub(super) struct Built<'a> {
    /// The manifest it was made from.
    pub(super) manifest: &'a Manifest,
    /// The identity of the source, as it was when the build began.
    pub(super) source: String,
    /// The toolchain, if it was compiled here.
    pub(super) toolchain: Option<Toolchain>,
    /// The number of compiled objects.
    pub(super) objects_compiled: u64,
    /// When it began.
    pub(super) started: Instant,
}

impl Built<'_> {
    /// Adds the vocabulary and the record to the kept files.
    pub(super) fn record(self, into: &Path, release: String) -> Result<(), KernelError> {
        let record = Record {
            name: self.manifest.build_name().clone(),
            release,
            source: self.source,
            replaced: self.manifest.replaced.clone(),
            toolchain: self.toolchain,
            objects_compiled: self.objects_compiled,
            seconds: self.started.elapsed().as_secs_f64(),
            built: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            pulled: None,
            files: Default::default(),
        };
        finish(into, record)
    }
}

/// Completes a folder of files with the vocabulary and the record, which lists all files.
pub(super) fn finish(into: &Path, mut record: Record) -> Result<(), KernelError> {
    write_json(&into.join(VOCABULARY), &vocabulary_in(&into.join(BTF))?)?;
    record.files = record::files(into).map_err(FileError::of("read", into))?;
    Ok(write_json(&into.join(record::FILE_NAME), &record)?)
}

/// Reads the names in a file of BTF.
fn vocabulary_in(btf: &Path) -> Result<Vocabulary, KernelError> {
    let bytes = file::read(btf)?;
    Vocabulary::from_btf(&bytes).map_err(|source| KernelError::Btf { path: btf.to_owned(), source })
}

fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), FileError> {
    let text = serde_json::to_string_pretty(value).map_err(io::Error::from).map_err(FileError::of("write", path))?;
    file::write(path, text + "\n")
}
