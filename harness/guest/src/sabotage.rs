//! Ways to die, for the tests of the harness around the guest.

use std::io::Write;

use harness_protocol::plan::Sabotage;

use crate::{process, pseudofile};

/// Does the harm, and comes back from none of it.
pub(crate) fn commit(how: Sabotage) -> ! {
    match how {
        Sabotage::Panic => panic_kernel(),
        Sabotage::Hang => hang(),
        Sabotage::Exit => process::leave(0),
        Sabotage::Flood => flood(),
    }
}

/// `c` crashes the kernel (`Documentation/admin-guide/sysrq.rst`); if it cannot, the exit code tells.
fn panic_kernel() -> ! {
    match pseudofile::write("/proc/sysrq-trigger", "c") {
        Ok(()) => hang(),
        Err(error) => {
            eprintln!("cannot crash the kernel: {error}");
            process::leave(4)
        }
    }
}

/// Spins, as a guest would that is caught in a loop.
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
