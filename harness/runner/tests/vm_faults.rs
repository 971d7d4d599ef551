//! VMs whose QEMU is a shell script: no part of a VM outlives the process that requested it, whatever happens to that.
//!
//! No test here needs a kernel. Each one starts real workers through real `vmtest`.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use harness_runner::{
    accel::Accel,
    confinement::Confinement,
    vm::{self, QemuExit, Vm, VmEnd, VmEvent, VmSpec},
};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use rustix::{
    process::{Pid, Signal, kill_process, test_kill_process},
    pty::{OpenptFlags, openpt, ptsname, unlockpt},
    termios::tcgetattr,
};

/// The limit of every wait; the awaited events take milliseconds.
const LONG: Duration = Duration::from_secs(20);

/// Pretends to be QEMU: creates the sockets that `vmtest` waits for and writes its process id to a file.
const PRETEND: &str = r#"
for arg; do
    case $arg in
    unix:*) path=${arg#unix:}; : > "${path%%,*}" ;;
    socket,path=*) path=${arg#socket,path=}; : > "${path%%,*}" ;;
    esac
done
echo $$ > "${0%/*}/pid.partial"
mv "${0%/*}/pid.partial" "${0%/*}/pid"
"#;

/// The argument that makes this program own a [`Vm`] and end badly.
const OWNER_VERB: &str = "own-a-vm";

/// A variable in the environment of a VM's owner.
const SECRET: &str = "A_SECRET_OF_THE_HOST";

/// The argument that makes this program give its terminal to a VM.
const SHELL_VERB: &str = "shell-in-a-vm";

fn main() -> ExitCode {
    vm::run_child_if_asked();
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some(OWNER_VERB) => {
            own_a_vm(Path::new(&args.next().expect("a folder")), &args.next().expect("a fate"));
            return ExitCode::FAILURE;
        }
        Some(SHELL_VERB) => {
            let folder = PathBuf::from(args.next().expect("a folder"));
            let result = vm::interactive(&spec(&folder), &folder.join("vm"));
            println!("{}", result.map_or_else(|error| error.to_string(), |()| "it ended well".to_owned()));
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let trial = |name: &str, test: fn() -> Result<(), Failed>| Trial::test(name, test);
    let trials = vec![
        trial("a_qemu_that_fails_is_reported_at_once_with_its_error", fails_at_once),
        trial("stopping_leaves_no_process_and_no_socket", stopping),
        trial("dropping_is_stopping", dropping),
        trial("a_killed_owner_ends_its_vm", killed_owner),
        trial("an_owner_that_panics_ends_its_vm", panicking_owner),
        trial("a_killed_worker_ends_its_qemu", killed_worker),
        trial("a_qemu_killed_from_outside_is_reported_at_once", killed_qemu),
        trial("two_vms_side_by_side_do_not_disturb_each_other", side_by_side),
        trial("a_vm_that_floods_its_console_can_be_stopped", console_flood),
        trial("an_endless_console_line_costs_only_its_vm", endless_line),
        trial("the_environment_is_not_passed_on", environment),
        trial("a_missing_kernel_is_named", missing_kernel),
        trial("a_terminal_is_restored_after_a_shell_that_fails", terminal),
        Trial::ignorable_test("a_qemu_that_a_guest_took_over_stays_in_its_folders", taken_over),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A folder with a root, a share and a script for QEMU.
struct VmFolder {
    folder: tempfile::TempDir,
}

impl VmFolder {
    fn new(script: &str) -> Self {
        let vm_folder = Self { folder: tempfile::tempdir().unwrap() };
        for folder in ["root", "share", "vm"] {
            fs::create_dir(vm_folder.path(folder)).unwrap();
        }
        fs::write(vm_folder.path("qemu"), format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(vm_folder.path("qemu"), fs::Permissions::from_mode(0o755)).unwrap();
        vm_folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self) -> Vm {
        Vm::start(&spec(self.folder.path()), &self.path("vm")).unwrap()
    }

    /// The process that pretends to be QEMU, once it runs.
    fn qemu(&self) -> Pid {
        number(&wait_for("the pid of QEMU", || fs::read_to_string(self.path("pid")).ok()))
    }

    fn worker(&self) -> Pid {
        let text = wait_for("the worker", || fs::read_to_string(self.path("vm/worker.json")).ok());
        number(text.trim_start_matches("{\"pid\":").trim_end_matches('}'))
    }

    fn sockets(&self) -> Vec<PathBuf> {
        let text = wait_for("the sockets", || fs::read_to_string(self.path("vm/launch.json")).ok());
        text.split('"').filter(|part| part.starts_with("/tmp/")).map(PathBuf::from).collect()
    }
}

fn number(text: &str) -> Pid {
    Pid::from_raw(text.trim().parse().unwrap()).unwrap()
}

fn spec(folder: &Path) -> VmSpec {
    VmSpec {
        qemu: folder.join("qemu"),
        qemu_args: Vec::new(),
        accel: Accel::Tcg,
        confinement: Confinement::default(),
        cpus: 1,
        memory_mib: 64,
        kernel: folder.join("qemu"),
        kernel_args: Vec::new(),
        root: folder.join("root"),
        share: folder.join("share"),
        command: "true".to_owned(),
    }
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + LONG;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "{what} did not come");
        thread::sleep(Duration::from_millis(5));
    }
}

fn is_alive(process: Pid) -> bool {
    let state = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).unwrap_or_default();
    let zombie = state.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'));
    test_kill_process(process).is_ok() && !zombie
}

fn wait_until_gone(process: Pid) {
    wait_for("the end of a process", || (!is_alive(process)).then_some(()));
}

fn end_of(vm: &mut Vm) -> VmEnd {
    wait_for("the end of the VM", || match vm.next_event(Duration::from_millis(100))?.event {
        VmEvent::Ended(end) => Some(end),
        _ => None,
    })
}

fn fails_at_once() -> Result<(), Failed> {
    let vm_folder = VmFolder::new("echo 'no such machine' >&2; exit 1");
    let started = Instant::now();
    let mut vm = vm_folder.start();
    assert_eq!(end_of(&mut vm), VmEnd::QemuGone(Some(QemuExit::Code(1))));
    assert!(started.elapsed() < Duration::from_secs(4), "took {:?}, as long as vmtest waits", started.elapsed());
    assert_eq!(vm.complaints(), "no such machine");
    assert!(vm.next_event(Duration::ZERO).is_none(), "something follows the end");
    Ok(())
}

fn stopping() -> Result<(), Failed> {
    let vm_folder = VmFolder::new(&format!("{PRETEND}\nexec sleep 1000"));
    let mut vm = vm_folder.start();
    let (qemu, worker, sockets) = (vm_folder.qemu(), vm_folder.worker(), vm_folder.sockets());
    assert!(is_alive(qemu) && is_alive(worker));
    assert_eq!(sockets.len(), 3, "{sockets:?}");
    assert!(sockets.iter().all(|socket| socket.exists()), "{sockets:?}");
    vm.stop();
    assert!(!is_alive(qemu) && !is_alive(worker));
    assert!(!sockets.iter().any(|socket| socket.exists()), "{sockets:?}");
    Ok(())
}

fn dropping() -> Result<(), Failed> {
    let vm_folder = VmFolder::new(&format!("{PRETEND}\nexec sleep 1000"));
    let vm = vm_folder.start();
    let qemu = vm_folder.qemu();
    drop(vm);
    assert!(!is_alive(qemu));
    Ok(())
}

/// Owns a VM until this process is killed, or panics if that is its `fate`.
fn own_a_vm(folder: &Path, fate: &str) {
    let _vm = Vm::start(&spec(folder), &folder.join("vm")).unwrap();
    wait_for("QEMU", || folder.join("pid").exists().then_some(()));
    println!("ready");
    assert!(fate != "panic", "as requested");
    thread::sleep(LONG);
}

fn owner(vm_folder: &VmFolder, fate: &str) -> Child {
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args([OWNER_VERB.as_ref(), vm_folder.folder.path().as_os_str(), fate.as_ref()])
        .env(SECRET, "secret")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(owner.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    owner
}

fn killed_owner() -> Result<(), Failed> {
    for signal in [Signal::INT, Signal::TERM, Signal::KILL, Signal::HUP] {
        let vm_folder = VmFolder::new(&format!("{PRETEND}\nexec sleep 1000"));
        let mut owner = owner(&vm_folder, "wait");
        let (qemu, worker, sockets) = (vm_folder.qemu(), vm_folder.worker(), vm_folder.sockets());
        kill_process(Pid::from_child(&owner), signal).unwrap();
        owner.wait().unwrap();
        wait_until_gone(qemu);
        wait_until_gone(worker);
        assert!(!sockets.iter().any(|socket| socket.exists()), "{signal:?} leaves {sockets:?}");
    }
    Ok(())
}

fn panicking_owner() -> Result<(), Failed> {
    let vm_folder = VmFolder::new(&format!("{PRETEND}\nexec sleep 1000"));
    let mut owner = owner(&vm_folder, "panic");
    let qemu = vm_folder.qemu();
    assert_eq!(owner.wait().unwrap().code(), Some(101));
    wait_until_gone(qemu);
    Ok(())
}

fn killed_worker() -> Result<(), Failed> {
    let vm_folder = VmFolder::new(&format!("{PRETEND}\nexec sleep 1000"));
    let mut vm = vm_folder.start();
    let qemu = vm_folder.qemu();
    kill_process(vm_folder.worker(), Signal::KILL).unwrap();
    let end = end_of(&mut vm);
    assert!(matches!(&end, VmEnd::WorkerGone(how) if how.contains("signal: 9")), "{end:?}");
    wait_until_gone(qemu);
    Ok(())
}

fn killed_qemu() -> Result<(), Failed> {
    let vm_folder = VmFolder::new(&format!("{PRETEND}\nexec sleep 1000"));
    let mut vm = vm_folder.start();
    kill_process(vm_folder.qemu(), Signal::KILL).unwrap();
    let killed = Instant::now();
    assert_eq!(end_of(&mut vm), VmEnd::QemuGone(Some(QemuExit::Signal(9))));
    assert!(killed.elapsed() < Duration::from_secs(2), "{:?}", killed.elapsed());
    Ok(())
}

fn side_by_side() -> Result<(), Failed> {
    let folders = [(); 2].map(|()| VmFolder::new(&format!("{PRETEND}\nexec sleep 1000")));
    let [mut first, second] = [folders[0].start(), folders[1].start()];
    let [stopped, other] = [folders[0].qemu(), folders[1].qemu()];
    first.stop();
    assert!(!is_alive(stopped) && is_alive(other));
    assert!(folders[1].sockets().iter().all(|socket| socket.exists()));
    drop(second);
    assert!(!is_alive(other));
    Ok(())
}

fn console_flood() -> Result<(), Failed> {
    let vm_folder = VmFolder::new(&format!("{PRETEND}\nexec yes flood"));
    let mut vm = vm_folder.start();
    let (end, mut lines) = (Instant::now() + LONG, 0);
    while lines < 10_000 {
        let event = vm.next_event(LONG).expect("a flood does not pause").event;
        lines += usize::from(event == VmEvent::Console("flood".to_owned()));
        assert!(Instant::now() < end && !matches!(event, VmEvent::Ended(_)), "{lines} lines, {event:?}");
    }
    let (qemu, stopped) = (vm_folder.qemu(), Instant::now());
    vm.stop();
    assert!(!is_alive(qemu) && stopped.elapsed() < Duration::from_secs(5), "{:?}", stopped.elapsed());
    Ok(())
}

fn endless_line() -> Result<(), Failed> {
    let vm_folder = VmFolder::new(&format!("{PRETEND}\nexec cat /dev/zero"));
    let mut vm = vm_folder.start();
    let qemu = vm_folder.qemu();
    let end = end_of(&mut vm);
    assert!(matches!(&end, VmEnd::WorkerGone(how) if how.contains("memory allocation")), "{end:?}");
    wait_until_gone(qemu);
    Ok(())
}

/// The worker's environment is what `vmtest` hands to the guest, and it is QEMU's too.
fn environment() -> Result<(), Failed> {
    let vm_folder = VmFolder::new(&format!("env > \"${{0%/*}}/environment\"\n{PRETEND}\nexec sleep 1000"));
    let mut owner = owner(&vm_folder, "wait");
    let worker = vm_folder.worker();
    owner.kill().unwrap();
    owner.wait().unwrap();
    // The worker still removes what it noted in the folder.
    wait_until_gone(worker);
    let environment = fs::read_to_string(vm_folder.path("environment")).unwrap();
    let mut names: Vec<_> = environment.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.sort_unstable();
    // The shell that runs the script adds PWD.
    assert_eq!(names, ["HOME", "LANG", "PATH", "PWD", "TERM", "TMPDIR"]);
    assert!(environment.contains("TERM=dumb\n"), "{environment}");
    Ok(())
}

/// Does what a guest could want of a QEMU that it controls, and writes down what worked.
const TAKEN_OVER: &str = r#"
here=${0%/*}
try() { if "$@" 2> /dev/null; then echo "$1"; fi >> "$here/share/worked"; }
write_share() { echo x > "$here/share/file"; }
write_root() { echo x > "$here/root/file"; }
write_beside() { echo x > "$here/beside"; }
write_own() { echo x > "$here/vm/launch.json"; }
write_tmp() { echo x > "$here-in-tmp"; }
read_secret() { cat "$here/secret" > /dev/null; }
read_passwords() { cat /etc/shadow > /dev/null; }
move_secret() { mv "$here/secret" "$here/share/secret"; }
make_device() { mknod "$here/share/device" c 1 3; }
run_from_share() { cp /bin/true "$here/share/true" && "$here/share/true"; }
for attempt in write_share write_root write_beside write_own write_tmp read_secret read_passwords move_secret \
    make_device run_from_share; do
    try $attempt
done
echo done >> "$here/share/worked"
"#;

fn taken_over() -> Result<Completion, Failed> {
    let vm_folder = VmFolder::new(TAKEN_OVER);
    fs::write(vm_folder.path("secret"), "secret").unwrap();
    let confinement = Confinement { landlock: true, ..Confinement::default() };
    let spec = VmSpec { confinement, ..spec(vm_folder.folder.path()) };
    let mut vm = Vm::start(&spec, &vm_folder.path("vm")).unwrap();
    end_of(&mut vm);
    let complaints = vm.complaints();
    if complaints.contains("the kernel has no Landlock") {
        return Ok(Completion::ignored_with(complaints));
    }
    let worked =
        fs::read_to_string(vm_folder.path("share/worked")).map_err(|error| format!("{error}: {complaints}"))?;
    assert_eq!(worked.lines().collect::<Vec<_>>(), ["write_share", "write_root", "done"]);
    Ok(Completion::Completed)
}

fn missing_kernel() -> Result<(), Failed> {
    let vm_folder = VmFolder::new("exit 0");
    let spec = VmSpec { kernel: vm_folder.path("no-kernel"), ..spec(vm_folder.folder.path()) };
    let message = Vm::start(&spec, &vm_folder.path("vm")).unwrap_err().to_string();
    let expected = format!("{} cannot be used for a VM: it does not exist", vm_folder.path("no-kernel").display());
    assert_eq!(message, expected);
    Ok(())
}

/// Changes a terminal as QEMU does, without QEMU.
fn terminal() -> Result<(), Failed> {
    let vm_folder = VmFolder::new("stty raw -echo; echo 'no such machine' >&2; exit 1");
    let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    unlockpt(&near).unwrap();
    let far = ptsname(&near, Vec::new()).unwrap();
    let far = File::options().read(true).write(true).open(Path::new(far.to_str().unwrap())).unwrap();
    let settings = |terminal: &File| format!("{:?}", tcgetattr(terminal).unwrap());
    let before = settings(&far);
    let output = Command::new(std::env::current_exe().unwrap())
        .args([SHELL_VERB.as_ref(), vm_folder.folder.path().as_os_str()])
        .stdin(far.try_clone().unwrap())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.contains("the VM ended with exit status: 1") && printed.contains("no such machine"), "{printed}");
    assert_eq!(settings(&far), before);
    Ok(())
}
