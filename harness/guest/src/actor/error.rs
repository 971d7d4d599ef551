//! What may go wrong with a party.

use thiserror::Error;

use crate::{channel::ChannelError, error::SysError};

/// Why a party could not be made or asked.
#[derive(Debug, Error)]
pub(crate) enum ActorError {
    /// A system call of the privileged side failed.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// The channel failed while the agent lives on.
    #[error(transparent)]
    Channel(ChannelError),
    /// The agent could not do it, and says which system call failed.
    #[error("{0}")]
    Refused(String),
    /// The agent is no more.
    #[error("its agent {0}")]
    Died(String),
    /// The agent answered something else than it was asked.
    #[error("its agent answered {0} out of turn")]
    OutOfTurn(String),
}
