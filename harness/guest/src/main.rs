//! The program that runs in the VM: reads a plan, attempts what it says in unprivileged containers, and writes down
//! what the kernel answered.

mod actor;
mod attr;
mod batch;
mod bench;
mod bpf;
mod bpffs;
mod case;
mod cause;
mod cgroup;
mod channel;
mod context;
mod controls;
mod error;
mod events;
mod executor;
mod exit;
mod host_mode;
mod identity;
mod interfaces;
mod kernel;
mod kernel_types;
mod kmsg;
mod leftovers;
mod lockdown;
mod lsm;
mod message;
mod mounts;
mod object;
mod operation;
mod pass;
mod plan;
mod process;
mod program;
mod pseudofile;
mod record;
mod run;
mod sabotage;
mod scenario;
mod seccomp;
mod survey;
mod sysctl;
mod systemd;

use std::{path::Path, process::ExitCode};

use run::MachineKind;

const HELP: &str = "\
bpf-token-guest: the part of bpf-token-harness that runs inside a VM.

Usage: bpf-token-guest [RUN-FOLDER]         run the plan in the folder (default /mnt/vmtest)
       bpf-token-guest live RUN-FOLDER      the same on a machine that others live on
       bpf-token-guest unit                 make attempts as a unit of systemd
       bpf-token-guest bench [RUN-FOLDER]   print as JSON what attempts and containers cost
       bpf-token-guest --help

It must be started as root in a VM made for it: it changes kernel settings, makes
control groups and network interfaces, and may be asked to crash the machine.
On a machine that others live on it first leaves all its namespaces but that of
users, and refuses a plan that would reach beyond its own.
It reads plan.json in the folder and writes outcomes.jsonl there, which must not
exist yet. Exit codes: 0 all in the record; 2 wrong usage; 3 the plan or the
kernel is not the one asked for, or the record cannot be kept.
";

/// The folder used when none is given: where vmtest shares one with the guest.
const RUN_FOLDER: &str = "/mnt/vmtest";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--help" | "-h"] => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        ["bench", rest @ ..] if rest.len() < 2 => finish(bench(folder_of(rest))),
        ["unit"] => executor::unit::serve(),
        ["live", folder] => run_apart(Path::new(folder)),
        [option, ..] if option.starts_with('-') => exit::usage(&format!("unknown option {option}")),
        [_, extra, ..] => exit::usage(&format!("unexpected argument {extra}")),
        rest => finish(run::run(folder_of(rest), MachineKind::Vm)),
    }
}

fn folder_of<'a>(args: &[&'a str]) -> &'a Path {
    Path::new(args.first().copied().unwrap_or(RUN_FOLDER))
}

fn run_apart(folder: &Path) -> ExitCode {
    let done = host_mode::apart(folder, |folder| finish(run::run(folder, MachineKind::Live)));
    done.unwrap_or_else(|error| exit::fault(format!("cannot run apart from the machine: {error}")))
}

fn bench(folder: &Path) -> Result<(), run::RunError> {
    println!("{}", bench::run(folder)?);
    Ok(())
}

fn finish(result: Result<(), run::RunError>) -> ExitCode {
    result.map_or_else(exit::fault, |()| ExitCode::SUCCESS)
}
