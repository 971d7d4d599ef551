//! The guard's reader during an attempt: stopped, and with a full ring.

use std::{thread, time::Duration};

use harness_protocol::errno::Errno;
use rustix::process::{Pid, Signal, WaitOptions};

use crate::{
    bpf::{self, MapSpec},
    error::{During, SysError},
    process::{self, Fork},
};

/// How long the reader has been stopped when an attempt is made: longer than the shortest `patience` of a policy.
pub(super) const UNREAD: Duration = Duration::from_secs(2);

/// More calls than the ring has room for: it has 4 MiB, and a record 256 bytes and a header of 8.
const CALLS: usize = 20_000;

/// Stops a child, and waits until it is.
pub(super) fn stop(reader: Pid) -> Result<(), SysError> {
    rustix::process::kill_process(reader, Signal::STOP).during(|| "kill SIGSTOP")?;
    rustix::process::waitpid(Some(reader), WaitOptions::UNTRACED).during(|| "waitpid WUNTRACED").map(drop)
}

/// Lets the reader go on.
pub(super) fn go_on(reader: Pid) -> Result<(), SysError> {
    rustix::process::kill_process(reader, Signal::CONT).during(|| "kill SIGCONT")
}

/// Waits as long as nobody may have read.
pub(super) fn wait() {
    thread::sleep(UNREAD);
}

/// Makes calls in a child until one is refused, or until the ring is full for certain. Returns the child, which has ended:
/// the records of its calls are nobody's.
pub(super) fn fill() -> Result<Pid, SysError> {
    match process::fork()? {
        Fork::Child => {
            let _ = process::die_with_parent();
            // A map without a type: the hook is called, and nothing is made.
            let is_refused = || matches!(bpf::map_create(MapSpec::default(), None), Err(Errno::EPERM));
            let _ = (0..CALLS).any(|_| is_refused());
            process::leave(0)
        }
        Fork::Parent(child) => {
            process::reap(child);
            Ok(child)
        }
    }
}
