//! Programs that know nothing of the harness. Each runs as a child of a process that traces it: that one stops it at
//! `bpf(2)` and `perf_event_open(2)` only, records the call with the kernel's answer, and hands over a token with it.

mod call;
pub(crate) mod placed;
mod program;
mod tracee;
mod tracer;

use std::{
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use harness_protocol::{
    outcome::{Answer, ExecAnswer},
    plan::{Exec, ExecToken},
};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    bpf,
    bpffs::Mounted,
    context::Loader,
    error::{During, SysError},
    operation::AttemptResult,
    process::{self, Fork},
    report,
};

/// Why a program could not even be run: never a verdict.
#[derive(Debug, Error)]
pub(crate) enum ExecError {
    /// A call of our own failed.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// The program could not be started or traced.
    #[error("cannot run `{program}`: {why}")]
    NotRun {
        /// The program.
        program: String,
        /// The error.
        why: String,
    },
    /// The tracer ended without a report.
    #[error("the process that traces `{program}` {how}")]
    Died {
        /// The program.
        program: String,
        /// How it ended.
        how: String,
    },
    /// The tracer did not report in time.
    #[error("the process that traces `{program}` did not end it in time")]
    Hung {
        /// The program.
        program: String,
    },
}

/// How long the tracer may take beyond the program's own time.
const GRACE: Duration = Duration::from_secs(10);

/// The longest report read, in bytes: far more than the most calls need.
const LONGEST: usize = 256 * 1024;

/// The report of the tracer.
#[derive(Debug, Serialize, Deserialize)]
enum Report {
    Ran(Box<ExecAnswer>),
    NotRun(String),
}

/// Runs a program, with a token of the executor's own bpffs if one is to be handed over.
pub(crate) fn attempt(exec: &Exec, loader: Loader, own: &Mounted) -> Result<AttemptResult, ExecError> {
    let answered = |answer| AttemptResult { answer, fd: None };
    match try_to(exec, loader, own) {
        // The unit's filter or limits are at fault.
        Err(ExecError::NotRun { why, .. }) if loader == Loader::Unit => {
            Ok(answered(Answer::NotMade { why: format!("the program cannot be run: {why}") }))
        }
        other => other.map(answered),
    }
}

fn try_to(exec: &Exec, loader: Loader, own: &Mounted) -> Result<Answer, ExecError> {
    let (reader, writer) = rustix::pipe::pipe().during(|| "pipe")?;
    match process::fork()? {
        Fork::Child => {
            drop(reader);
            let trace = || child(exec, loader, own);
            let said = std::panic::catch_unwind(std::panic::AssertUnwindSafe(trace));
            let report = said.unwrap_or_else(|_| Report::NotRun("the tracer panicked".to_owned()));
            report::write(&writer, &serde_json::to_vec(&report).unwrap_or_default());
            process::leave(0)
        }
        Fork::Parent(child) => {
            drop(writer);
            wait_for_report(exec, child, &reader)
        }
    }
}

fn child(exec: &Exec, loader: Loader, own: &Mounted) -> Report {
    let traced = process::die_with_parent().and_then(|()| {
        let token = token_for(exec, loader, own);
        tracer::trace(exec, loader, token)
    });
    match traced {
        Ok(Ok(answer)) => Report::Ran(Box::new(answer)),
        Ok(Err(why)) => Report::NotRun(why),
        Err(error) => Report::NotRun(error.to_string()),
    }
}

/// Makes the token to hand over, as the program would if it knew how; `None` if there is none to make.
fn token_for(exec: &Exec, loader: Loader, own: &Mounted) -> tracer::Handed {
    if exec.token != ExecToken::Inject || loader == Loader::Host || exec.commands.is_empty() {
        return tracer::Handed::Nothing;
    }
    match bpf::token_create(own.root(), 0) {
        Ok(token) => tracer::Handed::Token(token),
        Err(errno) => tracer::Handed::Refused(errno),
    }
}

/// Waits for the tracer's report, and for its end, with which the kernel kills all that it traces.
fn wait_for_report(exec: &Exec, child: Pid, reader: &OwnedFd) -> Result<Answer, ExecError> {
    let patience = Duration::from_millis(exec.limit_ms) + GRACE;
    let said = report::read(reader, Instant::now() + patience, LONGEST);
    process::kill(child);
    let how = process::reap(child);
    let program = exec.program.clone();
    let Some(said) = said? else { return Err(ExecError::Hung { program }) };
    match serde_json::from_slice(&said) {
        Ok(Report::Ran(answer)) => Ok(Answer::Exec(answer)),
        Ok(Report::NotRun(why)) => Err(ExecError::NotRun { program, why }),
        Err(_) => Err(ExecError::Died { program, how }),
    }
}

#[cfg(test)]
mod tests;
