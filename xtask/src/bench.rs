//! `cargo xtask bench`: measures what a run costs.

mod aims;
mod all_kernels;
mod builds;
mod figures;
mod guard;
pub(crate) mod history;
pub(crate) mod host;
mod hyperfine;
mod memory;
mod page;
mod programs;
mod repeats;
mod sample;
mod section;
mod suite;
mod token_test;
mod virtme;
mod whole;
mod workload;

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Result, bail};
use clap::{Args as ClapArgs, Subcommand};
use harness_builder::progress::{Progress, Unit};
use harness_cli::{
    Context, candidates,
    exit::{self, Wrong},
    screen,
    setup::Installation,
};
use harness_protocol::name::{Environment, KernelName};
use harness_runner::{
    launch::MEMORY_MIB, preparation::prepare_for, resources::Resources, scenario_runner::Runner, store::Freshness,
};

use figures::{Figure, Figures, Missing, Repeats, Virtme};
use history::{Entry, History};
use sample::Sample;
use virtme::VirtmeNg;
use whole::Kept;
use workload::{IMAGE, Scenarios};

/// Measure runs, VMs, containers and attempts, and write docs/performance.md
#[derive(Debug, ClapArgs)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Each run of the whole suite takes about four minutes under software emulation. It needs an otherwise
idle machine.

Examples:
  cargo xtask bench
  cargo xtask bench --runs 1 --quick          prints rougher figures sooner
  cargo xtask bench --quick --check           fails if something has become much slower
  cargo xtask bench guard                     measures what the guard costs, on both default kernels

Exit codes: 0 measured; 1 --check found something slower; 2 no such kernel; 3 the harness, QEMU or a
build failed."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    subject: Option<Subject>,

    /// The kernel to measure [default: the first default kernel]
    #[arg(long, value_name = "NAME", add = candidates::kernels())]
    kernel: Option<String>,

    /// How often to run the whole command; other tools run at most five times
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,

    /// Path of virtme-ng, to compare with [default: vng in PATH]
    #[arg(long, value_name = "PATH", value_hint = clap::ValueHint::ExecutablePath)]
    vng: Option<PathBuf>,

    /// Run everything at most three times, skip the search for the least memory, and print the page
    #[arg(long)]
    quick: bool,

    /// Fail if a figure that has an aim is more than 1.5 times the last one of this machine
    #[arg(long)]
    check: bool,

    #[command(flatten)]
    installation: Installation,
}

/// What else is measured.
#[derive(Debug, Subcommand)]
enum Subject {
    AllKernels(all_kernels::Args),
    Builds(builds::Args),
    Guard(guard::Args),
    Programs(programs::Args),
    Repeats(repeats::Args),
    TokenTest(token_test::Args),
}

const QUICK_RUNS: u32 = 3;
const OTHERS_RUNS: u32 = 5;

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    match &args.subject {
        Some(Subject::AllKernels(args)) => return all_kernels::run(args, context),
        Some(Subject::Builds(args)) => return builds::run(args, context),
        Some(Subject::Guard(args)) => return guard::run(args, context),
        Some(Subject::Programs(args)) => return programs::run(args, context),
        Some(Subject::Repeats(args)) => return repeats::run(args, context),
        Some(Subject::TokenTest(args)) => return token_test::run(args, context),
        None => {}
    }
    let project = context.project()?;
    // Outcomes under a guard are stored by its program, too.
    let resources = Resources::open(project.clone(), Freshness::Any, Progress::detect())?.with_guard(None, true);
    let kernel = kernel(args, &resources)?;
    let image = IMAGE.parse()?;
    let environment = Environment { kernel, image };
    prepare_for(&resources, std::slice::from_ref(&environment), args.installation.mode())?;
    let testbed = resources.build(&environment.kernel, &environment.image)?;
    let runner = Runner::open(project, &project.scenarios()).map_err(Wrong::input)?;
    let scenarios = Scenarios::all(&runner, &testbed)?;
    let quick = Scenarios::all(&runner, &testbed)?.quick();
    let figures = measure(args, &resources, &scenarios, &quick)?;
    let text = page::render(&figures);
    if args.quick {
        screen::print(&text)?;
    } else {
        let path = project.root().join(section::PAGE);
        let before = fs::read_to_string(&path).unwrap_or_default();
        let kept = |heading| section::of(&before, heading);
        let others = [
            kept(all_kernels::HEADING),
            kept(repeats::HEADING),
            kept(token_test::HEADING),
            &builds::text(&resources)?,
            kept(guard::HEADING),
            kept(programs::HEADING),
        ];
        section::write(&path, &(text + &others.concat()))?;
    }
    remember(args, &resources, &figures)
}

/// Adds the figures to the history, and compares them with the last ones if that is asked for.
fn remember(args: &Args, resources: &Resources, figures: &Figures) -> Result<ExitCode> {
    let history = History::read(resources.cache())?;
    let entry = Entry {
        date: figures.host.date.clone(),
        machine: figures.host.machine(),
        figures: aims::figures(&aims::all(figures)),
    };
    history.add(&entry)?;
    let slower = if args.check { history.slower(&entry) } else { Vec::new() };
    slower.iter().for_each(|slower| eprintln!("slower: {slower}"));
    Ok(if slower.is_empty() { ExitCode::SUCCESS } else { exit::DIFFERS.into() })
}

/// Returns the kernels with these names, or the default ones if none is named.
fn kernels(resources: &Resources, names: &[String]) -> Result<Vec<KernelName>> {
    let kernels = match names {
        [] => resources.default_kernels(),
        _ => resources.kernels(names.iter().map(String::as_str)),
    };
    kernels.map_err(Wrong::input)
}

fn kernel(args: &Args, resources: &Resources) -> Result<KernelName> {
    let kernels = match &args.kernel {
        Some(name) => resources.kernels([name.as_str()]),
        None => resources.default_kernels(),
    };
    match kernels.map_err(Wrong::input)?.as_slice() {
        [] => bail!("there is no kernel in kernels/"),
        [kernel] => Ok(kernel.clone()),
        [first, ..] if args.kernel.is_none() => Ok(first.clone()),
        _ => Err(Wrong::input(anyhow::anyhow!("bench measures one kernel at a time: name one"))),
    }
}

fn measure(args: &Args, resources: &Resources, scenarios: &Scenarios<'_>, quick: &Scenarios<'_>) -> Result<Figures> {
    let (progress, bench) = (resources.progress(), &scenarios.bench);
    let mut host = host::facts(bench);
    progress.note(&format!("kernel {}: {}", bench.release(), bench.decision()));
    let runs = if args.quick { args.runs.min(QUICK_RUNS) } else { args.runs };
    let turns = take_turns(args, resources, scenarios, runs)?;
    let suite = suite::measure(resources)?;
    progress.note("VMs, one at a time");
    let vms = figure((0..runs.min(OTHERS_RUNS)).map(|_| quick.shared_boot(MEMORY_MIB)).collect());
    progress.note("costs in the guest");
    let costs = figure(bench.guest_costs().map_err(Into::into));
    let least_memory =
        if args.quick { Err(Missing("skipped by --quick".to_owned())) } else { figure(quick.least_memory(progress)) };
    host.load[1] = host::load();
    let AlternatingRuns { fresh, warm, vmtest, virtme, repeats } = turns;
    Ok(Figures {
        host,
        subject: scenarios.subject(),
        fresh,
        warm,
        vmtest,
        virtme,
        repeats,
        vms,
        costs,
        least_memory,
        suite,
    })
}

fn figure<T>(result: Result<T>) -> Figure<T> {
    result.map_err(|error| Missing::because(&error))
}

/// Results of the commands that took turns.
struct AlternatingRuns {
    fresh: Figure<Sample>,
    warm: Figure<Sample>,
    vmtest: Figure<Sample>,
    virtme: Figure<Virtme>,
    repeats: Repeats,
}

fn take_turns(args: &Args, resources: &Resources, scenarios: &Scenarios<'_>, runs: u32) -> Result<AlternatingRuns> {
    let (root, kernel) = (resources.project().root(), scenarios.kernel());
    let task = resources.progress().task("bench", Unit::Things("rounds"), Some(runs.into()));
    // The first run may compile, and reads files that are not yet in the page cache.
    let time = |kept| whole::time(root, &whole::words(kernel.as_str(), kept));
    time(Kept::Outcomes)?;
    let program = figure(VirtmeNg::prepare(args.vng.as_deref(), &scenarios.bench));
    let (mut fresh, mut warm, mut vmtest, mut virtme) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut texts = Vec::new();
    for round in 0..runs {
        task.detail("all scenarios");
        fresh.push(time(Kept::Builds));
        texts.push(scenarios.texts()?);
        task.detail("outcomes kept");
        warm.push(time(Kept::Outcomes));
        if round < OTHERS_RUNS {
            task.detail("vmtest");
            vmtest.push(scenarios.bench.vmtest_alone().map_err(Into::into));
            task.detail("virtme-ng");
            virtme.extend(program.as_ref().ok().map(VirtmeNg::time));
        }
        task.advance(1);
    }
    task.finish("measured");
    let virtme =
        program.and_then(|VirtmeNg { version, remark, .. }| all(virtme).map(|times| Virtme { version, times, remark }));
    let repeats = Repeats { runs: texts.len(), odd: workload::odd(&texts) };
    Ok(AlternatingRuns { fresh: all(fresh), warm: all(warm), vmtest: all(vmtest), virtme, repeats })
}

/// Returns all times, or why one is missing.
fn all(times: Vec<Result<Duration>>) -> Figure<Sample> {
    let times: Vec<_> = figure(times.into_iter().collect())?;
    Sample::of(times).ok_or_else(|| Missing("it did not run".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_run_spoils_a_sample_and_none_is_none() {
        let good = || Ok(Duration::from_secs(1));
        assert_eq!(all(vec![good(), good()]).unwrap().count(), 2);
        let failed = all(vec![good(), Err(anyhow::anyhow!("QEMU died"))]).unwrap_err();
        assert_eq!(failed.to_string(), "not measured: QEMU died");
        assert!(all(Vec::new()).is_err());
    }
}
