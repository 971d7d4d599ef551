//! BPF objects. libbpf loads each in a process of its own: libbpf remembers what it found out about the kernel, an
//! object file may be hostile, and the bpffs is attached elsewhere for that process only.

mod answer;
mod attach;
mod bpffs_location;
mod kallsyms;
mod libbpf;
mod recorder;

pub(crate) use answer::add_step;
pub(crate) use recorder::trigger_probes;

use std::{os::fd::BorrowedFd, time::Duration};

use harness_protocol::{
    outcome::{Answer, ObjectAnswer},
    plan::ObjectLoad,
};
use rustix::process::{Resource, Rlimit};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    bpffs::Mounted,
    context::Loader,
    error::{During, SysError},
    operation::AttemptResult,
    process,
    report::{self, Reported},
};

/// Why an object could not even be tried: never a verdict.
#[derive(Debug, Error)]
pub(crate) enum ObjectError {
    /// A call of our own failed.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// The process could not prepare what the attempt needs.
    #[error("cannot prepare the process that loads `{file}`: {why}")]
    Unprepared {
        /// The object.
        file: String,
        /// The error.
        why: String,
    },
    /// The process ended without a report.
    #[error("the process that loads `{file}` {how}: look at the object with `readelf -a`")]
    Died {
        /// The object.
        file: String,
        /// How it ended.
        how: String,
    },
    /// It took too long.
    #[error("libbpf did not finish `{file}` within {} s", PATIENCE.as_secs())]
    Hung {
        /// The object.
        file: String,
    },
}

/// How long libbpf may take for an object. An emulated processor needs a tenth of a second for most, and many seconds
/// for one whose programs take the verifier millions of instructions.
const PATIENCE: Duration = Duration::from_secs(60);

/// The most memory the process may use, in bytes: libbpf needs 16 MiB for the verifier's log alone.
const MEMORY: u64 = 1 << 30;

/// The report of the process.
#[derive(Debug, Serialize, Deserialize)]
enum Report {
    Loaded(ObjectAnswer),
    Unprepared(String),
}

/// Loads an object and closes it again. `own` is the executor's bpffs. If the root of another bpffs is given, libbpf
/// uses that one, whatever the attempt says.
pub(crate) fn attempt(
    load: &ObjectLoad,
    loader: Loader,
    own: &Mounted,
    other: Option<BorrowedFd<'_>>,
) -> Result<AttemptResult, ObjectError> {
    match try_to(load, loader, own, other) {
        Ok(answer) => Ok(AttemptResult { answer, fd: None }),
        // The unit's filter or limits are at fault.
        Err(error @ (ObjectError::Sys(_) | ObjectError::Unprepared { .. } | ObjectError::Died { .. }))
            if loader == Loader::Unit =>
        {
            Ok(AttemptResult { answer: Answer::NotMade { why: forbidden(&error) }, fd: None })
        }
        Err(error) => Err(error),
    }
}

/// Says why a unit's process could not load an object. The object's name is left out: it is shown next to it.
fn forbidden(error: &ObjectError) -> String {
    match error {
        ObjectError::Died { how, .. } => format!("the process that loads it {how}"),
        ObjectError::Unprepared { why, .. } => format!("cannot prepare the process that loads it: {why}"),
        other => other.to_string(),
    }
}

fn try_to(
    load: &ObjectLoad,
    loader: Loader,
    own: &Mounted,
    other: Option<BorrowedFd<'_>>,
) -> Result<Answer, ObjectError> {
    answer(load, report::by_child(PATIENCE, || child(load, loader, own, other))?)
}

/// Runs in the new process: everything up to the answer.
fn child(load: &ObjectLoad, loader: Loader, own: &Mounted, other: Option<BorrowedFd<'_>>) -> Report {
    match prepare(load, loader) {
        Ok(()) => {
            let made =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| libbpf::load(load, loader, own, other)));
            made.map_or_else(|_| Report::Unprepared("it panicked".to_owned()), Report::Loaded)
        }
        Err(error) => Report::Unprepared(error.to_string()),
    }
}

fn prepare(load: &ObjectLoad, loader: Loader) -> Result<(), SysError> {
    process::die_with_parent()?;
    if loader != Loader::Host {
        bpffs_location::put(load.bpffs)?;
    }
    for (resource, most, name) in
        [(Resource::As, MEMORY, "RLIMIT_AS"), (Resource::Cpu, PATIENCE.as_secs(), "RLIMIT_CPU")]
    {
        // A unit's limit may be lower already, and it may lack the capability to raise it.
        let allowed = rustix::process::getrlimit(resource).maximum.map_or(most, |allowed| allowed.min(most));
        let limit = Rlimit { current: Some(allowed), maximum: Some(allowed) };
        rustix::process::setrlimit(resource, limit).during(|| format!("setrlimit {name}"))?;
    }
    Ok(())
}

fn answer(load: &ObjectLoad, reported: Reported<Report>) -> Result<Answer, ObjectError> {
    let file = load.file.clone();
    match reported {
        Reported::Said(Report::Loaded(answer)) => Ok(Answer::Object(answer)),
        Reported::Said(Report::Unprepared(why)) => Err(ObjectError::Unprepared { file, why }),
        Reported::Died(how) => Err(ObjectError::Died { file, how }),
        Reported::Hung => Err(ObjectError::Hung { file }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use rustix::process::Pid;

    use super::*;

    fn load() -> ObjectLoad {
        ObjectLoad { file: "x".to_owned(), ..Default::default() }
    }

    /// Follows a process that does this with its end of the pipe.
    #[expect(clippy::zombie_processes, reason = "it is reaped by what is tested")]
    fn followed(act: impl FnOnce(OwnedFd)) -> Result<Answer, ObjectError> {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let child = std::process::Command::new("true").spawn().unwrap();
        act(writer);
        answer(&load(), report::wait(Pid::from_child(&child), &reader, PATIENCE)?)
    }

    fn saying(report: &[u8]) -> Result<Answer, ObjectError> {
        followed(|writer| assert_eq!(rustix::io::write(&writer, report), Ok(report.len())))
    }

    #[test]
    fn an_answer_is_accepted_and_silence_is_an_error() {
        let said = serde_json::to_vec(&Report::Loaded(ObjectAnswer::default())).unwrap();
        assert_eq!(saying(&said).unwrap(), Answer::Object(ObjectAnswer::default()));
        let error = saying(&serde_json::to_vec(&Report::Unprepared("no".into())).unwrap()).unwrap_err().to_string();
        insta::assert_snapshot!(error, @"cannot prepare the process that loads `x`: no");
        for broken in [&b""[..], &said[..5]] {
            assert!(matches!(saying(broken), Err(ObjectError::Died { .. })));
        }
        insta::assert_snapshot!(
            ObjectError::Died { file: "x".to_owned(), how: "was killed by signal 9".to_owned() },
            @"the process that loads `x` was killed by signal 9: look at the object with `readelf -a`"
        );
    }
}
