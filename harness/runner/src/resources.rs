//! The project's resources: kernels, images, the guest program, and the cache they are built into.

use std::sync::Mutex;

use harness_builder::{
    cache::{Area, Cache, CacheError},
    error_chain::chain,
    guest_program::{
        self, GuestProgram, GuestProgramError,
        guard::{self, GuardProgram},
    },
    image::{self, Image, ImageError},
    initramfs::InitramfsError,
    kernel::{self, KernelError, manifest::Source, running},
    objects::{self, Objects, ObjectsError},
    pins::{self, Pins},
    progress::Progress,
    project::{NoProject, Project},
};
use harness_protocol::name::{Environment, ImageName, KernelName};
use harness_snapshot::owner::Lineage;
use thiserror::Error;

use crate::{
    capacity::{Fleet, Jobs, lock},
    guard::RunGuard,
    store::{Freshness, RunId, Store, StoreError},
};

/// Why something that scenarios need is not available.
#[derive(Debug, Error)]
pub enum ResourcesError {
    /// The project's folder was not found.
    #[error(transparent)]
    Project(#[from] NoProject),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// There is no kernel with that name, or its manifest is invalid.
    #[error(transparent)]
    Kernels(#[from] kernel::catalogue::CatalogueError),
    /// There is no image with that name, or its manifest is invalid.
    #[error(transparent)]
    Images(#[from] image::catalogue::CatalogueError),
    /// A kernel cannot be built.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// An image cannot be built.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The guest program cannot be built.
    #[error(transparent)]
    GuestProgram(#[from] GuestProgramError),
    /// The objects that scenarios load cannot be compiled.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// A kernel's initramfs cannot be built.
    #[error(transparent)]
    Initramfs(#[from] InitramfsError),
    /// The running kernel cannot be used.
    #[error(transparent)]
    Running(#[from] running::RunningError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A kernel's release does not start with its version.
    #[error(
        "kernel {kernel} has the release `{release}`, which does not start with MAJOR.MINOR; fix the version in its source"
    )]
    Release {
        /// The kernel.
        kernel: KernelName,
        /// The output of `uname -r`.
        release: String,
    },
    /// No prebuilt kernel can take the place of one that is compiled.
    #[error(
        "no prebuilt kernel takes the place of kernel {0}; leave out `--prebuilt`, or name one with `prebuilt` in \
         kernels/{0}.toml"
    )]
    NoPrebuilt(KernelName),
    /// A kernel lacks options that an image needs.
    #[error(
        "image {image} needs options that kernel {kernel} was built without: {}; use another kernel, or add them to a \
         fragment of kernels/{kernel}.toml", missing.join(", ")
    )]
    Config {
        /// The kernel.
        kernel: KernelName,
        /// The image.
        image: ImageName,
        /// The missing options.
        missing: Vec<String>,
    },
    /// Something is not built, and building was not requested.
    #[error("{what} is not built; run `{} {command}` first", harness_program::NAME)]
    NotBuilt {
        /// What is not built.
        what: String,
        /// The command that builds it.
        command: String,
    },
}

impl ResourcesError {
    /// Returns whether an image cannot be built because its pinned packages are no longer on the mirror. Nothing is
    /// wrong here: the distribution moved on.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Image(error) if error.is_gone())
    }
}

/// The project's kernels and images, the cache, and the outcome store.
#[derive(Debug)]
pub struct Resources {
    pub(crate) cache: Cache,
    pub(crate) progress: Progress,
    pub(crate) store: Store,
    /// What to do about pinned versions that have left the mirror.
    pub(crate) pins: Pins,
    /// All VMs of this process.
    pub(crate) fleet: Fleet,
    pub(crate) project: Project,
    pub(crate) kernels: kernel::catalogue::Catalogue,
    pub(crate) images: image::catalogue::Catalogue,
    /// The guard that all scenarios are under.
    pub(crate) run_guard: Option<RunGuard>,
    /// Whether some scenario needs the guard's program.
    pub(crate) needs_guard: bool,
    /// What all environments share.
    pub(crate) shared: Shared,
}

/// Programs and objects that are found once for all environments: whoever finds them compares their files with their sums.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) guest: Once<GuestProgram>,
    pub(crate) objects: Once<Objects>,
    pub(crate) guard: Once<GuardProgram>,
}

/// A value that is kept once it is there.
#[derive(Debug)]
pub(crate) struct Once<T>(Mutex<Option<T>>);

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Once<T> {
    /// Returns the value, which is found or built if it is not there yet.
    ///
    /// # Errors
    /// That of `build`; then nothing is kept.
    pub(crate) fn get<E>(&self, build: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let built = self.find(|| build().map(Some))?;
        Ok(built.expect("it was built, or there would be an error"))
    }

    /// Returns the value if it is there or is found.
    ///
    /// # Errors
    /// That of `find`.
    pub(crate) fn find<E>(&self, find: impl FnOnce() -> Result<Option<T>, E>) -> Result<Option<T>, E> {
        let mut kept = lock(&self.0);
        if kept.is_none() {
            *kept = find()?;
        }
        Ok(kept.clone())
    }
}

impl Resources {
    /// Opens the resources of a project.
    ///
    /// # Errors
    /// [`ResourcesError`] if its folders or the cache cannot be used.
    pub fn open(project: Project, freshness: Freshness, progress: Progress) -> Result<Self, ResourcesError> {
        let cache = Cache::from_env()?;
        let store = Store::new(cache.folder(Area::Store)?, RunId::current(), freshness).with_progress(progress.clone());
        Self::in_cache(project, cache, store, progress)
    }

    /// Opens the resources of a project with this cache and store.
    pub(crate) fn in_cache(
        project: Project,
        cache: Cache,
        store: Store,
        progress: Progress,
    ) -> Result<Self, ResourcesError> {
        Ok(Self {
            cache,
            progress,
            store,
            pins: Pins::default(),
            fleet: Fleet::of(Jobs::default()),
            kernels: kernel::catalogue::Catalogue::of_folder(&project.kernels())?,
            images: image::catalogue::Catalogue::of_folder(&project.images())?,
            project,
            run_guard: None,
            needs_guard: false,
            shared: Shared::default(),
        })
    }

    /// Returns the resources with another maximum of VMs at once.
    #[must_use]
    pub fn with_jobs(self, jobs: Jobs) -> Self {
        Self { fleet: Fleet::of(jobs), ..self }
    }

    /// Returns the resources with another policy for pinned versions that have left the mirror.
    #[must_use]
    pub fn with_pins(self, pins: Pins) -> Self {
        Self { pins, ..self }
    }

    /// Returns the resources for scenarios of which `any` have a guard of their own, or all are under `run_guard`.
    #[must_use]
    pub fn with_guard(self, run_guard: Option<RunGuard>, any: bool) -> Self {
        Self { run_guard, needs_guard: any || run_guard.is_some(), ..self }
    }

    /// Returns the resources with another store.
    #[must_use]
    pub fn with_store(self, store: Store) -> Self {
        Self { store, ..self }
    }

    /// Returns the resources for one more run, which reuses no outcome of the runs before.
    #[must_use]
    pub fn again(self) -> Self {
        Self { store: self.store.again(), ..self }
    }

    /// Returns the outcome store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Returns the project.
    pub fn project(&self) -> &Project {
        &self.project
    }

    /// Returns the cache.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Returns the progress display.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Returns the kernels with these names, without duplicates; `all` selects every one that has a manifest, and a
    /// name with `*`, `?` or `[` every one that it matches.
    ///
    /// # Errors
    /// [`ResourcesError::Kernels`], with a suggestion, if a name matches none.
    pub fn kernels<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<Vec<KernelName>, ResourcesError> {
        Ok(self.kernels.named(names)?.into_iter().map(|manifest| manifest.name).collect())
    }

    /// Returns the default kernels: those whose manifests have `default = true`.
    ///
    /// # Errors
    /// [`ResourcesError::Kernels`] if a manifest is invalid.
    pub fn default_kernels(&self) -> Result<Vec<KernelName>, ResourcesError> {
        Ok(self.kernels.defaults()?.into_iter().map(|manifest| manifest.name).collect())
    }

    /// Returns these kernels, each that would be compiled replaced by the prebuilt one that its manifest names, without
    /// duplicates.
    ///
    /// # Errors
    /// [`ResourcesError::Kernels`] if a manifest is invalid, and [`ResourcesError::NoPrebuilt`] if one names none.
    pub fn prebuilt(&self, kernels: &[KernelName]) -> Result<Vec<KernelName>, ResourcesError> {
        let mut found: Vec<KernelName> = Vec::new();
        for kernel in kernels {
            let quick = if kernel.as_str() == running::NAME { kernel.clone() } else { self.prebuilt_for(kernel)? };
            if !found.contains(&quick) {
                found.push(quick);
            }
        }
        Ok(found)
    }

    fn prebuilt_for(&self, kernel: &KernelName) -> Result<KernelName, ResourcesError> {
        let manifest = self.kernels.kernel(kernel)?;
        match (manifest.source, manifest.prebuilt) {
            (Source::Prebuilt(_), _) => Ok(manifest.name),
            (_, Some(prebuilt)) => Ok(prebuilt),
            (_, None) => Err(ResourcesError::NoPrebuilt(manifest.name)),
        }
    }

    /// Returns the images with these names, without duplicates; `all` selects every one that has a manifest, and a name
    /// with `*`, `?` or `[` every one that it matches.
    ///
    /// # Errors
    /// [`ResourcesError::Images`], with a suggestion, if a name matches none.
    pub fn images<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<Vec<ImageName>, ResourcesError> {
        Ok(self.images.named(names)?.into_iter().map(|manifest| manifest.name).collect())
    }

    /// Returns the default images: those whose manifests have `default = true`. The first is for scenarios that do not
    /// ask for an image.
    ///
    /// # Errors
    /// [`ResourcesError::Images`] if a manifest is invalid.
    pub fn default_images(&self) -> Result<Vec<ImageName>, ResourcesError> {
        Ok(self.images.defaults()?.into_iter().map(|manifest| manifest.name).collect())
    }

    /// Returns the image for VM units if none is named: the default image with the newest systemd, if there is one.
    ///
    /// # Errors
    /// [`ResourcesError::Images`] if a manifest is invalid.
    pub fn image_for_units(&self) -> Result<Option<ImageName>, ResourcesError> {
        Ok(self.images.for_units()?.map(|manifest| manifest.name))
    }

    /// Returns the version of an image's systemd, such as 262; `None` if it has no systemd.
    ///
    /// # Errors
    /// [`ResourcesError::Images`] if there is no image with this name.
    pub fn systemd_of(&self, image: &ImageName) -> Result<Option<u32>, ResourcesError> {
        Ok(self.images.get(image.as_str())?.systemd())
    }

    /// Returns an image, if it is built.
    ///
    /// # Errors
    /// [`ResourcesError`] if there is no image with that name, or if the cache cannot be read.
    pub fn built_image(&self, image: &ImageName) -> Result<Option<Image>, ResourcesError> {
        Ok(image::find_built(&self.images.get(image.as_str())?, &self.cache)?)
    }

    /// Returns an image; builds it if necessary. If its packages have left the mirror, the store records that until the
    /// image is built.
    ///
    /// # Errors
    /// [`ResourcesError`] if it cannot be built.
    pub fn build_image(&self, image: &ImageName) -> Result<Image, ResourcesError> {
        let manifest = self.images.get(image.as_str())?;
        let built = image::build(&manifest, self.pins, &self.cache, &self.progress);
        self.record_gone(&manifest, built.as_ref().err())?;
        Ok(built?)
    }

    /// Records the result of building an image.
    fn record_gone(&self, manifest: &image::Manifest, error: Option<&ImageError>) -> Result<(), StoreError> {
        let key = image::key(manifest);
        match error {
            None => self.store.forget_gone(&manifest.name, &key),
            Some(error) if error.is_gone() => self.store.remember_gone(&manifest.name, &key, chain(error)),
            Some(_) => Ok(()),
        }
    }

    /// Returns why an image cannot be built, if it is not built and [`Self::build_image`] recorded that its packages
    /// have left the mirror, here or on a machine whose store was merged.
    ///
    /// # Errors
    /// [`ResourcesError`] if there is no image with that name, or if the cache cannot be read.
    pub fn gone_image(&self, image: &ImageName) -> Result<Option<String>, ResourcesError> {
        if self.built_image(image)?.is_some() {
            return Ok(None);
        }
        let record = self.store.gone(image, &image::key(&self.images.get(image.as_str())?));
        Ok(record.map(|record| why_gone(image, &record.reason)))
    }

    /// Describes what built kernels and images have instead of pinned versions that have left the mirror: a line for each
    /// kernel, except for variants, and each image.
    ///
    /// # Errors
    /// [`ResourcesError`] if a manifest is invalid, or if the cache cannot be read.
    pub fn replaced_pins(&self) -> Result<Vec<String>, ResourcesError> {
        let mut lines = Vec::new();
        for manifest in self.kernels.all()?.iter().filter(|manifest| manifest.base.is_none()) {
            let replaced = kernel::find_built(manifest, &self.cache)?.map(|kernel| kernel.replaced).unwrap_or_default();
            lines.push((format!("kernel {}", manifest.name), replaced));
        }
        for manifest in self.images.named(["all"])? {
            let replaced = image::find_built(&manifest, &self.cache)?.map(|image| image.replaced).unwrap_or_default();
            lines.push((format!("image {}", manifest.name), replaced));
        }
        lines.retain(|(_, replaced)| !replaced.is_empty());
        Ok(lines.iter().map(|(of, replaced)| pins::described(of, replaced)).collect())
    }

    /// Builds what all environments share: the guest program and the objects that scenarios load.
    ///
    /// # Errors
    /// [`ResourcesError`] if one cannot be built.
    pub fn build_shared(&self) -> Result<(GuestProgram, Objects), ResourcesError> {
        let (root, cache, progress) = (self.project.root(), &self.cache, &self.progress);
        let guest = self.shared.guest.get(|| guest_program::build(root, cache, progress))?;
        Ok((guest, self.shared.objects.get(|| objects::build(&self.project.objects(), cache, progress))?))
    }

    /// Returns the guard's program, built if a scenario needs it.
    ///
    /// # Errors
    /// [`ResourcesError::GuestProgram`] if it cannot be built.
    pub(crate) fn guard(&self) -> Result<Option<GuardProgram>, ResourcesError> {
        if !self.needs_guard {
            return Ok(None);
        }
        let build = || guard::build(self.project.root(), &self.cache, &self.progress);
        Ok(Some(self.shared.guard.get(build)?))
    }

    /// Pulls a kernel that is not built, if it is shared at the place that the environment names. What cannot be read is
    /// reported when it is built.
    pub(crate) fn pull_if_shared(&self, kernel: &KernelName) {
        if let Ok(manifest) = self.kernels.kernel(kernel) {
            let _ = kernel::pull_if_shared(&manifest, &self.cache, &self.progress);
        }
    }

    /// Returns a kernel if it is built.
    ///
    /// # Errors
    /// [`ResourcesError`] if there is no such kernel, if its manifest is invalid, or if the cache cannot be read.
    pub fn built_kernel(&self, kernel: &KernelName) -> Result<Option<kernel::Kernel>, ResourcesError> {
        Ok(kernel::find_built(&self.kernels.kernel(kernel)?, &self.cache)?)
    }

    /// Returns the manifest of a kernel, with the pins that its build has.
    ///
    /// # Errors
    /// [`ResourcesError`] if there is none, if it is invalid, or if the cache cannot be read.
    pub fn manifest(&self, kernel: &KernelName) -> Result<kernel::Manifest, ResourcesError> {
        Ok(kernel::in_use(self.kernels.kernel(kernel)?, &self.cache)?)
    }

    /// Returns whose snapshots apply to an environment.
    ///
    /// # Errors
    /// [`ResourcesError::Kernels`] if there is no such kernel, or if its manifest is invalid.
    pub fn lineage(&self, environment: &Environment) -> Result<Lineage, ResourcesError> {
        Ok(Lineage { environment: environment.clone(), alike: self.kernels.kernel(&environment.kernel)?.alike })
    }
}

/// Returns why scenarios of an image are skipped. `xtask/not-run.toml` recognizes skips by these words.
pub(crate) fn why_gone(image: &ImageName, reason: &str) -> String {
    format!("image {image} cannot be built: {reason}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_not_looked_for_again_and_a_failure_is_not_kept() {
        let once = Once::default();
        assert_eq!(once.find(|| Ok::<Option<u8>, &str>(None)), Ok(None));
        assert_eq!(once.get(|| Err("no disk")), Err("no disk"));
        assert_eq!(once.get(|| Ok::<u8, &str>(7)), Ok(7));
        assert_eq!(once.get(|| Err("it looked again")), Ok(7));
        assert_eq!(once.find(|| Err("it looked again")), Ok(Some(7)));
    }
}
