//! A child process that reports to its parent through a pipe.

use std::{
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::Pid,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    error::{During, SysError},
    process::{self, Fork},
};

/// The longest report read, in bytes: far more than [`harness_protocol::outcome::MOST_STEPS`] need.
const LONGEST: usize = 256 * 1024;

/// What became of a child that was to report.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reported<T> {
    /// Its report.
    Said(T),
    /// It ended in this way, without a report.
    Died(String),
    /// It took too long, and was killed.
    Hung,
}

/// Has a child do something and report on it.
pub(crate) fn by_child<T: Serialize + DeserializeOwned>(
    patience: Duration,
    act: impl FnOnce() -> T,
) -> Result<Reported<T>, SysError> {
    let (reader, writer) = rustix::pipe::pipe().during(|| "pipe")?;
    match process::fork()? {
        Fork::Child => {
            write(&writer, &serde_json::to_vec(&act()).unwrap_or_default());
            process::leave(0)
        }
        Fork::Parent(child) => {
            drop(writer);
            wait(child, &reader, patience)
        }
    }
}

/// Waits for a child's report, and ends it.
pub(crate) fn wait<T: DeserializeOwned>(
    child: Pid,
    reader: &OwnedFd,
    patience: Duration,
) -> Result<Reported<T>, SysError> {
    let said = read(reader, Instant::now() + patience, LONGEST);
    process::kill(child);
    let how = process::reap(child);
    let Some(said) = said? else { return Ok(Reported::Hung) };
    Ok(serde_json::from_slice(&said).map_or(Reported::Died(how), Reported::Said))
}

/// Writes all of a report; the parent notices if a part of it is missing.
fn write(writer: &OwnedFd, mut report: &[u8]) {
    while !report.is_empty() {
        match rustix::io::write(writer, report) {
            Ok(written) => report = &report[written..],
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// Reads until the other end is closed, or until there are more than `longest` bytes; `None` if that takes past the
/// deadline.
fn read(reader: &OwnedFd, deadline: Instant, longest: usize) -> Result<Option<Vec<u8>>, SysError> {
    let mut said = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        let mut fds = [PollFd::new(reader, PollFlags::IN)];
        if poll(&mut fds, Some(&timeout)).during(|| "poll")? == 0 {
            return Ok(None);
        }
        said.reserve(4096);
        let read = rustix::io::read(reader.as_fd(), rustix::buffer::spare_capacity(&mut said)).during(|| "read")?;
        if read == 0 || said.len() > longest {
            return Ok(Some(said));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_process_times_out() {
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        assert_eq!(read(&reader, Instant::now(), 10).unwrap(), None);
    }

    #[test]
    fn a_report_longer_than_a_pipe_arrives_whole_and_no_more_than_asked_is_kept() {
        let sent = vec![7; 200_000];
        let arrive = |longest| {
            let (reader, writer) = rustix::pipe::pipe().unwrap();
            let sent = sent.clone();
            let writing = std::thread::spawn(move || write(&writer, &sent));
            let read = read(&reader, Instant::now() + Duration::from_secs(10), longest).unwrap().unwrap();
            drop(reader);
            writing.join().unwrap();
            read
        };
        assert_eq!(arrive(sent.len()), sent);
        assert!(arrive(10).len() < 10 + 4096 + 1);
    }
}
