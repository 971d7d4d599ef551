//! Errors of running actors.

use thiserror::Error;

use crate::{channel::ChannelError, error::SysError};

/// Why an actor could not be set up, or did not do what it was asked.
#[derive(Debug, Error)]
pub(crate) enum ActorError {
    /// A system call of the guest program failed.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// The channel failed while the executor still runs.
    #[error(transparent)]
    Channel(ChannelError),
    /// The executor could not do it; the text names the failed system call.
    #[error("{0}")]
    Refused(String),
    /// The executor has ended.
    #[error("its executor {0}")]
    Died(String),
    /// The executor sent a reply that does not fit the request.
    #[error("its executor sent an unexpected reply: {0}")]
    UnexpectedReply(String),
}
