//! The first process: mounts the file systems a kernel needs, starts the guest agent, and reaps ended processes.

use std::{
    convert::Infallible,
    env, fs, io,
    os::unix::fs::{MetadataExt, symlink},
    path::Path,
    process::{Child, Command},
    thread,
    time::Duration,
};

use rustix::{
    mount::{MountFlags, mount},
    process::{Pid, WaitOptions, wait},
    system::{RebootCommand, reboot},
};
use thiserror::Error;

use crate::{
    exec::PATH,
    port::{self, PortError},
};

/// The kernel argument that requests a shell on the console.
const SHELL_ARGUMENT: &str = "harness.shell";

/// A file system to mount.
struct Mount {
    kind: &'static str,
    path: &'static str,
    flags: MountFlags,
    /// Whether the kernel may lack it.
    optional: bool,
}

const SEALED: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);
const PLAIN: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// The mounts of `vmtest`'s init script, in its order, plus `/tmp` in memory.
const MOUNTS: &[Mount] = &[
    Mount { kind: "proc", path: "/proc", flags: SEALED, optional: false },
    Mount { kind: "tmpfs", path: "/dev/shm", flags: PLAIN, optional: false },
    Mount { kind: "tmpfs", path: "/run", flags: PLAIN, optional: false },
    Mount { kind: "tmpfs", path: "/tmp", flags: PLAIN, optional: false },
    Mount { kind: "sysfs", path: "/sys", flags: SEALED, optional: false },
    Mount { kind: "debugfs", path: "/sys/kernel/debug", flags: SEALED, optional: true },
    Mount { kind: "tracefs", path: "/sys/kernel/debug/tracing", flags: SEALED, optional: true },
    Mount { kind: "cgroup2", path: "/sys/fs/cgroup", flags: SEALED, optional: false },
    Mount { kind: "tmpfs", path: "/mnt", flags: PLAIN, optional: false },
];

/// Why the guest is unusable.
#[derive(Debug, Error)]
enum InitError {
    #[error("cannot mount {kind} at {path}: {source}")]
    Mount { kind: &'static str, path: &'static str, source: io::Error },
    #[error(transparent)]
    Port(#[from] PortError),
    #[error("cannot start {program}: {source}")]
    Start { program: &'static str, source: io::Error },
    #[error("cannot wait for processes: {0}")]
    Wait(io::Error),
    #[error("{0} ended")]
    Ended(&'static str),
}

/// Runs the guest until it ends, then ends the VM.
pub(crate) fn run() -> ! {
    let Err(error) = run_guest();
    end(&error)
}

/// Ends the VM and prints why.
pub(crate) fn end(error: &dyn std::error::Error) -> ! {
    println!("init: {error}; ending the VM");
    // `vmtest` starts QEMU with `-no-reboot`, so a restart ends it, even if the kernel cannot power off.
    let refused = reboot(RebootCommand::Restart);
    println!("init: cannot restart the kernel: {refused:?}");
    // The kernel panics when its first process exits, which ends the VM too.
    std::process::exit(1)
}

fn run_guest() -> Result<Infallible, InitError> {
    mount_all()?;
    let agent = start_agent(&port::wait()?)?;
    let shell = if shell_is_wanted() { Some(start_shell()?) } else { None };
    collect(&agent, shell.as_ref())
}

fn mount_all() -> Result<(), InitError> {
    // What an initramfs left there stays, as under systemd.
    let is_kept = |path: &str| path == "/run" && is_mounted(Path::new(path));
    for &Mount { kind, path, flags, optional } in MOUNTS.iter().filter(|mount| !is_kept(mount.path)) {
        // In a kernel's own file systems the directory exists already, or the kernel lacks what belongs there.
        let _ = fs::create_dir(path);
        match mount(kind, path, kind, flags, None) {
            Err(error) if !optional => return Err(InitError::Mount { kind, path, source: error.into() }),
            _ => {}
        }
    }
    // Some kernels' devtmpfs has it already.
    let _ = symlink("/proc/self/fd", "/dev/fd");
    Ok(())
}

/// Returns whether something is mounted on a folder of the root.
fn is_mounted(path: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
    device(path).is_some_and(|own| device(Path::new("/")) != Some(own))
}

fn start_agent(port: &Path) -> Result<Child, InitError> {
    let mut option = std::ffi::OsString::from("--path=");
    option.push(port);
    let started = env::current_exe().and_then(|program| Command::new(program).arg(option).env("PATH", PATH).spawn());
    started.map_err(|source| InitError::Start { program: "the guest agent", source })
}

fn shell_is_wanted() -> bool {
    let arguments = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    arguments.split_whitespace().any(|argument| argument == SHELL_ARGUMENT)
}

/// Starts a login shell that owns the serial console, so that job control and ^C work.
fn start_shell() -> Result<Child, InitError> {
    let failed = |source| InitError::Start { program: "a shell on /dev/ttyS0", source };
    let terminal = || fs::File::options().read(true).write(true).open("/dev/ttyS0");
    let (input, output, errors) = (terminal(), terminal(), terminal());
    Command::new("setsid")
        .args(["-c", "bash", "--login"])
        .env_clear()
        .envs([("PATH", PATH), ("HOME", "/root"), ("TERM", "linux"), ("USER", "root")])
        .stdin(input.map_err(failed)?)
        .stdout(output.map_err(failed)?)
        .stderr(errors.map_err(failed)?)
        .spawn()
        .map_err(failed)
}

/// Reaps ended processes, ours and orphans, until the guest agent or the shell has ended.
fn collect(agent: &Child, shell: Option<&Child>) -> Result<Infallible, InitError> {
    loop {
        let ended = match wait(WaitOptions::empty()) {
            Ok(ended) => ended.map(|(pid, _)| pid),
            Err(rustix::io::Errno::INTR) => None,
            Err(error) => return Err(InitError::Wait(error.into())),
        };
        if ended == Some(Pid::from_child(agent)) {
            return Err(InitError::Ended("the guest agent"));
        }
        if shell.is_some_and(|shell| ended == Some(Pid::from_child(shell))) {
            // Lets the console print the shell's last output.
            thread::sleep(Duration::from_millis(50));
            return Err(InitError::Ended("the shell"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_on_a_folder_of_the_root_is_seen() {
        assert!(is_mounted(Path::new("/proc")));
        assert!(!is_mounted(Path::new("/")) && !is_mounted(Path::new("/missing")));
    }
}
