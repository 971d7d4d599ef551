//! `cargo xtask bench repeats`: whether the quick scenarios come out the same in every run.

use std::{fmt::Write as _, process::ExitCode, thread};

use anyhow::{Context as _, Result};
use clap::Args as ClapArgs;
use harness_builder::progress::{Progress, Unit};
use harness_cli::{
    Context, candidates,
    exit::{self, Wrong},
    setup::Installation,
};
use harness_protocol::name::{Environment, KernelName};
use harness_runner::{preparation::prepare_for, resources::Resources, scenario_runner::Runner, store::Freshness};

use super::{
    IMAGE, host, section,
    workload::{self, QUICK_ATTEMPTS, Scenarios},
};

/// Run the quick scenarios again and again, and write how often all came out the same into docs/performance.md
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Each run boots a VM; the kernels are run side by side. Other load on the machine does no harm here: it
makes races more likely.

Examples:
  cargo xtask bench repeats
  cargo xtask bench repeats --runs 10 --kernel 7.3 --print

Exit codes: 0 all runs were the same; 1 some were not; 2 no such kernel; 3 the harness, QEMU or a build
failed.")]
pub(crate) struct Args {
    /// The kernels to run on [default: the default kernels]
    #[arg(long, value_name = "NAME", add = candidates::kernels())]
    kernel: Vec<String>,

    /// How often to run all on each kernel
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    runs: u32,

    /// Print the section only
    #[arg(long)]
    print: bool,

    #[command(flatten)]
    installation: Installation,
}

/// How the section begins.
pub(super) const HEADING: &str = "\n## Quick scenarios, again and again\n";

/// What came of the runs on a kernel.
struct Repeated {
    kernel: KernelName,
    release: String,
    scenarios: usize,
    attempts: usize,
    runs: usize,
    /// How runs differ from the first one, a line each.
    odd: Vec<String>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let project = context.project()?;
    let resources = Resources::open(project.clone(), Freshness::Any, Progress::detect())?;
    let before = host::load();
    let kernels = super::kernels(&resources, &args.kernel)?;
    let of_one = |kernel: &KernelName| repeat(&resources, kernel, args).with_context(|| format!("kernel {kernel}"));
    let all = thread::scope(|scope| {
        let running: Vec<_> = kernels.iter().map(|kernel| scope.spawn(|| of_one(kernel))).collect();
        let repeated = running.into_iter().map(|one| one.join().expect("measuring does not panic"));
        repeated.collect::<Result<Vec<Repeated>>>()
    })?;
    section::deliver(&resources, &section(&all, &before), args.print)?;
    Ok(if all.iter().all(|repeated| repeated.odd.is_empty()) { ExitCode::SUCCESS } else { exit::DIFFERS.into() })
}

fn repeat(resources: &Resources, kernel: &KernelName, args: &Args) -> Result<Repeated> {
    let environment = Environment { kernel: kernel.clone(), image: IMAGE.parse()? };
    prepare_for(resources, std::slice::from_ref(&environment), args.installation.mode())?;
    let testbed = resources.build(&environment.kernel, &environment.image)?;
    let runner = Runner::open(resources.project(), &resources.project().scenarios()).map_err(Wrong::input)?;
    let scenarios = Scenarios::all(&runner, &testbed)?.quick();
    let task = resources.progress().task(&format!("kernel {kernel}"), Unit::Things("runs"), Some(args.runs.into()));
    let mut texts = Vec::new();
    for _ in 0..args.runs {
        // A run that failed differs from the others, and says why.
        let run = scenarios.run();
        if let Err(error) = &run {
            resources.progress().note(&format!("kernel {kernel}, run {}: {error:#}", texts.len() + 1));
        }
        texts.push(run.ok());
        task.advance(1);
    }
    task.finish("done");
    let subject = scenarios.subject();
    Ok(Repeated {
        kernel: kernel.clone(),
        release: subject.release,
        scenarios: subject.scenarios,
        attempts: subject.attempts,
        runs: texts.len(),
        odd: workload::odd(&texts),
    })
}

fn section(all: &[Repeated], load_before: &str) -> String {
    let facts = host::without_qemu();
    let mut text = format!(
        "{HEADING}\nWritten by `cargo xtask bench repeats`: the scenarios of the {IMAGE} image that share a boot and make at \
         most {QUICK_ATTEMPTS} attempts, in one VM a run. The text of each scenario's snapshot is compared with that of the \
         first run. {}, {}; load average of a minute {load_before} before and {} after.\n\n\
         | kernel | scenarios | attempts | runs | identical |\n| --- | --: | --: | --: | --: |\n",
        facts.date,
        facts.machine(),
        facts.load[0],
    );
    for Repeated { kernel, release, scenarios, attempts, runs, odd } in all {
        let _ = writeln!(text, "| {kernel} ({release}) | {scenarios} | {attempts} | {runs} | {} |", runs - odd.len());
    }
    for (kernel, line) in all.iter().flat_map(|repeated| repeated.odd.iter().map(|line| (&repeated.kernel, line))) {
        let _ = writeln!(text, "\n- {kernel}, {line}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_differs_is_counted_and_told() {
        let repeated = |odd: &[&str]| Repeated {
            kernel: "6.12".parse().unwrap(),
            release: "6.12.1".to_owned(),
            scenarios: 5,
            attempts: 20,
            runs: 200,
            odd: odd.iter().map(|&line| line.to_owned()).collect(),
        };
        let text = section(&[repeated(&[]), repeated(&["run 7: token/info"])], "0.1");
        assert!(text.starts_with(HEADING));
        assert!(text.contains("| 6.12 (6.12.1) | 5 | 20 | 200 | 200 |"), "{text}");
        assert!(text.contains("| 6.12 (6.12.1) | 5 | 20 | 200 | 199 |\n\n- 6.12, run 7: token/info\n"), "{text}");
    }
}
