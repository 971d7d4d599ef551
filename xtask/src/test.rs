//! `cargo xtask test`: all tests.

use std::{env, ffi::OsString, fs, os::unix::fs::PermissionsExt, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Args as ClapArgs;
use harness_builder::{
    guest_program::loaders,
    host::{Mode, Purpose},
    image::Image,
    pins::Pins,
    progress::Progress,
};
use harness_cli::{Context, exit, exit::Wrong, pin_options::PinOptions, screen, setup::Installation};
use harness_protocol::name::ImageName;
use harness_runner::{
    preparation::prepare_host,
    resources::{Resources, ResourcesError},
    store::Freshness,
};

use crate::{
    not_run::{NotRunList, SkippedTest},
    partition::Partition,
    steps::{Kind, Step, Tally},
    variables::{FRESH_VARIABLE, KERNELS_VARIABLE},
};

/// Run all tests: unit tests, and every scenario on the default kernels
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  cargo xtask test
  cargo xtask test --fresh                    boots and attempts everything again

Only scenarios, with the options of cargo's own test programs (--list, a filter, --exact):
  cargo test -p harness-runner --test scenarios -- 7.3::token

A quarter of all tests, and a quarter of those with `token` in their names:
  cargo xtask test --partition slice:1/4
  cargo xtask test --partition slice:1/4 -- token

The lines before the last one (with --partition, the last lines) name each skipped test; one that
xtask/not-run.toml does not list fails the run.

Exit codes: 0 all passed; 1 a test failed; 3 a test did not run, or the harness, QEMU or a build failed.")]
pub(crate) struct Args {
    /// Ignore stored outcomes: boot and attempt everything again
    #[arg(long)]
    fresh: bool,

    #[command(flatten)]
    installation: Installation,

    #[command(flatten)]
    pins: PinOptions,

    /// Run one part of the tests with nextest, such as `slice:1/4` or `hash:1/4`; boots VMs only for scenarios in it
    #[arg(long, value_name = "PART")]
    partition: Option<Partition>,

    /// More arguments for `cargo nextest run`
    #[arg(last = true, value_name = "ARGS", requires = "partition")]
    nextest: Vec<OsString>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let mut tally = Tally::default();
    let freshness = if args.fresh { Freshness::ThisRun } else { Freshness::Any };
    if let Some(partition) = &args.partition {
        let progress = Progress::detect();
        prepare_host(&Purpose::ALL, args.installation.mode(), &progress)?;
        let resources = Resources::open(context.project()?.clone(), freshness, progress)?;
        build_resources(&resources.with_pins(args.pins.pins()).with_guard(None, true))?;
        let part = partition.run(&args.nextest, &variables(freshness))?;
        let not_run = NotRunList::read(context.project()?.root())?.judge(&part.not_run);
        screen::print(&not_run.text)?;
        return Ok(part.code(not_run.unlisted));
    }
    all(context, freshness, args.installation.mode(), args.pins.pins(), &mut tally)?;
    close(&tally, context)
}

/// Prints what did not run, the pins that have left the mirror, what failed and the closing line, and returns the exit code.
pub(crate) fn close(tally: &Tally, context: &Context) -> Result<ExitCode> {
    let not_run = NotRunList::read(context.project()?.root())?.judge(&tally.not_run());
    let resources = Resources::open(context.project()?.clone(), Freshness::Any, Progress::silent())?;
    let replaced: String = resources.replaced_pins()?.iter().map(|line| format!("note: {line}\n")).collect();
    screen::print(&format!("{}{}{replaced}{}{tally}\n", not_run.unused, not_run.text, tally.failures()))?;
    Ok(match (tally.is_good(), not_run.unlisted) {
        (false, _) => exit::DIFFERS.into(),
        (true, 0) => ExitCode::SUCCESS,
        (true, _) => exit::FAILED.into(),
    })
}

/// Runs all tests, first those that need no VM, because they fail within seconds.
pub(crate) fn all(context: &Context, freshness: Freshness, mode: Mode, pins: Pins, tally: &mut Tally) -> Result<()> {
    let progress = Progress::detect();
    prepare_host(&Purpose::ALL, mode, &progress)?;
    units(tally)?;
    let resources = Resources::open(context.project()?.clone(), freshness, progress)?.with_pins(pins);
    let resources = resources.with_guard(None, true);
    build_resources(&resources)?;
    units_of_systemd(&resources, tally)?;
    let arguments = vec!["test", "--package", "harness-runner", "--no-fail-fast"];
    let variables = variables(freshness);
    Step { name: "the runner and all scenarios", kind: Kind::Tests, arguments, variables }.run(tally)
}

/// Runs the tests of all crates except the runner; none needs a kernel.
pub(crate) fn units(tally: &mut Tally) -> Result<()> {
    let arguments = vec!["test", "--workspace", "--exclude", "harness-runner", "--no-fail-fast"];
    Step { name: "unit tests", kind: Kind::Tests, arguments, variables: Vec::new() }.run(tally)
}

/// Returns the variables that make test programs use or ignore stored outcomes.
fn variables(freshness: Freshness) -> Vec<(&'static str, String)> {
    match freshness {
        Freshness::ThisRun => vec![(FRESH_VARIABLE, "1".to_owned())],
        Freshness::Any => Vec::new(),
    }
}

/// An image with the last systemd that delegates nothing.
const OLD_SYSTEMD: &str = "systemd-257";
/// Images that some tests boot besides the first default one and those that the scenarios which are tested use.
const OF_TESTS: [&str; 5] = [OLD_SYSTEMD, "programs-bookworm", "programs-trixie", "programs-forky", "tracers"];
/// The image whose systemd the reader of units is compared with.
const SYSTEMD: &str = "systemd-262";

/// Compares the reader of units with a real systemd, in a copy of an image's root.
fn units_of_systemd(resources: &Resources, tally: &mut Tally) -> Result<()> {
    let name: ImageName = SYSTEMD.parse()?;
    let Some(image) = resources.built_image(&name)? else {
        let says = resources.gone_image(&name)?.unwrap_or_default();
        tally.add_skipped(SkippedTest { name: "units as systemd reads them".to_owned(), says });
        return Ok(());
    };
    let folder = tempfile::tempdir().context("cannot make a folder for a root with systemd")?;
    let root = folder.path().join("root");
    image.copy(&root)?;
    // The service manager of the test writes there as some user.
    let (tmp, everybody) = (root.join("tmp"), fs::Permissions::from_mode(0o1777));
    fs::set_permissions(&tmp, everybody).with_context(|| format!("cannot set the mode of {}", tmp.display()))?;
    let arguments = vec!["test", "--package", "harness-frontend", "--test", "systemd"];
    let variables = vec![("BPF_TOKEN_SYSTEMD_ROOT", root.display().to_string())];
    Step { name: "units as systemd reads them", kind: Kind::Tests, arguments, variables }.run(tally)
}

/// Builds what the scenarios need, so that no test waits for a compiler.
fn build_resources(resources: &Resources) -> Result<()> {
    let images = resources.default_images().map_err(Wrong::input)?;
    let (first, further) = images.split_first().context("no image manifest has `default = true`")?;
    let of_tests = OF_TESTS.iter().map(|name| name.parse()).collect::<Result<Vec<ImageName>, _>>()?;
    further.iter().chain(&of_tests).try_for_each(|image| unless_gone(image, resources.build_image(image)))?;
    let kernels = match env::var(KERNELS_VARIABLE) {
        Ok(list) => resources.kernels(list.split(',')).map_err(Wrong::input)?,
        Err(_) => resources.default_kernels()?,
    };
    for kernel in kernels {
        resources.build(&kernel, first)?;
    }
    loaders::build(resources.project().root(), resources.cache(), resources.progress())?;
    Ok(())
}

/// Errors if an image cannot be built, except if the mirror of a moving suite no longer has a pinned package: that must not
/// fail the tests.
fn unless_gone(image: &ImageName, built: Result<Image, ResourcesError>) -> Result<(), ResourcesError> {
    match built {
        Err(error) if error.is_gone() => {
            eprintln!("skipping image {image} and the tests that need it: {:#}", anyhow::Error::from(error));
            Ok(())
        }
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use harness_builder::{
        image::{FetchError, ImageError},
        mirror::{ArchiveError, MirrorError, Package},
    };

    use super::*;

    fn built(error: FetchError) -> Result<Image, ResourcesError> {
        Err(ImageError::from(error).into())
    }

    #[test]
    fn only_an_image_whose_packages_left_the_mirror_is_done_without() {
        let image: ImageName = OLD_SYSTEMD.parse().unwrap();
        let source = Box::new(ArchiveError::NoSuchVersion {
            package: Package { name: "p".into(), version: "1".into() },
            suite: "trixie".into(),
            mirror: "http://mirror.example/debian".parse().unwrap(),
            available: vec!["2".into()],
        });
        unless_gone(&image, built(FetchError::Archive { manifest: "images/i.toml".into(), source })).unwrap();
        let source = Box::new(ArchiveError::NoKeyring);
        unless_gone(&image, built(FetchError::Archive { manifest: "images/i.toml".into(), source })).unwrap_err();
        let error = unless_gone(&image, built(MirrorError::Unknown.into())).unwrap_err();
        assert_eq!(error.to_string(), MirrorError::Unknown.to_string());
    }
}
