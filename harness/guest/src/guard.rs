//! The guard: a program of its own that records every `bpf(2)` call and decides by a policy.
//!
//! It is started for a scenario, or once for the session, and takes a command per line. What it prints goes to a file in
//! memory: it is never held up by a reader that is busy, and the guest stays a process with one thread.

use std::{
    fs,
    io::{self, Write},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use harness_protocol::plan::{self, Reader};
use rustix::fs::{MemfdFlags, OFlags};
use serde::Deserialize;
use thiserror::Error;

use crate::{
    copies::{self, Copies},
    error::SysError,
    process,
    target::Target,
};

pub(crate) use window::{Suspect, Window, Witnessed};

mod pinned;
mod reader;
mod window;

/// How long the guard may take until it is in force, to carry out a command, or to end: the kernel verifies its programs, and a
/// ring that was full is read, which takes an emulated processor on a busy machine half a minute.
const PATIENCE: Duration = Duration::from_secs(100);

/// How often the sums are looked at again, if a record may still be missing.
const UNSETTLED: usize = 20;

/// The most bytes of what it prints that are read at once.
const MOST_AT_ONCE: usize = 256 * 1024;

/// The most bytes of its standard error that become part of a message.
const LONGEST_COMPLAINT: usize = 4096;

/// Why the guard cannot be relied on.
#[derive(Debug, Error)]
pub(crate) enum GuardError {
    /// Its program cannot be started or talked to.
    #[error("the guard: {doing}: {source}")]
    Io {
        /// What failed.
        doing: &'static str,
        /// The error.
        source: io::Error,
    },
    /// It has ended.
    #[error("the guard has ended, {how}{complaint}")]
    Ended {
        /// How.
        how: String,
        /// What it wrote to standard error.
        complaint: String,
    },
    /// It did not answer in time.
    #[error(
        "the guard has not answered `{command}` for {} s; if the host is busy with other work, run the scenario again{complaint}",
        PATIENCE.as_secs()
    )]
    Silent {
        /// The command.
        command: &'static str,
        /// What it wrote to standard error.
        complaint: String,
    },
    /// It printed something else.
    #[error("the guard printed `{line}` after `{command}`: {why}")]
    Malformed {
        /// The command.
        command: &'static str,
        /// The line.
        line: String,
        /// What is wrong with it.
        why: String,
    },
    /// Records are missing.
    #[error("the guard's counters do not add up: {0:?}; recorded, seq, and read + lost must be equal, and lost 0")]
    Sums(Counters),
    /// Its reader cannot be stopped, or its ring not be filled.
    #[error("the guard's reader: {0}")]
    Reader(#[from] SysError),
    /// Its ring should be full.
    #[error("the guard's ring was not full: no record was lost; its policy must allow root to make maps")]
    NotFull,
    /// It recorded a call while it was off.
    #[error("the guard recorded a call while it was off: {0}")]
    Stray(String),
}

/// What the guard counted since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Counters {
    /// Calls for which a record was due.
    recorded: u64,
    /// Records that it has read.
    read: u64,
    /// Records that did not fit the rings.
    lost: u64,
    /// The number of the next record.
    seq: u64,
    /// Calls that were only counted.
    counted: u64,
}

impl Counters {
    fn checked(self, may_lose: bool) -> Result<Self, GuardError> {
        let exact = self.recorded == self.seq && self.seq == self.read + self.lost && (may_lose || self.lost == 0);
        exact.then_some(self).ok_or(GuardError::Sums(self))
    }

    /// Adds the records that earlier readers have read.
    const fn after(self, read: u64) -> Self {
        Self { read: self.read + read, ..self }
    }

    /// Returns how many calls it has noticed.
    const fn calls(self) -> u64 {
        self.recorded + self.counted
    }
}

/// An answer to a command; records precede it.
#[derive(Debug, Deserialize)]
struct Reply {
    done: String,
    counters: Counters,
}

/// What a record begins with, unlike an answer.
const RECORD: &str = "{\"seq\"";

/// What it prints once it is in force.
const READY: &str = "{\"ready\"";

/// How many guards were started; each has a policy file of its own.
static STARTED: AtomicU32 = AtomicU32::new(0);

/// Whether records are wanted, or only their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// They are returned.
    Records,
    /// They are counted.
    Nothing,
}

/// A running guard, off until it is switched on. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Guard {
    child: Child,
    keep: Keep,
    printed: OwnedFd,
    complaints: OwnedFd,
    /// How much of what it printed was read.
    position: u64,
    /// The beginning of a line whose end is not printed yet.
    begun: Vec<u8>,
    counters: Counters,
    /// The inodes of the guest program and its copies.
    own_programs: Vec<u64>,
    /// Whether nothing switches it off: it is in force since the initramfs, or pinned.
    is_pinned: bool,
    program: PathBuf,
    /// What attacks are aimed at.
    target: Target,
    /// Whether an attack has succeeded: calls without a record prove nothing any more.
    is_attacked: bool,
    /// What a reader that an attack ended had printed.
    inherited: Vec<String>,
    /// How many records the readers before this one have read.
    read_before: u64,
    reader: Reader,
    /// The process that filled the ring.
    filler: Option<u32>,
}

impl Guard {
    /// Starts the program with the policy of a plan, and waits until it is in force. If it is in force since the
    /// initramfs, the program only reads its records, as it does of one that is pinned.
    pub(crate) fn start(program: &Path, plan: &plan::Guard, keep: Keep) -> Result<Self, GuardError> {
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let policy = std::env::temp_dir().join(format!("policy-{}-{number}.guard.toml", std::process::id()));
        let [printed, complaints] = [(); 2].map(|()| file());
        let (printed, complaints) = (printed?, complaints?);
        let mut command = reading(program, keep);
        if !plan.early {
            let text = copies::policy_of(plan).map_err(failed("read the guest program"))?;
            fs::write(&policy, text).map_err(failed("write its policy"))?;
        }
        if plan.pinned {
            pinned::put_in_force(program, &policy)?;
        } else if !plan.early {
            command.arg(&policy).args(["--exempt", &std::process::id().to_string()]);
            command.args(plan.mode.iter().flat_map(|mode| ["--mode", mode.as_str()]));
        }
        let child = spawn(&mut command, &printed, &complaints)?;
        let (begun, counters, is_pinned) = (Vec::new(), Counters::default(), plan.early || plan.pinned);
        let (position, reader, filler) = (0, plan.reader, None);
        let (program, target) = (program.to_owned(), pinned::target(plan));
        let (is_attacked, inherited, read_before) = (false, Vec::new(), 0);
        let own_programs = Vec::new();
        let mut guard = Self {
            child,
            keep,
            printed,
            complaints,
            position,
            begun,
            counters,
            own_programs,
            is_pinned,
            program,
            target,
            is_attacked,
            inherited,
            read_before,
            reader,
            filler,
        };
        let ready = guard.await_ready();
        let _ = fs::remove_file(&policy);
        ready.and_then(|before| before.into_iter().next().map_or(Ok(()), |line| Err(GuardError::Stray(line))))?;
        Copies::change(plan).map_err(failed("change a copy"))?;
        guard.own_programs = Copies::inodes(plan).map_err(failed("stat a copy"))?;
        Ok(guard)
    }

    /// Says which maps, programs and links are its own, for attacks.
    pub(crate) fn owns(&mut self, [maps, programs, links]: [Vec<u32>; 3]) {
        self.target = Target { maps, programs, links, ..std::mem::take(&mut self.target) };
    }

    /// Returns what attacks are aimed at.
    pub(crate) fn target(&self) -> Target {
        Target { pid: self.pid().as_raw_nonzero().get(), ..self.target.clone() }
    }

    /// Goes on after an attack. A process that the attack has ended is replaced, if the guard does not hang on it.
    pub(crate) fn survive(&mut self, has_succeeded: bool) -> Result<(), GuardError> {
        self.is_attacked |= has_succeeded;
        if !self.is_pinned || self.ended().is_none() {
            return Ok(());
        }
        let mut read = Vec::new();
        loop {
            let (has_more, lines) = self.lines()?;
            read.extend(lines.into_iter().filter(|line| line.starts_with(RECORD)));
            if !has_more {
                break;
            }
        }
        self.read_before = self.counters.read + read.len() as u64;
        (self.printed, self.complaints) = (file()?, file()?);
        (self.position, self.begun) = (0, Vec::new());
        self.child = spawn(&mut reading(&self.program, self.keep), &self.printed, &self.complaints)?;
        let more = self.await_ready()?;
        self.inherited = read.into_iter().chain(more).collect();
        Ok(())
    }

    /// Returns whether an attack has ended its process, and it with it.
    fn is_gone(&mut self) -> bool {
        self.may_be_gone() && self.ended().is_some()
    }

    /// Returns whether its end may be what an attack led to.
    fn may_be_gone(&self) -> bool {
        self.is_attacked && !self.is_pinned
    }

    /// Returns whether it is in force all the time, controls included.
    pub(crate) fn is_pinned(&self) -> bool {
        self.is_pinned
    }

    /// Switches it on. What an early one recorded up to now is nobody's.
    pub(crate) fn on(&mut self) -> Result<(), GuardError> {
        if self.is_gone() {
            return Ok(());
        }
        if self.is_pinned {
            return self.settled("flush").map(drop);
        }
        let before = match self.settled("on") {
            Err(GuardError::Ended { .. }) if self.may_be_gone() => return Ok(()),
            settled => settled?,
        };
        before.into_iter().next().map_or(Ok(()), |record| Err(GuardError::Stray(record)))?;
        self.hold()
    }

    /// Stops the reader and fills the ring, if the scenario asks for that.
    fn hold(&mut self) -> Result<(), GuardError> {
        if self.reader == Reader::Reads {
            return Ok(());
        }
        reader::stop(self.pid())?;
        match self.reader {
            Reader::Full => self.filler = Some(reader::fill()?.as_raw_nonzero().get().unsigned_abs()),
            Reader::Reads | Reader::Stopped => reader::wait(),
        }
        Ok(())
    }

    /// Switches it off. Returns what it recorded while it was on.
    pub(crate) fn off(&mut self) -> Result<Window, GuardError> {
        const GONE: Window = Window { records: Vec::new(), calls: 0, filler: None, is_attacked: true };
        if self.is_gone() {
            return Ok(GONE);
        }
        if self.reader != Reader::Reads {
            reader::go_on(self.pid())?;
        }
        let before = self.counters;
        let mut records = std::mem::take(&mut self.inherited);
        match self.settled(if self.is_pinned { "flush" } else { "off" }) {
            Err(GuardError::Ended { .. }) if self.may_be_gone() => return Ok(GONE),
            settled => records.extend(settled?),
        }
        if !self.is_pinned {
            // Everything is read, and nothing more is printed until the next command.
            rustix::fs::ftruncate(&self.printed, 0).map_err(|error| failed("truncate")(error.into()))?;
            self.position = 0;
        }
        if self.reader == Reader::Full && self.counters.lost == before.lost {
            return Err(GuardError::NotFull);
        }
        Ok(Window {
            records,
            calls: self.counters.calls() - before.calls(),
            filler: self.filler,
            is_attacked: self.is_attacked,
        })
    }

    /// Ends it, by the end of its standard input.
    pub(crate) fn stop(mut self) -> Result<(), GuardError> {
        drop(self.child.stdin.take());
        match self.await_end() {
            Some(how) if how == SUCCESS || self.may_be_gone() => Ok(()),
            Some(how) => Err(GuardError::Ended { how, complaint: self.complaint() }),
            None => Err(self.silent("end")),
        }
    }

    /// Returns the inodes of the guest program and its copies, by which records show its processes.
    pub(crate) fn own_programs(&self) -> &[u64] {
        &self.own_programs
    }

    /// Returns its process.
    pub(crate) fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    /// Gives a command and returns the records before its answer.
    fn command(&mut self, command: &'static str) -> Result<(Counters, Vec<String>), GuardError> {
        let stdin = self.child.stdin.as_mut();
        let sent = stdin.map_or(Ok(()), |stdin| writeln!(stdin, "{command}").and_then(|()| stdin.flush()));
        if let Err(source) = sent {
            return Err(match self.await_end() {
                Some(how) => GuardError::Ended { how, complaint: self.complaint() },
                None => GuardError::Io { doing: "give a command", source },
            });
        }
        let read_before = self.read_before;
        let is_answer = |line: &str| {
            let malformed = |why| GuardError::Malformed { command, line: line.to_owned(), why };
            Some(match serde_json::from_str::<Reply>(line) {
                Ok(reply) if reply.done == command => Ok(reply.counters.after(read_before)),
                Ok(reply) => Err(malformed(format!("it has done `{}`", reply.done))),
                Err(error) => Err(malformed(error.to_string())),
            })
        };
        self.await_line(command, is_answer)
    }

    /// Gives a command and returns the records before its answer, once the sums are exact: somebody else's call may be
    /// counted already while its record is still being made.
    fn settled(&mut self, command: &'static str) -> Result<Vec<String>, GuardError> {
        let (mut counters, mut records) = self.command(command)?;
        let (mut pause, may_lose) = (Pause::default(), self.reader == Reader::Full);
        for _ in 0..UNSETTLED {
            if counters.checked(may_lose).is_ok() {
                break;
            }
            pause.take();
            let (later, more) = self.command("flush")?;
            counters = later;
            records.extend(more);
        }
        self.counters = counters.checked(may_lose)?;
        Ok(records)
    }

    /// Waits until it is in force. Returns the records that it printed before it said so.
    fn await_ready(&mut self) -> Result<Vec<String>, GuardError> {
        let ready = self.await_line("try", |line| line.starts_with(READY).then_some(Ok(())));
        ready.map(|((), records)| records)
    }

    /// Waits for a line that is no record. Returns what it means, and the records before it.
    fn await_line<T>(
        &mut self,
        command: &'static str,
        meaning: impl Fn(&str) -> Option<Result<T, GuardError>>,
    ) -> Result<(T, Vec<String>), GuardError> {
        let deadline = Instant::now() + PATIENCE;
        let (mut records, mut pause) = (Vec::new(), Pause::default());
        loop {
            // Before the look at what it printed, so that nothing that it printed at last is missed.
            let ended = self.ended();
            let (has_more, lines) = self.lines()?;
            for line in lines {
                if line.starts_with(RECORD) {
                    records.extend((self.keep == Keep::Records).then_some(line));
                    continue;
                }
                return match meaning(&line) {
                    Some(meant) => Ok((meant?, records)),
                    None => Err(GuardError::Malformed { command, line, why: "it is no record".to_owned() }),
                };
            }
            match ended {
                _ if has_more => {}
                Some(how) => return Err(GuardError::Ended { how, complaint: self.complaint() }),
                None if Instant::now() >= deadline => return Err(self.silent(command)),
                None => pause.take(),
            }
        }
    }

    /// Returns the next complete lines that it has printed, and whether there may be more.
    fn lines(&mut self) -> Result<(bool, Vec<String>), GuardError> {
        let wrong = |errno: rustix::io::Errno| failed("read what it prints")(errno.into());
        let printed = rustix::fs::fstat(&self.printed).map_err(wrong)?.st_size.unsigned_abs();
        let more = usize::try_from(printed.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let mut buffer = vec![0; more.min(MOST_AT_ONCE)];
        let read = rustix::io::pread(&self.printed, &mut buffer[..], self.position).map_err(wrong)?;
        self.position += read as u64;
        self.begun.extend_from_slice(&buffer[..read]);
        let Some(end) = self.begun.iter().rposition(|byte| *byte == b'\n') else { return Ok((read > 0, Vec::new())) };
        let rest = self.begun.split_off(end + 1);
        let text = String::from_utf8_lossy(&std::mem::replace(&mut self.begun, rest)).into_owned();
        Ok((read > 0, text.lines().map(str::to_owned).collect()))
    }

    /// Returns how it ended, if it has.
    fn ended(&mut self) -> Option<String> {
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(status.to_string()),
            // Whoever waits for any child has reaped it.
            Err(_) => Some("in an unknown way".to_owned()),
        }
    }

    /// Waits for the end of a process that reads no commands any more: it is closing its files, the guard's links among
    /// them, which takes seconds. Returns how it ended, if it has.
    fn await_end(&mut self) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = Pause::default();
        loop {
            match self.ended() {
                None if Instant::now() < deadline => pause.take(),
                ended => return ended,
            }
        }
    }

    fn silent(&self, command: &'static str) -> GuardError {
        GuardError::Silent { command, complaint: self.complaint() }
    }

    /// Returns what it wrote to standard error, to be added to a message.
    fn complaint(&self) -> String {
        let mut buffer = vec![0; LONGEST_COMPLAINT];
        let read = rustix::io::pread(&self.complaints, &mut buffer[..], 0).unwrap_or_default();
        match String::from_utf8_lossy(&buffer[..read]).trim_end() {
            "" => String::new(),
            text => format!(": {text}"),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        if self.ended().is_none() {
            process::kill(self.pid());
            let _ = self.child.wait();
        }
    }
}

/// Returns the command that reads the records of a guard.
fn reading(program: &Path, keep: Keep) -> Command {
    let mut command = Command::new(program);
    command.args(["try", "--commands"]);
    command.args((keep == Keep::Nothing).then_some("--quiet"));
    command
}

/// Starts the program; it prints into these files.
fn spawn(command: &mut Command, printed: &OwnedFd, complaints: &OwnedFd) -> Result<Child, GuardError> {
    let outputs = [printed, complaints].map(|file| file.try_clone().map(Stdio::from));
    let [out, err] = outputs.map(|output| output.map_err(failed("dup")));
    command.stdin(Stdio::piped()).stdout(out?).stderr(err?).spawn().map_err(failed("start it"))
}

/// How [`std::process::ExitStatus`] shows success.
const SUCCESS: &str = "exit status: 0";

/// A wait between two looks, longer each time.
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(Duration::from_micros(50))
    }
}

impl Pause {
    fn take(&mut self) {
        std::thread::sleep(self.0);
        self.0 = (self.0 * 2).min(Duration::from_millis(5));
    }
}

/// Makes a file in memory at whose end everybody writes, so that it can be cut off while it is in use.
fn file() -> Result<OwnedFd, GuardError> {
    let made = rustix::fs::memfd_create("guard", MemfdFlags::CLOEXEC);
    let appended = made.and_then(|fd| rustix::fs::fcntl_setfl(&fd, OFlags::APPEND).map(|()| fd));
    appended.map_err(|error| failed("memfd_create")(error.into()))
}

fn failed(doing: &'static str) -> impl Fn(io::Error) -> GuardError {
    move |source| GuardError::Io { doing, source }
}

#[cfg(test)]
mod tests;
