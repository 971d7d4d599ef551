//! Programs that know nothing of the harness. Each runs as a child of a process that traces it: that one stops it at
//! `bpf(2)` and `perf_event_open(2)` only, records the call with the kernel's answer, and hands over a token with it.

mod call;
pub(crate) mod placed;
mod program;
mod stacks;
mod tracee;
mod tracer;

use std::time::Duration;

use harness_protocol::{
    outcome::{Answer, ExecAnswer},
    plan::{Exec, ExecToken},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    bpf,
    bpffs::Mounted,
    context::Loader,
    error::SysError,
    operation::AttemptResult,
    process,
    report::{self, Reported},
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
    let trace = || {
        let said = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| child(exec, loader, own)));
        said.unwrap_or_else(|_| Report::NotRun("the tracer panicked".to_owned()))
    };
    let program = exec.program.clone();
    // With the tracer's end the kernel kills all that it traces.
    match report::by_child(Duration::from_millis(exec.limit_ms) + GRACE, trace)? {
        Reported::Said(Report::Ran(answer)) => Ok(Answer::Exec(answer)),
        Reported::Said(Report::NotRun(why)) => Err(ExecError::NotRun { program, why }),
        Reported::Died(how) => Err(ExecError::Died { program, how }),
        Reported::Hung => Err(ExecError::Hung { program }),
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

#[cfg(test)]
mod tests;
