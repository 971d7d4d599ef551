//! The handle of a VM in this process: starts it, receives its events, stops it.

use std::{
    ffi::OsString,
    fs,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
    termios::{OptionalActions, Termios, tcgetattr, tcsetattr},
};

use super::{
    error::VmError,
    event::{TimedEvent, VmEnd, VmEvent},
    files::{self, Launch, Mode, QEMU_ERRORS, WorkerRequest, forget},
    spec::VmSpec,
    worker,
};
use crate::{console::printable, file};

/// The environment variables of a guest's command. `vmtest` passes the worker's on, so the worker has only these.
const GUEST_ENVIRONMENT: [(&str, &str); 5] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/root"),
    ("LANG", "C.UTF-8"),
    ("TMPDIR", "/tmp"),
    ("TERM", "dumb"),
];

/// How many events may wait before the worker blocks.
const EVENTS: usize = 1024;

/// How long to wait for a killed QEMU to end.
const DEATH: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// A running VM, stopped when dropped.
#[derive(Debug)]
pub struct Vm {
    worker: Child,
    events: Receiver<TimedEvent>,
    folder: PathBuf,
    ended: bool,
    stopped: bool,
}

impl Vm {
    /// Starts a VM. `folder` is for its own files: new, empty, and not visible to the guest.
    pub fn start(spec: &VmSpec, folder: &Path) -> Result<Self, VmError> {
        spec.check()?;
        let mut worker = command(spec, folder, Mode::Command, "dumb".into())?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(worker_errors(folder)?)
            .spawn()
            .map_err(VmError::Spawn)?;
        let (sender, events) = sync_channel(EVENTS);
        if let Some(output) = worker.stdout.take() {
            thread::spawn(move || forward(output, &sender));
        }
        Ok(Self { worker, events, folder: folder.to_owned(), ended: false, stopped: false })
    }

    /// Returns the next event, waiting at most `wait`. There are none after [`VmEvent::Ended`].
    pub fn next_event(&mut self, wait: Duration) -> Option<TimedEvent> {
        if self.ended {
            return None;
        }
        let event = match self.events.recv_timeout(wait) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => return None,
            Err(RecvTimeoutError::Disconnected) => self.worker_is_gone(),
        };
        self.ended = matches!(event.event, VmEvent::Ended(_));
        Some(event)
    }

    fn worker_is_gone(&mut self) -> TimedEvent {
        let status = self.worker.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        let output = fs::read_to_string(self.folder.join(WORKER_ERRORS)).unwrap_or_default();
        let how = [status.as_str(), output.trim()].join("\n").trim().to_owned();
        TimedEvent { at: Duration::ZERO, event: VmEvent::Ended(VmEnd::WorkerGone(how)) }
    }

    /// Returns QEMU's errors so far, at most a few lines.
    pub fn complaints(&self) -> String {
        complaints(&self.folder)
    }

    /// Returns QEMU's peak resident memory so far, in KiB (`VmHWM` in `proc_pid_status(5)`).
    pub fn peak_kib(&self) -> Option<u64> {
        let qemu = files::read::<Launch>(&self.folder).ok()?.pid()?;
        let status = fs::read_to_string(format!("/proc/{}/status", qemu.as_raw_nonzero())).ok()?;
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok())
    }

    /// Stops the VM. When this returns, neither QEMU nor the worker runs, and nothing of them is left in `/tmp`.
    pub fn stop(&mut self) {
        self.ended = true;
        // Once the worker's status is collected, its process id may be reused.
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        let qemu = files::read::<Launch>(&self.folder).ok().and_then(|launch| launch.pid());
        let _ = kill_process_group(Pid::from_child(&self.worker), Signal::KILL);
        let _ = self.worker.kill();
        let _ = self.worker.wait();
        if let Some(qemu) = qemu {
            wait_until_dead(qemu);
        }
        forget(&self.folder);
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The worker's standard error, for errors that it cannot report otherwise.
const WORKER_ERRORS: &str = "worker.stderr";

fn worker_errors(folder: &Path) -> Result<fs::File, VmError> {
    fs::File::create(folder.join(WORKER_ERRORS)).map_err(|source| VmError::Prepare { path: folder.to_owned(), source })
}

fn command(spec: &VmSpec, folder: &Path, mode: Mode, terminal: OsString) -> Result<Command, VmError> {
    let parent = rustix::process::getpid().as_raw_nonzero().get();
    let request = WorkerRequest { spec: spec.clone(), mode, parent };
    files::write(folder, &request).map_err(|source| VmError::Prepare { path: folder.to_owned(), source })?;
    // Not xshell: the process writes events while it runs, and is killed with its process group.
    let mut command = Command::new("/proc/self/exe");
    command.arg(worker::VERB).arg(folder).env_clear().envs(GUEST_ENVIRONMENT).env("TERM", terminal);
    Ok(command)
}

/// Forwards events until the worker closes its end or the receiver is gone.
fn forward(output: ChildStdout, events: &SyncSender<TimedEvent>) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        let Ok(event) = serde_json::from_str(&line) else { continue };
        if events.send(event).is_err() {
            return;
        }
    }
}

/// Waits until a killed process is gone, even if nothing collects its status.
fn wait_until_dead(process: Pid) {
    if let Ok(process) = pidfd_open(process, PidfdFlags::empty()) {
        let _ = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&DEATH));
    }
}

/// How many bytes of QEMU's standard error are read; a guest can make QEMU write any number.
const MOST_ERRORS: u64 = 64 * 1024;

fn complaints(folder: &Path) -> String {
    ends_of(&String::from_utf8_lossy(&file::read(&folder.join(QEMU_ERRORS), MOST_ERRORS).unwrap_or_default()))
}

/// Returns the first and the last lines: QEMU prints its error before or after a dump of registers.
fn ends_of(text: &str) -> String {
    const EACH: usize = 4;
    let mut lines: Vec<String> = text.lines().map(printable).collect();
    if lines.len() > 2 * EACH {
        lines.splice(EACH..lines.len() - EACH, ["[…]".to_owned()]);
    }
    lines.join("\n")
}

/// Gives this process's terminal to a shell in a VM until it ends, and restores the terminal.
///
/// `spec.command` is not used: the shell is the guest's own init.
pub fn interactive(spec: &VmSpec, folder: &Path) -> Result<(), VmError> {
    spec.check()?;
    let spec = VmSpec { command: "-".to_owned(), ..spec.clone() };
    let terminal = std::env::var_os("TERM").unwrap_or_else(|| "dumb".into());
    let before = tcgetattr(io::stdin()).ok();
    let status = command(&spec, folder, Mode::Interactive, terminal)?.status().map_err(VmError::Spawn);
    restore(before);
    forget(folder);
    let status = status?;
    // QEMU ends by itself when the guest powers off; the worker reported anything else.
    if status.success() {
        return Ok(());
    }
    let complaints = complaints(folder).lines().map(|line| format!("\n  {line}")).collect();
    Err(VmError::Interactive { status, complaints })
}

fn restore(terminal: Option<Termios>) {
    if let Some(before) = terminal {
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_and_last_errors_are_shown() {
        let text: String = (0..30).map(|line| format!("{line}\n")).collect();
        assert_eq!(ends_of(&text), "0\n1\n2\n3\n[…]\n26\n27\n28\n29");
        assert_eq!(ends_of("one\ntwo\n"), "one\ntwo");
        assert_eq!(ends_of(""), "");
    }

    #[test]
    fn no_more_is_read_of_the_errors_than_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(QEMU_ERRORS);
        fs::write(&path, "qemu: an error\n").unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_len(1 << 42).unwrap();
        assert!(complaints(folder.path()).starts_with("qemu: an error\n"));
    }
}
