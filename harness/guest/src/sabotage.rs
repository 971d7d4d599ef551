//! Ways to kill the guest, for tests of the harness around it.

use std::io::Write;

use harness_protocol::plan::Sabotage;

use rustix::fs::OFlags;

use crate::{bpffs, error::During, process, pseudofile};

/// Does the harm. It returns only if the kernel can survive that.
pub(crate) fn commit(how: Sabotage) {
    match how {
        Sabotage::Panic => panic_kernel(),
        Sabotage::Hang => hang(),
        Sabotage::Exit => process::leave(0),
        Sabotage::Flood => flood(),
        Sabotage::Warn => provoke("WARNING"),
        Sabotage::Oops => provoke("EXCEPTION"),
    }
}

/// Crashes the kernel with `c` (`Documentation/admin-guide/sysrq.rst`); if that fails, exits with code 4.
fn panic_kernel() -> ! {
    match pseudofile::write("/proc/sysrq-trigger", "c") {
        Ok(()) => hang(),
        Err(error) => {
            eprintln!("cannot crash the kernel: {error}");
            process::leave(4)
        }
    }
}

/// Makes the kernel fault at a crash point of LKDTM (`Documentation/fault-injection/provoke-crashes.rst`); if that fails, exits with
/// code 4.
fn provoke(crash_point: &str) {
    let provoked = bpffs::Mounted::of("debugfs", &[]).and_then(|debugfs| {
        let file = pseudofile::open_at(debugfs.root(), "provoke-crash/DIRECT", OFlags::WRONLY)?;
        rustix::io::write(&file, crash_point.as_bytes()).during(|| "write provoke-crash/DIRECT")
    });
    if let Err(error) = provoked {
        eprintln!("cannot provoke a fault of the kernel: {error}");
        process::leave(4)
    }
}

/// Spins, like a guest that is caught in a loop.
fn hang() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

fn flood() -> ! {
    let line = [b'#'; 1024];
    loop {
        if pseudofile::write("/dev/console", &String::from_utf8_lossy(&line)).is_err() {
            let _ = std::io::stdout().write_all(&line);
        }
    }
}
