//! `run`: the daemon.

use std::{
    env, fs, io,
    os::unix::net::{SocketAddr, UnixDatagram},
    path::{Path, PathBuf},
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use guard_loader::{Access, Guard, Kernel, LoadError, MAPS_FILE, Options};
use guard_record::Time;
use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};
use rustix::{
    process::geteuid,
    time::{ClockId, clock_gettime},
};

use crate::{
    anchorage::Anchorage,
    log::{Log, Origin, Place},
    machine::Machine,
    policy_file,
    recorder::{Outputs, Recorder},
    source::Rings,
    status::{self, Status},
};

/// Write the record of all bpf(2) calls to a log, until it is asked to end (SIGTERM, SIGINT)
///
/// Without a policy it reads the guard that `bpf-guard early` put in force; that one stays in force when the daemon ends.
/// With a policy it puts a guard in force itself, which ends with it.
///
/// Each line of the log is JSON (schema: docs/guard-log.schema.json) and is bound to those before it. Lines last (fdatasync) after
/// each refused call, otherwise after a second. While the log cannot be written, the daemon reads nothing: the policy's
/// `when_full` and `on_no_reader` decide then.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bpf-guard run --log /var/log/bpf-guard.jsonl
  bpf-guard run --policy policy.toml --log guard.jsonl --anchor /dev/ttyS1

Exit codes: 0 it was asked to end; 1 failure; 2 the policy is wrong.")]
pub(crate) struct RunArgs {
    /// Put this policy in force
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,

    /// The log; files before it are kept beside it as FILE.1, FILE.2 and so on
    #[arg(long, value_name = "FILE")]
    log: PathBuf,

    /// Write the chain's heads to this file, too, such as a serial line
    #[arg(long, value_name = "FILE")]
    anchor: Option<PathBuf>,

    /// How many lines there are between two anchors
    #[arg(long, value_name = "LINES", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    anchor_every: u64,

    /// Size of a file after which the next one begins, in bytes or with KiB, MiB or GiB
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    rotate: u64,

    /// The most files that are kept, the current one included; 0 keeps all
    #[arg(long, value_name = "FILES", default_value_t = 16)]
    keep: u64,

    /// Where the kernel's log is written
    #[arg(long, value_name = "FILE", default_value = "/dev/kmsg", hide = true)]
    kernel_log: PathBuf,

    /// Where the status is written
    #[arg(long, value_name = "FILE", default_value = status::FILE)]
    status: PathBuf,
}

/// Reads a size such as `64MiB`.
fn size(text: &str) -> Result<u64, String> {
    let bytes = guard_policy::size(text).or_else(|| guard_policy::size(&format!("{text}B")));
    let bytes = bytes.filter(|bytes| *bytes >= 4096);
    bytes.ok_or_else(|| "it is no number of bytes from 4KiB on and below 2^64, such as 64MiB".to_owned())
}

/// Runs the command.
pub(crate) fn run(args: &RunArgs) -> Result<()> {
    // Before a guard is in force, so that no signal ends the process without a closing line.
    let asked = Asked::new()?;
    match &args.policy {
        None => {
            let Some(access) = access(&args.status, &asked)? else { return Ok(()) };
            let guard = early_guard()?;
            record(args, &access, Machine::new(Kernel::running()?, None), guard, &asked)
        }
        Some(path) => {
            let policy = policy_file::read(path, None)?;
            let options = Options::default();
            let mut guard = Guard::load(&policy.compile(), &options)?;
            guard.arm()?;
            let machine = Machine::new(guard.kernel().clone(), Some(&policy));
            record(args, guard.access(), machine, boot_ns(), &asked)
        }
    }
}

/// How long the daemon waits for another reader to end, such as the daemon before it.
const HANDOVER: Duration = Duration::from_secs(10);

/// Becomes the reader of the guard in force, and waits for one that is there. Returns nothing if it was asked to end.
fn access(status: &Path, asked: &Asked) -> Result<Option<Access>> {
    let began = Instant::now();
    loop {
        match Access::open() {
            Err(LoadError::NotReader) if !geteuid().is_root() => {
                bail!("the records can be read by root only, and this process is of user {}", geteuid().as_raw())
            }
            Err(LoadError::NotReader) if began.elapsed() >= HANDOVER => bail!(
                "{} reads the records, and one process at a time can: end it first (`systemctl stop bpf-guard`, or Ctrl-C for `bpf-guard try`)",
                Status::reader(status)
            ),
            Err(LoadError::NotReader) => {
                if began.elapsed() < PAUSE {
                    let seconds = HANDOVER.as_secs();
                    eprintln!(
                        "bpf-guard: {} reads the records; waiting {seconds} s for it to end",
                        Status::reader(status)
                    );
                }
                if asked.is_so() {
                    return Ok(None);
                }
                thread::sleep(PAUSE);
            }
            opened => return Ok(Some(opened?)),
        }
    }
}

/// How long it waits from one attempt to the next: each is a refused call, and on record.
const PAUSE: Duration = Duration::from_secs(1);

fn record(args: &RunArgs, access: &Access, machine: Machine, guard: u64, asked: &Asked) -> Result<()> {
    use guard_record::Names as _;

    let place = Place { path: args.log.clone(), rotate: args.rotate, keep: args.keep };
    let boot_id = read("/proc/sys/kernel/random/boot_id")?;
    let origin = Origin { boot_id, kernel: read("/proc/sys/kernel/osrelease")?, guard };
    let write = Rc::new(|file: &mut fs::File, bytes: &[u8]| io::Write::write(file, bytes));
    let opened = Log::open(place, origin, Time::of(boot_ns(), machine.epoch_ns()), write)?;
    let anchorage = Anchorage::open(&args.kernel_log, args.anchor.as_deref())?;
    let outputs = Outputs { anchorage, anchor_every: args.anchor_every, status: args.status.clone() };
    let mut recorder = Recorder::new(Rings::open(access)?, machine, opened, outputs);
    notify("READY=1");
    let result = recorder.run(|| asked.is_so());
    notify("STOPPING=1");
    result
}

/// Returns a number that the guard in force has alone during this boot: the id of one of its maps.
fn early_guard() -> Result<u64> {
    let text = read(MAPS_FILE)?;
    let id = text.lines().find_map(|line| line.strip_prefix("denials ")?.parse().ok());
    id.with_context(|| format!("{MAPS_FILE} does not say which map `denials` is"))
}

fn read(path: &str) -> Result<String> {
    Ok(fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?.trim().to_owned())
}

fn boot_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// Whether the process was asked to end, by SIGTERM or SIGINT.
pub(crate) struct Asked(SignalFd);

impl Asked {
    pub(crate) fn new() -> Result<Self> {
        let mut signals = SigSet::empty();
        [Signal::SIGTERM, Signal::SIGINT].into_iter().for_each(|signal| signals.add(signal));
        signals.thread_block().context("cannot block signals")?;
        let descriptor = SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC);
        Ok(Self(descriptor.context("cannot wait for signals")?))
    }

    pub(crate) fn is_so(&self) -> bool {
        matches!(self.0.read_signal(), Ok(Some(_)))
    }
}

/// Tells the service manager (sd_notify(3)); without one, nothing happens.
fn notify(state: &str) {
    use std::os::linux::net::SocketAddrExt as _;

    let Some(name) = env::var_os("NOTIFY_SOCKET") else { return };
    let address = match name.as_encoded_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(&name),
    };
    let sent = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address));
    if let Err(error) = sent {
        eprintln!("bpf-guard: cannot notify the service manager: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit() {
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("4096"), Ok(4096));
        for wrong in ["4095", "1KiB", "64MB", "99999999999GiB", "MiB", "", "+4096"] {
            let error = size(wrong).unwrap_err();
            assert_eq!(error, "it is no number of bytes from 4KiB on and below 2^64, such as 64MiB", "{wrong}");
        }
    }
}
