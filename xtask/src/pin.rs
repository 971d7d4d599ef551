//! `cargo xtask pin`: renews the pins of kernels and images, runs what changed, and shows what differs.

use std::{
    collections::BTreeSet,
    env,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, anyhow};
use clap::Args as ClapArgs;
use glob::Pattern;
use harness_builder::{
    cache::Cache,
    host::Purpose,
    image,
    kernel::{self, pin},
    pins::Repinned,
    progress::Progress,
    project::Project,
};
use harness_cli::{Context, candidates, exit, exit::Wrong, screen::print, setup::Installation};
use harness_runner::preparation::prepare_host;

/// Pin kernels and images to the newest packages in their suites, run what changed, and show what differs
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
A kernel stays in the series, or at the release, that its name says. An image stays in its suite.
What changed is built and runs all its scenarios; the output shows the verdicts that are no longer as
recorded. `git diff` shows the new pins.

Examples:
  cargo xtask pin --all
  cargo xtask pin --all --no-run            only writes the manifests
  cargo xtask pin 6.12 'systemd-*'

Exit codes: 0 nothing changed, or all as recorded; 1 verdicts or names differ; 2 no such kernel or
image, or a bad manifest; 3 the archive cannot be reached, or the harness, QEMU or a build failed.")]
pub(crate) struct Args {
    /// Kernels and images to pin, by name or glob
    #[arg(required_unless_present = "all", conflicts_with = "all", add = candidates::kernels())]
    names: Vec<String>,

    /// Pin every kernel and image with pinned packages
    #[arg(long)]
    all: bool,

    /// Only write the manifests; build and run nothing
    #[arg(long)]
    no_run: bool,

    #[command(flatten)]
    installation: Installation,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let progress = Progress::detect();
    let manifests = Manifests::of(context.project()?)?.named(&args.names)?;
    prepare_host(&[Purpose::Packages], args.installation.mode(), &progress)?;
    let changed = manifests.pin(&Cache::from_env()?, &progress)?;
    if changed.is_empty() {
        print("every pin is the newest version already\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.no_run {
        return Ok(ExitCode::SUCCESS);
    }
    let codes = changed.runs(context.project()?).into_iter().map(|words| call(&words));
    let codes = codes.collect::<Result<Vec<u8>>>()?;
    Ok(worst(&codes).into())
}

/// The manifests of kernels and images with pinned packages.
#[derive(Debug)]
struct Manifests {
    kernels: Vec<kernel::Manifest>,
    /// Kernels that are others, started differently.
    variants: Vec<kernel::Manifest>,
    images: Vec<image::Manifest>,
}

impl Manifests {
    fn of(project: &Project) -> Result<Self> {
        let kernels = kernel::Catalogue::of_folder(&project.kernels()).and_then(|catalogue| catalogue.all());
        let images = image::catalogue::Catalogue::of_folder(&project.images());
        let images = images.and_then(|catalogue| catalogue.named(["all"])).map_err(Wrong::input)?;
        let (variants, kernels): (Vec<_>, Vec<_>) =
            kernels.map_err(Wrong::input)?.into_iter().partition(|manifest| manifest.base.is_some());
        Ok(Self { kernels: kernels.into_iter().filter(pin::is_pinned).collect(), variants, images })
    }

    /// Keeps those that one of these globs matches; all if there is none.
    fn named(mut self, globs: &[String]) -> Result<Self> {
        let known = self.kernels.iter().map(|manifest| manifest.name.to_string());
        let known: Vec<String> = known.chain(self.images.iter().map(|manifest| manifest.name.to_string())).collect();
        let mut named: BTreeSet<&str> = BTreeSet::new();
        for glob in globs {
            let pattern =
                Pattern::new(glob).map_err(|error| Wrong::input(anyhow!("`{glob}` is not a glob: {error}")))?;
            let before = named.len();
            named.extend(known.iter().map(String::as_str).filter(|name| pattern.matches(name)));
            if named.len() == before {
                let known = known.join(", ");
                return Err(Wrong::input(anyhow!("no kernel or image with pins matches `{glob}`; there are {known}")));
            }
        }
        if !globs.is_empty() {
            self.kernels.retain(|manifest| named.contains(manifest.name.as_str()));
            self.images.retain(|manifest| named.contains(manifest.name.as_str()));
        }
        Ok(self)
    }

    /// Writes the newest versions into the manifests, prints what changed, and returns it.
    fn pin(&self, cache: &Cache, progress: &Progress) -> Result<Changed> {
        let mut changed = Changed::default();
        for manifest in &self.kernels {
            let repinned = pin::pin(manifest, None, cache, progress)?;
            if show(&format!("kernel {}", manifest.name), &repinned)? {
                changed.kernels.insert(manifest.name.to_string());
                let variants = self.variants.iter().filter(|variant| variant.base.as_ref() == Some(&manifest.name));
                changed.kernels.extend(variants.map(|variant| variant.name.to_string()));
            }
        }
        for manifest in &self.images {
            let repinned = image::pin(manifest, cache, progress)?;
            if show(&format!("image {}", manifest.name), &repinned)? {
                changed.images.insert(manifest.name.to_string());
            }
        }
        Ok(changed)
    }
}

/// Prints what changed; returns whether anything did.
fn show(of: &str, repinned: &[Repinned]) -> Result<bool> {
    for pin in repinned {
        print(&format!("{of}: {pin}\n"))?;
    }
    Ok(!repinned.is_empty())
}

/// The kernels and images with new pins, by name.
#[derive(Debug, Default)]
struct Changed {
    kernels: BTreeSet<String>,
    images: BTreeSet<String>,
}

impl Changed {
    fn is_empty(&self) -> bool {
        self.kernels.is_empty() && self.images.is_empty()
    }

    /// Returns the verbs that run what changed, and compare it with what is committed.
    fn runs(&self, project: &Project) -> Vec<Vec<String>> {
        let run = |option: &str, names: &BTreeSet<String>| {
            let words = ["run", "--format", "markdown", "--by", "folder", option].map(str::to_owned);
            (!names.is_empty()).then(|| words.into_iter().chain(names.iter().cloned()).collect())
        };
        let has_vocabulary =
            |kernel: &&String| project.kernels().join("vocabulary").join(format!("{kernel}.json")).exists();
        let names = |kernel: &String| ["kernel", "names", kernel.as_str(), "--check"].map(str::to_owned).to_vec();
        let runs = [run("--kernel", &self.kernels), run("--image", &self.images)];
        runs.into_iter().flatten().chain(self.kernels.iter().filter(has_vocabulary).map(names)).collect()
    }
}

/// Calls a verb as a program of its own, which reads the new manifests; returns its exit code.
fn call(words: &[String]) -> Result<u8> {
    let shown = format!("{} {}", harness_program::NAME, words.join(" "));
    eprintln!("== {shown}");
    let program = env::current_exe().context("cannot find this program")?;
    let status = Command::new(program).args(words).status().with_context(|| format!("cannot run `{shown}`"))?;
    Ok(status.code().and_then(|code| code.try_into().ok()).unwrap_or(exit::FAILED))
}

/// Returns the worst of these exit codes: a failure says more than a difference.
fn worst(codes: &[u8]) -> u8 {
    codes.iter().copied().filter(|code| *code != exit::NOTHING_SELECTED).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifests() -> Manifests {
        Manifests::of(&Project::find().unwrap()).unwrap()
    }

    #[test]
    fn names_stand_for_kernels_and_images_with_pins() {
        let all = manifests();
        assert!(all.kernels.iter().all(pin::is_pinned) && all.kernels.iter().any(|kernel| kernel.is_default));
        let globs = ["6.12", "systemd-*"].map(str::to_owned);
        let named = all.named(&globs).unwrap();
        assert_eq!((named.kernels.len(), named.kernels[0].name.as_str()), (1, "6.12"));
        assert!(named.images.len() > 1 && named.images.iter().all(|image| image.systemd().is_some()));
        let error = manifests().named(&["6.12-lockdown".to_owned()]).unwrap_err().to_string();
        let (message, _) = error.split_once("; there are ").unwrap();
        insta::assert_snapshot!(message, @"no kernel or image with pins matches `6.12-lockdown`");
    }

    #[test]
    fn what_changed_is_run_and_compared() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let changed = Changed { kernels: names(&["6.12", "6.12-lockdown"]), images: names(&["systemd-262"]) };
        let lines: Vec<String> = changed.runs(&Project::find().unwrap()).iter().map(|words| words.join(" ")).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        run --format markdown --by folder --kernel 6.12 6.12-lockdown
        run --format markdown --by folder --image systemd-262
        kernel names 6.12 --check
        ");
        assert!(Changed::default().runs(&Project::find().unwrap()).is_empty());
        assert_eq!((worst(&[0, 1, 3]), worst(&[0, 4, 1]), worst(&[4])), (3, 1, 0));
    }
}
