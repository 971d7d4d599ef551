//! What the project has: kernels, images, the guest program, and the cache they are built into.

use harness_builder::{
    cache::{Area, Cache, CacheError},
    guest_program::{self, GuestProgram, GuestProgramError},
    image::{self, Image, ImageError},
    initramfs::InitramfsError,
    kernel::{self, KernelError, running},
    objects::{self, Objects, ObjectsError},
    progress::Progress,
    project::{NoProject, Project},
};
use harness_protocol::name::{Environment, ImageName, KernelName};
use harness_snapshot::owner::Lineage;
use thiserror::Error;

use crate::{
    capacity::{Fleet, Jobs},
    store::{Freshness, RunId, Store},
};

/// Why something that scenarios run on is not to be had.
#[derive(Debug, Error)]
pub enum ResourcesError {
    /// The project's folder is not known.
    #[error(transparent)]
    Project(#[from] NoProject),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// There is no kernel of that name, or its manifest is wrong.
    #[error(transparent)]
    Kernels(#[from] kernel::catalogue::CatalogueError),
    /// There is no image of that name, or its recipe is wrong.
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
    /// What a kernel is started with cannot be put together.
    #[error(transparent)]
    Initramfs(#[from] InitramfsError),
    /// The running kernel cannot be used.
    #[error(transparent)]
    Running(#[from] running::RunningError),
    /// A kernel's release does not tell its version.
    #[error(
        "kernel {kernel} calls its release `{release}`, which does not begin with MAJOR.MINOR; mend its source's version"
    )]
    Release {
        /// Which kernel.
        kernel: KernelName,
        /// What `uname -r` says in it.
        release: String,
    },
    /// A kernel cannot boot an image.
    #[error(
        "the image {image} takes options that kernel {kernel} was built without: {}; name another kernel, or add them to a \
         fragment of kernels/{kernel}.toml", missing.join(", ")
    )]
    Config {
        /// Which kernel.
        kernel: KernelName,
        /// Which image.
        image: ImageName,
        /// The options.
        missing: Vec<String>,
    },
    /// Something would have to be built first, and nobody asked for that.
    #[error("{what} is not built; run `{} {command}` first", harness_program::NAME)]
    NotBuilt {
        /// What.
        what: String,
        /// What builds it.
        command: String,
    },
}

impl ResourcesError {
    /// Whether an image's pinned packages have left the mirror: nothing is wrong here, the suite moved on.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Image(error) if error.is_gone())
    }
}

/// What the project has, and where its outcomes are kept.
#[derive(Debug)]
pub struct Resources {
    pub(crate) cache: Cache,
    pub(crate) progress: Progress,
    pub(crate) store: Store,
    /// All VMs that run at a time.
    pub(crate) fleet: Fleet,
    pub(crate) project: Project,
    pub(crate) kernels: kernel::catalogue::Catalogue,
    pub(crate) images: image::catalogue::Catalogue,
}

impl Resources {
    /// What this project has.
    ///
    /// # Errors
    /// [`ResourcesError`] if its folders or the cache cannot be used.
    pub fn open(project: Project, freshness: Freshness, progress: Progress) -> Result<Self, ResourcesError> {
        let cache = Cache::from_env()?;
        let store = Store::new(cache.folder(Area::Store)?, RunId::current(), freshness);
        let kernels = kernel::catalogue::Catalogue::of_folder(&project.kernels())?;
        let images = image::catalogue::Catalogue::of_folder(&project.images())?;
        Ok(Self { cache, progress, store, fleet: Fleet::of(Jobs::default()), project, kernels, images })
    }

    /// The same with so many VMs at a time at most.
    #[must_use]
    pub fn with_jobs(self, jobs: Jobs) -> Self {
        Self { fleet: Fleet::of(jobs), ..self }
    }

    /// The same with outcomes kept elsewhere.
    #[must_use]
    pub fn with_store(self, store: Store) -> Self {
        Self { store, ..self }
    }

    /// Where outcomes are kept.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The project.
    pub fn project(&self) -> &Project {
        &self.project
    }

    /// The cache.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Where long work is shown.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The kernels of these names, each once; `all` stands for every one that has a manifest, and a name with `*`, `?` or
    /// `[` for every one it matches.
    ///
    /// # Errors
    /// [`ResourcesError::Kernels`] with a suggestion if there is none of a name.
    pub fn kernels<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<Vec<KernelName>, ResourcesError> {
        Ok(self.kernels.named(names)?.into_iter().map(|manifest| manifest.name).collect())
    }

    /// The kernels that scenarios run on if nobody says otherwise: those whose manifests say `default = true`.
    ///
    /// # Errors
    /// [`ResourcesError::Kernels`] if a manifest is wrong.
    pub fn default_kernels(&self) -> Result<Vec<KernelName>, ResourcesError> {
        Ok(self.kernels.defaults()?.into_iter().map(|manifest| manifest.name).collect())
    }

    /// The images of these names, each once; `all` stands for every one that has a recipe, and a name with `*`, `?` or `[`
    /// for every one it matches.
    ///
    /// # Errors
    /// [`ResourcesError::Images`] with a suggestion if there is none of a name.
    pub fn images<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<Vec<ImageName>, ResourcesError> {
        Ok(self.images.named(names)?.into_iter().map(|recipe| recipe.name).collect())
    }

    /// The images that scenarios run in if nobody says otherwise: those whose recipes say `default = true`. The first is
    /// for scenarios that name none.
    ///
    /// # Errors
    /// [`ResourcesError::Images`] if a recipe is wrong.
    pub fn default_images(&self) -> Result<Vec<ImageName>, ResourcesError> {
        Ok(self.images.defaults()?.into_iter().map(|recipe| recipe.name).collect())
    }

    /// The image that units of systemd are tried in if none is named; `None` if no recipe is meant for it.
    ///
    /// # Errors
    /// [`ResourcesError::Images`] if a recipe is wrong.
    pub fn image_for_units(&self) -> Result<Option<ImageName>, ResourcesError> {
        Ok(self.images.for_units()?.map(|recipe| recipe.name))
    }

    /// The version of an image's systemd, such as 262; `None` if it has none.
    ///
    /// # Errors
    /// [`ResourcesError::Images`] if there is no image of this name.
    pub fn systemd_of(&self, image: &ImageName) -> Result<Option<u32>, ResourcesError> {
        Ok(self.images.get(image.as_str())?.systemd())
    }

    /// An image, if it is built.
    ///
    /// # Errors
    /// [`ResourcesError`] if there is none of that name, or if the cache cannot be read.
    pub fn built_image(&self, image: &ImageName) -> Result<Option<Image>, ResourcesError> {
        Ok(image::find_built(&self.images.get(image.as_str())?, &self.cache)?)
    }

    /// An image, built if need be.
    ///
    /// # Errors
    /// [`ResourcesError`] if it cannot be built.
    pub fn build_image(&self, image: &ImageName) -> Result<Image, ResourcesError> {
        Ok(image::build(&self.images.get(image.as_str())?, &self.cache, &self.progress)?)
    }

    /// Builds what all grounds share: the guest program and the objects that scenarios load.
    ///
    /// # Errors
    /// [`ResourcesError`] if one cannot be built.
    pub fn build_shared(&self) -> Result<(GuestProgram, Objects), ResourcesError> {
        let guest = guest_program::build(self.project.root(), &self.cache, &self.progress)?;
        Ok((guest, objects::build(&self.project.objects(), &self.cache, &self.progress)?))
    }

    /// The manifest of this kernel.
    ///
    /// # Errors
    /// [`ResourcesError::Kernels`] if there is none, or if it is wrong.
    pub fn manifest(&self, kernel: &KernelName) -> Result<kernel::Manifest, ResourcesError> {
        Ok(self.kernels.kernel(kernel)?)
    }

    /// Whose snapshots hold for this ground.
    ///
    /// # Errors
    /// [`ResourcesError::Kernels`] if there is no such kernel, or if its manifest is wrong.
    pub fn lineage(&self, environment: &Environment) -> Result<Lineage, ResourcesError> {
        Ok(Lineage { environment: environment.clone(), alike: self.manifest(&environment.kernel)?.alike })
    }
}
