//! Services of the guest's systemd: write, start, query, stop and remove them.

mod manager;

use std::{
    fmt::Write,
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

use harness_protocol::{
    outcome::{LONGEST_WARNING, MOST_WARNINGS},
    plan::{Assignment, Manager, Unit},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::Mode,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
};
use thiserror::Error;

use crate::{
    error::{During, SysError},
    kmsg::Log,
};
use manager::{ManagedUnit, ManagerError, State};

/// Where runtime units are (systemd.unit(5)).
const UNITS: &str = "/run/systemd/system";

/// The same for the user whose own manager runs units.
const USER_UNITS: &str = "/run/user/1000/systemd/user";

/// The unit of its manager.
const USER_MANAGER: &str = "user@1000.service";

/// Where the sockets of units are.
const SOCKETS: &str = "/run/bpf-token-guest";

/// Why a unit cannot be made or queried. A unit that systemd refuses to run is not an error.
#[derive(Debug, Error)]
pub(crate) enum SystemdError {
    /// A file cannot be written or removed.
    #[error("cannot write {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// A system call failed.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// A manager of units cannot be asked.
    #[error(transparent)]
    Manager(#[from] ManagerError),
    /// The image does not start the manager of a user's units.
    #[error("cannot start {USER_MANAGER}: {0}")]
    NoManager(String),
}

/// A unit in systemd's directory. Dropping it stops and removes it.
#[derive(Debug)]
pub(crate) struct Service {
    /// Its file name without the suffix.
    stem: String,
    manager: Manager,
    managed: ManagedUnit,
    log: Log,
    /// systemd's warnings until it ran or failed to, whatever they name: some warnings about a unit do not name it.
    warnings: Vec<String>,
    /// Whether it was stopped and its result read.
    finished: bool,
    files: Vec<PathBuf>,
}

/// What systemd says of a unit that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// `Result=`, or `LoadState=` if it was not loaded.
    pub(crate) result: String,
    /// Exit code or signal.
    pub(crate) status: String,
    /// systemd's warnings.
    pub(crate) warnings: Vec<String>,
}

impl Service {
    /// Writes a unit and starts it. Also returns the socket of its process; `None` if systemd does not run it.
    pub(crate) fn start(plan: &Unit, stem: &str) -> Result<(Self, Option<OwnedFd>), SystemdError> {
        let at = if plan.instance.is_some() { "@" } else { "" };
        let unit = format!("{stem}{at}{}.service", plan.instance.as_deref().unwrap_or_default());
        let socket = Path::new(SOCKETS).join(stem);
        let listener = listen(&socket)?;
        let (log, files) = (Log::from_now()?, vec![socket.clone()]);
        let (stem, manager) = (stem.to_owned(), plan.manager);
        if manager == Manager::User {
            let started = user_manager()?.start()?;
            if !started.is_done() {
                return Err(SystemdError::NoManager(started.0));
            }
        }
        let managed = ManagedUnit::of(manager, unit)?;
        let mut service = Self { stem, manager, managed, log, warnings: Vec::new(), finished: false, files };
        service.write(&format!("{}{at}.service", service.stem), plan, &socket)?;
        // Returns once its program is executed (`Type=exec`, systemd.service(5)), and so once its socket is connected.
        service.managed.start()?;
        service.warnings = service.log.warnings_of_systemd()?;
        if !is_readable(&listener)? {
            return Ok((service, None));
        }
        // systemd connects it for the process, which may not be the one that uses it in the end.
        let socket = rustix::net::accept_with(&listener, SocketFlags::CLOEXEC).during(|| "accept a unit")?;
        Ok((service, Some(socket)))
    }

    /// Waits for its end, or stops it, reads its result, and removes it.
    pub(crate) fn finish(mut self) -> Result<Ended, SystemdError> {
        let mut state = self.managed.await_end(PATIENCE)?;
        if !state.is_over() {
            self.managed.stop()?;
            state = self.managed.await_end(PATIENCE)?;
        }
        let (result, status) = (result_of(state), status_of(state));
        let later = self.log.warnings_of_systemd()?.into_iter().filter(|line| line.contains(&self.stem));
        let warnings = in_order(self.warnings.drain(..).chain(later), &self.stem);
        let ended = Ended { result, status, warnings };
        if ended.result != SUCCESS {
            self.managed.reset_failed()?;
        }
        self.stop_manager()?;
        self.finished = true;
        Ok(ended)
    }

    /// Stops a user's manager, which runs for this unit only; the system's keeps running.
    fn stop_manager(&self) -> Result<(), SystemdError> {
        match self.manager {
            Manager::System => Ok(()),
            Manager::User => Ok(user_manager()?.stop().map(drop)?),
        }
    }

    fn write(&mut self, file: &str, plan: &Unit, socket: &Path) -> Result<(), SystemdError> {
        let units = Path::new(if self.manager == Manager::User { USER_UNITS } else { UNITS });
        let (path, folder) = (units.join(file), units.join(format!("{file}.d")));
        let command = command(&own_path()?, plan.nspawn.as_deref());
        let ours = format!("Type=exec\nOpenFile={}\nExecStart={command}\n", socket.display());
        self.files.extend([path.clone(), folder.clone()]);
        write_file(&path, &(section(&plan.service) + &ours))?;
        for (number, drop_in) in plan.drop_ins.iter().enumerate() {
            write_file(&folder.join(format!("{:02}.conf", number + 1)), &section(drop_in))?;
        }
        Ok(())
    }
}

/// `Result=` of a unit that did not fail.
const SUCCESS: &str = "success";

/// How long a unit may take to end by itself after the guest program in it: systemd-nspawn ends later than its container, and how
/// a unit ended is a verdict, which must not depend on how busy the machine is.
const PATIENCE: Duration = Duration::from_secs(10);

impl Drop for Service {
    fn drop(&mut self) {
        if !self.finished {
            let _ = self.managed.stop();
            let _ = self.managed.reset_failed();
            let _ = self.stop_manager();
        }
        for path in &self.files {
            let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
    }
}

fn user_manager() -> Result<ManagedUnit, ManagerError> {
    ManagedUnit::of(Manager::System, USER_MANAGER.to_owned())
}

fn own_path() -> Result<PathBuf, SystemdError> {
    let path = PathBuf::from("/proc/self/exe");
    fs::read_link(&path).map_err(|source| SystemdError::Io { path, source })
}

/// Formats assignments as a unit file; ours are appended, so that line numbers match the scenario.
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

/// Makes a socket that systemd connects for the unit by `OpenFile=` (systemd.service(5)): it does so before it
/// restricts the process, so neither its user nor its view of the file system matter.
fn listen(path: &Path) -> Result<OwnedFd, SystemdError> {
    let failed = |source| SystemdError::Io { path: path.to_owned(), source };
    path.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
    let address = SocketAddrUnix::new(path).during(|| "the address of a unit's socket")?;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .during(|| "socket")?;
    rustix::net::bind(&socket, &address).during(|| format!("bind {}", path.display()))?;
    // A user's manager connects as the user.
    rustix::fs::chmod(path, Mode::from_raw_mode(0o666)).during(|| format!("chmod {}", path.display()))?;
    rustix::net::listen(&socket, 1).during(|| format!("listen {}", path.display()))?;
    Ok(socket)
}

fn is_readable(socket: &OwnedFd) -> Result<bool, SysError> {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    Ok(poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&now)).during(|| "poll")? > 0)
}

/// Returns what a unit executes: the guest program, or systemd-nspawn with the guest program as its container's second
/// process. systemd-nspawn passes on what systemd opened (`LISTEN_FDS`, systemd-nspawn(1)).
fn command(own: &Path, nspawn: Option<&[String]>) -> String {
    let own = own.display();
    match nspawn {
        None => format!("{own} unit"),
        Some(options) => {
            let options = options.iter().fold(String::new(), |text, option| text + option + " ");
            format!("{NSPAWN} --bind-ro={own} {options}{own} unit")
        }
    }
}

/// A container of the machine's own `/usr`, which is not registered and stays in the unit's cgroup.
const NSPAWN: &str = "/usr/bin/systemd-nspawn --quiet --register=no --keep-unit --directory=/ --volatile=yes --as-pid2";

fn result_of(state: &State) -> String {
    if state.load == "loaded" { state.result.clone() } else { state.load.clone() }
}

/// `CLD_KILLED` and `CLD_DUMPED` of `waitid(2)` mean that the number is a signal.
fn status_of(state: &State) -> String {
    match state.main_end {
        (libc::CLD_KILLED | libc::CLD_DUMPED, signal) => format!("signal {signal}"),
        (_, code) => code.to_string(),
    }
}

/// Replaces the unit's name by `unit` in warnings, so that none depends on its index in the plan. Each warning is
/// returned once, since systemd may load a unit more than once.
fn in_order(lines: impl Iterator<Item = String>, stem: &str) -> Vec<String> {
    let mut warnings: Vec<String> = Vec::new();
    for line in lines.map(|line| line.replace(stem, "unit")) {
        let line: String = line.chars().take(LONGEST_WARNING).collect();
        if !warnings.contains(&line) {
            warnings.push(line);
        }
    }
    warnings.truncate(MOST_WARNINGS);
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_of_a_unit_is_read_from_its_properties() {
        let state = |load: &str, result: &str, main_end| State {
            load: load.to_owned(),
            active: "failed".to_owned(),
            result: result.to_owned(),
            main_end,
        };
        let killed = state("loaded", "signal", (libc::CLD_DUMPED, 31));
        assert_eq!((result_of(&killed).as_str(), status_of(&killed).as_str()), ("signal", "signal 31"));
        let exited = state("loaded", "exit-code", (libc::CLD_EXITED, 217));
        assert_eq!((result_of(&exited).as_str(), status_of(&exited).as_str()), ("exit-code", "217"));
        let bad = state("bad-setting", "success", (0, 0));
        assert_eq!((result_of(&bad).as_str(), status_of(&bad).as_str()), ("bad-setting", "0"));
    }

    #[test]
    fn warnings_do_not_depend_on_the_plan_and_come_once() {
        let lines =
            ["/run/x/guest-1-2-a.service:3: no", "guest-1-2-a.service: bad", "/run/x/guest-1-2-a.service:3: no"];
        let lines = lines.into_iter().map(str::to_owned);
        assert_eq!(in_order(lines, "guest-1-2-a"), ["/run/x/unit.service:3: no", "unit.service: bad"]);
        let long = "x".repeat(LONGEST_WARNING + 1);
        assert_eq!(in_order([long].into_iter(), "a")[0].len(), LONGEST_WARNING);
    }

    #[test]
    fn a_container_of_nspawn_has_the_guest_program() {
        let options = ["--private-users=65536:65536".to_owned()];
        assert_eq!(command(Path::new("/g"), None), "/g unit");
        insta::assert_snapshot!(
            command(Path::new("/g"), Some(&options)),
            @"/usr/bin/systemd-nspawn --quiet --register=no --keep-unit --directory=/ --volatile=yes --as-pid2 --bind-ro=/g --private-users=65536:65536 /g unit"
        );
    }

    #[test]
    fn an_image_without_a_users_manager_is_named() {
        insta::assert_snapshot!(
            SystemdError::NoManager("Unit user@1000.service not found.".to_owned()),
            @"cannot start user@1000.service: Unit user@1000.service not found."
        );
    }

    #[test]
    fn assignments_keep_their_order() {
        let assign = |value: &str| Assignment { key: "A".to_owned(), value: value.to_owned() };
        assert_eq!(section(&[assign("1"), assign("")]), "[Service]\nA=1\nA=\n");
    }
}
