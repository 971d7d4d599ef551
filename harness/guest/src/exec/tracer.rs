//! The tracer: follows a program and all its descendants from one recorded call to the next.

#![allow(unsafe_code)]

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, FromRawFd, OwnedFd},
    time::{Duration, Instant},
};

use harness_protocol::{
    errno::Errno,
    outcome::{
        Asked, ExecAnswer, ExecEnd, Frame, MOST_ASKED, MOST_MESSAGES, MOST_OUTPUT, MOST_SITES, ObjectAnswer,
        ObjectStep, VerifierMessage,
    },
    plan::{Exec, TokenCommand},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    pipe::PipeFlags,
    process::{Pid, PidfdFlags, PidfdGetfdFlags, WaitOptions},
};

use super::{
    call::{self, ATTR, BpfCall, Log},
    program::{self, TOKEN, X32},
    stacks::Stacks,
    tracee::{Registers, Tracee},
};
use crate::{
    bpf::verifier_log::{self, TAIL},
    context::Loader,
    error::{During, SysError, last_errno},
    object::add_step,
    process::{self, Fork},
};

/// The token to hand over.
#[derive(Debug)]
pub(super) enum Handed {
    /// None: the program is left alone.
    Nothing,
    /// This one.
    Token(OwnedFd),
    /// None, since the kernel refused to make it.
    Refused(Errno),
}

/// A call that has begun.
struct Begun {
    what: BegunCall,
    /// The registers before a token was added, and where the attributes are since.
    moved: Option<(Registers, u64)>,
    /// Where in the program it is made: an index into the places.
    site: Option<u32>,
}

enum BegunCall {
    Bpf(Box<BpfCall>),
    Event,
}

/// The state of a trace.
struct Trace<'a> {
    exec: &'a Exec,
    main: Pid,
    token: bool,
    begun: BTreeMap<i32, Begun>,
    answer: ObjectAnswer,
    asked: Vec<Asked>,
    stacks: Stacks,
    sites: Vec<Vec<Frame>>,
    /// How many messages of the verifier were kept.
    messages: usize,
    injected: u32,
    output: Output,
    /// Whether the text that is waited for was in the output.
    printed: bool,
    /// Whether the program itself, and not only our own child, has begun.
    executed: bool,
    /// Whether one of its processes has closed the token.
    closed: bool,
}

/// What the program wrote: all of it is searched, the end of it is kept.
#[derive(Default)]
struct Output {
    kept: Vec<u8>,
}

/// Runs a program and returns what it did, or why it could not be run.
pub(super) fn trace(exec: &Exec, loader: Loader, handed: Handed) -> Result<Result<ExecAnswer, String>, SysError> {
    let started = Instant::now();
    let deadline = started + Duration::from_millis(exec.limit_ms);
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).during(|| "pipe")?;
    rustix::io::ioctl_fionbio(&reader, true).during(|| "ioctl FIONBIO")?;
    let children = children()?;
    let token = match &handed {
        Handed::Token(token) => Some(token),
        Handed::Nothing | Handed::Refused(_) => None,
    };
    let main = match process::fork()? {
        Fork::Child => {
            let why = program::execute(exec, loader, token, &writer);
            let _ = rustix::io::write(&writer, why.as_bytes());
            process::leave(NOT_RUN)
        }
        Fork::Parent(main) => main,
    };
    drop(writer);
    let mut trace = Trace {
        exec,
        main,
        token: token.is_some(),
        begun: BTreeMap::new(),
        answer: ObjectAnswer::default(),
        asked: Vec::new(),
        stacks: Stacks::default(),
        sites: Vec::new(),
        messages: 0,
        injected: 0,
        output: Output::default(),
        printed: false,
        executed: false,
        closed: false,
    };
    if let Handed::Refused(errno) = handed {
        add_step(&mut trace.answer, call::no_token(errno));
    }
    let stopped = rustix::process::waitpid(Some(main), WaitOptions::UNTRACED).during(|| "waitpid")?;
    if stopped.is_none_or(|(_, status)| !status.stopped()) {
        trace.read_output(&reader);
        return Ok(Err(trace.output.text()));
    }
    Tracee(main).set_options()?;
    Tracee(main).go_on(0);
    let end = trace.follow(&children, &reader, deadline)?;
    trace.read_output(&reader);
    let output = trace.output.text();
    Ok(match end {
        _ if trace.closed => Err(CLOSED.to_owned()),
        Some(_) | None if !trace.executed => {
            Err(if output.is_empty() { "it ended at once".to_owned() } else { output })
        }
        end => Ok(ExecAnswer {
            end: end.unwrap_or(ExecEnd::OutOfTime),
            took_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            calls: trace.answer,
            injected: trace.injected,
            asked: trace.asked,
            sites: trace.sites,
            output,
        }),
    })
}

/// Why nothing is known of a program that a token cannot be handed over to.
const CLOSED: &str = "it closes the descriptors that it inherits, and the token that is handed over with them";

/// The exit code of a child that did not execute the program.
const NOT_RUN: i32 = 127;

/// Blocks SIGCHLD and returns a descriptor that can be read whenever a child stops or ends (`signalfd(2)`).
fn children() -> Result<OwnedFd, SysError> {
    // SAFETY: the set is initialized before it is used, and the calls only read it.
    let fd = unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGCHLD);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    if fd < 0 {
        return Err(last_errno()).during(|| "signalfd");
    }
    // SAFETY: the kernel just made it, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

impl Trace<'_> {
    /// Follows until the program ends, prints what is waited for, or is out of time, which is `None`.
    fn follow(&mut self, children: &OwnedFd, reader: &OwnedFd, deadline: Instant) -> Result<Option<ExecEnd>, SysError> {
        loop {
            if let Some(end) = self.handle_stops()? {
                return Ok(Some(end));
            }
            let open = self.read_output(reader);
            if self.printed {
                return Ok(Some(ExecEnd::Printed));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
            let mut fds = vec![PollFd::new(children, PollFlags::IN)];
            if open {
                fds.push(PollFd::from_borrowed_fd(reader.as_fd(), PollFlags::IN));
            }
            poll(&mut fds, Some(&timeout)).during(|| "poll")?;
            let mut signals = [0_u8; 1024];
            while rustix::io::read(children, &mut signals).is_ok_and(|read| read > 0) {}
        }
    }

    /// Handles every stop that has happened; returns how the program ended, if it did.
    fn handle_stops(&mut self) -> Result<Option<ExecEnd>, SysError> {
        // `__WALL`: threads as well (`waitpid(2)`); `rustix` has no name for it.
        let options = WaitOptions::from_bits_retain(libc::__WALL.cast_unsigned()) | WaitOptions::NOHANG;
        loop {
            let (pid, status) = match rustix::process::wait(options) {
                Ok(Some(stop)) => stop,
                Ok(None) => return Ok(None),
                // No tracee is left, and the program's end was seen before.
                Err(_) => return Ok(None),
            };
            if let (true, Some(code)) = (pid == self.main, status.exit_status()) {
                return Ok(Some(ExecEnd::Exited(code)));
            }
            if let (true, Some(signal)) = (pid == self.main, status.terminating_signal()) {
                return Ok(Some(ExecEnd::Killed(signal)));
            }
            if !status.stopped() {
                self.begun.remove(&pid.as_raw_nonzero().get());
                continue;
            }
            let raw = status.as_raw();
            let (signal, event) = ((raw >> 8) & 0xff, raw >> 16);
            self.handle_stop(Tracee(pid), signal, event)?;
        }
    }

    fn handle_stop(&mut self, tracee: Tracee, signal: i32, event: i32) -> Result<(), SysError> {
        const SYSTEM_CALL: i32 = libc::SIGTRAP | 0x80;
        match (event, signal) {
            (libc::PTRACE_EVENT_SECCOMP, _) => match alive(self.begin(tracee))? {
                Some(true) => tracee.finish_call(),
                Some(false) => {
                    return Err(Errno::from_raw(libc::ENOEXEC)).during(|| "a program of another architecture");
                }
                None => {}
            },
            (0, SYSTEM_CALL) => {
                alive(self.end(tracee))?;
                tracee.go_on(0);
            }
            // New threads and processes begin with a stop of their own, which is no signal for them.
            (0, signal) if signal != libc::SIGSTOP => tracee.go_on(signal),
            _ => {
                self.executed |= event == libc::PTRACE_EVENT_EXEC;
                tracee.go_on(0);
            }
        }
        Ok(())
    }

    /// Notes a call that begins, and adds a token to it. Returns whether it is one of this architecture.
    fn begin(&mut self, tracee: Tracee) -> Result<bool, SysError> {
        let registers = tracee.registers()?;
        let number = registers.orig_rax as u32;
        let of_x86_64 = registers.cs == USER_CODE_64 && number & X32 == 0;
        if !of_x86_64 {
            return Ok(false);
        }
        let thread = tracee.0.as_raw_nonzero().get();
        let site = self.site(tracee, &registers);
        if i64::from(number) == libc::SYS_perf_event_open {
            self.begun.insert(thread, Begun { what: BegunCall::Event, moved: None, site });
            return Ok(true);
        }
        let size = (registers.rdx as u32 as usize).min(ATTR);
        let call = BpfCall::new(registers.rdi, &tracee.read(registers.rsi, size));
        let handed = self.to_hand_over(&call).filter(|_| {
            self.closed |= !has_token(tracee.0);
            !self.closed
        });
        let moved = match handed {
            Some(command) => Some(add_token(tracee, &registers, &call, command, size)?),
            None => None,
        };
        self.injected += u32::from(moved.is_some());
        self.begun.insert(thread, Begun { what: BegunCall::Bpf(Box::new(call)), moved, site });
        Ok(true)
    }

    /// Finds out where a thread is about to make a call, if that is to be recorded.
    fn site(&mut self, tracee: Tracee, registers: &Registers) -> Option<u32> {
        if !self.exec.sites {
            return None;
        }
        let stack = Some(self.stacks.of(tracee, registers)).filter(|stack| !stack.is_empty())?;
        let known = self.sites.iter().position(|known| *known == stack);
        let at = known.or_else(|| {
            let at = self.sites.len();
            (at < MOST_SITES).then(|| self.sites.push(stack)).map(|()| at)
        })?;
        u32::try_from(at).ok()
    }

    /// Returns what the verifier says of a program that it refused, if the caller asked for that.
    fn said(
        &mut self,
        tracee: Tracee,
        call: &BpfCall,
        registers: &Registers,
        errno: Option<Errno>,
    ) -> Option<VerifierMessage> {
        let log = errno.and(call.log()).filter(|_| self.messages < MOST_MESSAGES)?;
        let attr = tracee.read(registers.rsi, (registers.rdx as u32 as usize).min(ATTR));
        let message = verifier_log::message(&tail(tracee, &log, call::log_length(&attr)))?;
        self.messages += 1;
        Some(message)
    }

    /// Returns the command of a call for which a token is handed over.
    fn to_hand_over(&self, call: &BpfCall) -> Option<TokenCommand> {
        let command = call.token_command().filter(|command| self.exec.commands.contains(command))?;
        (self.token && !call.has_token()).then_some(command)
    }

    /// Notes the answer to a call, and undoes what was done to add a token.
    fn end(&mut self, tracee: Tracee) -> Result<(), SysError> {
        let Some(Begun { what, moved, site }) = self.begun.remove(&tracee.0.as_raw_nonzero().get()) else {
            return Ok(());
        };
        let registers = tracee.registers()?;
        let result = registers.rax.cast_signed();
        let errno = i32::try_from(-result).ok().filter(|errno| (1..4096).contains(errno)).map(Errno::from_raw);
        if let Some((before, at)) = &moved {
            if let BegunCall::Bpf(call) = &what {
                give_back(tracee, before, *at, call)?;
            }
            tracee.set_registers(&Registers { rsi: before.rsi, rdx: before.rdx, ..registers })?;
        }
        match what {
            BegunCall::Event => add_step(&mut self.answer, ObjectStep { site, ..call::event(errno) }),
            // The verifier gives up when a signal arrives, and the caller loads again (`check_cfg` and `do_check`,
            // `kernel/bpf/verifier.c`): how often is chance.
            BegunCall::Bpf(call) if call.token_command() == Some(TokenCommand::ProgLoad) && errno == Some(again()) => {}
            BegunCall::Bpf(call) => {
                let token = moved.is_some() || call.has_token();
                if let Some(asked) = call.asked()
                    && self.asked.len() < MOST_ASKED
                    && !self.asked.contains(&asked)
                {
                    self.asked.push(asked);
                }
                let verifier = self.said(tracee, &call, &registers, errno);
                add_step(&mut self.answer, ObjectStep { site, verifier, ..call.step(token, errno) });
            }
        }
        Ok(())
    }

    /// Reads what there is; returns whether more may come.
    fn read_output(&mut self, reader: &OwnedFd) -> bool {
        let mut bytes = [0; 16 * 1024];
        loop {
            match rustix::io::read(reader, &mut bytes) {
                Ok(0) => return false,
                Ok(read) => {
                    self.output.add(&bytes[..read]);
                    self.printed |= self.output.has(self.exec.until.as_deref());
                    if self.printed {
                        return true;
                    }
                }
                Err(_) => return true,
            }
        }
    }
}

/// Returns what a thread told, unless it was killed meanwhile: then it can be asked nothing, and its end is the next that is heard of
/// it.
fn alive<T>(asked: Result<T, SysError>) -> Result<Option<T>, SysError> {
    match asked {
        Err(SysError { errno, .. }) if errno == Errno::from_raw(libc::ESRCH) => Ok(None),
        other => other.map(Some),
    }
}

fn again() -> Errno {
    Errno::from_raw(libc::EAGAIN)
}

/// The code segment of 64-bit programs (`__USER_CS`, `arch/x86/include/asm/segment.h`).
const USER_CODE_64: u64 = 0x33;

/// The bytes below the stack pointer that a function may use without moving it (the System V ABI's red zone).
const RED_ZONE: u64 = 128;

/// Returns whether a process still has the token. A thread that is not its process's first cannot be asked (`pidfd_open(2)`), and
/// shares the descriptors of the one that is.
fn has_token(pid: Pid) -> bool {
    let Ok(process) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { return true };
    let copy = rustix::process::pidfd_getfd(&process, TOKEN, PidfdGetfdFlags::empty());
    copy.err() != Some(rustix::io::Errno::BADF)
}

/// Passes a copy of the attributes with the token, below what the thread uses of its stack.
fn add_token(
    tracee: Tracee,
    registers: &Registers,
    call: &BpfCall,
    command: TokenCommand,
    size: usize,
) -> Result<(Registers, u64), SysError> {
    let mut with = call.clone();
    let size = size.max(with.add_token(command, TOKEN));
    let at = (registers.rsp - RED_ZONE - ATTR as u64) & !15;
    tracee.write(at, &with.attr)?;
    tracee.set_registers(&Registers { rsi: at, rdx: size as u64, ..*registers })?;
    Ok((*registers, at))
}

/// Copies what the kernel wrote into the attributes back to where the program has them: the length of a log.
fn give_back(tracee: Tracee, before: &Registers, at: u64, call: &BpfCall) -> Result<(), SysError> {
    // `log_true_size` and `btf_log_true_size`, at the ends of words of eight bytes.
    let word = match call.token_command() {
        Some(TokenCommand::ProgLoad) => 136,
        Some(TokenCommand::BtfLoad) => 24,
        Some(TokenCommand::MapCreate | TokenCommand::BtfGetFdById) | None => return Ok(()),
    };
    if (before.rdx as usize) < word + 8 {
        return Ok(());
    }
    tracee.write(before.rsi + word as u64, &tracee.read(at + word as u64, 8))
}

/// Reads the end of a log, a string that ends with a zero. Where the kernel does not say how long it is, it is read from its
/// beginning, and nothing is said of one that is too long for that.
fn tail(tracee: Tracee, log: &Log, length: Option<usize>) -> Vec<u8> {
    /// The most that is read, in bytes.
    const MOST: usize = 256 * 1024;
    let skipped = length.filter(|length| *length <= log.size).map_or(0, |length| length.saturating_sub(TAIL));
    let mut read = Vec::new();
    while read.len() < MOST.min(log.size - skipped) {
        let piece = tracee.read(log.at + (skipped + read.len()) as u64, TAIL.min(log.size - skipped - read.len()));
        let end = piece.iter().position(|byte| *byte == 0);
        read.extend(&piece[..end.unwrap_or(piece.len())]);
        if end.is_some() {
            return read;
        }
        if piece.is_empty() {
            break;
        }
    }
    Vec::new()
}

impl Output {
    /// Twice as much as is kept in the end, so that text is found that arrives in pieces.
    const MOST: usize = 2 * MOST_OUTPUT;

    fn add(&mut self, bytes: &[u8]) {
        self.kept.extend(bytes);
        let over = self.kept.len().saturating_sub(Self::MOST.max(bytes.len()));
        self.kept.drain(..over);
    }

    fn has(&self, text: Option<&str>) -> bool {
        text.is_some_and(|text| {
            !text.is_empty() && self.kept.windows(text.len()).any(|window| window == text.as_bytes())
        })
    }

    /// Returns the end of it.
    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.kept[self.kept.len().saturating_sub(MOST_OUTPUT)..]).into_owned();
        let from = text.len().saturating_sub(MOST_OUTPUT);
        let from = (from..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        text[from..].trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_found_across_pieces_and_the_end_is_kept() {
        let mut output = Output::default();
        output.add(b"listening ");
        assert!(!output.has(Some("listening on")) && !output.has(None) && !output.has(Some("")));
        output.add(b"on 80\n");
        assert!(output.has(Some("listening on")));
        output.add(&vec![b'x'; 3 * MOST_OUTPUT]);
        assert!(!output.has(Some("listening on")));
        output.add("ä".repeat(MOST_OUTPUT).as_bytes());
        output.add(b"end\n");
        assert!(output.text().ends_with("end") && output.text().len() <= MOST_OUTPUT);
    }
}
