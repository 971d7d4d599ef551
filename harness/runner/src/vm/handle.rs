//! Our end of a VM: start it, listen to it, stop it.

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
use crate::console::printable;

/// All a guest's command sees of an environment. `vmtest` hands on the worker's, so the worker has only this.
const GUEST_ENVIRONMENT: [(&str, &str); 5] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/root"),
    ("LANG", "C.UTF-8"),
    ("TMPDIR", "/tmp"),
    ("TERM", "dumb"),
];

/// Events that may wait for us before the worker has to.
const EVENTS: usize = 1024;

/// How long a killed QEMU may take to be gone.
const DEATH: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// A running VM. Dropping it ends it.
#[derive(Debug)]
pub struct Vm {
    worker: Child,
    events: Receiver<TimedEvent>,
    folder: PathBuf,
    ended: bool,
    stopped: bool,
}

impl Vm {
    /// Starts a VM. `folder` is for its own files: new, empty, not seen by the guest.
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
            thread::spawn(move || pass_on(output, &sender));
        }
        Ok(Self { worker, events, folder: folder.to_owned(), ended: false, stopped: false })
    }

    /// The next event, if there is one within `wait`. After [`VmEvent::Ended`] there are no more.
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
        let said = fs::read_to_string(self.folder.join(WORKER_ERRORS)).unwrap_or_default();
        let how = [status.as_str(), said.trim()].join("\n").trim().to_owned();
        TimedEvent { at: Duration::ZERO, event: VmEvent::Ended(VmEnd::WorkerGone(how)) }
    }

    /// What QEMU complained about so far, at most a few lines.
    pub fn complaints(&self) -> String {
        complaints(&self.folder)
    }

    /// The most memory QEMU had resident until now, in KiB (`VmHWM` in `proc_pid_status(5)`).
    pub fn peak_kib(&self) -> Option<u64> {
        let qemu = files::read::<Launch>(&self.folder).ok()?.pid()?;
        let status = fs::read_to_string(format!("/proc/{}/status", qemu.as_raw_nonzero())).ok()?;
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok())
    }

    /// Ends the VM now. When this returns, neither QEMU nor the worker runs, and nothing of them is left in `/tmp`.
    pub fn stop(&mut self) {
        self.ended = true;
        // Once the worker's status is collected, its number may be somebody else's.
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        let qemu = files::read::<Launch>(&self.folder).ok().and_then(|launch| launch.pid());
        let _ = kill_process_group(Pid::from_child(&self.worker), Signal::KILL);
        let _ = self.worker.kill();
        let _ = self.worker.wait();
        if let Some(qemu) = qemu {
            await_death(qemu);
        }
        forget(&self.folder);
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The worker's own standard error, for what it has no other way to say.
const WORKER_ERRORS: &str = "worker.stderr";

fn worker_errors(folder: &Path) -> Result<fs::File, VmError> {
    fs::File::create(folder.join(WORKER_ERRORS)).map_err(|source| VmError::Prepare { path: folder.to_owned(), source })
}

fn command(spec: &VmSpec, folder: &Path, mode: Mode, terminal: OsString) -> Result<Command, VmError> {
    let parent = rustix::process::getpid().as_raw_nonzero().get();
    let order = WorkerRequest { spec: spec.clone(), mode, parent };
    files::write(folder, &order).map_err(|source| VmError::Prepare { path: folder.to_owned(), source })?;
    // Not by xshell: it tells events while it runs, and is killed with its process group.
    let mut command = Command::new("/proc/self/exe");
    command.arg(worker::VERB).arg(folder).env_clear().envs(GUEST_ENVIRONMENT).env("TERM", terminal);
    Ok(command)
}

/// Reads events until the worker closes its end or nobody wants them.
fn pass_on(output: ChildStdout, events: &SyncSender<TimedEvent>) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        let Ok(event) = serde_json::from_str(&line) else { continue };
        if events.send(event).is_err() {
            return;
        }
    }
}

/// Waits until a process that was killed is gone, also if nobody collects its status.
fn await_death(process: Pid) {
    if let Ok(process) = pidfd_open(process, PidfdFlags::empty()) {
        let _ = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&DEATH));
    }
}

fn complaints(folder: &Path) -> String {
    let said = fs::read(folder.join(QEMU_ERRORS)).unwrap_or_default();
    ends_of(&String::from_utf8_lossy(&said[..said.len().min(64 * 1024)]))
}

/// The first and the last lines: QEMU tells what is wrong at the one or the other end of a dump of registers.
fn ends_of(text: &str) -> String {
    const EACH: usize = 4;
    let mut lines: Vec<String> = text.lines().map(printable).collect();
    if lines.len() > 2 * EACH {
        lines.splice(EACH..lines.len() - EACH, ["[…]".to_owned()]);
    }
    lines.join("\n")
}

/// Gives this process's terminal to a shell in a VM until it ends, and puts the terminal back as it was.
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
    // QEMU ends by itself when the guest powers off; whatever else happened was told by the worker.
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
    fn of_many_complaints_the_first_and_the_last_are_told() {
        let text: String = (0..30).map(|line| format!("{line}\n")).collect();
        assert_eq!(ends_of(&text), "0\n1\n2\n3\n[…]\n26\n27\n28\n29");
        assert_eq!(ends_of("one\ntwo\n"), "one\ntwo");
        assert_eq!(ends_of(""), "");
    }
}
