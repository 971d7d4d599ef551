//! Makes a kernel in a source and object tree that is kept, so the next build compiles only what changed.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use xshell::cmd;

use super::{
    built::Built,
    error::KernelError,
    fragment::{self, Mismatch, Options},
    manifest::{Manifest, Source},
    record::{BOOT_IMAGE, BTF, CONFIG, SYMBOLS},
    source,
};
use crate::{
    cache::{Area, Cache, CacheError, Lock},
    command::{self, CommandError},
    file::{self, FileError},
    progress::{Progress, Unit},
};

/// The parts of `make tinyconfig` (`scripts/kconfig/Makefile` and `kernel/configs/tiny.config` in the kernel source): the
/// fragments are laid over them. A part that a kernel does not have is left out.
const TINY_CONFIG: [&str; 3] =
    ["kernel/configs/tiny-base.config", "kernel/configs/tiny.config", "arch/x86/configs/tiny.config"];
/// What would change a build from outside.
const FOREIGN_VARIABLES: [&str; 18] = [
    "ARCH",
    "CROSS_COMPILE",
    "LLVM",
    "CC",
    "LD",
    "HOSTCC",
    "KCFLAGS",
    "KCPPFLAGS",
    "KAFLAGS",
    "CFLAGS",
    "LDFLAGS",
    "KBUILD_OUTPUT",
    "KBUILD_EXTRA_SYMBOLS",
    "KCONFIG_CONFIG",
    "KCONFIG_ALLCONFIG",
    "LOCALVERSION",
    "MAKEFLAGS",
    "MAKELEVEL",
];
/// Says which source a tree holds.
const IDENTITY: &str = "identity";
/// Is there while a build is under way, and after one that did not end well; its time is when that began.
const UNFINISHED: &str = "unfinished";

/// A source with the objects made of it. Nobody else uses them while this exists.
#[derive(Debug)]
pub(super) struct BuildTree {
    pub(super) source: PathBuf,
    pub(super) objects: PathBuf,
    pub(super) lock: Lock,
    /// Variables of make beyond those of every build, as `NAME=value`.
    pub(super) variables: Vec<String>,
}

impl BuildTree {
    /// The tree for this kernel, fetched and unpacked unless it is there from an earlier build. There is one for each
    /// kernel: another source, of another identity, replaces it, with its objects.
    pub(super) fn prepare(
        manifest: &Manifest,
        identity: &str,
        cache: &Cache,
        progress: &Progress,
    ) -> Result<Self, KernelError> {
        let (identity, source) = match &manifest.source {
            Source::Tree(tree) => (tree.path.display().to_string(), Some(absolute(&tree.path)?)),
            _ => (identity.to_owned(), None),
        };
        let lock = cache.entry(Area::Trees, &format!("kernel-{}", manifest.name))?.lock(progress)?;
        let place = lock.entry().path();
        if fs::read_to_string(place.join(IDENTITY)).ok().as_ref() != Some(&identity) {
            let staging = lock.stage_folder()?;
            for folder in ["source", "objects"].map(|name| staging.path().join(name)) {
                fs::create_dir(&folder).map_err(FileError::of("create", &folder))?;
            }
            let name = manifest.name.as_str();
            source::unpack(&manifest.source, name, cache, &staging.path().join("source"), progress)?;
            file::write(&staging.path().join(IDENTITY), &identity)?;
            staging.publish()?;
        }
        let source = source.unwrap_or_else(|| place.join("source"));
        let tree = Self { source, objects: place.join("objects"), lock, variables: Vec::new() };
        tree.settle()?;
        Ok(tree)
    }

    /// Has make look again at what was edited during a build that did not end well. Make takes an object for current that
    /// is younger than its source; one compiled from a file that was edited meanwhile is younger, and of the old text. So
    /// all that such a build made is dated to its beginning.
    fn settle(&self) -> Result<(), KernelError> {
        let Ok(began) = fs::metadata(self.unfinished()).and_then(|marker| marker.modified()) else { return Ok(()) };
        for entry in file::below(&self.objects) {
            let entry = entry?;
            let date = || {
                let made = entry.metadata()?.modified()?;
                if made > began { File::open(entry.path())?.set_modified(began) } else { Ok(()) }
            };
            if entry.file_type().is_file() {
                date().map_err(FileError::of("date", entry.path()))?;
            }
        }
        self.end()
    }

    /// Notes that a build begins.
    pub(super) fn begin(&self) -> Result<(), KernelError> {
        Ok(file::write(&self.unfinished(), "")?)
    }

    /// Notes that the objects are those of the source as it is.
    pub(super) fn end(&self) -> Result<(), KernelError> {
        let path = self.unfinished();
        Ok(fs::remove_file(&path).map_err(FileError::of("remove", &path))?)
    }

    fn unfinished(&self) -> PathBuf {
        self.lock.entry().path().join(UNFINISHED)
    }

    /// A file of the object tree.
    pub(super) fn object(&self, name: &str) -> PathBuf {
        self.objects.join(name)
    }

    /// Resolves the configuration, and refuses one that is not what the manifest asks for.
    pub(super) fn configure(&self, manifest: &Manifest) -> Result<(), KernelError> {
        let base: Vec<String> =
            TINY_CONFIG.iter().filter_map(|part| fs::read_to_string(self.source.join(part)).ok()).collect();
        let wanted = self.object("wanted.config");
        let text = base.join("\n") + "\n" + &manifest.config;
        file::write(&wanted, text)?;
        let mut make = self.make("allnoconfig")?;
        let warnings =
            command::warnings(make.env("KCONFIG_ALLCONFIG", &wanted).env("KCONFIG_WARN_UNKNOWN_SYMBOLS", "1"))?;
        command::warnings(&mut self.make("olddefconfig")?)?;
        let found = fragment::mismatches(&manifest.options, &self.resolved()?, &fragment::absent(&warnings));
        refuse(manifest, &found)
    }

    fn resolved(&self) -> Result<Options, KernelError> {
        let path = self.object(".config");
        fragment::parse(&file::read_text(&path)?).map_err(|source| KernelError::ResolvedConfig { path, source })
    }

    /// Compiles and links; returns how many objects had to be compiled. A build that was interrupted goes on where it
    /// stopped.
    pub(super) fn compile(&self, manifest: &Manifest, progress: &Progress) -> Result<u64, KernelError> {
        self.compile_with(&[], manifest, progress)
    }

    /// [`Self::compile`] with variables of make for this one build.
    pub(super) fn compile_with(
        &self,
        variables: &[String],
        manifest: &Manifest,
        progress: &Progress,
    ) -> Result<u64, KernelError> {
        let before = count_objects(&self.objects)?;
        let total = manifest.objects.map(|expected| expected.max(before));
        let task = progress.task(&format!("kernel {}", manifest.name), Unit::Things("objects"), total);
        task.set(before);
        let prefix = format!("{}/", self.objects.display());
        let mut compiled = 0;
        command::stream(self.make("vmlinux")?.args(variables), |line| {
            if let Some(object) = compiled_object(line) {
                compiled += 1;
                task.detail(object.strip_prefix(&prefix).unwrap_or(object));
                task.set((before + compiled).min(total.unwrap_or(u64::MAX)));
            }
        })?;
        task.finish(&format!("{compiled} objects compiled"));
        Ok(compiled)
    }

    /// Copies what a virtual machine and its judges need, 30 MB of some gigabytes, and adds the record of the build.
    pub(super) fn keep(&self, into: &Path, built: Built<'_>) -> Result<(), KernelError> {
        let vmlinux = self.object("vmlinux");
        objcopy(&[Path::new("--strip-all"), &vmlinux, &into.join(BOOT_IMAGE)])?;
        let section = PathBuf::from(format!(".BTF={}", into.join(BTF).display()));
        objcopy(&[Path::new("--dump-section"), &section, &vmlinux, Path::new("/dev/null")])?;
        file::copy(&self.object(".config"), &into.join(CONFIG))?;
        file::copy(&self.object("System.map"), &into.join(SYMBOLS))?;
        // What `uname -r` will say.
        let release = file::read_text(&self.object("include/config/kernel.release"))?;
        built.record(into, release.trim().to_owned())
    }

    /// A run of make that depends on nothing but its arguments. It holds the tree's lock itself: if this process is
    /// killed, nobody starts a second make beside it.
    fn make(&self, target: &str) -> Result<Command, CacheError> {
        // Not xshell: its standard input is the lock.
        let mut make = Command::new("make");
        for variable in FOREIGN_VARIABLES {
            make.env_remove(variable);
        }
        let jobs = thread::available_parallelism().map_or(1, usize::from);
        make.env("LC_ALL", "C")
            .env("KBUILD_BUILD_USER", "bpf-token-harness")
            .env("KBUILD_BUILD_HOST", "localhost")
            .env("KBUILD_BUILD_VERSION", "1")
            .env("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 1970")
            .stdin(self.lock.handle()?)
            .arg("--directory")
            .arg(&self.source)
            .arg(format!("O={}", self.objects.display()))
            .args(["ARCH=x86_64", &format!("--jobs={jobs}")])
            .args(&self.variables)
            .arg(target);
        Ok(make)
    }
}

fn absolute(path: &Path) -> Result<PathBuf, FileError> {
    path.canonicalize().map_err(FileError::of("find", path))
}

fn refuse(manifest: &Manifest, found: &[Mismatch]) -> Result<(), KernelError> {
    let problems = manifest.unexplained(found);
    if problems.is_empty() { Ok(()) } else { Err(KernelError::Config { path: manifest.path.clone(), problems }) }
}

/// The object that a line of make announces: `  CC      kernel/fork.o`.
fn compiled_object(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let tool = words.next()?;
    (line.starts_with("  ") && matches!(tool, "CC" | "AS")).then(|| words.last().unwrap_or_default())
}

/// How many objects a tree holds.
fn count_objects(folder: &Path) -> Result<u64, FileError> {
    let mut count = 0;
    for entry in file::below(folder) {
        let entry = entry?;
        count += u64::from(!entry.file_type().is_dir() && is_compiled(entry.path()));
    }
    Ok(count)
}

/// Whether a file is an object made from one source file: those that link others together are not counted.
fn is_compiled(path: &Path) -> bool {
    let linked = ["built-in.o", "vmlinux.o"];
    path.extension().is_some_and(|e| e == "o") && path.file_name().is_some_and(|name| linked.iter().all(|l| name != *l))
}

/// Runs objcopy from binutils.
fn objcopy(args: &[&Path]) -> Result<(), CommandError> {
    command::output(|shell| cmd!(shell, "objcopy {args...}")).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_compiling_counts() {
        assert_eq!(compiled_object("  CC      kernel/fork.o"), Some("kernel/fork.o"));
        assert_eq!(compiled_object("  AS [M]  arch/x86/x.o"), Some("arch/x86/x.o"));
        for line in ["  LD      vmlinux", "  HOSTCC  scripts/x", "CC something", "", "  "] {
            assert_eq!(compiled_object(line), None, "{line}");
        }
    }
}
