//! `cargo xtask kernel`: lists, builds and pins kernels, and prints their paths and names.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, anyhow};
use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use harness_builder::{
    cache::{Area, Cache},
    host::{Mode, Purpose},
    kernel::{self, Catalogue, Kernel, Manifest, pin},
    pins::Pins,
    progress::{Progress, seconds},
    project::Project,
};
use harness_cli::{
    Context, candidates,
    exit::{self, Wrong},
    pin_options::PinOptions,
    screen::print,
    setup::Installation,
};
use harness_runner::preparation::prepare_host;
use harness_uapi::vocabulary::{Kind, NameTable, Vocabulary};

use crate::{
    documents::{self, Format, KernelNames, List, Listed},
    listing,
};

/// List, build and pin kernels; print their paths and BPF names
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  cargo xtask kernel list
  cargo xtask kernel build mine

Exit codes: 0 done; 2 no such kernel, or a bad manifest; 3 a build or a download failed.")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show all kernels and whether they are built
    #[command(after_help = "\
Examples:
  cargo xtask kernel list
  cargo xtask kernel list --format json       as docs/list.schema.json says

Exit codes: 0 listed; 2 a bad manifest; 3 the cache cannot be read.")]
    List {
        /// Output format
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Fetch, configure and build kernels, or unpack prebuilt ones; print the paths of their boot images
    #[command(after_help = "\
Examples:
  cargo xtask kernel build                    the default kernels
  cargo xtask kernel build '*-debian'

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
  cargo xtask kernel path 7.3
  bpftool btf dump file $(cargo xtask kernel path 7.3 btf) | less

Exit codes: 0 printed; 2 no such kernel; 3 it is not built.")]
    Path {
        /// The kernel
        #[arg(add = candidates::kernels())]
        name: String,
        /// Which file
        #[arg(value_enum, default_value_t = File::Boot)]
        file: File,
    },
    /// Print the BPF names and numbers in a built kernel's BTF
    #[command(after_help = "\
Examples:
  cargo xtask kernel names 7.3 attachs
  cargo xtask kernel names --check

Exit codes: 0 printed, written or equal; 1 kernels/vocabulary differs; 2 no such kernel; 3 it is not built.")]
    Names {
        /// The kernel; with --write or --check [default: the default kernels]
        #[arg(required_unless_present_any = ["write", "check"], add = candidates::kernels())]
        name: Option<String>,
        /// Only names of this kind
        #[arg(value_enum, conflicts_with_all = ["write", "check"])]
        kind: Option<KindArg>,
        /// Write them to kernels/vocabulary, which scenario files are checked against
        #[arg(long, conflicts_with = "check")]
        write: bool,
        /// Compare them with kernels/vocabulary
        #[arg(long)]
        check: bool,
        /// Output format; JSON as docs/kernel-names.schema.json says
        #[arg(long, value_enum, default_value_t, conflicts_with_all = ["write", "check"])]
        format: Format,
    },
    /// Write the newest version of a kernel's Debian packages, with their sums, into its manifest
    #[command(after_help = "\
Examples:
  cargo xtask kernel pin 6.12
  cargo xtask kernel pin 7.3-debian
  cargo xtask kernel pin 6.12 --version 6.12.95-1

Exit codes: 0 written or already the newest; 2 no such kernel; 3 it comes from no package, or the
archive cannot be reached.")]
    Pin {
        /// The kernel
        #[arg(add = candidates::kernels())]
        name: String,
        /// Version to pin [default: the newest]
        #[arg(long)]
        version: Option<String>,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum File {
    /// The image for QEMU's -kernel
    Boot,
    /// Raw BTF
    Btf,
    /// The resolved configuration
    Config,
    /// The folder with all of them
    Folder,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum KindArg {
    /// Commands of bpf(2)
    Cmds,
    /// Map types
    Maps,
    /// Program types
    Progs,
    /// Attach types
    Attachs,
}

impl From<KindArg> for Kind {
    fn from(arg: KindArg) -> Self {
        match arg {
            KindArg::Cmds => Self::Cmd,
            KindArg::Maps => Self::Map,
            KindArg::Progs => Self::Prog,
            KindArg::Attachs => Self::Attach,
        }
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let kernels = Kernels::open(context)?;
    match &args.verb {
        Verb::List { format } => kernels.list(*format)?,
        Verb::Build { names, installation, pins } => kernels.build(names, installation.mode(), pins.pins())?,
        Verb::Path { name, file } => kernels.path(name, *file)?,
        Verb::Names { name, write: true, .. } => kernels.write_names(name.as_deref())?,
        Verb::Names { name, check: true, .. } => return kernels.check_names(name.as_deref()),
        Verb::Names { name, kind, format, .. } => {
            kernels.names(name.as_deref().unwrap_or_default(), kind.map(Kind::from), *format)?;
        }
        Verb::Pin { name, version } => kernels.pin(name, version.as_deref())?,
    }
    Ok(ExitCode::SUCCESS)
}

struct Kernels {
    project: Project,
    catalogue: Catalogue,
    cache: Cache,
    progress: Progress,
}

impl Kernels {
    fn open(context: &Context) -> Result<Self> {
        let project = context.project()?.clone();
        let catalogue = Catalogue::of_folder(&project.kernels()).map_err(Wrong::input)?;
        Ok(Self { project, catalogue, cache: Cache::from_env()?, progress: Progress::detect() })
    }

    /// Returns the manifests of these names and globs, or of the default kernels if there are none. Fails on a wrong name
    /// before anything is built.
    fn manifests<'a>(&'a self, names: impl IntoIterator<Item = &'a str>) -> Result<Vec<Manifest>> {
        let names: Vec<&str> = names.into_iter().collect();
        if names.is_empty() {
            return self.catalogue.defaults().map_err(Wrong::input);
        }
        let named: Result<Vec<_>, _> = names.into_iter().map(|name| self.catalogue.matching(name)).collect();
        let named = named.map_err(Wrong::input)?.concat();
        named.into_iter().map(|name| self.catalogue.get(name).map_err(Wrong::input)).collect()
    }

    fn built(&self, manifest: &Manifest) -> Result<Kernel> {
        let hint = || anyhow!("kernel {0} is not built; run `cargo xtask kernel build {0}`", manifest.name);
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

    fn path(&self, name: &str, file: File) -> Result<()> {
        let kernel = self.built(&self.catalogue.get(name).map_err(Wrong::input)?)?;
        let path = match file {
            File::Boot => kernel.boot_image(),
            File::Btf => kernel.btf(),
            File::Config => kernel.config(),
            File::Folder => kernel.dir,
        };
        print(&format!("{}\n", path.display()))
    }

    fn names(&self, name: &str, kind: Option<Kind>, format: Format) -> Result<()> {
        let kernel = self.built(&self.catalogue.get(name).map_err(Wrong::input)?)?;
        let vocabulary = kernel.vocabulary()?;
        let kinds = kind.map_or_else(|| Kind::ALL.to_vec(), |kind| vec![kind]);
        if format == Format::Json {
            return documents::show(&KernelNames::of(name, kinds.iter().map(|kind| vocabulary.table(*kind))));
        }
        let tables: Vec<String> = kinds.iter().map(|kind| table(vocabulary.table(*kind))).collect();
        print(&tables.join("\n"))
    }

    /// Returns the path of a kernel's committed vocabulary.
    fn committed(&self, manifest: &Manifest) -> PathBuf {
        self.project.kernels().join("vocabulary").join(format!("{}.json", manifest.name))
    }

    fn write_names(&self, name: Option<&str>) -> Result<()> {
        for manifest in self.manifests(name)? {
            let path = self.committed(&manifest);
            let text = as_committed(&self.built(&manifest)?.vocabulary()?)?;
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            print(&format!("{}\n", path.display()))?;
        }
        Ok(())
    }

    fn check_names(&self, name: Option<&str>) -> Result<ExitCode> {
        let mut code = ExitCode::SUCCESS;
        for manifest in self.manifests(name)? {
            let path = self.committed(&manifest);
            let text = as_committed(&self.built(&manifest)?.vocabulary()?)?;
            if fs::read_to_string(&path).ok().as_ref() != Some(&text) {
                let command = format!("cargo xtask kernel names {} --write", manifest.name);
                self.progress.note(&format!("{} does not match the kernel's BTF; run `{command}`", path.display()));
                code = ExitCode::from(exit::DIFFERS);
            }
        }
        Ok(code)
    }

    fn pin(&self, name: &str, version: Option<&str>) -> Result<()> {
        prepare_host(&[Purpose::Packages], Mode::Ask, &self.progress)?;
        let manifest = self.catalogue.get(name).map_err(Wrong::input)?;
        let repinned = pin::pin(&manifest, version, &self.cache, &self.progress)?;
        if repinned.is_empty() {
            return print(&format!("{}: it is the pinned version already\n", manifest.path.display()));
        }
        repinned.iter().try_for_each(|pin| print(&format!("{}: {pin}\n", manifest.path.display())))
    }
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

/// Returns a vocabulary as its committed file has it.
fn as_committed(vocabulary: &Vocabulary) -> Result<String> {
    Ok(serde_json::to_string_pretty(vocabulary)? + "\n")
}

/// Renders a table of names: number, name, aliases; then the sentinels, which are not names.
fn table(table: &NameTable) -> String {
    let mut text = format!("{} ({})\n", table.kind().plural(), table.len());
    for known in table.iter() {
        let aliases =
            if known.aliases.is_empty() { String::new() } else { format!(" (also {})", known.aliases.join(", ")) };
        text.push_str(&format!("{:>5}  {}{aliases}\n", known.number, known.name));
    }
    for sentinel in table.sentinels() {
        text.push_str(&format!("{:>5}  {} (sentinel)\n", sentinel.number, sentinel.name));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_names_are_shown_with_aliases_and_sentinels_apart() {
        let text = include_str!("../../kernels/vocabulary/7.3.json");
        let vocabulary: Vocabulary = serde_json::from_str(text).unwrap();
        let cmds = table(&vocabulary.cmds);
        for line in [
            "cmds (39)",
            "    0  map_create",
            "   10  prog_test_run (also prog_run)",
            "   39  __MAX_BPF_CMD (sentinel)",
            "65536  BPF_COMMON_ATTRS (sentinel)",
        ] {
            assert!(cmds.lines().any(|found| found == line), "{line}\n{cmds}");
        }
        assert_eq!(as_committed(&vocabulary).unwrap(), text);
    }
}
