//! A source tree that builds like a kernel, and a test bench to build it on.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use harness_builder::{
    cache::{Area, Cache},
    kernel::{self, Kernel, KernelError, Manifest},
    pins::Pins,
    progress::Progress,
};

/// The cache, the source and the folder of manifests of one test.
pub(crate) struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bench = Self { folder };
        fs::create_dir_all(bench.path("kernels/fragments")).unwrap();
        bench.fragment("CONFIG_BPF_SYSCALL=y\n");
        write_source(&bench.path("linux"));
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn cache(&self) -> Cache {
        Cache::at(self.path("cache")).unwrap()
    }

    pub(crate) fn fragment(&self, text: &str) {
        fs::write(self.path("kernels/fragments/a.config"), text).unwrap();
    }

    /// Replaces the path of the bench in a message, which differs each time.
    pub(crate) fn shown(&self, message: &dyn std::fmt::Display) -> String {
        message.to_string().replace(self.folder.path().to_str().unwrap(), "/BENCH")
    }

    /// Writes a manifest with this source.
    pub(crate) fn manifest(&self, source: &str) -> Manifest {
        let path = self.path("kernels/9.9.toml");
        fs::write(&path, format!("summary = 'stand-in'\nfragments = ['a']\nargs = ['quiet']\n{source}")).unwrap();
        Manifest::read(&path).unwrap()
    }

    /// Writes a manifest whose source is the bench's folder.
    pub(crate) fn tree(&self) -> Manifest {
        self.manifest("[source.tree]\npath = '../linux'\n")
    }

    pub(crate) fn build(&self, manifest: &Manifest) -> Result<Kernel, KernelError> {
        kernel::build(manifest, Pins::default(), &self.cache(), &Progress::silent())
    }

    /// Lists what unfinished and failed builds left.
    pub(crate) fn leftovers(&self) -> Vec<PathBuf> {
        let list = |area| fs::read_dir(self.cache().folder(area).unwrap()).unwrap().map(|entry| entry.unwrap().path());
        let areas = [Area::Kernels, Area::Trees, Area::Downloads];
        let hidden = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with('.');
        areas.into_iter().flat_map(list).filter(hidden).collect()
    }
}

/// Writes the source of the stand-in to a new folder.
pub(crate) fn write_source(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("Makefile"), include_str!("Makefile.stand-in")).unwrap();
    fs::write(folder.join("token.c"), include_str!("token.c")).unwrap();
    fs::write(folder.join("fork.c"), "int fork_count;\n").unwrap();
}

/// Runs a program that must succeed, and returns its output.
pub(crate) fn run(program: &str, args: &[&str], folder: &Path) -> String {
    let output = Command::new(program).args(args).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
