//! `cargo xtask image`: guest root file systems.

use std::{fmt::Write, fs, path::Path, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::{Args as ClapArgs, Subcommand};
use harness_builder::{
    cache::Cache,
    guest_program,
    host::{Mode, Purpose},
    image::{self, Image, Manifest, catalogue::Catalogue},
    objects,
    progress::Progress,
    project::Project,
};
use harness_cli::{Context, candidates, exit::Wrong, screen, setup::Installation};
use harness_runner::preparation::prepare_host;

/// Guest root file systems: list, build, pin
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  cargo xtask image list
  cargo xtask image build minimal

Exit codes: 0 done; 2 no such image, or a bad recipe; 3 a build or a download failed.")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show all images and what is built of them
    #[command(after_help = "\
Examples:
  cargo xtask image list

Exit codes: 0 listed; 2 a bad recipe; 3 the cache cannot be read.")]
    List,
    /// Build images and the guest program; print the images' folders
    #[command(after_help = "\
Examples:
  cargo xtask image build all
  ls $(cargo xtask image build minimal)

Exit codes: 0 built; 2 no such image, or a bad recipe; 3 a build or a download failed.")]
    Build {
        /// Images to build; `all` means every one that has a recipe
        #[arg(default_value = "minimal", add = candidates::images())]
        names: Vec<String>,
        #[command(flatten)]
        installation: Installation,
    },
    /// Pin the packages of images to the versions their suite has now
    #[command(after_help = "\
Examples:
  cargo xtask image pin
  cargo xtask image pin minimal

Exit codes: 0 written; 2 no such image, or a bad recipe; 3 the archive could not be asked.")]
    Pin {
        /// Images to pin [default: all]
        #[arg(add = candidates::images())]
        names: Vec<String>,
    },
}

/// Stands for every image that has a recipe.
const ALL: &str = "all";

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let images = Images::open(context)?;
    match &args.verb {
        Verb::List => images.list()?,
        Verb::Build { names, installation } => images.build(names, installation.mode())?,
        Verb::Pin { names } => images.pin(names)?,
    }
    Ok(ExitCode::SUCCESS)
}

struct Images {
    project: Project,
    catalogue: Catalogue,
    cache: Cache,
    progress: Progress,
}

impl Images {
    fn open(context: &Context) -> Result<Self> {
        let project = context.project()?.clone();
        let catalogue = Catalogue::of_folder(&project.images()).map_err(Wrong::input)?;
        Ok(Self { project, catalogue, cache: Cache::from_env()?, progress: Progress::detect() })
    }

    /// The recipes of these names; all if there is none, or for `all`. A wrong name is told before anything is done for
    /// the right ones.
    fn recipes(&self, names: &[String]) -> Result<Vec<Manifest>> {
        let wants_all = names.is_empty() || names.iter().any(|name| name == ALL);
        let names = if wants_all { self.catalogue.names() } else { names.iter().map(String::as_str).collect() };
        names.into_iter().map(|name| self.catalogue.get(name).map_err(Wrong::input)).collect()
    }

    fn list(&self) -> Result<()> {
        let mut text = String::new();
        for recipe in self.recipes(&[])? {
            let state = match image::find_built(&recipe, &self.cache)? {
                Some(image) => contents(&image)?,
                None => "not built".to_owned(),
            };
            writeln!(text, "{:<14} {state:<28} {}", recipe.name, recipe.summary())?;
        }
        screen::print(&text)
    }

    fn build(&self, names: &[String], mode: Mode) -> Result<()> {
        let recipes = self.recipes(names)?;
        let built =
            recipes.iter().map(|recipe| image::find_built(recipe, &self.cache)).collect::<Result<Vec<_>, _>>()?;
        let program = guest_program::find_built(self.project.root(), &self.cache)?;
        let needed = [
            (built.contains(&None), Purpose::Packages),
            (program.is_none(), Purpose::GuestProgram),
            (true, Purpose::Objects),
        ];
        let purposes: Vec<Purpose> =
            needed.into_iter().filter_map(|(needed, purpose)| needed.then_some(purpose)).collect();
        prepare_host(&purposes, mode, &self.progress)?;
        guest_program::build(self.project.root(), &self.cache, &self.progress)?;
        objects::build(&self.project.objects(), &self.cache, &self.progress)?;
        for recipe in &recipes {
            let image = image::build(recipe, &self.cache, &self.progress)?;
            screen::print(&format!("{}\n", image.folder.display()))?;
        }
        Ok(())
    }

    fn pin(&self, names: &[String]) -> Result<()> {
        prepare_host(&[Purpose::Packages], Mode::Install, &self.progress)?;
        for recipe in self.recipes(names)? {
            for pinned in image::pin(&recipe, &self.cache, &self.progress)? {
                screen::print(&format!("{}: {pinned}\n", recipe.name))?;
            }
        }
        Ok(())
    }
}

/// How much there is in an image: `23 files, 4.4 MiB`.
fn contents(image: &Image) -> Result<String> {
    let (files, bytes) = count(&image.folder)?;
    Ok(format!("{files} files, {:.1} MiB", bytes as f64 / f64::from(1 << 20)))
}

/// The number of regular files below a folder, and their size together.
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
