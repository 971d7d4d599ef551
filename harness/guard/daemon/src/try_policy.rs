//! `try`: a guard that is in force for as long as this process runs, or the records of one that is in force already.

use std::{
    io::{self, BufRead, Write},
    path::PathBuf,
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Args;
use guard_loader::{Access, Guard, Kernel, Malformed, Options, Reader, Taken, Trial};
use guard_policy::Mode;
use guard_record::Line;
use serde_json::json;

use crate::{machine::Machine, policy_file};

/// How often the rings are read while nothing asks for it.
const ROUND: Duration = Duration::from_millis(100);

/// How many times the rings are read to find what was in them: none holds more records than so many rounds take.
const ROUNDS: usize = 17;

/// Puts a policy in force for as long as this command runs, and prints each record as a line of JSON. Nothing is pinned:
/// the guard ends with the command. Without a policy, the records are those of the guard that was started early.
#[derive(Debug, Args)]
pub(crate) struct TryArgs {
    /// The policy file; without one, the guard that was started early is read, which nothing switches off.
    policy: Option<PathBuf>,
    /// Use this mode instead of the policy's own.
    #[arg(long, value_parser = mode, requires = "policy")]
    mode: Option<Mode>,
    /// Start switched off, and read commands from standard input: `on`, `off`, `flush`; each is answered by a line of JSON
    /// after all records up to then.
    #[arg(long)]
    commands: bool,
    /// Count the records instead of printing them.
    #[arg(long)]
    quiet: bool,
    /// Let the calls of this process pass unrecorded.
    #[arg(long, value_name = "PID", default_value_t = 0)]
    exempt: u32,
}

fn mode(text: &str) -> Result<Mode, String> {
    match text {
        "audit" => Ok(Mode::Audit),
        "enforce" => Ok(Mode::Enforce),
        _ => Err("it is `audit` or `enforce`".to_owned()),
    }
}

/// Runs the command.
pub(crate) fn run(args: &TryArgs) -> Result<()> {
    let Some(policy) = &args.policy else { return follow(args) };
    let policy = policy_file::read(policy, args.mode)?;
    let options = Options { trial: Some(Trial { exempt: args.exempt }), ..Options::default() };
    let mut guard = Guard::load(&policy.compile(), &options)?;
    guard.arm()?;
    let machine = Machine::new(guard.kernel().clone(), Some(&policy));
    let reader = guard.access().reader()?;
    let (access, quiet) = (guard.access(), args.quiet);
    let printer = Printer { reader, machine, read: 0, quiet, access, trial: Some(&guard), out: io::stdout().lock() };
    if !args.commands {
        guard.set_off(false);
        eprintln!("the policy is in force until this command ends (Ctrl-C)");
    }
    printer.run(args.commands)
}

/// Prints the records of the guard that was started early, from the first that its rings still hold.
fn follow(args: &TryArgs) -> Result<()> {
    let access = Access::open()?;
    let machine = Machine::new(Kernel::running()?, None);
    let reader = access.reader()?;
    let (access, quiet) = (&access, args.quiet);
    Printer { reader, machine, read: 0, quiet, access, trial: None, out: io::stdout().lock() }.run(args.commands)
}

/// Reads the lines of standard input in a thread of its own.
fn commands() -> Receiver<String> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    receive
}

struct Printer<'g, W> {
    reader: Reader<'g>,
    machine: Machine,
    /// The number of records read so far.
    read: u64,
    quiet: bool,
    access: &'g Access,
    /// The guard, if it can be switched on and off.
    trial: Option<&'g Guard>,
    out: W,
}

impl<W: Write> Printer<'_, W> {
    /// Prints records, until there are no more commands if it takes commands.
    fn run(mut self, takes_commands: bool) -> Result<()> {
        if takes_commands {
            self.say(&json!({ "ready": { "version": env!("CARGO_PKG_VERSION") } }))?;
            return self.obey(&commands());
        }
        loop {
            self.reader.wait(ROUND);
            self.print()?;
        }
    }

    /// Obeys commands until there are no more.
    fn obey(&mut self, commands: &Receiver<String>) -> Result<()> {
        loop {
            match commands.recv_timeout(ROUND) {
                Ok(command) => self.answer(command.trim())?,
                Err(RecvTimeoutError::Timeout) => self.print()?,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    fn answer(&mut self, command: &str) -> Result<()> {
        match (command, self.trial) {
            ("on", Some(guard)) => guard.set_off(false),
            ("off", Some(guard)) => guard.set_off(true),
            ("on" | "off", None) => return self.say(&json!({ "error": "nothing switches an early guard on or off" })),
            ("flush", _) => {}
            (other, _) => return self.say(&json!({ "error": format!("`{other}` is not `on`, `off` or `flush`") })),
        }
        self.print()?;
        let counters = self.access.counters()?;
        self.say(&json!({ "done": command, "counters": {
            "recorded": counters.recorded(),
            "counted": counters.counted(),
            "read": self.read,
            "lost": counters.lost(),
            "seq": counters.seq,
        }}))
    }

    /// Prints all records that are in the rings, in the order of their numbers: a round may take a denial before a record
    /// that precedes it, since it reads one ring after the other.
    fn print(&mut self) -> Result<()> {
        self.access.beat();
        let mut records = Vec::new();
        for _ in 0..ROUNDS {
            let Taken { records: more, malformed, .. } = self.reader.take()?;
            for Malformed { error, .. } in &malformed {
                eprintln!("bpf-guard: a record cannot be read: {error}");
            }
            if more.is_empty() && malformed.is_empty() {
                break;
            }
            self.read += more.len() as u64;
            if !self.quiet {
                records.extend(more);
            }
        }
        records.sort_unstable_by_key(|record| record.seq);
        for record in &records {
            let line = serde_json::to_string(&Line::of(record, &self.machine))?;
            writeln!(self.out, "{line}").context("cannot write to standard output")?;
        }
        self.out.flush().context("cannot write to standard output")
    }

    fn say(&mut self, value: &serde_json::Value) -> Result<()> {
        writeln!(self.out, "{value}").context("cannot write to standard output")?;
        self.out.flush().context("cannot write to standard output")
    }
}
