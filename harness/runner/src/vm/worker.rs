//! The worker: the process that calls `vmtest` for one VM and tells its parent what happens, one line of JSON an event.

use std::{
    fs,
    io::{self, Read},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::exit,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{
        Pid, PidfdFlags, Resource, Rlimit, Signal, getpid, getppid, getrlimit, kill_process_group, pidfd_open,
        set_parent_process_death_signal, setrlimit, setsid,
    },
};
use vmtest::{Config, Target, VMConfig, Vmtest, output::Output};

use super::{
    event::{Phase, VmEnd, VmEvent},
    event_queue::EventQueue,
    files::{self, Launch, Mode, QEMU_LINK, Worker, WorkerRequest, forget},
};

/// The first argument of a worker; the second is the VM's folder.
pub(super) const VERB: &str = "__hold-vm";

/// Writable memory the worker may have. `vmtest` collects lines without a limit, so a guest that prints without end
/// would otherwise take all of the host's.
const MEMORY: u64 = 512 << 20;

/// How long console lines may still be on their way when QEMU has ended.
const CONSOLE_GRACE: Duration = Duration::from_millis(100);

/// `vmtest` takes an `arch` of the host's own spelling as leave to use KVM when `/dev/kvm` exists. With any other it
/// leaves the choice to us; the name is used for nothing else.
const UNDECIDED_ARCH: &str = "x86_64-as-told";

/// Holds the VM described in `folder` until it ends.
pub(super) fn run(folder: &Path) -> ! {
    let worker = match prepare(folder) {
        Ok(worker) => worker,
        Err(error) => {
            eprintln!("{error}");
            exit(1)
        }
    };
    match worker.order.mode {
        Mode::Command => worker.hold(),
        Mode::Interactive => worker.hold_for_a_person(),
    }
}

struct Holder {
    folder: PathBuf,
    order: WorkerRequest,
}

fn prepare(folder: &Path) -> io::Result<Holder> {
    let order: WorkerRequest = files::read(folder)?;
    match order.mode {
        Mode::Command => drop(setsid()?),
        // A person's VM shares their terminal and so their session; it goes with the parent's waiting thread.
        Mode::Interactive => set_parent_process_death_signal(Some(Signal::KILL))?,
    }
    if getppid().is_none_or(|parent| parent.as_raw_nonzero().get() != order.parent) {
        return Err(io::Error::other("the process that wanted this VM is gone"));
    }
    limit(Resource::Data, MEMORY)?;
    limit(Resource::Core, 0)?;
    files::write(folder, &Worker { pid: getpid().as_raw_nonzero().get() })?;
    symlink("/proc/self/exe", folder.join(QEMU_LINK))?;
    fs::create_dir_all(order.spec.root.join("tmp"))?;
    Ok(Holder { folder: folder.to_owned(), order })
}

fn limit(resource: Resource, current: u64) -> io::Result<()> {
    let maximum = getrlimit(resource).maximum;
    let current = maximum.map_or(current, |maximum| maximum.min(current));
    Ok(setrlimit(resource, Rlimit { current: Some(current), maximum })?)
}

impl Holder {
    fn hold(self) -> ! {
        let event_queue: &'static EventQueue = Box::leak(Box::new(EventQueue::new()));
        let folder: &'static Path = Box::leak(self.folder.clone().into_boxed_path());
        thread::spawn(move || end_with_parent(folder));
        thread::spawn(move || tell_when_qemu_is_gone(folder, event_queue));
        thread::spawn(move || event_queue.write_to(io::stdout()));
        let (sender, receiver) = mpsc::channel();
        let teller = thread::spawn(move || tell(receiver, event_queue));
        let end = match self.vmtest() {
            Ok(vmtest) => {
                vmtest.run_one(0, sender);
                teller.join().unwrap_or_else(|_| VmEnd::WorkerGone("it panicked".to_owned()))
            }
            Err(error) => VmEnd::Failed(format!("{error:#}")),
        };
        finish(folder, event_queue, end)
    }

    fn hold_for_a_person(self) -> ! {
        let (sender, receiver) = mpsc::channel();
        let teller = thread::spawn(move || receiver.into_iter().find_map(|output| to_event(output).err()));
        let failure = match self.vmtest() {
            Ok(vmtest) => {
                vmtest.run_one(0, sender);
                teller.join().unwrap_or_default()
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
        let spec = &self.order.spec;
        let link = self.folder.join(QEMU_LINK).to_string_lossy().into_owned();
        let accel = spec.accel_args().map(str::to_owned);
        let target = Target {
            name: "vm".to_owned(),
            kernel: Some(spec.kernel.clone()),
            kernel_args: Some(spec.kernel_args.join(" ")),
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

/// Tells the end and ends.
fn finish(folder: &Path, event_queue: &EventQueue, end: VmEnd) -> ! {
    event_queue.close(end);
    forget(folder);
    exit(0)
}

/// Passes on what `vmtest` tells; returns how it ended when `vmtest` is done.
fn tell(outputs: mpsc::Receiver<Output>, event_queue: &EventQueue) -> VmEnd {
    let mut end = None;
    for output in outputs {
        match to_event(output) {
            Ok(Some(event)) => event_queue.put(event),
            Ok(None) => {}
            Err(reason) => end = end.or(Some(reason)),
        }
    }
    end.unwrap_or(VmEnd::QemuGone)
}

/// An output as an event, if it is one; an error is the end.
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
        // Once the command runs, `vmtest` fails when the agent's connection breaks: its words would only hide that.
        Output::CommandEnd(Err(_)) => Err(VmEnd::QemuGone),
    }
}

/// Ends everything as soon as the parent's end of our standard input closes, which the kernel does if nobody else does.
fn end_with_parent(folder: &Path) {
    let mut input = io::stdin().lock();
    let mut byte = [0];
    while input.read(&mut byte).is_ok_and(|count| count > 0) {}
    forget(folder);
    let _ = kill_process_group(getpid(), Signal::KILL);
}

/// Tells the end as soon as QEMU is gone: `vmtest` may notice seconds later.
fn tell_when_qemu_is_gone(folder: &Path, event_queue: &EventQueue) {
    let Some(qemu) = await_launch(folder) else { return };
    if let Ok(process) = pidfd_open(qemu, PidfdFlags::empty()) {
        let mut fds = [PollFd::new(&process, PollFlags::IN)];
        while poll(&mut fds, None).is_err() {}
    }
    thread::sleep(CONSOLE_GRACE);
    finish(folder, event_queue, VmEnd::QemuGone);
}

fn await_launch(folder: &Path) -> Option<Pid> {
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {
        if let Ok(launch) = files::read::<Launch>(folder) {
            return launch.pid();
        }
        thread::sleep(Duration::from_millis(10));
    }
    None
}
