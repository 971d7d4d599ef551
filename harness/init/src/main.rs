//! What `vmtest` needs of a guest before it can run a command in it, in one small static program: an init that mounts
//! what its init script mounts, and the four commands of the QEMU guest agent that it sends.
//!
//! In the initramfs of a kernel that needs modules to reach its root it is first what loads them ([`early`]).
//!
//! Debian's `qemu-ga` needs nine shared libraries, and `vmtest`'s script starts some twenty programs; under software
//! emulation they take longer than the kernel. As the first process this program is the init; under any other process
//! it is the agent, and takes the options that `vmtest`'s own script gives to `qemu-ga`, so an image with it boots
//! either way. Where an image has an init of its own, such as systemd, that starts the agent without options, and the
//! agent looks for its port.

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

/// The option of `qemu-ga` to go on in the background.
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
