//! `cargo xtask bench builds`: how long kernels took to build and CI to run, from what those recorded.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use clap::Args as ClapArgs;
use harness_builder::progress::Progress;
use harness_cli::Context;
use harness_protocol::name::KernelName;
use harness_runner::{resources::Resources, store::Freshness};

use super::{
    aims::{self, Aim},
    figures::{Figure, Missing},
    history::{self, History},
    host, section,
};

/// Write how long kernels took to build and CI to run into docs/performance.md
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Nothing is built or run: the figures are those of the kernels in the cache, and of the last times that
`cargo xtask ci` passed on this machine.

Examples:
  cargo xtask bench builds

Exit codes: 0 written; 3 the cache cannot be read.")]
pub(crate) struct Args {
    /// Print the section only
    #[arg(long)]
    print: bool,
}

/// How the section begins.
const HEADING: &str = "\n## Builds and CI\n";

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let project = context.project()?;
    let resources = Resources::open(project.clone(), Freshness::Any, Progress::detect())?;
    section::deliver(&resources, &text(&resources)?, args.print)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the section, in Markdown.
pub(super) fn text(resources: &Resources) -> Result<String> {
    let mut aims = Vec::new();
    for kernel in resources.default_kernels()? {
        aims.push(build(&kernel, built(resources, &kernel)));
    }
    let history = History::read(resources.cache())?;
    let machine = host::without_qemu().machine();
    aims.extend(of_ci(|name| history.last(&machine, name).map(|(seconds, date)| (seconds, date.to_owned()))));
    Ok(format!(
        "{HEADING}\nWritten by `cargo xtask bench builds` from the records of the kernels in the cache, and of the last runs of \
         `cargo xtask ci` that passed on this machine ({machine}), whatever else it did then.\n\n{}",
        aims::table(&aims)
    ))
}

/// Returns how long the kernel in the cache took to build, and how many objects were compiled.
fn built(resources: &Resources, kernel: &KernelName) -> Figure<(Duration, u64)> {
    let built = || -> Result<(Duration, u64)> {
        let record = resources.built_kernel(kernel)?.context("the kernel is not built")?.record;
        Ok((Duration::try_from_secs_f64(record.seconds)?, record.objects_compiled))
    };
    super::figure(built())
}

fn build(kernel: &KernelName, built: Figure<(Duration, u64)>) -> Aim {
    let objects = built.as_ref().map_or(String::new(), |(_, objects)| format!(" ({objects} objects)"));
    let what = format!("building kernel {kernel}{objects}");
    let now = built.map(|(took, _)| took.as_secs_f64());
    Aim::seconds(&format!("build-{kernel}"), what, "12 and 14 min", 480.0, now).because(
        "what else the machine did is in it: its objects take 12 min of one processor \
         ([kernels/README.md](../kernels/README.md#what-a-build-takes))",
    )
}

/// The parts are those of runs in November 2026 on two cores without KVM.
const CI_REASON: &str = "what may not wait for the night takes longer: the tests of all scenarios from fresh boots 9 min 29 s with \
     nothing beside them, the other tests with VMs 6 min 11 s, unit tests 3 min 57 s, units in a systemd 30 s, lints 2 min 6 s and \
     documentation 34 s, compiling included, and those beside other work; the workspace is compiled three times, as `xtask`, \
     the runner and all crates together need libraries with different features. Fuzzing (3 min) moved to \
     `ci --nightly`";

fn of_ci(last: impl Fn(&str) -> Option<(f64, String)>) -> Vec<Aim> {
    let aim = |name: &str, what: &str, before, minutes: f64| {
        let (on, now) = match last(name) {
            Some((seconds, date)) => (format!(", on {date}"), Ok(seconds)),
            None => (String::new(), Err(Missing("it has not passed here".to_owned()))),
        };
        Aim::seconds(name, format!("{what}{on}"), before, minutes * 60.0, now).because(CI_REASON)
    };
    vec![
        aim(history::CI_CACHED, "`.ci/run` with kernels cached", "22 min 26 s", 15.0),
        aim(history::CI_CLEAN, "`.ci/run` from an empty cache", "not measured", 60.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_run_has_no_figure_and_what_has_tells_its_day() {
        let aims = of_ci(|name| (name == history::CI_CLEAN).then(|| (3000.0, "2026-01-02".to_owned())));
        let built = build(&"6.12".parse().unwrap(), Ok((Duration::from_secs(500), 1410)));
        let missing = build(&"7.3".parse().unwrap(), Err(Missing("the kernel is not built".to_owned())));
        insta::assert_snapshot!(aims::table(&[built, missing].into_iter().chain(aims).collect::<Vec<_>>()));
    }
}
