//! Kernels: from a manifest in `kernels/` to a boot image and its type information in the cache.
//!
//! A build is known by its key, a sum over its source, its configuration and the toolchain. What the key names is built
//! once: [`find_built`] looks, [`build`] looks and then builds.

mod build;
pub mod catalogue;
mod error;
pub mod fragment;
pub mod manifest;
pub mod mutant;
pub mod pin;
pub mod prebuilt;
pub mod record;
pub mod running;
mod source;
mod toolchain;

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use harness_model::{configuration::Configuration, name::KernelName, vocabulary::Vocabulary};

pub use catalogue::{Catalogue, CatalogueError};
pub use error::KernelError;
pub use manifest::{Manifest, ManifestError};
pub use prebuilt::PrebuiltError;
pub use record::{Damage, Record};
pub use source::SourceError;
pub use toolchain::Toolchain;

use crate::{
    cache::{Area, Cache, Lock, cleaning::References},
    command::CommandError,
    digest::Sha256,
    file::FileError,
    progress::Progress,
};
use build::BuildTree;
use fragment::Mismatch;
use manifest::{PrebuiltSource, Source};

/// Raised when the same inputs would give another build.
const RECIPE: &str = "1";
const BOOT_IMAGE: &str = "boot";
const BTF: &str = "vmlinux.btf";
const CONFIG: &str = "config";
const SYMBOLS: &str = "System.map";
const VOCABULARY: &str = "vocabulary.json";
const NOTES: &str = "notes";
const MODULES: &str = "modules.cpio";

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
        let text = fs::read_to_string(&path).map_err(FileError::of("read", &path))?;
        Ok(Configuration::of(&text))
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
        let text = fs::read_to_string(&path).map_err(FileError::of("read", &path))?;
        let vocabulary: Vocabulary = serde_json::from_str(&text)
            .map_err(|source| KernelError::Damaged(Damage::Malformed { path, source }, self.name.clone()))?;
        // A build whose vocabulary was written before helpers were read is as good as any other.
        if vocabulary.helpers.is_empty() { vocabulary_in(&self.btf()) } else { Ok(vocabulary) }
    }

    /// Compares the sums of all its files with those of the build, which takes a moment.
    pub fn verify(&self) -> Result<(), KernelError> {
        self.record.verify(&self.dir).map_err(|damage| KernelError::Damaged(damage, self.name.clone()))
    }

    fn load(manifest: &Manifest, key: &str, dir: PathBuf) -> Result<Self, Damage> {
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

/// The part of the key that needs no toolchain: source and configuration.
fn inputs(manifest: &Manifest) -> Result<String, KernelError> {
    let source = source::identity(&manifest.source)?;
    let exceptions = format!("{:?}", manifest.exceptions);
    Ok(Sha256::of_parts([RECIPE, &source, &manifest.config, &exceptions].map(str::as_bytes)).short())
}

/// The toolchain of this machine, if it is installed.
fn toolchain() -> Result<Option<Toolchain>, CommandError> {
    match Toolchain::of_this_machine() {
        Ok(toolchain) => Ok(Some(toolchain)),
        Err(CommandError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The kernel of this manifest, if it was built from what the manifest says now, with this machine's toolchain. On a
/// machine without one, such as one that was handed a filled cache, any toolchain's will do, the newest build first.
///
/// A build whose files are damaged does not count.
pub fn find_built(manifest: &Manifest, cache: &Cache) -> Result<Option<Kernel>, KernelError> {
    let inputs = inputs(manifest)?;
    let keys = match &manifest.source {
        Source::Prebuilt(_) => vec![inputs],
        _ => match toolchain()? {
            Some(toolchain) => vec![key(&inputs, &toolchain)],
            None => keys_of_any_toolchain(&cache.folder(Area::Kernels)?, manifest, &inputs)?,
        },
    };
    let load = |key: &String| {
        let entry = cache.entry(Area::Kernels, &entry_name(manifest, key)).ok()?;
        Kernel::load(manifest, key, entry.existing()?).ok()
    };
    let found = keys.iter().filter_map(load).max_by_key(|kernel| kernel.record.built);
    found.map(|kernel| has_required(manifest, kernel)).transpose()
}

/// A kernel whose configuration says what its manifest requires.
fn has_required(manifest: &Manifest, kernel: Kernel) -> Result<Kernel, KernelError> {
    if manifest.required.is_empty() {
        return Ok(kernel);
    }
    let path = kernel.config();
    let text = fs::read_to_string(&path).map_err(FileError::of("read", &path))?;
    let resolved = fragment::parse(&text).map_err(|source| KernelError::ResolvedConfig { path, source })?;
    let problems = fragment::mismatches(&manifest.required, &resolved, &BTreeSet::new());
    if problems.is_empty() {
        return Ok(kernel);
    }
    let problems = problems.iter().map(Mismatch::to_string).collect();
    Err(KernelError::Required { path: manifest.path.clone(), problems })
}

fn entry_name(manifest: &Manifest, key: &str) -> String {
    format!("{}-{key}", manifest.build_name())
}

/// Adds what this manifest keeps in the cache, whatever toolchain builds it.
pub(crate) fn add_references(manifest: &Manifest, references: &mut References) {
    let name = manifest.build_name();
    // A source that cannot be looked at now may be there tomorrow.
    let inputs = inputs(manifest).unwrap_or_default();
    references.add_all(Area::Kernels, format!("{name}-{inputs}"));
    references.add_all(Area::Images, format!("initramfs-{inputs}"));
    if !matches!(manifest.source, Source::Prebuilt(_)) {
        // The copy for mutants is of the kernel of that name.
        ["kernel", "mutants"].into_iter().for_each(|kind| references.add(Area::Trees, format!("{kind}-{name}")));
    }
    source::add_downloads(&manifest.source, references);
}

fn key(inputs: &str, toolchain: &Toolchain) -> String {
    format!("{inputs}-{}", toolchain.sum().short())
}

fn keys_of_any_toolchain(folder: &Path, manifest: &Manifest, inputs: &str) -> Result<Vec<String>, KernelError> {
    let listing = fs::read_dir(folder).map_err(FileError::of("list", folder))?;
    let names = listing.filter_map(Result::ok).filter_map(|entry| entry.file_name().into_string().ok());
    let of_build =
        |name: String| Some(name.strip_prefix(manifest.build_name().as_str())?.strip_prefix('-')?.to_owned());
    Ok(names.filter_map(of_build).filter(|key| key.starts_with(inputs)).collect())
}

/// The kernel of this manifest, fetched and built if need be.
pub fn build(manifest: &Manifest, cache: &Cache, progress: &Progress) -> Result<Kernel, KernelError> {
    if let Some(kernel) = find_built(manifest, cache)? {
        return Ok(kernel);
    }
    let inputs = inputs(manifest)?;
    let toolchain = match &manifest.source {
        Source::Prebuilt(_) => None,
        _ => Some(Toolchain::of_this_machine()?),
    };
    let key = toolchain.as_ref().map_or(inputs.clone(), |toolchain| key(&inputs, toolchain));
    let lock = cache.entry(Area::Kernels, &entry_name(manifest, &key))?.lock(progress)?;
    // Another process may have built it while this one waited.
    if let Some(kernel) = find_built(manifest, cache)? {
        return Ok(kernel);
    }
    if let Some(damaged) = lock.entry().existing() {
        progress.note(&format!("{} is damaged, building it again", damaged.display()));
    }
    let dir = match &manifest.source {
        Source::Prebuilt(prebuilt) => unpack(manifest, prebuilt, cache, &lock, progress)?,
        _ => compile(manifest, toolchain, cache, &lock, progress)?,
    };
    let kernel = Kernel::load(manifest, &key, dir);
    has_required(manifest, kernel.map_err(|damage| KernelError::Damaged(damage, manifest.name.clone()))?)
}

/// Makes a kernel of source; returns the folder of what is kept of it.
fn compile(
    manifest: &Manifest,
    toolchain: Option<Toolchain>,
    cache: &Cache,
    lock: &Lock,
    progress: &Progress,
) -> Result<PathBuf, KernelError> {
    let tree = BuildTree::prepare(manifest, cache, progress)?;
    let started = Instant::now();
    tree.configure(manifest)?;
    let objects_compiled = tree.compile(manifest, progress)?;
    let staging = lock.stage_folder()?;
    let source = source::identity(&manifest.source)?;
    keep(&tree, staging.path(), Built { manifest, source, toolchain, objects_compiled, started })?;
    Ok(staging.publish()?)
}

/// Takes apart a kernel that was built elsewhere; returns the folder of what is kept of it.
fn unpack(
    manifest: &Manifest,
    prebuilt: &PrebuiltSource,
    cache: &Cache,
    lock: &Lock,
    progress: &Progress,
) -> Result<PathBuf, KernelError> {
    let started = Instant::now();
    let staging = lock.stage_folder()?;
    let release = prebuilt::take(manifest, prebuilt, cache, staging.path(), progress)
        .map_err(|source| KernelError::Prebuilt { kernel: manifest.name.clone(), source: source.into() })?;
    let source = source::identity(&manifest.source)?;
    record(staging.path(), release, Built { manifest, source, toolchain: None, objects_compiled: 0, started })?;
    Ok(staging.publish()?)
}

/// A build that has just ended.
struct Built<'a> {
    manifest: &'a Manifest,
    source: String,
    toolchain: Option<Toolchain>,
    objects_compiled: u64,
    started: Instant,
}

/// Puts what is kept of a build into a folder, with its record.
fn keep(tree: &BuildTree, into: &Path, built: Built<'_>) -> Result<(), KernelError> {
    extract(tree, into)?;
    record(into, tree.release()?, built)
}

/// Adds the names a kernel knows and the record to what is kept of it.
fn record(into: &Path, release: String, built: Built<'_>) -> Result<(), KernelError> {
    write_json(&into.join(VOCABULARY), &vocabulary_in(&into.join(BTF))?)?;
    let record = Record {
        name: built.manifest.build_name().clone(),
        release,
        source: built.source,
        toolchain: built.toolchain,
        objects_compiled: built.objects_compiled,
        seconds: built.started.elapsed().as_secs_f64(),
        built: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        files: record::files(into).map_err(FileError::of("read", into))?,
    };
    Ok(write_json(&into.join(record::FILE_NAME), &record)?)
}

/// Copies out of an object tree what a virtual machine and its judges need: 30 MB of some gigabytes.
fn extract(tree: &BuildTree, into: &Path) -> Result<(), KernelError> {
    let vmlinux = tree.object("vmlinux");
    build::objcopy(&[Path::new("--strip-all"), &vmlinux, &into.join(BOOT_IMAGE)])?;
    let btf = into.join(BTF);
    let section = PathBuf::from(format!(".BTF={}", btf.display()));
    build::objcopy(&[Path::new("--dump-section"), &section, &vmlinux, Path::new("/dev/null")])?;
    for (from, to) in [(".config", CONFIG), ("System.map", SYMBOLS)] {
        let path = tree.object(from);
        fs::copy(&path, into.join(to)).map_err(FileError::of("copy", &path))?;
    }
    Ok(())
}

/// The names in a file of BTF.
fn vocabulary_in(btf: &Path) -> Result<Vocabulary, KernelError> {
    let bytes = fs::read(btf).map_err(FileError::of("read", btf))?;
    Vocabulary::from_btf(&bytes).map_err(|source| KernelError::Btf { path: btf.to_owned(), source })
}

fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), FileError> {
    let text = serde_json::to_string_pretty(value).map_err(io::Error::from).map_err(FileError::of("write", path))?;
    fs::write(path, text + "\n").map_err(FileError::of("write", path))
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

    #[test]
    fn another_toolchain_makes_another_key() {
        let of = |gcc: &str| Toolchain { gcc: gcc.into(), ld: "1".into(), pahole: "1".into() };
        assert_eq!(key("aa", &of("12")), key("aa", &of("12")));
        assert_ne!(key("aa", &of("12")), key("aa", &of("13")));
    }
}
