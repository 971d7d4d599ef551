//! The program that runs in the VM: it reads a plan, makes its attempts in unprivileged containers, and records what
//! the kernel answered.

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
mod copies;
mod error;
mod events;
mod exec;
mod executor;
mod exit;
mod guard;
mod host_mode;
mod identity;
mod interfaces;
mod kernel;
mod kernel_types;
mod kmsg;
mod leftovers;
mod library;
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
mod report;
mod run;
mod sabotage;
mod scenario;
mod seccomp;
mod survey;
mod sysctl;
mod systemd;
mod target;
mod tracepoints;

use std::{path::Path, process::ExitCode};

use run::MachineKind;

const HELP: &str = "\
bpf-token-guest: the part of bpf-token-harness that runs inside a VM.

Usage: bpf-token-guest [RUN-FOLDER]         run the plan in the folder (default /mnt/vmtest)
       bpf-token-guest live RUN-FOLDER      run the plan in host mode, on the machine's own kernel
       bpf-token-guest unit                 make attempts as the process of a systemd unit
       bpf-token-guest executed [STEP...]   go on with an attempt, as a copy that another executed
       bpf-token-guest wait                 wait to be attacked, as such a copy
       bpf-token-guest bench [RUN-FOLDER]   print what attempts and containers cost, as JSON
       bpf-token-guest bench-guard [RUN-FOLDER]
                                            print what the guard in the folder costs, as JSON
       bpf-token-guest bench-early [RUN-FOLDER]
                                            print how long its start in early boot takes, in milliseconds
       bpf-token-guest --help

Start it as root in a VM made for it: it changes kernel settings, makes control
groups and network interfaces, and a plan may ask it to crash the machine.
In host mode it first leaves all namespaces of the machine except the user
namespace, and refuses a plan that would affect anything outside of its own.
It reads plan.json in the folder and writes outcomes.jsonl there, which must not
exist yet. Exit codes: 0 everything is recorded; 2 wrong usage; 3 the plan or the
kernel is not the expected one, or the record cannot be kept.
";

/// The default run folder: where vmtest shares one with the guest.
const RUN_FOLDER: &str = "/mnt/vmtest";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--help" | "-h"] => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        ["bench", rest @ ..] if rest.len() < 2 => finish(bench(folder_of(rest))),
        ["bench-guard", rest @ ..] if rest.len() < 2 => finish(bench_guard(folder_of(rest))),
        ["bench-early", rest @ ..] if rest.len() < 2 => finish(bench_early(folder_of(rest))),
        ["unit"] => executor::unit::serve(),
        ["executed", steps @ ..] => executor::executed::go_on(steps),
        ["wait"] => process::wait_for_end(copies::PASSED),
        ["live", folder] => run_in_host_mode(Path::new(folder)),
        [option, ..] if option.starts_with('-') => exit::usage(&format!("unknown option {option}")),
        ["bench" | "bench-guard" | "bench-early" | "live", _, extra, ..] | [_, extra, ..] => {
            exit::usage(&format!("unexpected argument {extra}"))
        }
        rest => finish(run::run(folder_of(rest), MachineKind::Vm)),
    }
}

fn folder_of<'a>(args: &[&'a str]) -> &'a Path {
    Path::new(args.first().copied().unwrap_or(RUN_FOLDER))
}

fn run_in_host_mode(folder: &Path) -> ExitCode {
    let done = host_mode::apart(folder, |folder| finish(run::run(folder, MachineKind::HostMode)));
    done.unwrap_or_else(|error| exit::fault(format!("cannot run in host mode: {error}")))
}

fn bench(folder: &Path) -> Result<(), run::RunError> {
    println!("{}", bench::run(folder)?);
    Ok(())
}

fn bench_guard(folder: &Path) -> Result<(), run::RunError> {
    let report = bench::guarded::run(folder)?;
    let text = serde_json::to_string(&report).map_err(|error| run::RunError::Bench(error.to_string()))?;
    println!("{text}");
    Ok(())
}

fn bench_early(folder: &Path) -> Result<(), run::RunError> {
    println!("{}", bench::guarded::early(folder)?);
    Ok(())
}

fn finish(result: Result<(), run::RunError>) -> ExitCode {
    result.map_or_else(exit::fault, |()| ExitCode::SUCCESS)
}
