//! What an attempt is made with, and its result.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use harness_protocol::{errno::Errno, outcome::Answer};
use thiserror::Error;

use crate::{
    error::SysError,
    kernel_types::UnknownType,
    message::{FdRole, Handle},
    survey::SurveyError,
    sysctl::SysctlError,
};

/// The largest key or value that is handled, in bytes.
pub(super) const LARGEST_ELEMENT: usize = 16 * 1024 * 1024;

/// Why an attempt could not even be made: never a verdict.
#[derive(Debug, Error)]
pub(crate) enum OperationError {
    /// A call of our own before the attempt failed.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// A descriptor that the call needs was not sent along.
    #[error("missing {0:?} descriptor")]
    Missing(FdRole),
    /// The map's elements are too large to be handled here.
    #[error("an element of the map is larger than {} bytes", LARGEST_ELEMENT)]
    TooLarge,
    /// More of a value is requested than a record holds.
    #[error("{asked} bytes of a value are requested, and a record holds {most}: lower the attempt's `value_size`")]
    TooMuchToShow {
        /// How many bytes are requested.
        asked: u32,
        /// The most there may be.
        most: u32,
    },
    /// A part of a value would lie beyond the end of the value.
    #[error("a part of the value at byte {at} does not fit into it")]
    Outside {
        /// Its offset.
        at: usize,
    },
    /// The attempt does not name a kernel setting.
    #[error(transparent)]
    Setting(#[from] SysctlError),
    /// The attempt names a type that the kernel does not have.
    #[error(transparent)]
    Type(UnknownType),
    /// The attempt's target is for links only.
    #[error("only a link attaches a program there: use `link_create`")]
    LinkOnly,
    /// The verifier's log does not answer a survey.
    #[error("helper survey: {0}")]
    Survey(#[from] SurveyError),
    /// The host did not provide a file that the call needs.
    #[error(
        "the host made no {0}: it signs with a kernel's built-in key only if it has built the kernel with one, as \
         7.3-integrity"
    )]
    NoFile(String),
    /// An executor does not make this kind of attempt.
    #[error("an executor does not make this kind of attempt")]
    NotForExecutor,
}

/// The result of an attempt.
#[derive(Debug)]
pub(crate) struct AttemptResult {
    /// The kernel's answer.
    pub(crate) answer: Answer,
    /// The descriptor it made.
    pub(crate) fd: Option<OwnedFd>,
}

/// The descriptors of an attempt, by role.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handles<'a> {
    /// The roles that the attempt uses, each with the index of its descriptor.
    pub(crate) handles: &'a [Handle],
    /// All descriptors that were sent along.
    pub(crate) fds: &'a [OwnedFd],
}

impl<'a> Handles<'a> {
    pub(super) fn all(self, role: FdRole) -> impl Iterator<Item = BorrowedFd<'a>> {
        let of_role = self.handles.iter().filter(move |Handle(has, _)| *has == role);
        of_role.filter_map(move |Handle(_, at)| self.fds.get(*at as usize).map(AsFd::as_fd))
    }

    /// Returns the descriptor in this role, if there is one.
    pub(crate) fn get(self, role: FdRole) -> Option<BorrowedFd<'a>> {
        self.all(role).next()
    }

    pub(super) fn need(self, role: FdRole) -> Result<BorrowedFd<'a>, OperationError> {
        self.get(role).ok_or(OperationError::Missing(role))
    }

    /// Returns a saved object, by its index in [`Call::objects`](harness_protocol::plan::Call::objects).
    pub(super) fn object(self, index: usize) -> Result<BorrowedFd<'a>, OperationError> {
        self.all(FdRole::Object).nth(index).ok_or(OperationError::Missing(FdRole::Object))
    }
}

/// Makes the result of an attempt that takes several calls.
pub(super) fn stepped(result: Result<(), SysError>) -> AttemptResult {
    match result {
        Ok(()) => AttemptResult { answer: Answer::Ok { detail: None }, fd: None },
        Err(SysError { call, errno }) => {
            AttemptResult { answer: Answer::Err { errno, step: Some(step(&call)) }, fd: None }
        }
    }
}

/// Returns the name of a step: outcomes call every first step `fsopen`, whatever it opens.
fn step(call: &str) -> String {
    if call.starts_with("fsopen ") { "fsopen".to_owned() } else { call.to_owned() }
}

pub(super) fn made(result: Result<OwnedFd, Errno>) -> AttemptResult {
    match result {
        Ok(fd) => AttemptResult { answer: Answer::Ok { detail: None }, fd: Some(fd) },
        Err(errno) => AttemptResult { answer: Answer::Err { errno, step: None }, fd: None },
    }
}

pub(super) fn detailed(result: Result<String, Errno>) -> AttemptResult {
    let answer = match result {
        Ok(detail) => Answer::Ok { detail: Some(detail) },
        Err(errno) => Answer::Err { errno, step: None },
    };
    AttemptResult { answer, fd: None }
}

pub(super) fn done<T>(result: Result<T, Errno>) -> AttemptResult {
    let answer = match result {
        Ok(_) => Answer::Ok { detail: None },
        Err(errno) => Answer::Err { errno, step: None },
    };
    AttemptResult { answer, fd: None }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn steps_name_the_call_and_the_key() {
        assert_eq!(step("fsopen bpf"), "fsopen");
        assert_eq!(step("fsconfig delegate_cmds"), "fsconfig delegate_cmds");
    }

    #[test]
    fn descriptors_are_found_by_role() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let fds = [reader, writer];
        let handles = Handles { handles: &[Handle(FdRole::Token, 0), Handle(FdRole::Object, 1)], fds: &fds };
        assert_eq!(handles.need(FdRole::Object).unwrap().as_raw_fd(), fds[1].as_raw_fd());
        let error = handles.need(FdRole::Bpffs).unwrap_err();
        assert_eq!(error.to_string(), "missing Bpffs descriptor");
    }

    #[test]
    fn bytes_are_shown_as_hexadecimal_digits() {
        assert_eq!(hex(&[0, 255, 16]), "00ff10");
    }
}
