//! The machine we are on, in place of a VM: the guest program is started as a process, and leaves our namespaces by itself.

use std::{
    fs::{self, File},
    io::{self, Read, Seek},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};

use super::machine::{FillShare, GuestFolder, Machine, Running};
use crate::vm::{TimedEvent, VmEnd, VmError, VmEvent};

/// How often it is looked whether the program has ended.
const TICK: Duration = Duration::from_millis(5);

/// How long a program may take to end by itself.
const FAREWELL: Duration = Duration::from_millis(500);

/// So much of what the program complains of is told, in bytes.
const LONGEST: u64 = 16 * 1024;

/// Starts the guest program where we are. It must be run as root.
pub struct HostMachine<'a> {
    /// The guest program.
    pub program: PathBuf,
    /// Fills each run's folder.
    pub fill_share: &'a FillShare<'a>,
}

impl Machine for HostMachine<'_> {
    fn boot(&self, guest: &GuestFolder) -> Result<Box<dyn Running>, VmError> {
        let failed = |source| VmError::Prepare { path: guest.own(), source };
        (self.fill_share)(&guest.share()).map_err(failed)?;
        let said = guest.own().join("said");
        let file = File::create(&said).map_err(failed)?;
        // Not by xshell: it is limited in time, and is killed with its process group.
        let mut command = Command::new(&self.program);
        command.arg("live").arg(guest.share()).env_clear().stdin(Stdio::null());
        command.stdout(file.try_clone().map_err(failed)?).stderr(file);
        let child = command.process_group(0).spawn().map_err(VmError::Spawn)?;
        Ok(Box::new(Process { child, said, started: Instant::now(), is_over: false }))
    }
}

/// A guest program that runs beside us, with all it started in one process group.
struct Process {
    child: Child,
    said: PathBuf,
    started: Instant,
    is_over: bool,
}

impl Process {
    /// How it ended and what it said last, once it has ended; asked again, nothing more.
    fn end(&mut self) -> Option<VmEnd> {
        let status = if self.is_over { None } else { self.child.try_wait().ok().flatten() }?;
        self.is_over = true;
        Some(if status.success() {
            VmEnd::CommandEnded
        } else {
            VmEnd::Failed(format!("the guest program ended with {status}\n{}", self.complaints()))
        })
    }
}

impl Running for Process {
    fn next_event(&mut self, wait: Duration) -> Option<TimedEvent> {
        let by = Instant::now() + wait;
        loop {
            if let Some(end) = self.end() {
                return Some(TimedEvent { at: self.started.elapsed(), event: VmEvent::Ended(end) });
            }
            if Instant::now() >= by {
                return None;
            }
            thread::sleep(TICK.min(wait));
        }
    }

    fn complaints(&self) -> String {
        tail(&self.said).unwrap_or_default()
    }

    fn stop(&mut self) {
        // One that is done has yet to remove its cgroup.
        if self.next_event(FAREWELL).is_some() {
            return;
        }
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
            && !self.is_over
        {
            // What the program started in its pid namespace goes with the first process of that.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
        self.is_over = true;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The end of a file, as far as it is text.
fn tail(path: &std::path::Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = fs::metadata(path)?.len();
    file.seek(io::SeekFrom::Start(length.saturating_sub(LONGEST)))?;
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).chars().filter(|c| !c.is_control() || *c == '\n').collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use harness_protocol::plan::{ExpectedKernel, FORMAT, Plan};

    use super::*;

    fn started(script: &str) -> (tempfile::TempDir, Box<dyn Running>) {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let plan = Plan { format: FORMAT, kernel: ExpectedKernel::default(), scenarios: Vec::new() };
        let guest = GuestFolder::create(&folder.path().join("run"), &plan).unwrap();
        let running = HostMachine { program, fill_share: &|_| Ok(()) }.boot(&guest).unwrap();
        (folder, running)
    }

    #[test]
    fn it_is_told_where_to_work_and_its_end_is_seen_once() {
        let (folder, mut running) = started(r#"test "$1" = live && test -f "$2/plan.json" && test -z "$HOME""#);
        let event = running.next_event(Duration::from_secs(20)).unwrap();
        assert_eq!(event.event, VmEvent::Ended(VmEnd::CommandEnded), "{}", running.complaints());
        assert_eq!(running.next_event(Duration::ZERO), None);
        drop(folder);
    }

    #[test]
    fn what_it_complains_of_is_told_with_a_bad_end() {
        let (_folder, mut running) = started("echo no root >&2; exit 3");
        match running.next_event(Duration::from_secs(20)).unwrap().event {
            VmEvent::Ended(VmEnd::Failed(why)) => assert!(why.contains("no root") && why.contains('3'), "{why}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_that_hangs_is_stopped_with_all_it_started() {
        let (folder, mut running) = started(r#"(sleep 60; touch "$2/late") & echo $! > "$2/pid"; sleep 60"#);
        let pid = folder.path().join("run/share/pid");
        let by = Instant::now() + Duration::from_secs(20);
        while fs::read_to_string(&pid).map_or(true, |text| !text.ends_with('\n')) && Instant::now() < by {
            assert_eq!(running.next_event(TICK), None);
        }
        running.stop();
        let pid = fs::read_to_string(&pid).unwrap();
        let state = || fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        while !(state().is_empty() || state().contains(") Z ")) {
            assert!(Instant::now() < by, "it still runs: {}", state());
            thread::sleep(TICK);
        }
    }
}
