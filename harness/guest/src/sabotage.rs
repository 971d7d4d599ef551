//! Ways to kill the guest, for tests of the harness around it.

use std::io::Write;

use harness_protocol::plan::Sabotage;

use crate::{process, pseudofile};

/// Does the harm and does not return.
pub(crate) fn commit(how: Sabotage) -> ! {
    match how {
        Sabotage::Panic => panic_kernel(),
        Sabotage::Hang => hang(),
        Sabotage::Exit => process::leave(0),
        Sabotage::Flood => flood(),
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
