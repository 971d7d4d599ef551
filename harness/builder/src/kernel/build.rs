//! Makes a kernel in a source and object tree that is kept, so the next build compiles only what changed.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use super::{
    KernelError,
    fragment::{self, Mismatch, Options},
    manifest::{Manifest, Source},
    source,
};
use crate::{
    cache::{Area, Cache, CacheError, Lock},
    command::{self, CommandError},
    file::FileError,
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
    /// kernel: another source replaces it, with its objects.
    pub(super) fn prepare(manifest: &Manifest, cache: &Cache, progress: &Progress) -> Result<Self, KernelError> {
        let (identity, source) = match &manifest.source {
            Source::Tree(tree) => (tree.path.display().to_string(), Some(absolute(&tree.path)?)),
            other => (source::identity(other)?, None),
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
            let path = staging.path().join(IDENTITY);
            fs::write(&path, &identity).map_err(FileError::of("write", &path))?;
            staging.publish()?;
        }
        let source = source.unwrap_or_else(|| place.join("source"));
        Ok(Self { source, objects: place.join("objects"), lock, variables: Vec::new() })
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
        fs::write(&wanted, text).map_err(FileError::of("write", &wanted))?;
        let mut make = self.make("allnoconfig")?;
        let warnings =
            command::warnings(make.env("KCONFIG_ALLCONFIG", &wanted).env("KCONFIG_WARN_UNKNOWN_SYMBOLS", "1"))?;
        command::warnings(&mut self.make("olddefconfig")?)?;
        let found = fragment::mismatches(&manifest.options, &self.resolved()?, &fragment::absent(&warnings));
        refuse(manifest, &found)
    }

    fn resolved(&self) -> Result<Options, KernelError> {
        let path = self.object(".config");
        let text = fs::read_to_string(&path).map_err(FileError::of("read", &path))?;
        fragment::parse(&text).map_err(|source| KernelError::ResolvedConfig { path, source })
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
        let before = count_objects(&self.objects).map_err(FileError::of("list", &self.objects))?;
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

    /// What `uname -r` will say.
    pub(super) fn release(&self) -> Result<String, KernelError> {
        let path = self.object("include/config/kernel.release");
        let text = fs::read_to_string(&path).map_err(FileError::of("read", &path))?;
        Ok(text.trim().to_owned())
    }

    /// A run of make that depends on nothing but its arguments. It holds the tree's lock itself: if this process is
    /// killed, nobody starts a second make beside it.
    fn make(&self, target: &str) -> Result<Command, CacheError> {
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
fn count_objects(folder: &Path) -> io::Result<u64> {
    let mut count = 0;
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            } else if is_compiled(&entry.path()) {
                count += 1;
            }
        }
    }
    Ok(count)
}

/// Whether a file is an object made from one source file: those that link others together are not counted.
fn is_compiled(path: &Path) -> bool {
    let linked = ["built-in.o", "vmlinux.o"];
    path.extension().is_some_and(|e| e == "o") && path.file_name().is_some_and(|name| linked.iter().all(|l| name != *l))
}

/// Runs objcopy from binutils.
pub(super) fn objcopy(args: &[&Path]) -> Result<(), CommandError> {
    command::output(Command::new("objcopy").args(args)).map(drop)
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
