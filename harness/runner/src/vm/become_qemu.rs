//! The process that `vmtest` starts in place of QEMU, and which then becomes QEMU.
//!
//! Before that it makes QEMU end with the worker, redirects QEMU's errors to a file (`vmtest` does not read them, and a
//! full pipe would block QEMU), notes the sockets that must be removed if nothing else removes them, and confines itself.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, exit},
};

use rustix::process::{
    Resource, Rlimit, Signal, getpid, getppid, getrlimit, set_parent_process_death_signal, setrlimit,
};

use super::{
    files::{self, Launch, QEMU_ERRORS, QEMU_LINK, Worker, WorkerRequest},
    spec::VmSpec,
};
use crate::confinement::Reach;

/// Returns whether the program was started under the name of the link.
pub(super) fn is_asked(program: &Path) -> bool {
    program.file_name() == Some(OsStr::new(QEMU_LINK))
}

/// Becomes QEMU with these arguments.
pub(super) fn run(program: &Path, args: Vec<OsString>) -> ! {
    // `vmtest` runs `--help` to see whether the program exists; QEMU itself would take a tenth of a second.
    if args == ["--help"] {
        exit(0);
    }
    let Some(folder) = program.parent() else { exit(127) };
    // Opened first: later this process may no longer write there.
    let Ok(errors) = File::create(folder.join(QEMU_ERRORS)) else { exit(127) };
    let error = try_run(folder, args, &errors).map_or_else(|error| error, |never| match never {});
    let _ = writeln!(&errors, "{error}");
    exit(127)
}

/// A type without values: a successful `exec` does not return.
enum Never {}

fn try_run(folder: &Path, args: Vec<OsString>, errors: &File) -> io::Result<Never> {
    let request: WorkerRequest = files::read(folder)?;
    die_with_worker(folder)?;
    let sockets = sockets(&args);
    if let Some(taken) = sockets.iter().find(|socket| socket.exists()) {
        let message = format!("vmtest chose a socket that is in use, {}; run again", taken.display());
        return Err(io::Error::other(message));
    }
    let (spec, reach) = (&request.spec, reach(&request.spec, &args, &sockets));
    files::write(folder, &Launch { pid: getpid().as_raw_nonzero().get(), sockets })?;
    lift_memory_limit()?;
    let errors = errors.try_clone()?;
    let confine = |error| io::Error::other(format!("QEMU cannot be confined: {error}"));
    spec.confinement.apply(&spec.qemu, &reach).map_err(confine)?;
    // Not xshell: this process becomes QEMU.
    let error = Command::new(&spec.qemu).args(spec.confinement.arguments()).args(args).stderr(errors).exec();
    Err(io::Error::new(error.kind(), format!("{} does not start: {error}", spec.qemu.display())))
}

/// Returns the files that QEMU needs for this VM.
fn reach(spec: &VmSpec, args: &[OsString], sockets: &[PathBuf]) -> Reach {
    let initramfs = args.windows(2).filter(|pair| pair[0] == "-initrd").map(|pair| PathBuf::from(&pair[1]));
    Reach {
        readable: initramfs.chain([spec.kernel.clone()]).collect(),
        writable: vec![spec.root.clone(), spec.share.clone()],
        sockets: sockets.iter().filter_map(|socket| socket.parent()).map(Path::to_owned).collect(),
    }
}

/// Makes the kernel kill this process, even after it became QEMU, when the worker's thread that started it ends
/// (`prctl(2)`, `PR_SET_PDEATHSIG`: kept over `execve(2)`).
fn die_with_worker(folder: &Path) -> io::Result<()> {
    let worker: Worker = files::read(folder)?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    match getppid() {
        Some(parent) if parent.as_raw_nonzero().get() == worker.pid => Ok(()),
        _ => Err(io::Error::other("the process that requested this VM has ended")),
    }
}

/// Removes the worker's memory limit, which does not apply to QEMU.
fn lift_memory_limit() -> io::Result<()> {
    let maximum = getrlimit(Resource::Data).maximum;
    Ok(setrlimit(Resource::Data, Rlimit { current: maximum, maximum })?)
}

/// Returns the Unix sockets that QEMU creates with these arguments: `unix:PATH,…` and `socket,path=PATH,…`.
fn sockets(args: &[OsString]) -> Vec<PathBuf> {
    let path = |arg: &OsString| {
        let text = arg.to_str()?;
        let path = text.strip_prefix("unix:").or_else(|| text.strip_prefix("socket,path="))?;
        path.split(',').next().map(PathBuf::from)
    };
    args.iter().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_recognized_by_the_name_of_the_link() {
        assert!(is_asked(Path::new("/run/vm/bpf-token-harness-qemu")));
        assert!(!is_asked(Path::new("/usr/bin/xtask")));
        assert!(!is_asked(Path::new("/")));
    }

    #[test]
    fn sockets_are_found_in_the_arguments() {
        let args = ["-qmp", "unix:/tmp/qmp-1.sock,server=on,wait=off", "-chardev"]
            .into_iter()
            .chain(["socket,path=/tmp/qga-2.sock,server=on,wait=off,id=qga0", "-virtfs", "local,id=root,path=/x,ro"])
            .map(OsString::from)
            .collect::<Vec<_>>();
        assert_eq!(sockets(&args), [PathBuf::from("/tmp/qmp-1.sock"), PathBuf::from("/tmp/qga-2.sock")]);
    }
}
