//! `cargo xtask kernel`: what a user does with kernels, and what only the repository does: it writes their names and pins.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use harness_builder::{
    host::{Mode, Purpose},
    kernel::{Manifest, pin},
    project::Project,
};
use harness_cli::{
    Context, candidates,
    documents::{self, Format},
    exit,
    kernel::{Kernels, Verb as UserVerb},
    screen::print,
};
use harness_runner::preparation::prepare_host;
use harness_uapi::vocabulary::{Kind, NameTable, Vocabulary};

use crate::documents::KernelNames;

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
    #[command(flatten)]
    User(UserVerb),
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
    let named =
        || -> Result<Named> { Ok(Named { project: context.project()?.clone(), kernels: Kernels::open(context)? }) };
    match &args.verb {
        Verb::User(verb) => return verb.run(context),
        Verb::Names { name, write: true, .. } => named()?.write(name.as_deref())?,
        Verb::Names { name, check: true, .. } => return named()?.check(name.as_deref()),
        Verb::Names { name, kind, format, .. } => {
            named()?.show(name.as_deref().unwrap_or_default(), kind.map(Kind::from), *format)?;
        }
        Verb::Pin { name, version } => pin(&Kernels::open(context)?, name, version.as_deref())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The names of kernels.
struct Named {
    project: Project,
    kernels: Kernels,
}

impl Named {
    fn show(&self, name: &str, kind: Option<Kind>, format: Format) -> Result<()> {
        let kernel = self.kernels.built(&self.kernels.manifest(name)?)?;
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

    fn write(&self, name: Option<&str>) -> Result<()> {
        for manifest in self.kernels.manifests(name)? {
            let path = self.committed(&manifest);
            let text = as_committed(&self.kernels.built(&manifest)?.vocabulary()?)?;
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            print(&format!("{}\n", path.display()))?;
        }
        Ok(())
    }

    fn check(&self, name: Option<&str>) -> Result<ExitCode> {
        let mut code = ExitCode::SUCCESS;
        for manifest in self.kernels.manifests(name)? {
            let path = self.committed(&manifest);
            let text = as_committed(&self.kernels.built(&manifest)?.vocabulary()?)?;
            if fs::read_to_string(&path).ok().as_ref() != Some(&text) {
                let command = format!("cargo xtask kernel names {} --write", manifest.name);
                self.kernels
                    .progress()
                    .note(&format!("{} does not match the kernel's BTF; run `{command}`", path.display()));
                code = ExitCode::from(exit::DIFFERS);
            }
        }
        Ok(code)
    }
}

fn pin(kernels: &Kernels, name: &str, version: Option<&str>) -> Result<()> {
    prepare_host(&[Purpose::Packages], Mode::Ask, kernels.progress())?;
    let manifest = kernels.manifest(name)?;
    let repinned = pin::pin(&manifest, version, kernels.cache(), kernels.progress())?;
    if repinned.is_empty() {
        return print(&format!("{}: it is the pinned version already\n", manifest.path.display()));
    }
    repinned.iter().try_for_each(|pin| print(&format!("{}: {pin}\n", manifest.path.display())))
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
