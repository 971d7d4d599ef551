//! `cargo xtask bench programs`: what recording costs the programs of docs/programs.md.

use std::{fmt::Write as _, fs, io, path::Path, process::ExitCode};

use anyhow::{Context as _, Result, ensure};
use clap::Args as ClapArgs;
use harness_builder::{
    guest_program::loaders::{self, Loaders},
    objects::{self, Objects},
    progress::Progress,
};
use harness_cli::{Context, candidates, exit::Wrong, setup::Installation};
use harness_protocol::name::{Environment, KernelName};
use harness_runner::{
    measure::{Bench, MeasuredProgram, ProgramTimes},
    preparation::prepare_for,
    resources::Resources,
    store::Freshness,
};

use super::{figures::Host, host, page::time, sample::Sample, section};

/// Measure the programs of docs/programs.md with and without the recorder, and write its section of docs/performance.md
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
It takes about three minutes under software emulation and needs an otherwise idle machine.

Examples:
  cargo xtask bench programs
  cargo xtask bench programs --kernel 7.3 --runs 1 --print

Exit codes: 0 measured; 2 no such kernel; 3 a program failed, or the harness, QEMU or a build failed.")]
pub(crate) struct Args {
    /// The kernel to run them on [default: the first default kernel]
    #[arg(long, value_name = "NAME", add = candidates::kernels())]
    kernel: Option<String>,

    /// How often to run each, either way
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,

    /// Print the section only
    #[arg(long)]
    print: bool,

    #[command(flatten)]
    installation: Installation,
}

/// How the section begins.
pub(super) const HEADING: &str = "\n## Programs and their recorder\n";

/// The page whose programs are measured, and what else those run.
const PROGRAMS: &str = "docs/programs.md";
const OBJECTS: [&str; 3] = ["classifier", "xdp", "xdp-data"];
const SCRIPT_OF_BCC: &str = "harness/runner/tests/programs/map.py";

/// How many times as long a program may take.
const AIM: f64 = 2.5;

/// A program of the page.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    name: String,
    image: String,
    program: MeasuredProgram,
}

/// What was measured.
struct Measured {
    release: String,
    kernel: KernelName,
    runs: u32,
    rows: Vec<(Row, ProgramTimes)>,
    host: Host,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let project = context.project()?;
    let resources = Resources::open(project.clone(), Freshness::Any, Progress::detect())?;
    let measured = measure(args, &resources)?;
    section::deliver(&resources, &text(&measured)?, args.print)?;
    Ok(ExitCode::SUCCESS)
}

fn measure(args: &Args, resources: &Resources) -> Result<Measured> {
    let kernels = super::kernels(resources, args.kernel.as_slice())?;
    let kernel = kernels.into_iter().next().context("there is no kernel in kernels/")?;
    let root = resources.project().root();
    let page = fs::read_to_string(root.join(PROGRAMS)).with_context(|| format!("cannot read {PROGRAMS}"))?;
    let mut left = rows(&page);
    ensure!(!left.is_empty(), "{PROGRAMS} has no programs");
    let objects = objects::build(&resources.project().objects(), resources.cache(), resources.progress())?;
    let loaders = loaders::build(root, resources.cache(), resources.progress())?;
    let (mut all, mut facts, mut release) = (Vec::new(), host::without_qemu(), String::new());
    while let Some(Row { image, .. }) = left.first().cloned() {
        let (here, others): (Vec<_>, Vec<_>) = left.into_iter().partition(|row| row.image == image);
        left = others;
        let environment = Environment { kernel: kernel.clone(), image: image.parse().map_err(Wrong::input)? };
        prepare_for(resources, std::slice::from_ref(&environment), args.installation.mode())?;
        let testbed = resources.build(&environment.kernel, &environment.image)?;
        let bench = Bench::prepare(&testbed)?;
        resources.progress().note(&format!("{image}: {} programs", here.len()));
        if all.is_empty() {
            facts = host::facts(&bench);
        }
        release = bench.release().to_owned();
        let programs: Vec<MeasuredProgram> = here.iter().map(|row| row.program.clone()).collect();
        let times = bench.programs(&programs, args.runs, |share| fill(share, root, &objects, &loaders))?;
        all.extend(here.into_iter().zip(times));
    }
    facts.load[1] = host::load();
    Ok(Measured { release, kernel, runs: args.runs, rows: all, host: facts })
}

/// Returns the programs of the page's table. Its interface `d0` is `dummy0` here.
fn rows(page: &str) -> Vec<Row> {
    let row = |line: &str| {
        let cells: Vec<&str> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
        let [name, image, command, calls, ..] = cells[..] else { return None };
        calls.parse::<u32>().ok()?;
        let command = command.trim_matches('`').replace(" d0 ", " dummy0 ");
        let before = if command.starts_with("tc ") { "tc qdisc add dev dummy0 clsact" } else { "" };
        let program = MeasuredProgram { before: before.to_owned(), command };
        Some(Row { name: name.to_owned(), image: image.trim_matches('`').to_owned(), program })
    };
    page.lines().filter_map(row).collect()
}

fn fill(share: &Path, root: &Path, objects: &Objects, loaders: &Loaders) -> io::Result<()> {
    for name in OBJECTS {
        fs::copy(objects.path(name), share.join(format!("{name}.bpf.o")))?;
    }
    fs::copy(loaders.aya(), share.join("load-by-aya"))?;
    fs::copy(loaders.libbpf(), share.join("load-by-libbpf"))?;
    fs::copy(root.join(SCRIPT_OF_BCC), share.join("map.py")).map(drop)
}

fn text(Measured { release, kernel, runs, rows, host }: &Measured) -> Result<String> {
    let [before, after] = &host.load;
    let mut text = format!(
        "{HEADING}\nWritten by `cargo xtask bench programs`: the programs of [programs.md](programs.md#packaged-programs) on {kernel} \
         ({release}), as root, left alone and with their calls recorded as `caps --exec` and `op = \"exec\"` do it, in turns in one VM \
         an image. A time is from a program's start to its end, by the guest's clock: the median of {runs} after one that does not \
         count, with the fastest and the slowest. What the recorder does before the program starts and after it has ended is not in it. {}, {} of them usable; {}; QEMU {}; {}; {}; \
         load average of a minute {before} before and {after} after.\n\n\
         | program | calls | left alone | recorded | ratio | aim |\n| --- | --: | --: | --: | --: | --: |\n",
        host.processor, host.processors, host.system, host.qemu, host.acceleration, host.date,
    );
    for (row, times) in rows {
        let sample = |times: &[_]| Sample::of(times.iter().copied()).context("nothing was run");
        let (plain, recorded) = (sample(&times.plain)?, sample(&times.recorded)?);
        let ratio = recorded.median().as_secs_f64() / plain.median().as_secs_f64();
        let verdict = if ratio <= AIM { "met" } else { "missed" };
        let [plain, recorded] = [plain, recorded].map(|sample| shown(&sample));
        let calls = range(&times.calls);
        let _ = writeln!(text, "| {} | {calls} | {plain} | {recorded} | {ratio:.2} | {AIM}: {verdict} |", row.name);
    }
    Ok(text)
}

fn shown(sample: &Sample) -> String {
    let [fastest, median, slowest] =
        [sample.fastest(), sample.median(), sample.slowest()].map(|took| time(took.as_secs_f64() * 1e6));
    format!("{median} ({fastest} to {slowest})")
}

/// The least and the greatest number, or the one that all are.
fn range(numbers: &[u32]) -> String {
    match (numbers.iter().min(), numbers.iter().max()) {
        (Some(least), Some(greatest)) if least == greatest => least.to_string(),
        (Some(least), Some(greatest)) => format!("{least} to {greatest}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PAGE: &str = "| program | image | command | `bpf(2)` | asks | events |\n| --- | --- | --- | ---: | ---: | ---: |\n\
        | bpftool 7.5 (libbpf 1.5) | `programs-trixie` | `bpftool prog load a.o /sys/fs/bpf/p` | 26 | 1 | 0 |\n\
        | tc 6.15 | `programs-trixie` | `tc filter add dev d0 ingress bpf da obj c.o` | 17 | 1 | 0 |\n\
        | other | table | with | three | or | more |\n";

    #[test]
    fn the_programs_are_those_of_the_page() {
        let rows = rows(PAGE);
        let told: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.program.command.as_str())).collect();
        let expected = [
            ("bpftool 7.5 (libbpf 1.5)", "bpftool prog load a.o /sys/fs/bpf/p"),
            ("tc 6.15", "tc filter add dev dummy0 ingress bpf da obj c.o"),
        ];
        assert_eq!(told, expected);
        assert_eq!((rows[0].program.before.as_str(), rows[1].image.as_str()), ("", "programs-trixie"));
        assert!(rows[1].program.before.ends_with("clsact"));
    }

    #[test]
    fn the_section_says_which_aim_is_missed() {
        let millis = |all: [u64; 3]| all.map(Duration::from_millis).to_vec();
        let times = |recorded| ProgramTimes {
            plain: millis([100, 90, 110]),
            recorded: millis(recorded),
            calls: vec![26, 27, 26],
        };
        let rows = rows(PAGE).into_iter().zip([times([250, 240, 900]), times([260, 255, 300])]).collect();
        let host = Host { processor: "P".to_owned(), processors: 2, ..Host::default() };
        let measured = Measured { release: "6.12.1".to_owned(), kernel: "6.12".parse().unwrap(), runs: 3, rows, host };
        let section = text(&measured).unwrap();
        for line in [
            "| bpftool 7.5 (libbpf 1.5) | 26 to 27 | 100.0 ms (90.0 ms to 110.0 ms) | 250.0 ms (240.0 ms to 900.0 ms) | 2.50 | 2.5: met |",
            "| tc 6.15 | 26 to 27 | 100.0 ms (90.0 ms to 110.0 ms) | 260.0 ms (255.0 ms to 300.0 ms) | 2.60 | 2.5: missed |",
        ] {
            assert!(section.lines().any(|other| other == line), "{section}");
        }
    }
}
