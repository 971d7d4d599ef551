//! The tree that mutants are built in: a copy of a kernel's build tree, in which one file at a time is changed,
//! compiled and restored.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use harness_protocol::name::KernelName;

use super::{
    copy::{copy, files_below, remove_if_there},
    edit::{Edit, Mutant},
    error::MutationError,
    stand_in::StandIn,
};
use crate::{
    cache::{Area, Cache, CacheError, Entry, Part},
    command::CommandError,
    digest::Sha256,
    file::{self, FileError},
    kernel::{
        build::BuildTree,
        built::{Built, Kernel},
        error::KernelError,
        manifest::Manifest,
        record::CONFIG,
        source,
    },
    progress::Progress,
};

/// The version of the build; raised when the same mutant would make another kernel.
const EDITION: &str = "1";
/// The file that identifies the kernel of a copy.
const OF: &str = "of";
/// The folder with the original of the file that is changed at the moment, under its path in the source.
const ASIDE: &str = "aside";
/// The files of a finished link; without them make links again.
const LINKED: [&str; 3] = ["vmlinux", "vmlinux.unstripped", ".tmp_vmlinux1"];

/// A copy of a kernel's build tree. Nobody else can use it while this value exists; the original tree is only read.
#[derive(Debug)]
pub struct MutantTree<'a> {
    manifest: &'a Manifest,
    base: &'a Kernel,
    cache: &'a Cache,
    folder: PathBuf,
    tree: BuildTree,
    progress: Progress,
}

impl<'a> MutantTree<'a> {
    /// Opens the copy for mutants of a kernel, made if needed, and restores what an interrupted build changed in it.
    ///
    /// # Errors
    /// [`MutationError`] if there is no build tree to copy and none can be made, or if the copy cannot be built.
    pub fn open(
        manifest: &'a Manifest,
        base: &'a Kernel,
        cache: &'a Cache,
        progress: &Progress,
    ) -> Result<Self, MutationError> {
        let lock = cache.entry(Area::Trees, &format!("mutants-{}", manifest.name))?.lock(progress)?;
        let folder = lock.entry().path();
        let identity = format!("{EDITION} {}\n", base.key);
        if fs::read_to_string(folder.join(OF)).ok().as_ref() != Some(&identity) {
            progress.note(&format!("copying the build tree of kernel {} for mutants", manifest.name));
            let original = BuildTree::prepare(manifest, &base.record.source, cache, progress)?;
            let staging = lock.stage_folder()?;
            copy(&original, staging.path(), &folder)?;
            source::check_unchanged(manifest, &base.record.source).map_err(KernelError::from)?;
            file::write(&staging.path().join(OF), &identity)?;
            staging.publish()?;
        }
        let [source, objects] = ["source", "objects"].map(|name| folder.join(name));
        let tree = BuildTree { source, objects, lock, variables: Vec::new() };
        let mut tree = Self { manifest, base, cache, folder, tree, progress: progress.clone() };
        tree.put_back()?;
        tree.make_ready(progress)?;
        Ok(tree)
    }

    /// Builds the copy once, unchanged, for its type information, and prepares it for quick links.
    fn make_ready(&mut self, progress: &Progress) -> Result<(), MutationError> {
        let stand_in = StandIn::write(&self.folder).map_err(FileError::of("write a program in", &self.folder))?;
        self.tree.variables = vec![format!("PAHOLE={}", stand_in.program().display())];
        if !stand_in.is_primed() {
            self.tree.configure(self.manifest)?;
            let [ours, theirs] = [self.tree.object(".config"), self.base.dir.join(CONFIG)];
            if file::read(&ours)? != file::read(&theirs)? {
                return Err(MutationError::OtherKernel { path: self.folder.clone(), kernel: self.base.name.clone() });
            }
            for path in LINKED.map(|name| self.tree.object(name)) {
                remove_if_there(&path)?;
            }
            self.tree.compile(self.manifest, progress)?;
        }
        self.tree.variables.push("LD=ld --strip-debug".to_owned());
        Ok(())
    }

    /// Checks that a mutant fits this kernel's source.
    ///
    /// # Errors
    /// [`MutationError::Misfit`] if not.
    pub fn check(&self, mutant: &Mutant, edit: &Edit) -> Result<(), MutationError> {
        self.changed(mutant, edit).map(drop)
    }

    /// Returns the kernel of a mutant, built if needed.
    ///
    /// # Errors
    /// [`MutationError::DoesNotCompile`] if it does not compile, or another error.
    pub fn build(&self, mutant: &Mutant, edit: &Edit) -> Result<Kernel, MutationError> {
        if let Some(kernel) = find_built(self.manifest, self.base, mutant, edit, self.cache) {
            return Ok(kernel);
        }
        // Shows what is damaged.
        entry(self.base, mutant, self.cache)?.intact(Part::Whole, &self.progress)?;
        let started = Instant::now();
        let text = self.changed(mutant, edit)?;
        self.set_aside(&edit.file)?;
        let compiled = self.compile(mutant, &edit.file, &text);
        let kept = match compiled {
            Ok(objects_compiled) => self.keep(mutant, edit, objects_compiled, started),
            Err(error) => Err(error),
        };
        self.put_back()?;
        kept
    }

    fn of(&self) -> String {
        format!("kernel {}", self.base.name)
    }

    /// Returns the changed text of the file.
    fn changed(&self, mutant: &Mutant, edit: &Edit) -> Result<String, MutationError> {
        let path = self.tree.source.join(&edit.file);
        edit.apply(&file::read_text(&path)?).map_err(|misfit| MutationError::Misfit {
            mutant: mutant.name.clone(),
            of: self.of(),
            file: edit.file.clone(),
            source: misfit.into(),
        })
    }

    fn compile(&self, mutant: &Mutant, changed: &Path, text: &str) -> Result<u64, MutationError> {
        file::write(&self.tree.source.join(changed), text)?;
        // `uname -v` of a mutant names it.
        let version = format!("KBUILD_BUILD_VERSION=mutant-{}", mutant.name);
        match self.tree.compile_with(&[version], self.manifest, &Progress::silent()) {
            Err(KernelError::Command(source @ CommandError::Failed { .. })) => {
                Err(MutationError::DoesNotCompile { mutant: mutant.name.clone(), of: self.of(), source })
            }
            other => Ok(other?),
        }
    }

    fn keep(
        &self,
        mutant: &Mutant,
        edit: &Edit,
        objects_compiled: u64,
        started: Instant,
    ) -> Result<Kernel, MutationError> {
        let lock = entry(self.base, mutant, self.cache)?.lock(&Progress::silent())?;
        let staging = lock.stage_folder()?;
        let built = Built {
            manifest: self.manifest,
            source: identity(self.base, mutant, edit),
            toolchain: self.base.record.toolchain.clone(),
            objects_compiled,
            started,
        };
        self.tree.keep(staging.path(), built)?;
        let dir = staging.publish()?;
        let key = key(self.base, mutant, edit);
        let load = Kernel::load(self.manifest, &key, dir);
        Ok(load.map_err(|damage| KernelError::Damaged(damage, self.base.name.clone()))?)
    }

    /// Moves the original of a file away. It may be a hard link to the file in the original tree, so it is never
    /// written to.
    fn set_aside(&self, name: &Path) -> Result<(), MutationError> {
        let aside = self.folder.join(ASIDE).join(name);
        let folder = aside.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder).map_err(FileError::of("create", folder))?;
        let path = self.tree.source.join(name);
        Ok(fs::rename(&path, &aside).map_err(FileError::of("move", &path))?)
    }

    /// Restores the original as a copy with the current time: what was compiled from the changed file is older.
    fn put_back(&self) -> Result<(), MutationError> {
        let aside = self.folder.join(ASIDE);
        for path in files_below(&aside)? {
            let target = self.tree.source.join(path.strip_prefix(&aside).unwrap_or(&path));
            remove_if_there(&target)?;
            file::write(&target, file::read(&path)?)?;
            fs::remove_file(&path).map_err(FileError::of("remove", &path))?;
        }
        Ok(())
    }
}

/// Returns the kernel of a mutant, if it was built from this base and is not damaged.
pub fn find_built(manifest: &Manifest, base: &Kernel, mutant: &Mutant, edit: &Edit, cache: &Cache) -> Option<Kernel> {
    let dir = entry(base, mutant, cache).ok()?.undamaged(Part::Whole).ok()??;
    let kernel = Kernel::load(manifest, &key(base, mutant, edit), dir).ok()?;
    (kernel.record.source == identity(base, mutant, edit)).then_some(kernel)
}

/// Returns the cache entry of a mutant, apart from other kernels. A new build of the same mutant replaces an older one.
fn entry(base: &Kernel, mutant: &Mutant, cache: &Cache) -> Result<Entry, CacheError> {
    cache.entry(Area::Mutants, &entry_name(&base.name, mutant))
}

/// Returns the name of a mutant in the cache.
pub(super) fn entry_name(base: &KernelName, mutant: &Mutant) -> String {
    format!("{base}-{}", mutant.name)
}

/// Returns the key of a mutant, which differs from the key of every other kernel.
fn key(base: &Kernel, mutant: &Mutant, edit: &Edit) -> String {
    let parts = [EDITION.as_bytes(), base.key.as_bytes()];
    let sum = Sha256::of_parts(parts.into_iter().chain([edit.sum().to_string().as_bytes()]));
    format!("mutant-{}-{}", mutant.name, sum.short())
}

fn identity(base: &Kernel, mutant: &Mutant, edit: &Edit) -> String {
    format!("{} of {}", key(base, mutant, edit), base.record.source)
}
