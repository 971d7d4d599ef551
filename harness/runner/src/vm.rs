//! A VM: a child process boots it through `vmtest`, and it ends when this process says so or ends itself.
//!
//! `vmtest` gives no handle on its QEMU, has no deadline, passes its caller's environment to the guest, and leaves its
//! sockets in `/tmp` if it is stopped. Therefore it runs in a *worker*: this program, started again with a clean
//! environment in its own session ([`run_child_if_asked`]). In place of QEMU, `vmtest` starts this program once more,
//! which asks the kernel to be killed with the worker and then becomes QEMU.
//!
//! ```text
//! we ──pipe──► worker (vmtest) ──► QEMU          our end of the pipe closes  → the worker kills its session
//!    ◄─events─                                   the worker is gone          → the kernel kills QEMU
//! ```

mod become_qemu;
mod error;
mod event;
mod event_queue;
mod files;
mod handle;
mod spec;
mod worker;

pub use error::VmError;
pub use event::{Phase, QemuExit, TimedEvent, VmEnd, VmEvent};
pub use files::forget;
pub use handle::{Vm, interactive};
pub(crate) use spec::EMULATED_CPU;
pub use spec::{SHARE_IN_GUEST, VmSpec};

/// Does the work of a child process and exits, if this process was started as one; otherwise does nothing.
///
/// Every program that boots VMs must call this first in its `main`.
pub fn run_child_if_asked() {
    let mut args = std::env::args_os();
    let Some(program) = args.next() else { return };
    if become_qemu::is_asked(program.as_ref()) {
        become_qemu::run(program.as_ref(), args.collect());
    }
    if args.next().is_some_and(|verb| verb == worker::VERB) {
        worker::run(args.next().unwrap_or_default().as_ref());
    }
}
