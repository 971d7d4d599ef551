//! `cargo xtask bench guard`: measures what the guard costs.

use std::{fmt::Write as _, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Args as ClapArgs;
use harness_builder::progress::Progress;
use harness_cli::{Context, candidates, setup::Installation};
use harness_protocol::name::{Environment, KernelName};
use harness_runner::{
    measure::{Bench, Flood, GuardCosts, Turns},
    preparation::prepare_for,
    resources::Resources,
    store::Freshness,
};

use super::{IMAGE, figures::Host, host, section};

/// Measure what the guard costs, and write its section of docs/performance.md
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
It takes about ten minutes under software emulation and needs an otherwise idle machine.

Examples:
  cargo xtask bench guard
  cargo xtask bench guard --kernel 7.3 --print

Exit codes: 0 measured; 2 no such kernel; 3 a figure could not be taken, or the harness, QEMU or a
build failed.")]
pub(crate) struct Args {
    /// The kernels to measure [default: the default kernels]
    #[arg(long, value_name = "NAME", add = candidates::kernels())]
    kernel: Vec<String>,

    /// Print the section only
    #[arg(long)]
    print: bool,

    #[command(flatten)]
    installation: Installation,
}

/// Memory of a VM in MiB: the verifier needs much for 100,000 instructions, and the flood's log is in memory.
const MEMORY_MIB: u32 = 2048;
/// How many VMs put a guard in force early.
const STARTS: usize = 5;
/// How the section begins.
pub(super) const HEADING: &str = "\n## The guard\n";

/// The figures of a kernel.
struct Measured {
    kernel: KernelName,
    costs: GuardCosts,
    /// Milliseconds.
    early: Vec<f64>,
    host: Host,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let project = context.project()?;
    let resources = Resources::open(project.clone(), Freshness::Any, Progress::detect())?.with_guard(None, true);
    let mut all = Vec::new();
    for kernel in super::kernels(&resources, &args.kernel)? {
        all.push(
            measure(&resources, kernel.clone(), args.installation.mode())
                .with_context(|| format!("kernel {kernel}"))?,
        );
    }
    let section = text(&all);
    section::deliver(&resources, &section, args.print)?;
    Ok(ExitCode::SUCCESS)
}

fn measure(resources: &Resources, kernel: KernelName, mode: harness_builder::host::Mode) -> Result<Measured> {
    let environment = Environment { kernel, image: IMAGE.parse()? };
    prepare_for(resources, std::slice::from_ref(&environment), mode)?;
    let testbed = resources.build(&environment.kernel, &environment.image)?;
    let bench = Bench::prepare(&testbed)?;
    let mut host = host::facts(&bench);
    resources.progress().note(&format!("kernel {}: {}", bench.release(), bench.decision()));
    let costs = bench.guard_costs(MEMORY_MIB)?;
    let early = (0..STARTS).map(|_| bench.guard_early(MEMORY_MIB)).collect::<Result<Vec<_>, _>>()?;
    host.load[1] = host::load();
    Ok(Measured { kernel: environment.kernel, costs, early, host })
}

fn text(all: &[Measured]) -> String {
    let mut text = format!(
        "{HEADING}\nWritten by `cargo xtask bench guard`. Off and on take turns in one VM with {MEMORY_MIB} MiB and one \
         processor; off, the guard's programs are attached and return at once. Times are processor time of the calling \
         process and of what it executes, each the median of nine samples with the fastest and the slowest. A ratio is that of the two medians.\n"
    );
    for measured in all {
        text.push_str(&of_kernel(measured));
    }
    text
}

fn of_kernel(Measured { kernel, costs, early, host }: &Measured) -> String {
    let [before, after] = &host.load;
    let mut text = format!(
        "\n### {kernel} ({})\n\n{}, {} of them usable; {}; QEMU {}; {}; {}; load average of a minute {before} before and \
         {after} after.\n\n\
         | call | guard off | on | ratio | aim |\n| --- | --: | --: | --: | --: |\n",
        costs.release, host.processor, host.processors, host.system, host.qemu, host.acceleration, host.date,
    );
    let mut row = |what: &str, turns: &Turns, aim: Option<f64>| {
        let ratio = spread(&turns.on).1 / spread(&turns.off).1;
        let verdict = |aim: f64| format!("{aim}: {}", if ratio <= aim { "met" } else { "missed" });
        let (off, on) = (microseconds(&turns.off), microseconds(&turns.on));
        let aim = aim.map_or_else(|| "none".to_owned(), verdict);
        let _ = writeln!(text, "| {what} | {off} | {on} | {ratio:.2} | {aim} |");
    };
    row("`BPF_PROG_GET_NEXT_ID`, only counted", &costs.counted, Some(1.25));
    row("`BPF_PROG_GET_NEXT_ID`, recorded", &costs.recorded, Some(2.0));
    for (length, turns) in &costs.loads {
        let aim = match length {
            ..100 => 1.3,
            100..10_000 => 1.1,
            _ => 1.05,
        };
        row(&format!("`BPF_PROG_LOAD` of {length} instructions"), turns, Some(aim));
    }
    row("fork and `execve` of a program that is no known loader", &costs.exec_of_stranger, Some(1.02));
    row("fork and `execve` of a known loader, by its inode", &costs.exec_of_loader, None);
    text.push_str(&flooded(&costs.flood));
    let (fastest, median, slowest) = spread(early);
    let _ = writeln!(
        text,
        "- `bpf-guard early`, from its start to its end, in {} VMs: {median:.0} ms ({fastest:.0} to {slowest:.0}).",
        early.len()
    );
    text
}

fn flooded(flood: &Flood) -> String {
    let Flood { seconds, calls, denied, logged, records, lost } = flood;
    format!(
        "\n- A flood with the daemon reading: {calls} calls within {seconds:.1} s ({:.0} a second; 50,000 were asked for), \
         {records} records, of which {lost} were lost. Of {denied} denials {} were lost.\n",
        *calls as f64 / seconds,
        denied.saturating_sub(*logged),
    )
}

/// The least, the median and the greatest.
fn spread(numbers: &[f64]) -> (f64, f64, f64) {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.as_slice() {
        [] => (f64::NAN, f64::NAN, f64::NAN),
        [least, .., greatest] => (*least, sorted[sorted.len() / 2], *greatest),
        [one] => (*one, *one, *one),
    }
}

fn microseconds(numbers: &[f64]) -> String {
    let (least, median, greatest) = spread(numbers);
    let places = if median < 100.0 { 2 } else { 0 };
    format!("{median:.places$} µs ({least:.places$} to {greatest:.places$})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle_whatever_the_order() {
        assert_eq!(spread(&[9.0, 1.0, 5.0]), (1.0, 5.0, 9.0));
        assert_eq!(spread(&[7.0]), (7.0, 7.0, 7.0));
        assert!(spread(&[]).1.is_nan());
    }

    #[test]
    fn the_section_shows_what_is_missed() {
        let turns = |on| Turns { off: vec![1.0, 3.0, 2.0], on: vec![on; 3] };
        let flood = Flood { seconds: 5.0, calls: 1000, denied: 10, logged: 9, records: 1000, lost: 3 };
        let costs = GuardCosts {
            release: "6.12.1".to_owned(),
            counted: turns(2.4),
            recorded: turns(4.2),
            loads: vec![(2, turns(2.0)), (1000, turns(2.3)), (100_000, turns(250.0))],
            exec_of_stranger: turns(2.03),
            exec_of_loader: turns(2.2),
            flood,
        };
        let host = Host { processor: "P".to_owned(), processors: 2, ..Host::default() };
        let measured = Measured { kernel: "6.12".parse().unwrap(), costs, early: vec![1000.0, 1200.0, 1100.0], host };
        let section = text(&[measured]);
        for part in [
            "| `BPF_PROG_GET_NEXT_ID`, only counted | 2.00 µs (1.00 to 3.00) | 2.40 µs (2.40 to 2.40) | 1.20 | 1.25: met |",
            "| `BPF_PROG_GET_NEXT_ID`, recorded | 2.00 µs (1.00 to 3.00) | 4.20 µs (4.20 to 4.20) | 2.10 | 2: missed |",
            "of 1000 instructions | 2.00 µs (1.00 to 3.00) | 2.30 µs (2.30 to 2.30) | 1.15 | 1.1: missed |",
            "250 µs (250 to 250) | 125.00 | 1.05: missed |",
            "| fork and `execve` of a program that is no known loader | 2.00 µs (1.00 to 3.00) | 2.03 µs (2.03 to 2.03) | 1.01 | 1.02: met |",
            "| fork and `execve` of a known loader, by its inode | 2.00 µs (1.00 to 3.00) | 2.20 µs (2.20 to 2.20) | 1.10 | none |",
            "(200 a second; 50,000 were asked for), 1000 records, of which 3 were lost. Of 10 denials 1 were lost.",
            "in 3 VMs: 1100 ms (1000 to 1200)",
        ] {
            assert!(section.contains(part), "{part}\n{section}");
        }
    }
}
