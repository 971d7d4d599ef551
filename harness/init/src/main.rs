//! Everything that `vmtest` needs in a guest before it can run a command, in one small static program: an init that
//! mounts what `vmtest`'s init script mounts, and the four QEMU guest agent commands that `vmtest` sends.
//!
//! In the initramfs of a kernel that needs modules to reach its root, it loads them first ([`early`]).
//!
//! Debian's `qemu-ga` needs nine shared libraries, and `vmtest`'s script starts some twenty programs; under software
//! emulation they take longer than the kernel. As the first process, this program is the init. Under any other process
//! it is the guest agent and accepts the options that `vmtest`'s script passes to `qemu-ga`, so an image with it boots
//! either way. An image with an init of its own, such as systemd, starts the agent without options, and the agent finds
//! its port itself.

mod agent;
mod early;
mod exec;
mod init;
mod port;
mod qemu_ga;

use std::{
    env, io,
    process::{Command, ExitCode},
};

/// The option of `qemu-ga` to run in the background.
const DAEMON: &str = "-d";

fn main() -> ExitCode {
    if rustix::process::getpid().is_init() {
        if early::is_here() {
            early::run();
        }
        init::run();
    }
    let options = || env::args().skip(1);
    if options().any(|option| option == DAEMON) {
        return match go_on_in_the_background(options()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        };
    }
    let port = port::from_options(options()).map_or_else(port::wait, Ok);
    let Err(error) = port.and_then(|port| agent::serve(&port));
    fail(&error)
}

fn go_on_in_the_background(options: impl Iterator<Item = String>) -> io::Result<()> {
    Command::new(env::current_exe()?).args(options.filter(|option| option != DAEMON)).spawn()?;
    Ok(())
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("guest agent: {error}");
    ExitCode::FAILURE
}
