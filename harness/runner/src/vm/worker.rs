//! The worker: the process that runs `vmtest` for one VM and reports events to its parent, one JSON line each.

use std::{
    fs,
    io::{self, Read},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::symlink,
    },
    path::{Path, PathBuf},
    process::exit,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{
        Pid, PidfdFlags, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getpid, getppid, getrlimit,
        kill_process_group, pidfd_open, set_parent_process_death_signal, setrlimit, setsid, waitid,
    },
};
use vmtest::{Config, Target, VMConfig, Vmtest, output::Output};

use super::{
    event::{Phase, QemuExit, VmEnd, VmEvent},
    event_queue::EventQueue,
    files::{self, Launch, Mode, QEMU_LINK, Worker, WorkerRequest, forget},
};

/// The first argument of a worker; the second is the VM's folder.
pub(super) const VERB: &str = "__hold-vm";

/// The maximum writable memory of the worker. `vmtest` collects lines without a limit, so a guest that prints endlessly
/// could otherwise use all of the host's memory.
const MEMORY: u64 = 512 << 20;

/// How long to wait for console lines after QEMU has ended.
const CONSOLE_GRACE: Duration = Duration::from_millis(100);

/// How long to wait for the exit of QEMU once `vmtest` is done with it.
const EXIT_GRACE: Duration = Duration::from_secs(1);

/// A name for `vmtest`'s `arch`. With the host's own name, `vmtest` uses KVM if `/dev/kvm` exists; with any other name
/// it leaves the choice to us. It is used for nothing else.
const UNDECIDED_ARCH: &str = "x86_64-as-configured";

/// Runs the VM described in `folder` until it ends.
pub(super) fn run(folder: &Path) -> ! {
    let worker = match prepare(folder) {
        Ok(worker) => worker,
        Err(error) => {
            eprintln!("{error}");
            exit(1)
        }
    };
    match worker.request.mode {
        Mode::Command => worker.run_command(),
        Mode::Interactive => worker.run_interactively(),
    }
}

struct WorkerProcess {
    folder: PathBuf,
    request: WorkerRequest,
}

fn prepare(folder: &Path) -> io::Result<WorkerProcess> {
    let request: WorkerRequest = files::read(folder)?;
    match request.mode {
        Mode::Command => drop(setsid()?),
        // An interactive VM shares the terminal and so the session; it ends with the parent's waiting thread.
        Mode::Interactive => set_parent_process_death_signal(Some(Signal::KILL))?,
    }
    if getppid().is_none_or(|parent| parent.as_raw_nonzero().get() != request.parent) {
        return Err(io::Error::other("the process that requested this VM has ended"));
    }
    limit(Resource::Data, MEMORY)?;
    limit(Resource::Core, 0)?;
    files::write(folder, &Worker { pid: getpid().as_raw_nonzero().get() })?;
    symlink("/proc/self/exe", folder.join(QEMU_LINK))?;
    fs::create_dir_all(request.spec.root.join("tmp"))?;
    Ok(WorkerProcess { folder: folder.to_owned(), request })
}

fn limit(resource: Resource, current: u64) -> io::Result<()> {
    let maximum = getrlimit(resource).maximum;
    let current = maximum.map_or(current, |maximum| maximum.min(current));
    Ok(setrlimit(resource, Rlimit { current: Some(current), maximum })?)
}

impl WorkerProcess {
    fn run_command(self) -> ! {
        let event_queue: &'static EventQueue = Box::leak(Box::new(EventQueue::new()));
        let folder: &'static Path = Box::leak(self.folder.clone().into_boxed_path());
        thread::spawn(move || end_with_parent(folder));
        let (exit_sender, qemu_exit) = mpsc::sync_channel(1);
        thread::spawn(move || report_qemu_exit(folder, event_queue, &exit_sender));
        thread::spawn(move || event_queue.write_to(io::stdout()));
        let (sender, receiver) = mpsc::channel();
        let forwarder = thread::spawn(move || forward_events(receiver, event_queue));
        let end = match self.vmtest() {
            Ok(vmtest) => {
                vmtest.run_one(0, sender);
                let end = forwarder.join().unwrap_or_else(|_| VmEnd::WorkerGone("it panicked".to_owned()));
                end_of_vm(end, &qemu_exit)
            }
            Err(error) => VmEnd::Failed(format!("{error:#}")),
        };
        finish(folder, event_queue, end)
    }

    fn run_interactively(self) -> ! {
        let (sender, receiver) = mpsc::channel();
        let forwarder = thread::spawn(move || receiver.into_iter().find_map(|output| to_event(output).err()));
        let failure = match self.vmtest() {
            Ok(vmtest) => {
                vmtest.run_one(0, sender);
                forwarder.join().unwrap_or_default()
            }
            Err(error) => Some(VmEnd::Failed(format!("{error:#}"))),
        };
        forget(&self.folder);
        if let Some(failure) = failure {
            eprintln!("{failure}");
            exit(1)
        }
        exit(0)
    }

    fn vmtest(&self) -> Result<Vmtest, impl std::fmt::Display + use<>> {
        let spec = &self.request.spec;
        let link = self.folder.join(QEMU_LINK).to_string_lossy().into_owned();
        let accel = spec.accel_args().map(str::to_owned);
        let target = Target {
            name: "vm".to_owned(),
            kernel: Some(spec.kernel.clone()),
            kernel_args: Some(spec.command_line()),
            rootfs: spec.root.clone(),
            arch: UNDECIDED_ARCH.to_owned(),
            qemu_command: Some(link),
            command: spec.command.clone(),
            vm: VMConfig {
                num_cpus: spec.cpus,
                memory: format!("{}M", spec.memory_mib),
                extra_args: accel.into_iter().chain(spec.qemu_args.iter().cloned()).collect(),
                ..VMConfig::default()
            },
            ..Target::default()
        };
        Vmtest::new(&spec.share, Config { target: vec![target] })
    }
}

/// Reports the end and exits.
fn finish(folder: &Path, event_queue: &EventQueue, end: VmEnd) -> ! {
    event_queue.close(end);
    forget(folder);
    exit(0)
}

/// Forwards `vmtest`'s outputs as events; returns how the VM ended when `vmtest` is done.
fn forward_events(outputs: mpsc::Receiver<Output>, event_queue: &EventQueue) -> VmEnd {
    let mut end = None;
    for output in outputs {
        match to_event(output) {
            Ok(Some(event)) => event_queue.put(event),
            Ok(None) => {}
            Err(reason) => end = end.or(Some(reason)),
        }
    }
    end.unwrap_or(VmEnd::QemuGone(None))
}

/// Converts an output to an event, if it is one; an error is the end of the VM.
fn to_event(output: Output) -> Result<Option<VmEvent>, VmEnd> {
    let failed = |error| Err(VmEnd::Failed(format!("{error:#}")));
    match output {
        Output::BootStart => Ok(Some(VmEvent::Reached(Phase::Started))),
        Output::Boot(line) | Output::Setup(line) => Ok(Some(VmEvent::Console(line))),
        Output::BootEnd(Ok(())) => Ok(Some(VmEvent::Reached(Phase::AgentAnswered))),
        Output::SetupEnd(Ok(())) => Ok(Some(VmEvent::Reached(Phase::SharesMounted))),
        Output::Command(line) => Ok(Some(VmEvent::Output(line))),
        Output::CommandEnd(Ok(_)) => Err(VmEnd::CommandEnded),
        Output::SetupStart | Output::CommandStart => Ok(None),
        Output::BootEnd(Err(error)) | Output::SetupEnd(Err(error)) => failed(error),
        // Once the command runs, `vmtest` fails if the agent's connection breaks; its message would only hide that.
        Output::CommandEnd(Err(_)) => Err(VmEnd::QemuGone(None)),
    }
}

/// Kills the session when the parent's end of our standard input closes, which the kernel does at the latest when the
/// parent ends.
fn end_with_parent(folder: &Path) {
    let mut input = io::stdin().lock();
    let mut byte = [0];
    while input.read(&mut byte).is_ok_and(|count| count > 0) {}
    forget(folder);
    let _ = kill_process_group(getpid(), Signal::KILL);
}

/// Returns how the VM ended, from what `vmtest` says and from how QEMU exited, which is known by then or a little later.
///
/// A guest that ends the VM while `vmtest` waits for its agent makes `vmtest` give up, with a message that hides what happened.
/// In every other case in which it gives up, its message is the reason, and it has ended QEMU itself.
fn end_of_vm(said: VmEnd, qemu_exit: &mpsc::Receiver<Option<QemuExit>>) -> VmEnd {
    match said {
        VmEnd::QemuGone(None) => VmEnd::QemuGone(qemu_exit.recv_timeout(EXIT_GRACE).ok().flatten()),
        VmEnd::Failed(why) => match qemu_exit.recv_timeout(EXIT_GRACE) {
            Ok(exit @ Some(QemuExit::BY_GUEST)) => VmEnd::QemuGone(exit),
            _ => VmEnd::Failed(why),
        },
        end => end,
    }
}

/// Reports the end as soon as QEMU is gone; `vmtest` may notice it seconds later.
fn report_qemu_exit(folder: &Path, event_queue: &EventQueue, sender: &mpsc::SyncSender<Option<QemuExit>>) {
    let Some(qemu) = wait_for_launch(folder) else { return };
    let exit = pidfd_open(qemu, PidfdFlags::empty()).ok().and_then(exit_of);
    let _ = sender.send(exit);
    thread::sleep(CONSOLE_GRACE);
    finish(folder, event_queue, VmEnd::QemuGone(exit));
}

/// Waits until a process has ended and returns how, unless `vmtest` has collected its status before.
fn exit_of(process: OwnedFd) -> Option<QemuExit> {
    let mut fds = [PollFd::new(&process, PollFlags::IN)];
    while poll(&mut fds, None).is_err() {}
    let status = waitid(WaitId::PidFd(process.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).ok()??;
    status.exit_status().map(QemuExit::Code).or_else(|| status.terminating_signal().map(QemuExit::Signal))
}

fn wait_for_launch(folder: &Path) -> Option<Pid> {
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {
        if let Ok(launch) = files::read::<Launch>(folder) {
            return launch.pid();
        }
        thread::sleep(Duration::from_millis(10));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How it ended by what `vmtest` said, where QEMU exited like this.
    fn ended(said: VmEnd, exit: Option<QemuExit>) -> VmEnd {
        let (sender, receiver) = mpsc::sync_channel(1);
        sender.send(exit).unwrap();
        end_of_vm(said, &receiver)
    }

    #[test]
    fn a_guest_that_ends_the_vm_before_its_agent_answers_is_no_failure_of_vmtest() {
        let gave_up = || VmEnd::Failed("Qemu exited while trying to connect to QGA".to_owned());
        assert_eq!(ended(gave_up(), Some(QemuExit::BY_GUEST)), VmEnd::QemuGone(Some(QemuExit::BY_GUEST)));
        // It ended QEMU, or QEMU refused its arguments.
        for exit in [None, Some(QemuExit::Signal(9)), Some(QemuExit::Code(1))] {
            assert_eq!(ended(gave_up(), exit), gave_up());
        }
    }

    #[test]
    fn how_qemu_exited_is_waited_for() {
        let (sender, receiver) = mpsc::sync_channel(1);
        let exit = Some(QemuExit::Signal(9));
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            sender.send(exit)
        });
        assert_eq!(end_of_vm(VmEnd::QemuGone(None), &receiver), VmEnd::QemuGone(exit));
        // Its end is known from the agent.
        assert_eq!(ended(VmEnd::CommandEnded, Some(QemuExit::BY_GUEST)), VmEnd::CommandEnded);
    }
}
