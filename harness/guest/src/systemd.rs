//! Services of the guest's systemd: written, started, asked about, stopped and removed again.

use std::{
    fmt::Write,
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use harness_model::{
    outcome::{LONGEST_WARNING, MOST_WARNINGS},
    plan::{Assignment, Unit},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
    process::Pid,
};
use thiserror::Error;

use crate::error::{During, SysError};

/// Where units of this boot are (systemd.unit(5)).
const UNITS: &str = "/run/systemd/system";

/// Where the sockets are that units are spoken to by.
const SOCKETS: &str = "/run/bpf-token-guest";

/// How long a unit that runs may take to be connected, in seconds: systemd connects before it executes.
const PATIENCE: i64 = 10;

/// Why a unit cannot be made or asked about. One that systemd refuses to run is none.
#[derive(Debug, Error)]
pub(crate) enum SystemdError {
    /// A file cannot be written or removed.
    #[error("cannot write {path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A system call failed.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// A program of systemd's cannot be started.
    #[error("cannot start {program}: {source}; a unit needs an image with systemd, such as `--image systemd-262`")]
    NoProgram {
        /// Which.
        program: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A unit runs and does not speak.
    #[error("the unit runs, and nobody speaks for it within {PATIENCE} s: systemd {0}")]
    Silent(String),
}

/// A unit in systemd's folder. Dropping it stops and removes it.
#[derive(Debug)]
pub(crate) struct Service {
    /// Its file's name without the suffix.
    stem: String,
    /// What it is started as.
    unit: String,
    ran: bool,
    files: Vec<PathBuf>,
}

/// A unit that runs.
#[derive(Debug)]
pub(crate) struct Started {
    /// Leads to its process.
    pub(crate) socket: OwnedFd,
    /// Its process.
    pub(crate) pid: Pid,
}

/// What systemd says of a unit that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Whether its process was executed.
    pub(crate) ran: bool,
    /// `Result=`, or `LoadState=` if it was not even loaded.
    pub(crate) result: String,
    /// Exit code or signal.
    pub(crate) status: String,
    /// Of the journal.
    pub(crate) warnings: Vec<String>,
}

impl Service {
    /// Writes a unit and starts it; `None` beside it if systemd does not run it.
    pub(crate) fn start(plan: &Unit, stem: &str) -> Result<(Self, Option<Started>), SystemdError> {
        let at = if plan.instance.is_some() { "@" } else { "" };
        let unit = format!("{stem}{at}{}.service", plan.instance.as_deref().unwrap_or_default());
        let mut service = Self { stem: stem.to_owned(), unit, ran: false, files: Vec::new() };
        let socket = Path::new(SOCKETS).join(stem);
        let listener = listen(&socket)?;
        service.files.push(socket.clone());
        service.write(&format!("{stem}{at}.service"), plan, &socket)?;
        let done = run("/usr/bin/systemctl", &["start", &service.unit])?;
        if !done.status.success() && !is_readable(&listener, 0)? {
            return Ok((service, None));
        }
        if !is_readable(&listener, PATIENCE)? {
            return Err(SystemdError::Silent(String::from_utf8_lossy(&done.stderr).trim().to_owned()));
        }
        let socket = rustix::net::accept_with(&listener, SocketFlags::CLOEXEC).during(|| "accept a unit")?;
        let pid = rustix::net::sockopt::socket_peercred(&socket).during(|| "getsockopt SO_PEERCRED")?.pid;
        service.ran = done.status.success();
        Ok(match service.ran {
            true => (service, Some(Started { socket, pid })),
            false => (service, None),
        })
    }

    fn write(&mut self, file: &str, plan: &Unit, socket: &Path) -> Result<(), SystemdError> {
        let path = Path::new(UNITS).join(file);
        let folder = Path::new(UNITS).join(format!("{file}.d"));
        let ours = format!("Type=exec\nOpenFile={}\nExecStart={} unit\n", socket.display(), own_path()?.display());
        self.files.extend([path.clone(), folder.clone()]);
        write_file(&path, &(section(&plan.service) + &ours))?;
        for (number, drop_in) in plan.drop_ins.iter().enumerate() {
            write_file(&folder.join(format!("{:02}.conf", number + 1)), &section(drop_in))?;
        }
        Ok(())
    }

    /// Stops it, asks what came of it, and removes it.
    pub(crate) fn finish(self) -> Result<Ended, SystemdError> {
        run("/usr/bin/systemctl", &["stop", &self.unit])?;
        let journal = {
            run("/usr/bin/journalctl", &["--sync"])?;
            run(
                "/usr/bin/journalctl",
                &["--quiet", "--no-pager", "--output=cat", "--priority=warning", "--unit", &self.unit],
            )?
        };
        let properties = "--property=LoadState,Result,ExecMainCode,ExecMainStatus";
        let shown = run("/usr/bin/systemctl", &["show", properties, &self.unit])?;
        let shown = String::from_utf8_lossy(&shown.stdout);
        let warnings = warnings(&String::from_utf8_lossy(&journal.stdout), &self.stem);
        Ok(Ended { ran: self.ran, result: result_of(&shown), status: status_of(&shown), warnings })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = run("/usr/bin/systemctl", &["stop", &self.unit]);
        let _ = run("/usr/bin/systemctl", &["reset-failed", &self.unit]);
        for path in &self.files {
            let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
    }
}

fn own_path() -> Result<PathBuf, SystemdError> {
    let path = PathBuf::from("/proc/self/exe");
    fs::read_link(&path).map_err(|source| SystemdError::Io { path, source })
}

/// The text of a file with these assignments; what is ours comes behind, so that lines are numbered as written.
fn section(assignments: &[Assignment]) -> String {
    let mut text = "[Service]\n".to_owned();
    for Assignment { key, value } in assignments {
        let _ = writeln!(text, "{key}={value}");
    }
    text
}

fn write_file(path: &Path, text: &str) -> Result<(), SystemdError> {
    let failed = |source| SystemdError::Io { path: path.to_owned(), source };
    path.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
    fs::write(path, text).map_err(failed)
}

/// A socket that systemd connects for the unit, by `OpenFile=` (systemd.service(5)): before anything is taken from the
/// process, so neither its user nor its view of the file system matter.
fn listen(path: &Path) -> Result<OwnedFd, SystemdError> {
    let failed = |source| SystemdError::Io { path: path.to_owned(), source };
    path.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
    let address = SocketAddrUnix::new(path).during(|| "the address of a unit's socket")?;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .during(|| "socket")?;
    rustix::net::bind(&socket, &address).during(|| format!("bind {}", path.display()))?;
    rustix::net::listen(&socket, 1).during(|| format!("listen {}", path.display()))?;
    Ok(socket)
}

fn is_readable(socket: &OwnedFd, seconds: i64) -> Result<bool, SysError> {
    let patience = Timespec { tv_sec: seconds, tv_nsec: 0 };
    Ok(poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&patience)).during(|| "poll")? > 0)
}

fn run(program: &'static str, arguments: &[&str]) -> Result<Output, SystemdError> {
    let started = Command::new(program).args(arguments).env("SYSTEMD_COLORS", "0").output();
    started.map_err(|source| SystemdError::NoProgram { program, source })
}

fn property<'t>(shown: &'t str, name: &str) -> &'t str {
    shown.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
}

fn result_of(shown: &str) -> String {
    match property(shown, "LoadState") {
        "loaded" => property(shown, "Result").to_owned(),
        other => other.to_owned(),
    }
}

/// `CLD_KILLED` and `CLD_DUMPED` of `waitid(2)` say that the number is a signal's.
fn status_of(shown: &str) -> String {
    let number = property(shown, "ExecMainStatus");
    match property(shown, "ExecMainCode") {
        "2" | "3" => format!("signal {number}"),
        _ => number.to_owned(),
    }
}

/// Lines of the journal, the unit called `unit`: nothing that depends on where it stands in the plan. The same line is
/// told once, since a unit may be loaded more than once.
fn warnings(journal: &str, stem: &str) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    for line in journal.lines().map(|line| line.replace(stem, "unit")) {
        let line: String = line.chars().take(LONGEST_WARNING).collect();
        if !told.contains(&line) {
            told.push(line);
        }
    }
    told.truncate(MOST_WARNINGS);
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_told_by_its_properties() {
        let shown = "LoadState=loaded\nResult=signal\nExecMainCode=3\nExecMainStatus=31\n";
        assert_eq!((result_of(shown).as_str(), status_of(shown).as_str()), ("signal", "signal 31"));
        let bad = "LoadState=bad-setting\nResult=success\nExecMainCode=0\nExecMainStatus=0\n";
        assert_eq!((result_of(bad).as_str(), status_of(bad).as_str()), ("bad-setting", "0"));
    }

    #[test]
    fn warnings_name_no_place_in_the_plan_and_come_once() {
        let journal = "/run/x/guest-1-2-a.service:3: no\nguest-1-2-a.service: bad\n/run/x/guest-1-2-a.service:3: no\n";
        assert_eq!(warnings(journal, "guest-1-2-a"), ["/run/x/unit.service:3: no", "unit.service: bad"]);
        let long = "x".repeat(LONGEST_WARNING + 1);
        assert_eq!(warnings(&long, "a")[0].len(), LONGEST_WARNING);
    }

    #[test]
    fn assignments_stand_in_their_order() {
        let assign = |value: &str| Assignment { key: "A".to_owned(), value: value.to_owned() };
        assert_eq!(section(&[assign("1"), assign("")]), "[Service]\nA=1\nA=\n");
    }
}
