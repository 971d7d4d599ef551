//! `image`: lists and builds guest root file systems.

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Subcommand;
use harness_builder::{
    cache::{Area, Cache},
    guest_program,
    host::{Mode, Purpose},
    image::{self, Image, Manifest, catalogue::Catalogue},
    objects,
    pins::Pins,
    progress::Progress,
    project::Project,
};
use harness_runner::preparation::prepare_host;

use crate::{
    Context, candidates,
    documents::{self, Format, List, Listed},
    exit::Wrong,
    listing,
    pin_options::PinOptions,
    screen,
    setup::Installation,
};

/// What to do with images.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "the arguments describe their verb, in its help text")]
pub enum Verb {
    /// Show all images and whether they are built
    #[command(after_help = "\
Examples:
  {program} image list
  {program} image list --format json        as docs/list.schema.json says

Exit codes: 0 listed; 2 a bad manifest; 3 the cache cannot be read.")]
    List {
        /// Output format
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Build images and the guest program; print the images' folders
    #[command(after_help = "\
Examples:
  {program} image build all
  ls $({program} image build minimal)

Exit codes: 0 built; 2 no such image, or a bad manifest; 3 a build or a download failed.")]
    Build {
        /// Images to build; `all` means every image with a manifest
        #[arg(default_value = "minimal", add = candidates::images())]
        names: Vec<String>,
        #[command(flatten)]
        installation: Installation,
        #[command(flatten)]
        pins: PinOptions,
    },
}

/// The name that stands for every image.
const ALL: &str = "all";

impl Verb {
    /// Runs the verb.
    ///
    /// # Errors
    /// If the verb fails.
    pub fn run(&self, context: &Context) -> Result<ExitCode> {
        let images = Images::open(context)?;
        match self {
            Self::List { format } => images.list(*format)?,
            Self::Build { names, installation, pins } => images.build(names, installation.mode(), pins.pins())?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The images of a project, and the cache with those that are built.
#[derive(Debug)]
pub struct Images {
    project: Project,
    catalogue: Catalogue,
    cache: Cache,
    progress: Progress,
}

impl Images {
    /// Opens those of the project.
    ///
    /// # Errors
    /// If there is no project, or if the cache cannot be used.
    pub fn open(context: &Context) -> Result<Self> {
        let project = context.project()?.clone();
        let catalogue = Catalogue::of_folder(&project.images()).map_err(Wrong::input)?;
        Ok(Self { project, catalogue, cache: Cache::from_env()?, progress: Progress::detect() })
    }

    /// Returns the cache.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Returns the progress display.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Returns the manifests of these names, or all if there are none or one is `all`. Fails on a wrong name before anything
    /// is built.
    ///
    /// # Errors
    /// If a name selects none, or if a manifest is not valid.
    pub fn manifests(&self, names: &[String]) -> Result<Vec<Manifest>> {
        let wants_all = names.is_empty() || names.iter().any(|name| name == ALL);
        let names = if wants_all { self.catalogue.names() } else { names.iter().map(String::as_str).collect() };
        names.into_iter().map(|name| self.catalogue.get(name).map_err(Wrong::input)).collect()
    }

    fn list(&self, format: Format) -> Result<()> {
        let mut items = Vec::new();
        for manifest in self.manifests(&[])? {
            let built = image::find_built(&manifest, &self.cache)?.map(|image| contents(&image)).transpose()?;
            let (name, summary) = (manifest.name.to_string(), manifest.summary().to_owned());
            items.push(Listed { name, summary, built });
        }
        if format == Format::Json {
            return documents::show(&List::of(items));
        }
        let state = |built: Option<String>| built.unwrap_or_else(|| "not built".to_owned());
        let rows: Vec<_> = items.into_iter().map(|item| [item.name, state(item.built), item.summary]).collect();
        screen::print(&listing::lines(&rows))
    }

    fn build(&self, names: &[String], mode: Mode, pins: Pins) -> Result<()> {
        let manifests = self.manifests(names)?;
        let is_built = |manifest| -> Result<bool> {
            let Some(image) = image::find_built(manifest, &self.cache)? else { return Ok(false) };
            Ok(!self.cache.remove_damaged(Area::Images, &image.folder, &self.progress)?)
        };
        let built = manifests.iter().map(is_built).collect::<Result<Vec<_>>>()?;
        let program = guest_program::find_built(self.project.root(), &self.cache)?;
        let needed = [
            (built.contains(&false), Purpose::Packages),
            (program.is_none(), Purpose::GuestProgram),
            (!self.project.has_programs(), Purpose::Objects),
        ];
        let purposes: Vec<Purpose> =
            needed.into_iter().filter_map(|(needed, purpose)| needed.then_some(purpose)).collect();
        prepare_host(&purposes, mode, &self.progress)?;
        guest_program::build(self.project.root(), &self.cache, &self.progress)?;
        objects::build(&self.project.objects(), &self.cache, &self.progress)?;
        for manifest in &manifests {
            let image = image::build(manifest, pins, &self.cache, &self.progress)?;
            screen::print(&format!("{}\n", image.folder.display()))?;
        }
        Ok(())
    }
}

/// Describes the size of an image, such as `23 files, 4.4 MiB`.
fn contents(image: &Image) -> Result<String> {
    let (files, bytes) = count(&image.folder)?;
    Ok(format!("{files} files, {:.1} MiB", bytes as f64 / f64::from(1 << 20)))
}

/// Returns the number and the total size of regular files below a folder.
fn count(folder: &Path) -> Result<(u64, u64)> {
    let mut sum = (0, 0);
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let (files, bytes) = match metadata.file_type() {
            kind if kind.is_dir() => count(&entry.path())?,
            kind if kind.is_file() => (1, metadata.len()),
            _ => (0, 0),
        };
        sum = (sum.0 + files, sum.1 + bytes);
    }
    Ok(sum)
}
