//! The daemon of the guard as distributions run it: the unit of `harness/guard/dist` in a guest with systemd, after a guard
//! that the initramfs started.

#[allow(dead_code, reason = "this test uses only a part of it")]
mod built;

use std::{
    collections::BTreeMap,
    env, fs,
    io::BufReader,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use guard_record::{Anchors, GapReason, Verified, verify};
use harness_builder::{
    cache::Cache,
    guest_program::guard::{self, GuardProgram},
    initramfs,
    project::Project,
};
use harness_protocol::plan::Guard;
use harness_runner::{
    session::RunFolder,
    vm::{self, VmSpec},
};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use serde_json::Value;

use built::Built;

/// Default kernels, each with a systemd of another age.
const ENVIRONMENTS: [(&str, &str); 2] = [("6.12", "systemd-257"), ("7.3", "systemd-262")];

/// The limit for a VM under software emulation on a busy machine.
const PATIENCE: Duration = Duration::from_secs(600);

/// What the initramfs puts in force: everything is recorded, and nothing that root does refused.
const POLICY: &str = "version = 1\nmode = \"enforce\"\n[guard]\ncount_only = []\n[[rule]]\nuid = 0\nallow = true\n";

/// What the guest is asked, as root.
const QUESTIONS: &str = include_str!("guard_daemon/questions.sh");

fn main() -> ExitCode {
    vm::run_child_if_asked();
    let trials = ENVIRONMENTS.map(|(kernel, image)| {
        let name = format!("the_unit_keeps_the_record_through_restarts_kills_and_a_full_disk::{kernel}");
        Trial::ignorable_test(name, move || match find(kernel, image) {
            Ok((built, guard)) => match test(&built, &guard) {
                Ok(()) => Ok(Completion::Completed),
                Err(error) => Err(Failed::from(format!("{error:#}"))),
            },
            Err(error) => match built::gone(image) {
                Some(reason) => Ok(Completion::ignored_with(reason)),
                None if env::var_os("CI").is_some() => Err(Failed::from(format!("{error:#}"))),
                None => Ok(Completion::ignored_with(format!("{error:#}"))),
            },
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
}

fn find(kernel: &str, image: &str) -> Result<(Built, GuardProgram)> {
    let built = Built::of_kernel_in(kernel, image).map_err(|error| anyhow!("{error}"))?;
    let built = built.with_context(|| format!("kernel {kernel} is not built: `cargo xtask kernel build {kernel}`"))?;
    let guard = guard::find_built(Project::find()?.root(), &Cache::from_env()?)?;
    Ok((built, guard.context("the guard's program is not built: `cargo xtask run --filter 'guard/*'`")?))
}

/// What the guest answered, by file.
struct Answers(PathBuf);

impl Answers {
    fn of(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap_or_else(|error| format!("{name}: {error}"))
    }

    /// Checks that an answer has a text.
    fn has(&self, name: &str, text: &str) -> Result<()> {
        let answer = self.of(name);
        ensure!(answer.contains(text), "`{name}` has no `{text}`:\n{answer}");
        Ok(())
    }

    /// Checks what the guest's own check said of the log.
    fn is_whole(&self, name: &str) -> Result<()> {
        self.has(name, "the log is whole")?;
        self.has(name, "ended with 0\n")
    }

    /// Reads a copy of the log, and checks it with the anchors of the kernel's log.
    fn log(&self, folder: &str) -> Result<Log> {
        let folder = self.0.join(folder);
        let open = |path: &Path| Ok::<_, anyhow::Error>(BufReader::new(fs::File::open(path)?));
        let mut anchors = Anchors::default();
        anchors.read(open(&folder.join("anchors"))?)?;
        ensure!(!anchors.is_empty(), "the kernel's log has no anchor");
        let number = |path: &PathBuf| path.extension().and_then(|end| end.to_str()?.parse::<u64>().ok());
        let mut paths: Vec<PathBuf> = fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        paths.retain(|path| number(path).is_some() || path.ends_with("log.jsonl"));
        paths.sort_by_key(|path| number(path).unwrap_or(u64::MAX));
        let files = paths.iter().map(|path| Ok((path.display().to_string(), open(path)?)));
        let verified = verify(files.collect::<Result<Vec<_>>>()?, anchors, false)?;
        let texts = paths.iter().map(fs::read_to_string).collect::<Result<Vec<_>, _>>()?;
        let lines = texts.iter().flat_map(|text| text.lines()).map(serde_json::from_str);
        Ok(Log { verified, lines: lines.collect::<Result<_, _>>()? })
    }
}

/// A log of the guest.
struct Log {
    verified: Verified,
    lines: Vec<Value>,
}

impl Log {
    fn records(&self) -> impl Iterator<Item = &Value> {
        self.lines.iter().filter_map(|line| line.get("record"))
    }
}

fn test(built: &Built, guard: &GuardProgram) -> Result<()> {
    let folder = RunFolder::create(&built.runs)?;
    let console = run(built, guard, folder.path())?;
    let answers = Answers(folder.path().join("share"));
    judge(&answers).with_context(|| format!("the console:\n{console}"))
}

fn judge(answers: &Answers) -> Result<()> {
    starts(answers)?;
    restarts(answers)?;
    runs_full(answers)
}

/// It starts before the rest of the system, and its log has what was called since the initramfs.
fn starts(answers: &Answers) -> Result<()> {
    answers.has("boot", "active\nended with 0\n")?;
    ensure!(answers.of("failed").is_empty(), "units failed: {}", answers.of("failed"));
    let order = answers.of("order");
    let times: Vec<u64> = order.lines().filter_map(|line| line.parse().ok()).collect();
    ensure!(times.len() == 2 && times[0] > 0 && times[0] <= times[1], "the unit, then sysinit.target: {order}");
    answers.has("status", "0 missing")?;
    answers.has("status", "all adds up\nended with 0\n")?;
    answers.is_whole("running")?;
    answers.has("running", "1 anchors met")?;
    answers.has("other", "reads the records; waiting 10 s for it to end\n")?;
    answers.has("other", "one process at a time can: end it first")?;
    answers.has("other", "ended with 1\n")?;
    let second = answers.of("other-log");
    ensure!(second.contains("No such file"), "a second daemon began a log: {second}");
    Ok(())
}

/// No record is missing, whether it is stopped, restarted or killed.
fn restarts(answers: &Answers) -> Result<()> {
    for asked in ["stop", "start", "restart", "kill"] {
        answers.has(asked, "ended with 0\n")?;
    }
    answers.has("stopped-status", "problem  the daemon was stopped: nobody reads the records\nended with 1\n")?;
    for whole in ["stopped", "restarted", "killed"] {
        answers.is_whole(whole)?;
        let text = answers.of(whole);
        ensure!(!text.contains("the log says itself"), "records are missing: {text}");
    }
    answers.has("restarted", "in 3 files")?;
    answers.has("killed", "1 files have no closing line")?;
    let log = answers.log("restarts")?;
    let verified = &log.verified;
    ensure!(verified.findings.is_empty() && verified.killed == 1 && verified.files == 4, "{verified:?}");
    ensure!(verified.missing.is_empty() && log.records().count() as u64 == verified.records, "{verified:?}");
    ensure!(log.records().zip(0_u64..).all(|(record, seq)| record["seq"] == seq), "the numbers have a gap");
    let loads = log.records().filter(|record| record["hook"] == "prog-load" && record["who"]["comm"] == "systemd");
    let devices = loads.filter(|record| record["program"]["type"]["name"] == "cgroup_device").count();
    ensure!(devices >= 3, "{devices} programs for devices that systemd loaded are in the log");
    Ok(())
}

/// On a full disk it says so, leaves no half line, and goes on where there is room again.
fn runs_full(answers: &Answers) -> Result<()> {
    answers.has("full-status", "problem  cannot write /var/log/bpf-guard/log.jsonl: No space left on device")?;
    answers.has("full-status", "ended with 1\n")?;
    ensure!(answers.of("full-end") == "}\n", "the log ends with half a line: {}", answers.of("full-end"));
    for whole in ["full", "room", "ended"] {
        answers.is_whole(whole)?;
    }
    answers.has("full-start", "ended with 1\n")?;
    answers.has("full-state", "activating")?;
    answers.has("end", "ended with 0\n")?;
    let said = answers.of("said");
    for text in [
        "nothing is read until that is mended: records stay in the rings",
        "can be written again; 0 records did not fit the rings meanwhile",
        "bpf-guard: cannot begin /var/log/bpf-guard/log.jsonl: No space left on device",
    ] {
        ensure!(said.contains(text), "the journal has no `{text}`:\n{said}");
    }
    let log = answers.log("full-disk")?;
    let Verified { findings, missing, killed, .. } = &log.verified;
    ensure!(findings.is_empty() && *killed == 1, "{:?}", log.verified);
    // What the first log has, and what was read when the daemon was stopped on a full disk, as it said.
    let unwritten = unwritten(&said);
    let begin = log.lines.iter().find_map(|line| line.get("gap")?["count"].as_u64()).unwrap_or(0);
    let known = [(GapReason::Begin, begin), (GapReason::Restart, unwritten)];
    let known: BTreeMap<_, _> = known.into_iter().filter(|(_, count)| *count > 0).collect();
    ensure!(*missing == known, "{missing:?} are missing, not {known:?}:\n{said}");
    Ok(())
}

/// How many records were read and not written when the daemon was stopped, as it said.
fn unwritten(said: &str) -> u64 {
    let counts = said.lines().filter_map(|line| {
        let (before, _) = line.split_once(" records that were read are not in the log")?;
        before.rsplit(' ').next()?.parse::<u64>().ok()
    });
    counts.sum()
}

/// Puts program and unit where a package puts them, boots, and returns what the console showed.
fn run(built: &Built, guard: &GuardProgram, folder: &Path) -> Result<String> {
    let [root, share, worker, early] = ["root", "share", "worker", "initramfs"].map(|name| folder.join(name));
    [&share, &worker].into_iter().try_for_each(fs::create_dir)?;
    built.image.private_copy(&built.guest, &root)?;
    let plan = Guard { early: true, ..Guard::new(POLICY) };
    initramfs::with_guard(&built.kernel, &built.guest, guard, &plan, &early)?;
    install(guard, &root)?;
    let spec = built.spec().map_err(|error| anyhow!("{error}"))?;
    let qemu_args = vec!["-initrd".to_owned(), early.display().to_string()];
    let spec = VmSpec { root, share, command: QUESTIONS.to_owned(), qemu_args, ..spec };
    built::shown(&spec, &worker, PATIENCE).map_err(|error| anyhow!("{error}"))
}

/// Installs the program and the samples as `harness/guard/dist/README.md` says.
fn install(guard: &GuardProgram, root: &Path) -> Result<()> {
    let dist = Project::find()?.root().join("harness/guard/dist");
    let units = root.join("etc/systemd/system");
    fs::copy(guard.path(), root.join("usr/bin/bpf-guard"))?;
    fs::copy(dist.join("systemd/bpf-guard.service"), units.join("bpf-guard.service"))?;
    fs::create_dir_all(root.join("etc/tmpfiles.d"))?;
    fs::copy(dist.join("tmpfiles.d/bpf-guard.conf"), root.join("etc/tmpfiles.d/bpf-guard.conf"))?;
    let wanted = units.join("sysinit.target.wants");
    fs::create_dir_all(&wanted)?;
    Ok(symlink("../bpf-guard.service", wanted.join("bpf-guard.service"))?)
}
