//! The files in a VM's folder through which this process, the worker and the process that becomes QEMU communicate.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use rustix::process::Pid;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::spec::VmSpec;

/// The program that `vmtest` starts as QEMU: a link to the running program, which recognizes its task by this name.
pub(super) const QEMU_LINK: &str = "bpf-token-harness-qemu";

/// QEMU's standard error.
pub(super) const QEMU_ERRORS: &str = "qemu.stderr";

/// The worker's task.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WorkerRequest {
    pub(super) spec: VmSpec,
    pub(super) mode: Mode,
    /// The process that started the worker.
    pub(super) parent: i32,
}

/// How the VM is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mode {
    /// It runs its command; the worker writes events to its standard output.
    Command,
    /// A person uses a shell in it, on the worker's terminal.
    Interactive,
}

/// The worker process.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Worker {
    pub(super) pid: i32,
}

/// A QEMU about to run.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Launch {
    pub(super) pid: i32,
    /// The sockets that it creates for `vmtest` outside of our folder.
    pub(super) sockets: Vec<PathBuf>,
}

impl Launch {
    /// Returns the process id.
    pub(super) fn pid(&self) -> Option<Pid> {
        Pid::from_raw(self.pid)
    }
}

/// A record with a fixed file name.
pub(super) trait Filed: Serialize + DeserializeOwned {
    const NAME: &'static str;
}

impl Filed for WorkerRequest {
    const NAME: &'static str = "request.json";
}

impl Filed for Worker {
    const NAME: &'static str = "worker.json";
}

impl Filed for Launch {
    const NAME: &'static str = "launch.json";
}

/// Writes a record atomically.
pub(super) fn write<T: Filed>(folder: &Path, record: &T) -> io::Result<()> {
    let mut partial = OsString::from(T::NAME);
    partial.push(".partial");
    let partial = folder.join(partial);
    fs::write(&partial, serde_json::to_vec(record)?)?;
    fs::rename(partial, folder.join(T::NAME))
}

/// Reads a record.
pub(super) fn read<T: Filed>(folder: &Path) -> io::Result<T> {
    let path = folder.join(T::NAME);
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    serde_json::from_slice(&fs::read(&path).map_err(named)?).map_err(io::Error::from).map_err(named)
}

/// Removes what a killed VM may have left outside of `folder`: sockets in `/tmp`.
pub fn forget(folder: &Path) {
    if let Ok(launch) = read::<Launch>(folder) {
        for socket in launch.sockets {
            let _ = fs::remove_file(socket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_back_and_an_error_names_its_file() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &Worker { pid: 7 }).unwrap();
        assert_eq!(read::<Worker>(folder.path()).unwrap().pid, 7);
        fs::write(folder.path().join(Worker::NAME), "{").unwrap();
        let message = read::<Worker>(folder.path()).unwrap_err().to_string();
        insta::assert_snapshot!(message.replace(folder.path().to_str().unwrap(), "VM"), @"VM/worker.json: EOF while parsing an object at line 1 column 1");
    }

    #[test]
    fn forgetting_removes_the_sockets_if_they_exist() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("a.sock");
        fs::write(&socket, "").unwrap();
        let sockets = vec![socket.clone(), folder.path().join("never-made.sock")];
        write(folder.path(), &Launch { pid: 1, sockets }).unwrap();
        forget(folder.path());
        assert!(!socket.exists());
        forget(folder.path());
    }
}
