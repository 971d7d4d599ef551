//! Builds a kernel in a source and object tree that is kept, so the next build compiles only what changed.

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
    fragment::{self, Mismatch, Options, Value},
    manifest::{Manifest, Source},
    record::{BOOT_IMAGE, BTF, CONFIG, SIGNING_KEY, SYMBOLS},
    source,
};
use crate::{
    cache::{Area, Cache, CacheError, Lock},
    command::{self, CommandError},
    file::{self, FileError},
    progress::{Progress, Unit},
};

/// The parts of `make tinyconfig` (`scripts/kconfig/Makefile` and `kernel/configs/tiny.config` in the kernel source),
/// which the fragments override. A part that a kernel does not have is left out.
const TINY_CONFIG: [&str; 3] =
    ["kernel/configs/tiny-base.config", "kernel/configs/tiny.config", "arch/x86/configs/tiny.config"];
/// Variables of the environment that would change a build.
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
/// The key that a build makes if `CONFIG_MODULE_SIG_KEY` names this file: the private key and its certificate, in PEM.
const GENERATED_KEY: &str = "certs/signing_key.pem";
/// The file that identifies the source of a tree.
const IDENTITY: &str = "identity";
/// The file that marks a build as under way, or as not completed; its time is the start of the build.
const UNFINISHED: &str = "unfinished";

/// A source tree with its objects. Nobody else can use them while this value exists.
#[derive(Debug)]
pub(super) struct BuildTree {
    pub(super) source: PathBuf,
    pub(super) objects: PathBuf,
    pub(super) lock: Lock,
    /// Additional variables of make, as `NAME=value`.
    pub(super) variables: Vec<String>,
}

impl BuildTree {
    /// Returns the tree of a kernel, fetched and unpacked unless an earlier build left it. Each kernel has one tree: a
    /// source with another identity replaces it, including its objects.
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
        let folder = lock.entry().path();
        if fs::read_to_string(folder.join(IDENTITY)).ok().as_ref() != Some(&identity) {
            let staging = lock.stage_folder()?;
            for path in ["source", "objects"].map(|name| staging.path().join(name)) {
                fs::create_dir(&path).map_err(FileError::of("create", &path))?;
            }
            let name = manifest.name.as_str();
            source::unpack(&manifest.source, name, cache, &staging.path().join("source"), progress)?;
            file::write(&staging.path().join(IDENTITY), &identity)?;
            staging.publish()?;
        }
        let source = source.unwrap_or_else(|| folder.join("source"));
        let tree = Self { source, objects: folder.join("objects"), lock, variables: Vec::new() };
        tree.backdate_unfinished()?;
        Ok(tree)
    }

    /// Makes make recompile what was edited during a build that did not complete. Make considers an object current if
    /// it is newer than its source. The object of a file that was edited while it was compiled is newer, but has the
    /// old text. So this sets the time of everything that such a build made to the start of the build.
    fn backdate_unfinished(&self) -> Result<(), KernelError> {
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

    /// Records that a build begins.
    pub(super) fn begin(&self) -> Result<(), KernelError> {
        Ok(file::write(&self.unfinished(), "")?)
    }

    /// Records that the objects match the current source.
    pub(super) fn end(&self) -> Result<(), KernelError> {
        let path = self.unfinished();
        Ok(fs::remove_file(&path).map_err(FileError::of("remove", &path))?)
    }

    fn unfinished(&self) -> PathBuf {
        self.lock.entry().path().join(UNFINISHED)
    }

    /// Returns the path of a file of the object tree.
    pub(super) fn object(&self, name: &str) -> PathBuf {
        self.objects.join(name)
    }

    /// Resolves the configuration, and errors if it is not what the manifest asks for.
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

    /// Reports whether the build makes a key, which the kernel then has as a built-in one (`certs/Makefile` in the kernel
    /// source).
    fn makes_key(&self) -> Result<bool, KernelError> {
        let generated = Value::new(&format!("\"{GENERATED_KEY}\""));
        Ok(self.resolved()?.get("CONFIG_MODULE_SIG_KEY") == Some(&generated))
    }

    fn resolved(&self) -> Result<Options, KernelError> {
        let path = self.object(".config");
        fragment::parse(&file::read_text(&path)?).map_err(|source| KernelError::ResolvedConfig { path, source })
    }

    /// Compiles and links; returns how many objects had to be compiled. An interrupted build continues where it
    /// stopped.
    pub(super) fn compile(&self, manifest: &Manifest, progress: &Progress) -> Result<u64, KernelError> {
        self.compile_with(&[], manifest, progress)
    }

    /// [`Self::compile`] with variables of make for this build only.
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

    /// Copies the files that a VM and the analysis of its results need, 30 MB of some gigabytes, and adds the build
    /// record.
    pub(super) fn keep(&self, into: &Path, built: Built<'_>) -> Result<(), KernelError> {
        let vmlinux = self.object("vmlinux");
        objcopy(&[Path::new("--strip-all"), &vmlinux, &into.join(BOOT_IMAGE)])?;
        let section = PathBuf::from(format!(".BTF={}", into.join(BTF).display()));
        objcopy(&[Path::new("--dump-section"), &section, &vmlinux, Path::new("/dev/null")])?;
        file::copy(&self.object(".config"), &into.join(CONFIG))?;
        file::copy(&self.object("System.map"), &into.join(SYMBOLS))?;
        if self.makes_key()? {
            file::copy(&self.object(GENERATED_KEY), &into.join(SIGNING_KEY))?;
        }
        // The output of `uname -r`.
        let release = file::read_text(&self.object("include/config/kernel.release"))?;
        built.record(into, release.trim().to_owned())
    }

    /// Makes a make command that depends only on its arguments. It holds the tree's lock itself: if this process is
    /// killed, nobody starts a second make in the same tree.
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

/// Returns the object that a line of make's output announces: `  CC      kernel/fork.o`.
fn compiled_object(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let tool = words.next()?;
    (line.starts_with("  ") && matches!(tool, "CC" | "AS")).then(|| words.last().unwrap_or_default())
}

/// Counts the objects in a tree.
fn count_objects(folder: &Path) -> Result<u64, FileError> {
    let mut count = 0;
    for entry in file::below(folder) {
        let entry = entry?;
        count += u64::from(!entry.file_type().is_dir() && is_compiled(entry.path()));
    }
    Ok(count)
}

/// Reports whether a file is an object compiled from one source file, not linked from other objects.
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
    fn only_compiled_objects_count() {
        assert_eq!(compiled_object("  CC      kernel/fork.o"), Some("kernel/fork.o"));
        assert_eq!(compiled_object("  AS [M]  arch/x86/x.o"), Some("arch/x86/x.o"));
        for line in ["  LD      vmlinux", "  HOSTCC  scripts/x", "CC something", "", "  "] {
            assert_eq!(compiled_object(line), None, "{line}");
        }
    }
}
