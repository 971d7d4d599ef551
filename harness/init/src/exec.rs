//! Programs started for the host.

use std::{
    collections::HashMap,
    io,
    os::unix::process::ExitStatusExt,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};

use crate::qemu_ga::{Exec, ExecStatus};

/// The default search path for programs.
pub(crate) const PATH: &str = "/usr/bin:/usr/sbin:/bin:/sbin";

/// The programs that were started and whose end has not been reported.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    running: HashMap<u32, Child>,
}

impl Programs {
    /// Starts a program and returns its pid.
    pub(crate) fn start(&mut self, exec: &Exec) -> io::Result<u32> {
        let mut command = Command::new(&exec.path);
        command.args(&exec.arg).stdin(Stdio::null());
        if let Some(environment) = &exec.env {
            command.env_clear().env("PATH", PATH);
            command.envs(environment.iter().filter_map(|variable| variable.split_once('=')));
        }
        let child = command.spawn()?;
        let pid = child.id();
        self.running.insert(pid, child);
        Ok(pid)
    }

    /// Returns the status of a program, after waiting up to `patience` for its end. `None` if it was not started here,
    /// or its end was already reported.
    pub(crate) fn status(&mut self, pid: u32, patience: Duration) -> io::Result<Option<ExecStatus>> {
        let Some(child) = self.running.get_mut(&pid) else { return Ok(None) };
        wait(child, patience)?;
        let Some(status) = child.try_wait()? else { return Ok(Some(ExecStatus::Running)) };
        self.running.remove(&pid);
        let ended = status.code().map(ExecStatus::Exited);
        Ok(ended.or_else(|| status.signal().map(ExecStatus::Signaled)))
    }
}

/// Returns when `child` has ended or `patience` has passed.
fn wait(child: &Child, patience: Duration) -> io::Result<()> {
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let timeout = Timespec::try_from(patience).map_err(io::Error::other)?;
    poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn shell(script: &str, env: Option<Vec<String>>) -> Exec {
        Exec { path: "sh".into(), arg: vec!["-c".into(), script.into()], env }
    }

    fn end_of(exec: &Exec) -> Option<ExecStatus> {
        let mut programs = Programs::default();
        let pid = programs.start(exec).unwrap();
        programs.status(pid, Duration::from_secs(60)).unwrap()
    }

    #[test]
    fn the_end_is_reported_once_with_its_status() {
        assert_eq!(end_of(&shell("exit 3", None)), Some(ExecStatus::Exited(3)));
        assert_eq!(end_of(&shell("kill -9 $$", None)), Some(ExecStatus::Signaled(9)));

        let mut programs = Programs::default();
        let pid = programs.start(&shell("exit 0", None)).unwrap();
        assert_eq!(programs.status(pid, Duration::from_secs(60)).unwrap(), Some(ExecStatus::Exited(0)));
        assert_eq!(programs.status(pid, Duration::ZERO).unwrap(), None);
    }

    #[test]
    fn waiting_ends_with_the_program_or_with_patience() {
        let mut programs = Programs::default();
        let start = Instant::now();
        let pid = programs.start(&shell("exec sleep 60", None)).unwrap();
        assert_eq!(programs.status(pid, Duration::from_millis(50)).unwrap(), Some(ExecStatus::Running));
        assert!(start.elapsed() < Duration::from_secs(30));
        programs.running.remove(&pid).unwrap().kill().unwrap();
    }

    #[test]
    fn the_environment_is_the_one_given() {
        let given = |variable: &str| Some(vec![variable.to_owned()]);
        assert_eq!(end_of(&shell("test \"$GREETING\" = a=b", given("GREETING=a=b"))), Some(ExecStatus::Exited(0)));
        assert_eq!(end_of(&shell("test -z \"$HOME\"", given("GREETING=x"))), Some(ExecStatus::Exited(0)));
    }

    #[test]
    fn what_cannot_start_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let exec = Exec { path: folder.path().join("missing").to_str().unwrap().into(), arg: vec![], env: None };
        assert_eq!(Programs::default().start(&exec).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
