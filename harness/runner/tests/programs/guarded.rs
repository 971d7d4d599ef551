//! The guard counts the calls of programs beside strace and the page: it sees each of them, and those that loader programs make inside
//! the kernel.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use guard_record::{Hook, Line, Verdict};
use harness_builder::{cache::Cache, guest_program::guard, project::Project};
use harness_protocol::plan::GUARD_PROGRAM;
use harness_uapi::release::Release;
use serde_json::Value;

use crate::{Built, Files, Row};

/// The image whose programs run.
pub(crate) const IMAGE: &str = "programs-trixie";

/// A guard that records everything and refuses nothing.
const RECORD_ALL: &str = "version = 1\nmode = \"audit\"\nguard.count_only = []\n[[rule]]\nallow = true\n";

/// Loads an object by a program of the kernel, as light skeletons do: bpftool makes that program and runs it.
const LIGHT: &str = "bpftool prog load -L xdp-data.bpf.o";

/// What that program asks of `bpf(2)` inside the kernel: the object's two maps with their contents, its types, and its program.
const WITHIN: [(&str, usize); 4] = [("btf_load", 1), ("map_create", 2), ("map_update_elem", 1), ("prog_load", 1)];

/// How often each command was called.
type Commands = BTreeMap<String, usize>;

/// Runs the programs in one VM, with the guard on record and under strace, and compares the three counts.
pub(crate) fn counted(built: &Built, files: &Files) -> Result<()> {
    let mut rows = crate::rows(IMAGE)?;
    let packaged = rows.len();
    rows.push(Row { command: LIGHT.to_owned(), counts: [0; 3] });
    let guard = guard::find_built(Project::find()?.root(), &Cache::from_env()?)?;
    let guard = guard.context("the guard's program is not built: `cargo xtask run --filter 'guard/*'`")?;
    let (folder, console) = crate::run(built, script(&rows), |share| {
        crate::fill(files, share)?;
        fs::copy(guard.path(), share.join(GUARD_PROGRAM))?;
        fs::write(share.join("record.guard.toml"), RECORD_ALL)?;
        Ok(Vec::new())
    })?;
    let share = folder.path().join("share");
    let records = records(&share).with_context(|| format!("the console:\n{console}"))?;
    // Whether the hook is told that a BPF program calls: 6.16 does, 6.12 does not.
    let tells_inside = built.kernel.release().parse::<Release>()? >= "6.16".parse()?;
    for (number, row) in rows.iter().enumerate() {
        let command = &row.command;
        let trace = fs::read_to_string(share.join(format!("{number}.trace")))?;
        let of_strace = by_strace(&trace);
        let [inside, outside] = by_guard(&records, &threads(&trace));
        if number < packaged {
            ensure!(crate::counts(&trace)[0] == row.counts[0], "`{command}`: strace and the page differ:\n{trace}");
            ensure!(
                outside == of_strace && inside.is_empty(),
                "`{command}`: {outside:?}, not {of_strace:?}; {inside:?}"
            );
        } else {
            let within = Commands::from(WITHIN.map(|(command, times)| (command.to_owned(), times)));
            let all = added(&inside, &outside);
            ensure!(less(&all, &of_strace) == within, "`{command}`: {all:?}, not {of_strace:?}");
            ensure!(inside == if tells_inside { within } else { Commands::new() }, "`{command}`: {inside:?} inside");
        }
        println!("{command}: {} by strace, {} by the guard", sum(&of_strace), sum(&outside) + sum(&inside));
    }
    Ok(())
}

/// Writes what the guest does: the guard is on while the programs run, and tells in the end what was lost.
///
/// What the guard prints is read while it is written, which a shared folder does not stand: with `cache=loose`, 9p sometimes
/// shows zeros in place of what was appended while another process read (seen on 6.12 and 7.3).
fn script(rows: &[Row]) -> String {
    let programs = crate::script(rows);
    format!(
        "cd {share}; mount -t tmpfs tmpfs /run; mkfifo /run/commands
        ./{GUARD_PROGRAM} try --commands record.guard.toml </run/commands >/run/records 2>/run/errors &
        exec 9>/run/commands
        tell() {{ echo $1 >&9; until grep -q '\"done\":\"'$1'\"' /run/records; do [ -d /proc/$! ] || return; sleep 0.1; done; }}
        tell on
        ( exec 9>&-; {programs} )
        tell off
        exec 9>&-; wait; cp /run/records /run/errors .",
        share = crate::SHARE
    )
}

/// Returns the records, if none is missing.
fn records(share: &Path) -> Result<Vec<Line>> {
    let [text, errors] = ["records", "errors"].map(|name| fs::read_to_string(share.join(name)).unwrap_or_default());
    let (mut lines, mut end) = (Vec::new(), None);
    for text in text.lines() {
        let value: Value = serde_json::from_str(text)?;
        match value.get("done") {
            Some(done) if done == "off" => end = Some(value["counters"].clone()),
            Some(_) => {}
            None if value.get("ready").is_some() => {}
            None => lines.push(serde_json::from_value::<Line>(value)?),
        }
    }
    let end = end.with_context(|| format!("the guard did not end as it should: {errors}"))?;
    ensure!(end["lost"] == 0 && end["counted"] == 0, "records were lost, or calls only counted: {end}");
    ensure!(end["read"] == lines.len() && end["recorded"] == lines.len(), "{} records, not {end}", lines.len());
    ensure!(lines.iter().all(|line| line.verdict == Verdict::Allowed), "something was refused");
    Ok(lines)
}

/// The calls of these threads: those of loader programs inside the kernel where it tells, and their own.
fn by_guard(records: &[Line], threads: &BTreeSet<u32>) -> [Commands; 2] {
    let mut all = [Commands::new(), Commands::new()];
    for line in records.iter().filter(|line| line.hook == Hook::Bpf && threads.contains(&line.who.pid)) {
        let command = line.command.as_ref().and_then(|command| command.name.clone()).unwrap_or_default();
        *all[usize::from(!line.of_kernel)].entry(command).or_default() += 1;
    }
    all
}

/// The calls of bpf(2) in what strace wrote, such as `123 bpf(BPF_MAP_CREATE, {…}, 80) = 3`.
fn by_strace(trace: &str) -> Commands {
    let mut all = Commands::new();
    for (_, call) in trace.lines().filter_map(|line| line.split_once(" bpf(BPF_")) {
        let command = call.split(',').next().unwrap_or_default().to_lowercase();
        *all.entry(command).or_default() += 1;
    }
    all
}

/// The threads that strace followed.
fn threads(trace: &str) -> BTreeSet<u32> {
    trace.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect()
}

fn added(one: &Commands, other: &Commands) -> Commands {
    let mut all = one.clone();
    other.iter().for_each(|(command, times)| *all.entry(command.clone()).or_default() += times);
    all
}

/// Returns what is in one and not in the other.
fn less(all: &Commands, part: &Commands) -> Commands {
    let left = all.iter().map(|(command, times)| (command.clone(), times - part.get(command).unwrap_or(&0)));
    left.filter(|(_, times)| *times > 0).collect()
}

fn sum(commands: &Commands) -> usize {
    commands.values().sum()
}
