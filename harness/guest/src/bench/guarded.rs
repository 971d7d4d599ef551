//! Measures what the guard costs: calls, loads and execs with the guard off and on in turns, a flood of calls with its daemon
//! reading, and its start in early boot.

use std::{
    ffi::CString,
    fs,
    mem::MaybeUninit,
    os::{fd::AsFd, unix::ffi::OsStringExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use harness_protocol::plan::{GUARD_PROGRAM, Guard as Plan};
use rustix::{
    mount::{MountFlags, mount},
    process::WaitOptions,
    time::{ClockId, clock_gettime},
};
use serde::{Deserialize, Serialize};

use crate::{
    bpf::{self, Kind, ProgSpec},
    guard::{Guard, Keep},
    kernel, object,
    process::{self, Fork},
    run::RunError,
};

/// The measurements, printed as one JSON object. Times are in microseconds of processor time of the calling process and of what it
/// has executed, each the mean of a sample.
#[derive(Debug, Serialize)]
pub(crate) struct GuardReport {
    /// `uname -r`.
    release: String,
    /// One `BPF_PROG_GET_NEXT_ID` that is only counted.
    counted: Samples,
    /// The same, recorded.
    recorded: Samples,
    /// One `BPF_PROG_LOAD`, by the number of instructions.
    loads: Vec<(usize, Samples)>,
    /// One fork, execve and end of a small program, and a call that is only counted: of a program that is no loader, and of a
    /// known one.
    exec_of_stranger: Samples,
    exec_of_loader: Samples,
    flood: Flood,
}

/// Samples with the guard off and on, in turns.
#[derive(Debug, Default, Serialize)]
struct Samples {
    off: Vec<f64>,
    on: Vec<f64>,
}

/// A flood of calls, some of them denied, while the daemon reads.
#[derive(Debug, Serialize)]
struct Flood {
    /// For how long calls were made, in seconds.
    seconds: f64,
    /// Calls made, denied ones included.
    calls: u64,
    /// Calls denied, and denials in the daemon's log.
    denied: u64,
    logged: u64,
    /// Records that the kernel made, and those that did not fit the rings.
    records: u64,
    lost: u64,
}

/// What the daemon says of itself.
#[derive(Debug, Deserialize)]
struct Status {
    seq: u64,
    waiting: usize,
    kernel_seq: u64,
    kernel_lost: u64,
}

/// How many samples are taken of each.
const SAMPLES: usize = 9;
/// Calls of a sample, and those between which recording pauses, so that the ring can be read.
const CALLS: u32 = 20_000;
const RECORDED_AT_ONCE: u32 = 2_000;
/// Loads of a sample, by the number of instructions.
const LOADS: [(usize, u32); 3] = [(2, 500), (1_000, 50), (100_000, 1)];
/// Execs of a sample.
const EXECS: u32 = 100;
/// The flood: calls per millisecond, for how long, and how many calls there are for one that is denied.
const FLOOD_PER_MS: u32 = 50;
const FLOOD: Duration = Duration::from_secs(5);
const CALLS_PER_DENIAL: u64 = 500;
/// How long the daemon may take to start, and to read what the flood left.
const DAEMON: Duration = Duration::from_secs(120);

/// A policy with which every call passes all checks of a profile.
fn policy(count_only: &str, first_rule: &str) -> String {
    format!(
        "version = 1\nmode = \"enforce\"\n[guard]\ncount_only = [{count_only}]\n\
         [profiles.all]\ncmds = \"any\"\nprogs = \"any\"\nhelpers = \"any\"\nkfuncs = \"any\"\ntargets = \"any\"\n\
         token_caps = \"any\"\nmaps.types = \"any\"\n{first_rule}[[rule]]\nprofile = \"all\"\n"
    )
}

/// Takes all measurements but that of early boot, with the guard's program in `folder`.
pub(crate) fn run(folder: &Path) -> Result<GuardReport, RunError> {
    let program = folder.join(GUARD_PROGRAM);
    object::trigger_probes();
    let mut guard = start(&program, policy("\"prog_get_next_id\"", ""))?;
    let counted = in_turns(&mut guard, CALLS, CALLS, next_id)?;
    guard.stop()?;
    let mut guard = start(&program, policy("", ""))?;
    let recorded = in_turns(&mut guard, CALLS, RECORDED_AT_ONCE, next_id)?;
    let mut loads = Vec::new();
    for (length, count) in LOADS {
        let body = body(length);
        let load = || bpf::prog_load(ProgSpec { prog_type: 1, body: &body, ..ProgSpec::PLAIN }, None).is_ok();
        loads.push((length, in_turns(&mut guard, count, count, load)?));
    }
    guard.stop()?;
    let [exec_of_stranger, exec_of_loader] = execs(&program)?;
    let flood = flood(&program)?;
    Ok(GuardReport { release: kernel::release(), counted, recorded, loads, exec_of_stranger, exec_of_loader, flood })
}

/// Measures execs under a policy with a known loader: of two copies of one program, one of which is that loader.
fn execs(program: &Path) -> Result<[Samples; 2], RunError> {
    let copy = |name: &str| {
        let path = std::env::temp_dir().join(name);
        let copied = fs::copy("/bin/true", &path).map_err(|error| failed(format!("{}: {error}", path.display())));
        copied.map(|_| path)
    };
    let (stranger, loader) = (copy("bench-stranger")?, copy("bench-loader")?);
    let known = format!("[loaders.known]\nfile = \"{}\"\nidentity = \"inode\"\n", loader.display());
    let mut guard = start(program, policy("\"prog_get_next_id\"", &known))?;
    let mut measure = |path: PathBuf| {
        let path = CString::new(path.into_os_string().into_vec()).map_err(|error| failed(error.to_string()))?;
        in_turns(&mut guard, EXECS, EXECS, || executes(&path) && next_id())
    };
    let samples = [measure(stranger)?, measure(loader)?];
    guard.stop()?;
    Ok(samples)
}

/// Executes a program as `true`, and returns whether it succeeded.
#[allow(unsafe_code)]
fn executes(path: &CString) -> bool {
    match process::fork() {
        Ok(Fork::Child) => {
            let arguments = [c"true".as_ptr(), std::ptr::null()];
            // SAFETY: path and arguments end with a zero, and outlive the call.
            unsafe { libc::execv(path.as_ptr(), arguments.as_ptr()) };
            process::leave(1)
        }
        Ok(Fork::Parent(child)) => {
            let ended = rustix::process::waitpid(Some(child), WaitOptions::empty());
            matches!(ended, Ok(Some((_, status))) if status.exit_status() == Some(0))
        }
        Err(_) => false,
    }
}

/// Times `bpf-guard early`, which leaves its guard in force. Returns milliseconds.
pub(crate) fn early(folder: &Path) -> Result<f64, RunError> {
    let file = write_policy(&policy("\"@read\"", ""))?;
    let start = Instant::now();
    let mut command = Command::new(folder.join(GUARD_PROGRAM));
    let output = command.arg("early").arg("--policy").arg(file).args(["--bpffs", "/guard"]).output();
    let took = start.elapsed();
    let output = output.map_err(|error| failed(format!("bpf-guard early: {error}")))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    match output.status.success() && said.contains("in force") && !said.contains("NOT in force") {
        true => Ok(took.as_secs_f64() * 1e3),
        false => Err(failed(format!("bpf-guard early: {}: {said}", output.status))),
    }
}

fn failed(why: impl Into<String>) -> RunError {
    RunError::Bench(why.into())
}

fn start(program: &Path, policy: String) -> Result<Guard, RunError> {
    Ok(Guard::start(program, &Plan::new(policy), Keep::Nothing)?)
}

fn next_id() -> bool {
    bpf::next_id(Kind::Program, 0).is_ok()
}

/// A program with this many instructions.
fn body(length: usize) -> Vec<u64> {
    let [mov, exit] = bpf::returning(0);
    let mut body = vec![mov; length - 1];
    body.push(exit);
    body
}

/// Takes samples of `count` calls, with the guard off and on in turns; it is switched off after each `at_once` calls.
fn in_turns(guard: &mut Guard, count: u32, at_once: u32, call: impl Fn() -> bool) -> Result<Samples, RunError> {
    let mut samples = Samples::default();
    // The first is a warm-up.
    sample(count.min(at_once), &call)?;
    for round in 0..SAMPLES {
        for on in [round % 2 == 1, round % 2 == 0] {
            let mut sum = 0.0;
            for _ in 0..count / at_once {
                if on {
                    guard.on()?;
                }
                let taken = sample(at_once, &call);
                if on {
                    let calls = guard.off()?.calls();
                    if calls < u64::from(at_once) {
                        return Err(failed(format!("the guard has noticed {calls} of {at_once} calls")));
                    }
                }
                sum += taken?;
            }
            let mean = sum / f64::from(count);
            if on { samples.on.push(mean) } else { samples.off.push(mean) }
        }
    }
    Ok(samples)
}

/// Makes calls in a process of its own, since the guard ignores this one. Returns its processor time in microseconds.
fn sample(count: u32, call: impl Fn() -> bool) -> Result<f64, RunError> {
    let bytes: [u8; 8] = in_child(|| {
        let start = processor_time();
        let good = (0..count).filter(|_| call()).count();
        let took = processor_time() - start;
        if good == count as usize { took } else { f64::NAN }.to_le_bytes()
    })?;
    let took = f64::from_le_bytes(bytes);
    if took.is_nan() { Err(failed("a measured call failed")) } else { Ok(took) }
}

/// Runs something in a forked process, and returns what it returns.
fn in_child<const N: usize>(work: impl FnOnce() -> [u8; N]) -> Result<[u8; N], RunError> {
    let (reader, writer) = rustix::pipe::pipe().map_err(|error| failed(format!("pipe: {error}")))?;
    match process::fork()? {
        Fork::Child => {
            let bytes = work();
            let written = rustix::io::write(&writer, &bytes);
            process::leave(i32::from(written != Ok(N)))
        }
        Fork::Parent(child) => {
            drop(writer);
            let mut bytes = [0; N];
            let read = rustix::io::read(reader.as_fd(), &mut bytes);
            let how = process::reap(child);
            if read == Ok(N) { Ok(bytes) } else { Err(failed(format!("the process that makes calls ended: {how}"))) }
        }
    }
}

/// Microseconds of processor time of this process, and of its children that have ended.
fn processor_time() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3 + of_children()
}

#[allow(unsafe_code)]
fn of_children() -> f64 {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the kernel writes the structure; zero is a valid value of each member if it does not.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr());
        usage.assume_init()
    };
    [usage.ru_utime, usage.ru_stime].into_iter().map(|time| time.tv_sec as f64 * 1e6 + time.tv_usec as f64).sum()
}

fn write_policy(text: &str) -> Result<PathBuf, RunError> {
    let path = std::env::temp_dir().join("bench.guard.toml");
    fs::write(&path, text).map_err(|error| failed(format!("{}: {error}", path.display())))?;
    Ok(path)
}

fn flood(program: &Path) -> Result<Flood, RunError> {
    // The log of a flood is measured in memory, not on a folder that is shared with the host.
    let folder = Path::new("/run/bench");
    let made = fs::create_dir_all(folder)
        .and_then(|()| mount("bench", folder, "tmpfs", MountFlags::empty(), c"size=75%").map_err(std::io::Error::from));
    made.map_err(|error| failed(format!("{}: {error}", folder.display())))?;
    let file = write_policy(&policy("", "[[rule]]\ncmds = [\"btf_get_next_id\"]\ndeny = true\n"))?;
    let status = folder.join("status.json");
    let errors = fs::File::create(folder.join("errors")).map_err(|error| failed(format!("errors: {error}")))?;
    let mut command = Command::new(program);
    command.arg("run").arg("--policy").arg(file).arg("--log").arg(folder.join("log"));
    command.args(["--keep", "0", "--status"]).arg(&status).stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
    // It ends with the VM: its guard lets nobody but process 1 end it.
    let mut daemon = command.spawn().map_err(|error| failed(format!("bpf-guard run: {error}")))?;
    await_status(&mut daemon, folder, |_| true)?;
    let bytes: [u8; 24] = in_child(|| {
        let (seconds, calls, denied) = make_flood();
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&seconds.to_le_bytes());
        bytes[8..16].copy_from_slice(&calls.to_le_bytes());
        bytes[16..].copy_from_slice(&denied.to_le_bytes());
        bytes
    })?;
    let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]));
    let (seconds, calls, denied) = (f64::from_bits(number(0)), number(8), number(16));
    let end = await_status(&mut daemon, folder, |status| {
        status.kernel_seq >= calls && status.seq == status.kernel_seq && status.waiting == 0
    })?;
    let logged = denials(folder)?;
    Ok(Flood { seconds, calls, denied, logged, records: end.kernel_seq, lost: end.kernel_lost })
}

fn make_flood() -> (f64, u64, u64) {
    let (mut calls, mut denied) = (0_u64, 0_u64);
    let start = Instant::now();
    for millisecond in 1.. {
        for _ in 0..FLOOD_PER_MS {
            calls += 1;
            match calls % CALLS_PER_DENIAL {
                0 => denied += u64::from(bpf::next_id(Kind::Btf, 0).is_err()),
                _ => drop(bpf::next_id(Kind::Program, 0)),
            }
        }
        let now = start.elapsed();
        if now >= FLOOD {
            break;
        }
        std::thread::sleep(Duration::from_millis(millisecond).saturating_sub(now));
    }
    (start.elapsed().as_secs_f64(), calls, denied)
}

fn await_status(daemon: &mut Child, folder: &Path, is_awaited: impl Fn(&Status) -> bool) -> Result<Status, RunError> {
    let deadline = Instant::now() + DAEMON;
    let mut last = None;
    while Instant::now() < deadline && matches!(daemon.try_wait(), Ok(None)) {
        let text = fs::read_to_string(folder.join("status.json")).unwrap_or_default();
        match serde_json::from_str::<Status>(&text) {
            Ok(status) if is_awaited(&status) => return Ok(status),
            Ok(status) => last = Some(status),
            Err(_) => {}
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let said = fs::read_to_string(folder.join("errors")).unwrap_or_default();
    Err(failed(format!("the guard's daemon does not get there ({last:?}): {said}")))
}

/// Counts the denials in the files of the log.
fn denials(folder: &Path) -> Result<u64, RunError> {
    let mut count = 0;
    let failed = |error: std::io::Error| failed(format!("the daemon's log: {error}"));
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log")) {
            let text = fs::read_to_string(&path).map_err(failed)?;
            count += text.lines().filter(|line| line.contains("\"verdict\":\"denied\"")).count() as u64;
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_the_length_and_ends() {
        let [mov, exit] = bpf::returning(0);
        assert_eq!(body(2), [mov, exit]);
        assert_eq!((body(1000).len(), body(1000)[999]), (1000, exit));
    }

    #[test]
    fn a_forked_process_returns_its_bytes() {
        assert_eq!(in_child(|| [1, 2, 3]).unwrap(), [1, 2, 3]);
    }

    #[test]
    fn a_failed_call_is_no_sample() {
        assert!(sample(3, || true).unwrap() >= 0.0);
        assert!(sample(3, || false).unwrap_err().to_string().contains("a measured call failed"));
    }
}
