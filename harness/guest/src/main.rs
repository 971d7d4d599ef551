//! The program that runs in the VM: reads a plan, attempts what it says in unprivileged containers, and writes down
//! what the kernel answered.

mod agent;
mod bpf;
mod bpffs;
mod btf;
mod case;
mod cgroup;
mod channel;
mod error;
mod identity;
mod interfaces;
mod kernel;
mod leftovers;
mod operation;
mod party;
mod pass;
mod plan;
mod process;
mod protocol;
mod pseudofile;
mod record;
mod run;
mod sabotage;
mod scenario;
mod sysctl;

use std::{path::PathBuf, process::ExitCode};

const HELP: &str = "\
bpf-token-guest: the part of bpf-token-harness that runs inside a VM.

Usage: bpf-token-guest [RUN-FOLDER]     run the plan in the folder (default /mnt/vmtest)
       bpf-token-guest --help

It must be started as root in a VM made for it: it changes kernel settings, makes
control groups and network interfaces, and may be asked to crash the machine.
It reads plan.json in the folder and writes outcomes.jsonl there, which must not
exist yet. Exit codes: 0 all in the record; 2 wrong usage; 3 the plan or the
kernel is not the one asked for, or the record cannot be kept.
";

/// Exit code for wrong usage.
const USAGE: u8 = 2;

/// Exit code for a fault of the harness or the VM.
const FAULT: u8 = 3;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    match (args.next().as_deref(), args.next()) {
        (Some("--help" | "-h"), None) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        (Some(option), _) if option.starts_with('-') => usage(&format!("unknown option {option}")),
        (_, Some(extra)) => usage(&format!("unexpected argument {extra}")),
        (folder, None) => finish(run::run(&PathBuf::from(folder.unwrap_or("/mnt/vmtest")))),
    }
}

fn usage(what: &str) -> ExitCode {
    eprintln!("bpf-token-guest: {what}; see --help");
    ExitCode::from(USAGE)
}

fn finish(result: Result<(), run::RunError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bpf-token-guest: {error}");
            ExitCode::from(FAULT)
        }
    }
}
