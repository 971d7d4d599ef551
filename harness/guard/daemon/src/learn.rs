//! `learn`: a policy from what was recorded.

use std::{
    fs::{self, File},
    io::BufReader,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use guard_loader::{Access, Guard, Kernel, LoadError, Options};
use guard_policy::{Danger, Learner, Origin};
use guard_record::{Anchors, Line, Logged, Verified, verify_each};

use crate::{machine::Machine, run_log::Asked};

/// How long a round waits for records.
const ROUND: Duration = Duration::from_millis(100);

/// How often the rings are read at the end, and how long each of these rounds waits: together they take more than the rings hold.
const LAST_ROUNDS: usize = 17;
const LAST_ROUND: Duration = Duration::from_millis(20);

/// The policy of a guard that refuses nothing and records everything.
const RECORD_ALL: &str = "version = 1\nmode = \"audit\"\nguard.count_only = []\n[[rule]]\nallow = true\n";

/// The exit code for a policy that lacks what was asked for.
const INCOMPLETE: u8 = 3;

/// Write a policy that allows what was recorded and no more, for each user
///
/// The policy goes to standard output, and has mode `audit`. Its comments say which records it was learnt from, and what was
/// left out: nothing is learnt from refused calls, and nothing dangerous unless it is named with --allow.
///
/// With --for it learns from the guard that `bpf-guard early` put in force, in place of the daemon, beginning with what the rings
/// hold. Without such a guard it puts one in force for that time, which refuses nothing but what would switch it off.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bpf-guard learn --for 1h > policy.toml
  bpf-guard learn --log /var/log/bpf-guard.jsonl.1 /var/log/bpf-guard.jsonl > policy.toml
  bpf-guard learn --log guard.jsonl --allow lsm override_return > policy.toml

Exit codes: 0 a policy was learnt; 1 none was: the log is not whole, says nothing, or cannot be read; 2 wrong usage;
3 a policy was learnt, and records are missing or something could not be learnt: standard error says what.")]
pub(crate) struct LearnArgs {
    /// Files of a log, oldest first; they are verified
    #[arg(long, value_name = "FILE", num_args = 1.., required_unless_present = "time", conflicts_with = "time")]
    log: Vec<PathBuf>,

    /// Learn from the guard for this long, such as 30s, 10m or 1h, or until Ctrl-C
    #[arg(long = "for", id = "time", value_name = "TIME", value_parser = time)]
    time: Option<Duration>,

    /// Learn this, too: `lsm`, `modify_return`, `modules`, `@interfere` or a helper of it
    #[arg(long, value_name = "NAME", num_args = 1.., value_parser = danger)]
    allow: Vec<Named>,
}

/// What a name stands for.
#[derive(Clone, Debug)]
struct Named(Vec<Danger>);

/// Reads a time such as `1h`.
fn time(text: &str) -> Result<Duration, String> {
    let is_right = |time: &Duration| (1..=366 * 86_400).contains(&time.as_secs());
    guard_policy::duration(text).filter(is_right).ok_or_else(|| "it is no time from 1s to 366d, such as 10m".to_owned())
}

fn danger(text: &str) -> Result<Named, String> {
    let dangers = Danger::named(text);
    if dangers.is_empty() {
        let names: Vec<String> = Danger::all().map(Danger::name).collect();
        return Err(format!("it is none of {}; everything else is learnt anyway", names.join(", ")));
    }
    Ok(Named(dangers))
}

/// Runs the command.
pub(crate) fn run(args: &LearnArgs) -> Result<ExitCode> {
    let mut learner = Learner::new(args.allow.iter().flat_map(|named| named.0.iter().copied()));
    let origin = match args.time {
        Some(time) => from_guard(&mut learner, time)?,
        None => from_log(&mut learner, &args.log)?,
    };
    let text = policy(&learner, &origin)?;
    let problems: Vec<String> = origin.missing.iter().cloned().chain(learner.shortcomings()).collect();
    problems.iter().for_each(|problem| eprintln!("bpf-guard: the policy is incomplete: {problem}"));
    for danger in learner.dangers() {
        eprintln!("bpf-guard: not learnt: {danger}; to learn it: --allow {}", danger.name());
    }
    print!("{text}");
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(INCOMPLETE) })
}

/// Writes the policy, and reads it again.
fn policy(learner: &Learner, origin: &Origin) -> Result<String> {
    if learner.is_empty() {
        let missing: String = origin.missing.iter().map(|line| format!("; {line}")).collect();
        bail!(
            "nothing is learnt: there is no record of a call that was not refused or made by the guard itself{missing}"
        );
    }
    let text = learner.to_toml(origin);
    match guard_policy::parse("the learnt policy", &text) {
        Ok(_) => Ok(text),
        Err(report) => bail!("what was recorded makes no policy; learn from fewer records\n{report}"),
    }
}

/// Learns from a log that is whole.
fn from_log(learner: &mut Learner, paths: &[PathBuf]) -> Result<Origin> {
    let mut origin = Origin::default();
    let files = paths.iter().map(|path| {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Ok((path.display().to_string(), BufReader::with_capacity(1 << 16, file)))
    });
    let files = files.collect::<Result<Vec<_>>>()?;
    let mut first = None;
    let verified = verify_each(files, Anchors::default(), true, |logged| match logged {
        Logged::Record(line) => learner.see(line),
        Logged::Start(start) => {
            first.get_or_insert(start.file);
            if !origin.kernels.contains(&start.kernel) {
                origin.kernels.push(start.kernel.clone());
            }
        }
        Logged::Gap(_) | Logged::Counters(_) | Logged::End(_) => {}
    });
    let verified = verified.context("cannot read the log")?;
    if let Some(finding) = verified.findings.first() {
        bail!("nothing is learnt: the log is not whole: {finding}; `bpf-guard verify` shows all that is wrong");
    }
    origin.from = paths.iter().map(|path| path.display().to_string()).collect();
    origin.missing = missing(&verified);
    if let Some(first @ 2..) = first {
        origin.notes.push(format!("The log begins with its file {first}; what files before it had is not learnt."));
    }
    if verified.state.is_some_and(|state| !state.closed) {
        origin.notes.push("The log is not closed: the daemon wrote to it, or was killed.".to_owned());
    }
    Ok(origin)
}

fn missing(verified: &Verified) -> Vec<String> {
    verified.missing.iter().map(|(why, count)| format!("{count} records {}", why.about())).collect()
}

/// Learns from the guard that is in force, or from one that is put in force for that time.
fn from_guard(learner: &mut Learner, time: Duration) -> Result<Origin> {
    // Before a guard is in force, so that no signal ends the process without a policy.
    let asked = Asked::new()?;
    match Access::open() {
        Ok(access) => {
            let kernel = Kernel::running()?;
            eprintln!("bpf-guard: learning from the guard in force; what is read now is in no log");
            listen(learner, &access, kernel, &asked, time)
        }
        Err(LoadError::NoGuard(_)) => {
            let (policy, _) = guard_policy::parse("", RECORD_ALL).expect("a test reads it");
            let mut guard = Guard::load(&policy.compile(), &Options::default())?;
            guard.arm()?;
            eprintln!(
                "bpf-guard: learning from a guard that records everything and refuses only what would switch it off"
            );
            learner.all_on_record = true;
            listen(learner, guard.access(), guard.kernel().clone(), &asked, time)
        }
        Err(error) => {
            Err(error).context("cannot read the guard in force; if the daemon reads it, learn from its log (--log)")
        }
    }
}

fn listen(learner: &mut Learner, access: &Access, kernel: Kernel, asked: &Asked, time: Duration) -> Result<Origin> {
    let machine = Machine::new(kernel, None);
    let reader = access.reader()?;
    let mut tally = Tally::default();
    let mut round = |timeout: Duration, end: u64| -> Result<()> {
        reader.wait(timeout);
        access.beat();
        for record in reader.take()?.records.iter().filter(|record| record.seq < end) {
            tally.see(record.seq);
            learner.see(&Line::of(record, &machine));
        }
        Ok(())
    };
    let begun = Instant::now();
    while begun.elapsed() < time && !asked.is_so() {
        round(ROUND.min(time.saturating_sub(begun.elapsed())), u64::MAX)?;
    }
    // What is recorded from here on is not learnt.
    let (end, _) = access.sums()?;
    (0..LAST_ROUNDS).try_for_each(|_| round(LAST_ROUND, end))?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let (missing, notes) = tally.gaps(end);
    Ok(Origin {
        from: vec!["the guard in force".to_owned()],
        kernels: vec![release.trim().to_owned()],
        missing: missing.into_iter().collect(),
        notes: notes.into_iter().collect(),
    })
}

/// Which records of a guard were read.
#[derive(Debug, Default)]
struct Tally {
    /// The smallest number.
    first: Option<u64>,
    read: u64,
}

impl Tally {
    fn see(&mut self, seq: u64) {
        self.first = Some(self.first.map_or(seq, |first| first.min(seq)));
        self.read += 1;
    }

    /// What is to be said about records that were not read: those that are missing among the numbers below `end`, and those that
    /// are older.
    fn gaps(&self, end: u64) -> (Option<String>, Option<String>) {
        let first = self.first.unwrap_or(end);
        let missing = end.saturating_sub(first).saturating_sub(self.read);
        let missing =
            (missing > 0).then(|| format!("{missing} records did not fit the rings, or another process read them"));
        let older = || {
            format!("{first} records of this guard are older, and were not in its rings any more: they are not learnt.")
        };
        (missing, (first > 0).then(older))
    }
}

#[cfg(test)]
mod tests;
