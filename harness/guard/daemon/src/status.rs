//! `status`: what the daemon says about itself, in a file that it replaces every second.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::Args;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Where the daemon writes it.
pub(crate) const FILE: &str = "/run/bpf-guard/status.json";

/// The age at which a status is out of date.
const FRESH: Duration = Duration::from_secs(10);

/// Show what the daemon does, and whether its numbers add up
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 the daemon runs, writes its log, and its numbers add up; 1 something of that is not so; 3 there is no daemon.")]
pub(crate) struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,

    /// The file that the daemon writes
    #[arg(long, value_name = "FILE", default_value = FILE)]
    file: PathBuf,
}

/// What the daemon does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Status {
    /// Process of the daemon.
    pub(crate) pid: u32,
    /// Id of the boot.
    pub(crate) boot_id: String,
    /// Time since boot in nanoseconds at which this was written.
    pub(crate) boot_ns: u64,
    /// Whether it ended as it was asked to.
    pub(crate) stopped: bool,
    /// The log.
    pub(crate) log: PathBuf,
    /// Number of its file, and of the last line there.
    pub(crate) file: u64,
    pub(crate) line: u64,
    /// Bytes of that file.
    pub(crate) bytes: u64,
    /// Chain of that line.
    pub(crate) chain: String,
    /// Why the log cannot be written.
    pub(crate) trouble: Option<String>,
    /// Number of the next record in the log, those there, and those that it says are missing.
    pub(crate) seq: u64,
    pub(crate) read: u64,
    pub(crate) lost: u64,
    /// Records that wait for others before them.
    pub(crate) waiting: usize,
    /// Number of the next record of the kernel, and those that did not fit the rings.
    pub(crate) kernel_seq: u64,
    pub(crate) kernel_lost: u64,
}

impl Status {
    /// Whether each record of the log is either there or accounted for, and the kernel has given no less numbers.
    fn adds_up(&self) -> bool {
        self.read.checked_add(self.lost) == Some(self.seq) && self.seq <= self.kernel_seq
    }

    /// Replaces the file, so that it is never seen half written.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder)?;
        let mut next = path.to_owned().into_os_string();
        next.push(".next");
        fs::write(&next, serde_json::to_string_pretty(self)? + "\n")?;
        fs::rename(&next, path)
    }

    fn read(path: &Path) -> Result<Option<Self>> {
        let shown = path.display();
        match fs::read_to_string(path) {
            Ok(text) => Ok(Some(serde_json::from_str(&text).with_context(|| format!("cannot read {shown}"))?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {shown}")),
        }
    }

    /// Returns who reads the records, as far as the status of a daemon says it.
    pub(crate) fn reader(path: &Path) -> String {
        let status = Self::read(path).ok().flatten().filter(|status| !status.stopped && status.is_there());
        match status {
            Some(status) => format!("the daemon (process {}, log {})", status.pid, status.log.display()),
            None => "another process".to_owned(),
        }
    }

    /// Whether its process is there. kill(2) would be refused, and on record.
    fn is_there(&self) -> bool {
        Path::new("/proc").join(self.pid.to_string()).exists()
    }

    /// Returns what is wrong, given the time since boot, and whether the process is there.
    fn problems(&self, now: Duration, is_there: bool) -> Vec<String> {
        let age = now.saturating_sub(Duration::from_nanos(self.boot_ns));
        let mut problems = Vec::new();
        if self.stopped {
            problems.push("the daemon was stopped: nobody reads the records".to_owned());
        } else if !is_there {
            problems.push(format!("the daemon (process {}) is dead: nobody reads the records", self.pid));
        } else if age > FRESH {
            problems.push(format!("the daemon has not written its status for {} s: it hangs", age.as_secs()));
        }
        problems.extend(self.trouble.clone());
        if !self.adds_up() {
            problems.push(format!(
                "the numbers do not add up: {} read and {} lost of {}, and the kernel has given {}",
                self.read, self.lost, self.seq, self.kernel_seq
            ));
        }
        problems
    }

    fn text(&self, problems: &[String]) -> String {
        let Self { log, file, line, bytes, seq, read, lost, kernel_seq, .. } = self;
        let unread = kernel_seq.saturating_sub(*seq);
        let mut text = format!(
            "log      {} (file {file}, line {line}, {bytes} bytes)\nrecords  {read} in the log, {lost} missing, {unread} not read yet\n",
            log.display()
        );
        if problems.is_empty() {
            text.push_str("all adds up\n");
        }
        problems.iter().for_each(|problem| text.push_str(&format!("problem  {problem}\n")));
        text
    }
}

/// Runs the command.
pub(crate) fn run(args: &StatusArgs) -> Result<ExitCode> {
    let Some(status) = Status::read(&args.file)? else {
        eprintln!(
            "bpf-guard: no daemon runs, or it has not begun: {} is not there; start it with `bpf-guard run`",
            args.file.display()
        );
        return Ok(ExitCode::from(3));
    };
    let now = clock_gettime(ClockId::Boottime);
    let now = Duration::from_secs(u64::try_from(now.tv_sec).unwrap_or(0));
    let problems = status.problems(now, status.is_there());
    match args.json {
        true => println!(
            "{}",
            serde_json::to_string_pretty(&serde_json::json!({ "status": status, "problems": problems }))?
        ),
        false => print!("{}", status.text(&problems)),
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        Status {
            pid: 7,
            boot_id: "b".into(),
            boot_ns: 100_000_000_000,
            stopped: false,
            log: "/var/log/bpf-guard.jsonl".into(),
            file: 2,
            line: 30,
            bytes: 9000,
            chain: "0".into(),
            trouble: None,
            seq: 10,
            read: 7,
            lost: 3,
            waiting: 0,
            kernel_seq: 12,
            kernel_lost: 3,
        }
    }

    fn problems(status: &Status, second: u64, is_there: bool) -> String {
        status.problems(Duration::from_secs(second), is_there).join("; ")
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(problems(&status(), 105, true), "");
        assert!(problems(&status(), 105, false).contains("process 7) is dead"));
        assert!(problems(&status(), 120, true).contains("for 20 s: it hangs"));
        assert!(problems(&Status { stopped: true, ..status() }, 120, false).starts_with("the daemon was stopped"));
        assert_eq!(problems(&Status { trouble: Some("no room".into()), ..status() }, 105, true), "no room");
        let text = "the numbers do not add up: 7 read and 2 lost of 10, and the kernel has given 12";
        assert_eq!(problems(&Status { lost: 2, ..status() }, 105, true), text);
        assert!(problems(&Status { kernel_seq: 9, ..status() }, 105, true).contains("do not add up"));
        let text = "log      /var/log/bpf-guard.jsonl (file 2, line 30, 9000 bytes)\nrecords  7 in the log, 3 missing, 2 not read yet\nall adds up\n";
        assert_eq!(status().text(&[]), text);
    }

    #[test]
    fn a_status_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/status.json");
        assert_eq!(Status::read(&path).unwrap(), None);
        status().write(&path).unwrap();
        assert_eq!(Status::read(&path).unwrap(), Some(status()));
        Status { pid: u32::MAX, ..status() }.write(&path).unwrap();
        assert_eq!(Status::reader(&path), "another process", "that one is gone");
        let own = Status { pid: std::process::id(), ..status() };
        own.write(&path).unwrap();
        assert!(Status::reader(&path).ends_with(", log /var/log/bpf-guard.jsonl)"), "{}", Status::reader(&path));
        Status { stopped: true, ..own }.write(&path).unwrap();
        assert_eq!(Status::reader(&path), "another process");
        fs::write(&path, "{").unwrap();
        assert!(Status::read(&path).unwrap_err().to_string().contains("status.json"));
    }
}
