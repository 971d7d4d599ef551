//! Several attempts in one message to an agent: under emulation the change from one process to another costs more than
//! most system calls.

use std::{os::fd::OwnedFd, rc::Rc};

use crate::{
    channel,
    message::{FdRole, Handle, Job},
};

/// Descriptors with their roles.
pub(crate) type Gathered = Vec<(FdRole, Rc<OwnedFd>)>;

/// Attempts that are asked for in one message.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// In their order.
    pub(crate) jobs: Vec<Job>,
    /// What they need, each descriptor once.
    pub(crate) fds: Vec<Rc<OwnedFd>>,
}

impl Batch {
    /// Attempts in one message at most: enough that a message costs little beside them.
    const MOST: usize = 64;

    /// Descriptors one attempt needs at most.
    const MOST_FDS_OF_ONE: usize = 12;

    /// Whether another attempt fits.
    pub(crate) fn has_room(&self) -> bool {
        self.jobs.len() < Self::MOST && self.fds.len() + Self::MOST_FDS_OF_ONE <= channel::MOST_FDS
    }

    /// Adds an attempt with the descriptors it needs, of which its handles are made.
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
