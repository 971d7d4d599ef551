//! `kernel`: lists and builds kernels, and prints their paths.

use std::process::ExitCode;

use anyhow::{Result, anyhow};
use clap::{Subcommand, ValueEnum};
use harness_builder::{
    cache::{Area, Cache},
    host::{Mode, Purpose},
    kernel::{
        self, Catalogue, Kernel, Manifest,
        sharing::{self, Place},
    },
    pins::Pins,
    progress::{Progress, seconds},
};
use harness_program::NAME;
use harness_runner::preparation::prepare_host;

use crate::{
    Context, candidates,
    documents::{self, Format, List, Listed},
    exit::Wrong,
    listing,
    pin_options::PinOptions,
    screen::print,
    setup::Installation,
};

/// What to do with kernels.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "the arguments describe their verb, in its help text")]
pub enum Verb {
    /// Show all kernels and whether they are built
    #[command(after_help = "\
Examples:
  {program} kernel list
  {program} kernel list --format json       as docs/list.schema.json says

Exit codes: 0 listed; 2 a bad manifest; 3 the cache cannot be read.")]
    List {
        /// Output format
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Fetch, configure and build kernels, or unpack prebuilt ones; print the paths of their boot images
    #[command(after_help = "\
Examples:
  {program} kernel build                    the default kernels
  {program} kernel build '*-debian'

Exit codes: 0 built; 2 no such kernel, or a bad manifest; 3 a build or a download failed.")]
    Build {
        /// Kernels to build, by name or glob; `all` means every one [default: the default kernels]
        #[arg(add = candidates::kernels())]
        names: Vec<String>,
        #[command(flatten)]
        installation: Installation,
        #[command(flatten)]
        pins: PinOptions,
    },
    /// Print the path of a file of a built kernel
    #[command(after_help = "\
Examples:
  {program} kernel path 7.3
  bpftool btf dump file $({program} kernel path 7.3 btf) | less

Exit codes: 0 printed; 2 no such kernel; 3 it is not built.")]
    Path {
        /// The kernel
        #[arg(add = candidates::kernels())]
        name: String,
        /// Which file
        #[arg(value_enum, default_value_t = File::Boot)]
        file: File,
    },
    /// Share built kernels: in a folder, or by an OCI registry
    #[command(after_help = "\
A kernel is shared under the sum of what it is made from; docs/sharing-kernels.md explains it. One
that is shared already stays. Credentials are those of `docker login`.

Examples:
  {program} kernel push 6.12 --to oci://registry.example/team/kernels
  {program} kernel push '*-debian' --to /srv/kernels

Exit codes: 0 shared; 2 no such kernel or place; 3 one is not built, or the place does not take it.")]
    Push {
        /// Kernels to share, by name or glob
        #[arg(required = true, add = candidates::kernels())]
        names: Vec<String>,
        /// A folder, or oci://HOST/REPOSITORY [default: $BPF_TOKEN_HARNESS_SHARED_KERNELS]
        #[arg(long, value_name = "PLACE")]
        to: Option<Place>,
        /// Push what is shared already again
        #[arg(long)]
        replace: bool,
    },
    /// Get kernels that somebody shared, without building them; print the paths of their boot images
    #[command(after_help = "\
Each file is compared with its sum. With $BPF_TOKEN_HARNESS_SHARED_KERNELS set, every verb that needs a
kernel pulls it before it would build it.

Examples:
  {program} kernel pull 6.12 7.3 --from oci://registry.example/team/kernels
  {program} kernel pull 6.12 --from https://files.example/kernels

Exit codes: 0 pulled, or there already; 2 no such kernel or place; 3 it is not shared, or did not arrive.")]
    Pull {
        /// Kernels to get, by name or glob [default: the default kernels]
        #[arg(add = candidates::kernels())]
        names: Vec<String>,
        /// A folder, https://HOST/PATH, or oci://HOST/REPOSITORY [default: $BPF_TOKEN_HARNESS_SHARED_KERNELS]
        #[arg(long, value_name = "PLACE")]
        from: Option<Place>,
    },
}

/// A file of a kernel.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum File {
    /// The image for QEMU's -kernel
    Boot,
    /// Raw BTF
    Btf,
    /// The resolved configuration
    Config,
    /// The folder with all of them
    Folder,
}

impl Verb {
    /// Runs the verb.
    ///
    /// # Errors
    /// If the verb fails.
    pub fn run(&self, context: &Context) -> Result<ExitCode> {
        let kernels = Kernels::open(context)?;
        match self {
            Self::List { format } => kernels.list(*format)?,
            Self::Build { names, installation, pins } => kernels.build(names, installation.mode(), pins.pins())?,
            Self::Path { name, file } => kernels.path(name, *file)?,
            Self::Push { names, to, replace } => {
                let push = if *replace { sharing::Push::Replace } else { sharing::Push::Missing };
                kernels.push(names, &place(to.as_ref(), "--to")?, push)?;
            }
            Self::Pull { names, from } => kernels.pull(names, &place(from.as_ref(), "--from")?)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The kernels of a project, and the cache with those that are built.
#[derive(Debug)]
pub struct Kernels {
    catalogue: Catalogue,
    cache: Cache,
    progress: Progress,
}

impl Kernels {
    /// Opens those of the project.
    ///
    /// # Errors
    /// If there is no project, or if the cache cannot be used.
    pub fn open(context: &Context) -> Result<Self> {
        let catalogue = Catalogue::of_folder(&context.project()?.kernels()).map_err(Wrong::input)?;
        Ok(Self { catalogue, cache: Cache::from_env()?, progress: Progress::detect() })
    }

    /// Returns the cache.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Returns the progress display.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Returns the manifest of a kernel.
    ///
    /// # Errors
    /// If there is none, or if it is not valid.
    pub fn manifest(&self, name: &str) -> Result<Manifest> {
        self.catalogue.get(name).map_err(Wrong::input)
    }

    /// Returns the manifests of these names and globs, or of the default kernels if there are none. Fails on a wrong name
    /// before anything is built.
    ///
    /// # Errors
    /// If a name selects none, or if a manifest is not valid.
    pub fn manifests<'a>(&'a self, names: impl IntoIterator<Item = &'a str>) -> Result<Vec<Manifest>> {
        let names: Vec<&str> = names.into_iter().collect();
        if names.is_empty() {
            return self.catalogue.defaults().map_err(Wrong::input);
        }
        let named: Result<Vec<_>, _> = names.into_iter().map(|name| self.catalogue.matching(name)).collect();
        let named = named.map_err(Wrong::input)?.concat();
        named.into_iter().map(|name| self.catalogue.get(name).map_err(Wrong::input)).collect()
    }

    /// Returns a kernel that is built.
    ///
    /// # Errors
    /// If it is not, or if the cache cannot be read.
    pub fn built(&self, manifest: &Manifest) -> Result<Kernel> {
        let hint = || anyhow!("kernel {0} is not built; run `{NAME} kernel build {0}`", manifest.name);
        kernel::find_built(manifest, &self.cache)?.ok_or_else(hint)
    }

    fn list(&self, format: Format) -> Result<()> {
        let mut items = Vec::new();
        for manifest in self.catalogue.all().map_err(Wrong::input)? {
            let built = kernel::find_built(&manifest, &self.cache)?.map(|kernel| kernel.release().to_string());
            items.push(Listed { name: manifest.name.to_string(), summary: manifest.summary, built });
        }
        if format == Format::Json {
            return documents::show(&List::of(items));
        }
        let state = |built: Option<String>| built.map_or("not built".to_owned(), |release| format!("built: {release}"));
        let rows: Vec<_> = items.into_iter().map(|item| [item.name, state(item.built), item.summary]).collect();
        print(&listing::lines(&rows))
    }

    fn build(&self, names: &[String], mode: Mode, pins: Pins) -> Result<()> {
        let manifests = self.manifests(names.iter().map(String::as_str))?;
        let is_built = |manifest| -> Result<bool> {
            let Some(kernel) = kernel::find_built(manifest, &self.cache)? else { return Ok(false) };
            Ok(!self.cache.remove_damaged(Area::Kernels, &kernel.dir, &self.progress)?)
        };
        if manifests.iter().map(is_built).collect::<Result<Vec<_>>>()?.contains(&false) {
            prepare_host(&[Purpose::Kernel], mode, &self.progress)?;
        }
        for manifest in &manifests {
            let kernel = kernel::build(manifest, pins, &self.cache, &self.progress)?;
            self.progress.note(&describe(&kernel));
            print(&format!("{}\n", kernel.boot_image().display()))?;
        }
        Ok(())
    }

    fn push(&self, names: &[String], place: &Place, push: sharing::Push) -> Result<()> {
        for manifest in self.manifests(names.iter().map(String::as_str))? {
            let done = sharing::push(&manifest, &self.built(&manifest)?, place, push, &self.progress)?;
            let state = if done { "pushed" } else { "shared already" };
            print(&format!("{state}: kernel {} as {}\n", manifest.name, sharing::name(&manifest)?))?;
        }
        Ok(())
    }

    fn pull(&self, names: &[String], place: &Place) -> Result<()> {
        for manifest in self.manifests(names.iter().map(String::as_str))? {
            let kernel = match kernel::find_built(&manifest, &self.cache)? {
                Some(kernel) => kernel,
                None => sharing::pull(&manifest, place, &self.cache, &self.progress)?,
            };
            print(&format!("{}\n", kernel.boot_image().display()))?;
        }
        Ok(())
    }

    fn path(&self, name: &str, file: File) -> Result<()> {
        let kernel = self.built(&self.manifest(name)?)?;
        let path = match file {
            File::Boot => kernel.boot_image(),
            File::Btf => kernel.btf(),
            File::Config => kernel.config(),
            File::Folder => kernel.dir,
        };
        print(&format!("{}\n", path.display()))
    }
}

/// Returns the place that an option or the environment names.
fn place(given: Option<&Place>, option: &str) -> Result<Place> {
    let named = given.cloned().map_or_else(Place::of_environment, |place| Ok(Some(place))).map_err(Wrong::input)?;
    named.ok_or_else(|| Wrong::input(anyhow!("no place is named: use {option} PLACE, or set {}", sharing::VARIABLE)))
}

/// Describes a build in one line.
fn describe(kernel: &Kernel) -> String {
    let record = &kernel.record;
    let time = seconds(std::time::Duration::from_secs_f64(record.seconds));
    if record.toolchain.is_none() {
        return format!("kernel {} is {}, prebuilt (unpacked in {time})", kernel.name, record.release);
    }
    format!("kernel {} is {} ({} objects compiled in {time})", kernel.name, record.release, record.objects_compiled)
}
