//! The files that we, the worker and the program that becomes QEMU leave each other in a VM's folder.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use rustix::process::Pid;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::spec::VmSpec;

/// `vmtest` starts this as QEMU: a link to the running program, which sees by its name what it is to be.
pub(super) const QEMU_LINK: &str = "bpf-token-harness-qemu";

/// What QEMU complains about.
pub(super) const QEMU_ERRORS: &str = "qemu.stderr";

/// What the worker is to do.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WorkerRequest {
    pub(super) spec: VmSpec,
    pub(super) mode: Mode,
    /// The process that gave it.
    pub(super) parent: i32,
}

/// How the VM is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mode {
    /// It runs its command; the worker tells events on its standard output.
    Command,
    /// A person has a shell in it; the worker's terminal is theirs.
    Interactive,
}

/// Which process is the worker.
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
    /// What `vmtest` had it make outside of our folder.
    pub(super) sockets: Vec<PathBuf>,
}

impl Launch {
    /// The process as an identifier.
    pub(super) fn pid(&self) -> Option<Pid> {
        Pid::from_raw(self.pid)
    }
}

/// A record with a fixed name in the folder.
pub(super) trait Filed: Serialize + DeserializeOwned {
    const NAME: &'static str;
}

impl Filed for WorkerRequest {
    const NAME: &'static str = "order.json";
}

impl Filed for Worker {
    const NAME: &'static str = "worker.json";
}

impl Filed for Launch {
    const NAME: &'static str = "launch.json";
}

/// Writes a record so that a reader sees all of it or nothing.
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

/// Removes what a VM that used `folder` and was killed without mercy may have left outside of it: sockets in `/tmp`.
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
    fn a_record_is_read_back_and_a_damaged_one_names_its_file() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &Worker { pid: 7 }).unwrap();
        assert_eq!(read::<Worker>(folder.path()).unwrap().pid, 7);
        fs::write(folder.path().join(Worker::NAME), "{").unwrap();
        let message = read::<Worker>(folder.path()).unwrap_err().to_string();
        assert!(message.contains(Worker::NAME), "{message}");
    }

    #[test]
    fn forgetting_removes_the_sockets_and_bears_their_absence() {
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
