//! Host mode: this machine in place of a VM. The guest program is started as a process, and enters its own namespaces
//! itself.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read, Seek},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use harness_builder::progress::Progress;
use rustix::process::{Pid, Signal, kill_process_group};

use super::machine::{FillShare, GuestFolder, Machine, Running};
use crate::vm::{TimedEvent, VmEnd, VmError, VmEvent};

/// How often to check whether the program has ended.
const TICK: Duration = Duration::from_millis(5);

/// How long to wait for a program to end by itself.
const EXIT_GRACE: Duration = Duration::from_millis(500);

/// How many bytes of the program's output are shown.
const LONGEST: u64 = 16 * 1024;

/// How a line of the guest program begins that is for the user.
const NOTE: &str = "note: ";

/// The kernel's loaded modules, by name at the beginning of lines (`m_show`, `kernel/module/procfs.c`).
const MODULES: &str = "/proc/modules";

/// Starts the guest program on this machine. Requires root.
pub struct HostMachine<'a> {
    program: PathBuf,
    fill_share: &'a FillShare<'a>,
    progress: Progress,
    modules: PathBuf,
}

impl<'a> HostMachine<'a> {
    /// Runs the guest program, with each run's folder filled by `fill_share`. Notes go to `progress`: what the run could not
    /// limit, and the modules that were loaded meanwhile.
    pub fn new(program: PathBuf, fill_share: &'a FillShare<'a>, progress: Progress) -> Self {
        Self { program, fill_share, progress, modules: MODULES.into() }
    }
}

impl Machine for HostMachine<'_> {
    fn boot(&self, guest: &GuestFolder) -> Result<Box<dyn Running>, VmError> {
        let failed = |source| VmError::Prepare { path: guest.own(), source };
        (self.fill_share)(&guest.share()).map_err(failed)?;
        let output = guest.own().join("output");
        let file = File::create(&output).map_err(failed)?;
        let before = Modules::of(&self.modules);
        // Not xshell: the process has a deadline, and is killed with its process group.
        let mut command = Command::new(&self.program);
        command.arg("live").arg(guest.share()).env_clear().stdin(Stdio::null());
        command.stdout(file.try_clone().map_err(failed)?).stderr(file);
        let child = command.process_group(0).spawn().map_err(VmError::Spawn)?;
        let notes = Notes { progress: self.progress.clone(), before, modules: self.modules.clone() };
        Ok(Box::new(Process { child, output, started: Instant::now(), is_over: false, notes: Some(notes) }))
    }
}

/// The names of the modules that were loaded at some time; empty on a kernel without modules.
#[derive(Debug, PartialEq, Eq)]
struct Modules(BTreeSet<String>);

impl Modules {
    fn of(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_default();
        Self(text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
    }
}

/// What is shown when the program has ended.
struct Notes {
    progress: Progress,
    before: Modules,
    modules: PathBuf,
}

impl Notes {
    fn show(self, output: &str) {
        output.lines().filter(|line| line.starts_with(NOTE)).for_each(|line| self.progress.note(line));
        let after = Modules::of(&self.modules);
        let new: Vec<&str> = after.0.difference(&self.before.0).map(String::as_str).collect();
        if !new.is_empty() {
            let names = new.join(", ");
            self.progress.note(&format!(
                "{NOTE}modules that were loaded meanwhile, and stay until `rmmod` removes them: {names}"
            ));
        }
    }
}

/// A guest program that runs beside this process, in one process group with everything it started.
struct Process {
    child: Child,
    output: PathBuf,
    started: Instant,
    is_over: bool,
    notes: Option<Notes>,
}

impl Process {
    /// Returns how it ended and its last output, once it has ended; afterwards `None`.
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
        tail(&self.output).unwrap_or_default()
    }

    fn stop(&mut self) {
        self.end_program();
        if let Some(notes) = self.notes.take() {
            notes.show(&self.complaints());
        }
    }
}

impl Process {
    fn end_program(&mut self) {
        // A finished program still has to remove its cgroup.
        if self.is_over || self.next_event(EXIT_GRACE).is_some() {
            return;
        }
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
            && !self.is_over
        {
            // Processes in its PID namespace end with the first process of that namespace.
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

/// Returns the end of a file, without control characters.
fn tail(path: &Path) -> io::Result<String> {
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
        started_with(script, Progress::silent())
    }

    /// Starts a program whose machine has a list of modules beside the program.
    fn started_with(script: &str, progress: Progress) -> (tempfile::TempDir, Box<dyn Running>) {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let plan = Plan {
            format: FORMAT,
            kernel: ExpectedKernel::default(),
            marks_console: false,
            guard: None,
            scenarios: Vec::new(),
        };
        let guest = GuestFolder::create(&folder.path().join("run"), &plan).unwrap();
        let modules = folder.path().join("modules");
        fs::write(&modules, "veth 45056 0 - Live 0x0\n").unwrap();
        let machine = HostMachine { modules, ..HostMachine::new(program, &|_| Ok(()), progress) };
        let running = machine.boot(&guest).unwrap();
        (folder, running)
    }

    #[test]
    fn the_program_gets_its_folder_and_its_end_is_reported_once() {
        let (folder, mut running) = started(r#"test "$1" = live && test -f "$2/plan.json" && test -z "$HOME""#);
        let event = running.next_event(Duration::from_secs(20)).unwrap();
        assert_eq!(event.event, VmEvent::Ended(VmEnd::CommandEnded), "{}", running.complaints());
        assert_eq!(running.next_event(Duration::ZERO), None);
        drop(folder);
    }

    #[test]
    fn a_failure_includes_the_programs_output() {
        let (_folder, mut running) = started("echo no root >&2; exit 3");
        match running.next_event(Duration::from_secs(20)).unwrap().event {
            VmEvent::Ended(VmEnd::Failed(why)) => insta::assert_snapshot!(why, @"
            the guest program ended with exit status: 3
            no root
            "),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_has_no_limit_and_which_modules_were_loaded_is_reported_once() {
        let script =
            r#"echo one; echo "note: no limit of memory" >&2; echo "dummy 16384 0 - Live 0x0" >> "$2/../../modules""#;
        let (progress, captured) = Progress::captured();
        let (_folder, mut running) = started_with(script, progress);
        let event = running.next_event(Duration::from_secs(20)).unwrap();
        assert_eq!(event.event, VmEvent::Ended(VmEnd::CommandEnded), "{}", running.complaints());
        running.stop();
        running.stop();
        drop(running);
        insta::assert_snapshot!(captured.text(), @r"
        note: no limit of memory
        note: modules that were loaded meanwhile, and stay until `rmmod` removes them: dummy
        ");
        let (progress, captured) = Progress::captured();
        drop(started_with("exit 0", progress));
        assert_eq!(captured.text(), "");
    }

    #[test]
    fn a_hanging_program_is_stopped_with_its_children() {
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
