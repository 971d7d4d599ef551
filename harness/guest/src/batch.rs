//! Several attempts in one message to an executor: under emulation a process switch costs more than most system calls.

use std::{os::fd::OwnedFd, rc::Rc};

use crate::{
    channel,
    message::{FdRole, Handle, Job},
};

/// Descriptors with their roles.
pub(crate) type Gathered = Vec<(FdRole, Rc<OwnedFd>)>;

/// Attempts that go to the executor in one message.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// The attempts, in order.
    pub(crate) jobs: Vec<Job>,
    /// The descriptors they need, each once.
    pub(crate) fds: Vec<Rc<OwnedFd>>,
}

impl Batch {
    /// The most attempts in one message: enough to make the cost of a message negligible.
    const MOST: usize = 64;

    /// The most descriptors that one attempt needs.
    const MOST_FDS_OF_ONE: usize = 12;

    /// Returns whether another attempt fits.
    pub(crate) fn has_room(&self) -> bool {
        self.jobs.len() < Self::MOST && self.fds.len() + Self::MOST_FDS_OF_ONE <= channel::MOST_FDS
    }

    /// Adds an attempt with the descriptors it needs, and fills in its handles.
    pub(crate) fn add(&mut self, job: Job, gathered: Gathered) {
        let handles = gathered.into_iter().map(|(role, fd)| Handle(role, self.index_of(fd))).collect();
        self.jobs.push(Job { handles, ..job });
    }

    fn index_of(&mut self, fd: Rc<OwnedFd>) -> u32 {
        let at = self.fds.iter().position(|has| Rc::ptr_eq(has, &fd)).unwrap_or_else(|| {
            self.fds.push(fd);
            self.fds.len() - 1
        });
        at as u32
    }
}
