//! Attempts that a copy of the guest program makes, which a child of the executor executes.

use std::{
    os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd},
    process::ExitCode,
};

use harness_protocol::plan::Step;

use super::{Executor, ExecutorError, unit};
use crate::{
    channel::{Channel, ChannelError},
    copies::{self, PASSED},
    exit,
    message::{Done, Job, Reply, Request},
    process::{self, Fork},
};

/// The exit code of a process that took a step in vain.
const FAILED: i32 = 3;

/// Has a child take the steps of an attempt and make it.
pub(super) fn attempt(
    executor: &Executor<'_>,
    job: &Job,
    fds: &[OwnedFd],
) -> Result<(Done, Option<OwnedFd>), ExecutorError> {
    let (mut ours, theirs) = Channel::pair()?;
    let child = match process::fork()? {
        Fork::Child => {
            eprintln!("{}", take(&job.steps, theirs.as_fd()));
            process::leave(FAILED)
        }
        Fork::Parent(child) => child,
    };
    drop(theirs);
    let made = have_made(executor, &mut ours, job, fds);
    drop(ours);
    let how = process::reap(child);
    made.map_err(|error| match error {
        ExecutorError::Channel(ChannelError::Closed) => ExecutorError::Executed(how),
        error => error,
    })
}

fn have_made(
    executor: &Executor<'_>,
    channel: &mut Channel,
    job: &Job,
    fds: &[OwnedFd],
) -> Result<(Done, Option<OwnedFd>), ExecutorError> {
    let case = executor.script.case(job.index.case).ok_or(ExecutorError::NoAttempt(job.index))?;
    unit::send_input(channel, job.index.case, case)?;
    answer(channel)?;
    let mut given = Vec::from(executor.own_bpffs()?.copies()?);
    if let Some(tmpfs) = &executor.tmpfs {
        given.extend(tmpfs.copies()?);
    }
    ask(channel, &Request::Continue { loader: executor.loader, unpins: executor.unpins }, &borrowed(&given))?;
    let rest = Job { steps: Vec::new(), ..job.clone() };
    let (reply, made) = ask(channel, &Request::Attempts(vec![rest]), &borrowed(fds))?;
    match reply {
        Reply::Answers(all) => {
            let done = all.into_iter().next().ok_or_else(|| ExecutorError::Executed("sent no answer".to_owned()))?;
            Ok((done, made.into_iter().next()))
        }
        other => Err(ExecutorError::Executed(format!("sent an unexpected reply: {other:?}"))),
    }
}

fn ask(
    channel: &mut Channel,
    request: &Request,
    fds: &[BorrowedFd<'_>],
) -> Result<(Reply, Vec<OwnedFd>), ExecutorError> {
    channel.send(request, fds)?;
    answer(channel)
}

fn answer(channel: &mut Channel) -> Result<(Reply, Vec<OwnedFd>), ExecutorError> {
    match channel.receive()? {
        (Reply::Failed(why), _) => Err(ExecutorError::Executed(format!("failed: {why}"))),
        answer => Ok(answer),
    }
}

fn borrowed(fds: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    fds.iter().map(AsFd::as_fd).collect()
}

/// Executes the first copy, which is passed the other steps and the channel. Returns only the reason why that failed.
fn take(steps: &[Step], channel: BorrowedFd<'_>) -> String {
    let mut names = steps.iter().map(Step::name);
    let Some(first) = names.next() else { return "there is no copy to execute".to_owned() };
    let arguments: Vec<&str> = ["executed"].into_iter().chain(names).collect();
    copies::execute(first, &arguments, channel)
}

/// Takes the remaining steps as a copy that was executed, and then makes the attempt.
pub(crate) fn go_on(steps: &[&str]) -> ExitCode {
    let steps: Vec<Step> = steps.iter().map(|name| Step::named(name)).collect();
    match steps.split_first() {
        None => unit::serve(),
        Some((step @ (Step::Fork | Step::Traced), rest)) => match process::fork() {
            Ok(Fork::Child) => {
                let traced = if *step == Step::Traced { process::trace_me() } else { Ok(()) };
                traced.map_or_else(exit::fault, |()| go_on(&rest.iter().map(Step::name).collect::<Vec<_>>()))
            }
            Ok(Fork::Parent(child)) => {
                if *step == Step::Traced {
                    process::release(child);
                }
                process::reap(child);
                ExitCode::SUCCESS
            }
            Err(error) => exit::fault(error),
        },
        Some((Step::Exec(_), _)) => {
            #[allow(unsafe_code)]
            // SAFETY: whoever executed this program passed the descriptor, and nothing else here uses it.
            let channel = unsafe { OwnedFd::from_raw_fd(PASSED) };
            exit::fault(take(&steps, channel.as_fd()))
        }
    }
}
