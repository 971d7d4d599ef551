//! `cargo xtask bench all-kernels`: how long a fresh run on every kernel takes, and a report of all of them.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use clap::Args as ClapArgs;
use harness_builder::progress::Progress;
use harness_cli::{Context, exit};
use harness_runner::{resources::Resources, store::Freshness};
use serde_json::Value;

use super::{
    IMAGE,
    aims::{self, Aim},
    figure,
    figures::Figure,
    history::{Entry, History},
    host, hyperfine,
    sample::Sample,
    section, whole,
};

/// Run the scenarios of the minimal image on every kernel, report them, and write the times into docs/performance.md
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
It needs an otherwise idle machine, on which every kernel is built. All of them take an hour and a half
on two processors under software emulation.

Examples:
  cargo xtask bench all-kernels

Exit codes: 0 written; 3 the harness, QEMU or a build failed.")]
pub(crate) struct Args {
    /// Print the section only
    #[arg(long)]
    print: bool,
}

/// How the section begins.
pub(super) const HEADING: &str = "\n## All kernels\n";

/// How often hyperfine makes the report.
const REPORTS: u32 = 10;

/// How a run on all kernels and a report of them end if they come to their end: some verdicts may differ, and some scenarios
/// have none.
const DONE: [u8; 3] = [0, exit::DIFFERS, exit::FAILED];

/// How many scenarios of a kernel were judged, how many of them came out as their snapshots say, and how many a fault kept from
/// being judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    judged: usize,
    as_recorded: usize,
    faults: usize,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let project = context.project()?;
    let resources = Resources::open(project.clone(), Freshness::Any, Progress::detect())?;
    let before = host::load();
    resources.progress().note("the scenarios of all kernels");
    let start = Instant::now();
    let stored = ["xtask", "run", "--kernel", "all", "--image", IMAGE];
    let words = [&stored[..], &["--fresh", "--format", "json"]].concat();
    let lines = whole::output(project.root(), &words, &DONE, whole::Stderr::Shown)?;
    let took = start.elapsed();
    if !is_complete(&lines) {
        bail!("the run did not come to its end; the same without --fresh shows why: cargo {}", stored.join(" "));
    }
    let counts = counts(&lines);
    resources.progress().note("a report of all kernels");
    let aims = [of_run(took, counts.len()), of_report(figure(report(project.root())))];
    let entry = Entry {
        date: host::without_qemu().date,
        machine: host::without_qemu().machine(),
        figures: aims::figures(&aims),
    };
    History::read(resources.cache())?.add(&entry)?;
    section::deliver(&resources, &section(&aims, &counts, &before), args.print)?;
    Ok(ExitCode::SUCCESS)
}

fn of_run(took: Duration, kernels: usize) -> Aim {
    let what = format!("the minimal image's scenarios on all {kernels} kernels, fresh");
    Aim::seconds("all-kernels", what, "21 min", 480.0, Ok(took.as_secs_f64())).because(
        "the aim was set when there were 215 scenarios and none of the guard; two thirds of the time, in November 2026, are those of \
         the guard, each of which has the kernel verify some twenty programs and detach them again",
    )
}

fn of_report(took: Figure<Sample>) -> Aim {
    let now = took.map(|sample| sample.median().as_secs_f64());
    Aim::seconds("report-all", "`cargo xtask report --kernel all`, median", "25 s", 3.0, now)
}

/// Counts the verdicts and faults in results in JSON, kernel by kernel.
fn counts(lines: &str) -> BTreeMap<String, Counts> {
    let mut kernels: BTreeMap<String, Counts> = BTreeMap::new();
    for line in lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let Some(kernel) = line["kernel"].as_str() else { continue };
        let (is_judged, is_fault) = (line["kind"] == "judged", line["kind"] == "fault");
        if is_judged || is_fault {
            let counts = kernels.entry(kernel.to_owned()).or_default();
            counts.judged += usize::from(is_judged);
            counts.as_recorded += usize::from(line["standing"] == "as_recorded");
            counts.faults += usize::from(is_fault);
        }
    }
    kernels
}

/// Times a report of all kernels, which first has to come to its end.
fn report(root: &Path) -> Result<Sample> {
    let words = ["xtask", "report", "--kernel", "all"];
    let text = whole::output(root, &[&words[..], &["--format", "json"]].concat(), &DONE, whole::Stderr::Kept)?;
    if !is_complete(&text) {
        bail!("the report has no last line");
    }
    hyperfine::time(root, &words, REPORTS, &DONE)
}

/// Whether results in JSON have their last line, which counts scenarios that were judged.
fn is_complete(lines: &str) -> bool {
    let last = lines.lines().last().and_then(|line| serde_json::from_str::<Value>(line).ok());
    last.is_some_and(|end| end["kind"] == "end" && end["judged"].as_u64().is_some_and(|judged| judged > 0))
}

fn section(aims: &[Aim], counts: &BTreeMap<String, Counts>, load_before: &str) -> String {
    let facts = host::without_qemu();
    let mut text = format!(
        "{HEADING}\nWritten by `cargo xtask bench all-kernels`, which ran `cargo xtask run --kernel all --image {IMAGE} --fresh` once \
         and timed a report of all kernels. {}, {}; load average of a minute {load_before} before and {} after.\n\n{}\n\
         | kernel | scenarios judged | as recorded | not judged for a fault |\n| --- | --: | --: | --: |\n",
        facts.date,
        facts.machine(),
        facts.load[0],
        aims::table(aims),
    );
    for (kernel, Counts { judged, as_recorded, faults }) in counts {
        let _ = writeln!(text, "| {kernel} | {judged} | {as_recorded} | {faults} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_and_faults_are_counted_kernel_by_kernel() {
        let lines = "{\"kind\":\"judged\",\"kernel\":\"6.12\",\"standing\":\"as_recorded\"}\n\
                     {\"kind\":\"judged\",\"kernel\":\"6.12\",\"standing\":\"differs\"}\n\
                     {\"kind\":\"fault\",\"kernel\":\"6.12\"}\n\
                     {\"kind\":\"attempt\",\"kernel\":\"7.3\"}\n";
        let expected = Counts { judged: 2, as_recorded: 1, faults: 1 };
        assert_eq!(counts(lines).into_iter().collect::<Vec<_>>(), [("6.12".to_owned(), expected)]);
    }

    #[test]
    fn a_report_without_verdicts_or_without_an_end_is_not_timed() {
        assert!(is_complete("{\"kind\":\"start\"}\n{\"kind\":\"end\",\"judged\":3,\"not_run\":7}\n"));
        for text in ["", "{\"kind\":\"start\"}\n", "{\"kind\":\"end\",\"judged\":0,\"not_run\":7}\n", "error"] {
            assert!(!is_complete(text), "{text}");
        }
    }

    #[test]
    fn a_missed_aim_says_why_and_each_kernel_has_its_row() {
        let counts = [("6.12".to_owned(), Counts { judged: 270, as_recorded: 270, faults: 0 })].into();
        let text = section(
            &[of_run(Duration::from_secs(2520), 16), of_report(figure(Err(anyhow::anyhow!("no"))))],
            &counts,
            "0.1",
        );
        assert!(text.starts_with(HEADING));
        assert!(
            text.contains("on all 16 kernels, fresh | 21 min | 8 min 00 s | 42 min 00 s | missed: the aim"),
            "{text}"
        );
        assert!(text.contains("| 25 s | 3.00 s | | not measured: no |"), "{text}");
        assert!(text.ends_with("| 6.12 | 270 | 270 | 0 |\n"), "{text}");
    }
}
