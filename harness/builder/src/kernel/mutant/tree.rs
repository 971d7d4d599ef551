//! Where mutants are made: a copy of a kernel's build tree, in which one file at a time is changed, compiled and put
//! back.

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
    cache::{Area, Cache, CacheError, Entry},
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

/// Raised when the same mutant would give another kernel.
const RECIPE: &str = "1";
/// Says which kernel a copy is of.
const OF: &str = "of";
/// Where the file that is changed at the moment waits, under its path in the source.
const ASIDE: &str = "aside";
/// What a finished link leaves: without it the next one is made afresh.
const LINKED: [&str; 3] = ["vmlinux", "vmlinux.unstripped", ".tmp_vmlinux1"];

/// A copy of a kernel's build tree. Nobody else uses it while this exists; the tree it was copied from is only read.
#[derive(Debug)]
pub struct MutantTree<'a> {
    manifest: &'a Manifest,
    base: &'a Kernel,
    cache: &'a Cache,
    place: PathBuf,
    tree: BuildTree,
}

impl<'a> MutantTree<'a> {
    /// The copy for mutants of this kernel, made if it is not there. What an interrupted build changed in it is put back.
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
        let place = lock.entry().path();
        let identity = format!("{RECIPE} {}\n", base.key);
        if fs::read_to_string(place.join(OF)).ok().as_ref() != Some(&identity) {
            progress.note(&format!("copying the build tree of kernel {} for mutants", manifest.name));
            let original = BuildTree::prepare(manifest, &base.record.source, cache, progress)?;
            let staging = lock.stage_folder()?;
            copy(&original, staging.path(), &place)?;
            source::check_unchanged(manifest, &base.record.source).map_err(KernelError::from)?;
            file::write(&staging.path().join(OF), &identity)?;
            staging.publish()?;
        }
        let [source, objects] = ["source", "objects"].map(|name| place.join(name));
        let tree = BuildTree { source, objects, lock, variables: Vec::new() };
        let mut tree = Self { manifest, base, cache, place, tree };
        tree.put_back()?;
        tree.make_ready(progress)?;
        Ok(tree)
    }

    /// Builds the copy as it is, once, for its type information, and sets it up for quick links.
    fn make_ready(&mut self, progress: &Progress) -> Result<(), MutationError> {
        let stand_in = StandIn::write(&self.place).map_err(FileError::of("write a program in", &self.place))?;
        self.tree.variables = vec![format!("PAHOLE={}", stand_in.program().display())];
        if !stand_in.is_primed() {
            self.tree.configure(self.manifest)?;
            let [ours, theirs] = [self.tree.object(".config"), self.base.dir.join(CONFIG)];
            if file::read(&ours)? != file::read(&theirs)? {
                return Err(MutationError::OtherKernel { path: self.place.clone(), kernel: self.base.name.clone() });
            }
            for path in LINKED.map(|name| self.tree.object(name)) {
                remove_if_there(&path)?;
            }
            self.tree.compile(self.manifest, progress)?;
        }
        self.tree.variables.push("LD=ld --strip-debug".to_owned());
        Ok(())
    }

    /// Whether a mutant fits this kernel's source.
    ///
    /// # Errors
    /// [`MutationError::EditMismatch`] if not.
    pub fn check(&self, mutant: &Mutant, edit: &Edit) -> Result<(), MutationError> {
        self.changed(mutant, edit).map(drop)
    }

    /// The kernel with this bug, built unless it was before.
    ///
    /// # Errors
    /// [`MutationError::DoesNotCompile`] if it does not; otherwise what went wrong.
    pub fn build(&self, mutant: &Mutant, edit: &Edit) -> Result<Kernel, MutationError> {
        if let Some(kernel) = find_built(self.manifest, self.base, mutant, edit, self.cache) {
            return Ok(kernel);
        }
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

    /// The text of the file with the bug.
    fn changed(&self, mutant: &Mutant, edit: &Edit) -> Result<String, MutationError> {
        let path = self.tree.source.join(&edit.file);
        edit.apply(&file::read_text(&path)?).map_err(|misfit| MutationError::Misfit {
            mutant: mutant.name.clone(),
            kernel: self.base.name.clone(),
            file: edit.file.clone(),
            source: misfit.into(),
        })
    }

    fn compile(&self, mutant: &Mutant, changed: &Path, text: &str) -> Result<u64, MutationError> {
        file::write(&self.tree.source.join(changed), text)?;
        // `uname -v` of such a kernel says what it is.
        let version = format!("KBUILD_BUILD_VERSION=mutant-{}", mutant.name);
        match self.tree.compile_with(&[version], self.manifest, &Progress::silent()) {
            Err(KernelError::Command(source @ CommandError::Failed { .. })) => Err(MutationError::DoesNotCompile {
                mutant: mutant.name.clone(),
                kernel: self.base.name.clone(),
                source,
            }),
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

    /// Moves a file out of the way of a changed one. It may be the very file of the tree that was copied (a hard link),
    /// so it is never written to.
    fn set_aside(&self, name: &Path) -> Result<(), MutationError> {
        let aside = self.place.join(ASIDE).join(name);
        let folder = aside.parent().unwrap_or(&self.place);
        fs::create_dir_all(folder).map_err(FileError::of("create", folder))?;
        let path = self.tree.source.join(name);
        Ok(fs::rename(&path, &aside).map_err(FileError::of("move", &path))?)
    }

    /// Puts back what was set aside, as a copy with the time of now: what was compiled of the changed file is older.
    fn put_back(&self) -> Result<(), MutationError> {
        let aside = self.place.join(ASIDE);
        for path in files_below(&aside)? {
            let target = self.tree.source.join(path.strip_prefix(&aside).unwrap_or(&path));
            remove_if_there(&target)?;
            file::write(&target, file::read(&path)?)?;
            fs::remove_file(&path).map_err(FileError::of("remove", &path))?;
        }
        Ok(())
    }
}

/// The kernel with this bug if it was built of this very base.
pub fn find_built(manifest: &Manifest, base: &Kernel, mutant: &Mutant, edit: &Edit, cache: &Cache) -> Option<Kernel> {
    let dir = entry(base, mutant, cache).ok()?.existing()?;
    let kernel = Kernel::load(manifest, &key(base, mutant, edit), dir).ok()?;
    (kernel.record.source == identity(base, mutant, edit)).then_some(kernel)
}

/// The place of a kernel with a bug: never among the real ones. An older build of the same mutant is replaced.
fn entry(base: &Kernel, mutant: &Mutant, cache: &Cache) -> Result<Entry, CacheError> {
    cache.entry(Area::Mutants, &entry_name(&base.name, mutant))
}

/// The name of a kernel with a bug in the cache.
pub(super) fn entry_name(base: &KernelName, mutant: &Mutant) -> String {
    format!("{base}-{}", mutant.name)
}

/// What a kernel with a bug is known by, where no real kernel's key can be.
fn key(base: &Kernel, mutant: &Mutant, edit: &Edit) -> String {
    let parts = [RECIPE.as_bytes(), base.key.as_bytes()];
    let sum = Sha256::of_parts(parts.into_iter().chain([edit.sum().to_string().as_bytes()]));
    format!("mutant-{}-{}", mutant.name, sum.short())
}

fn identity(base: &Kernel, mutant: &Mutant, edit: &Edit) -> String {
    format!("{} of {}", key(base, mutant, edit), base.record.source)
}
