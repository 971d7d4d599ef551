//! Who acts in a pass, and why an attempt was not made by them.

use harness_protocol::{name::ContainerName, plan::Actor};
use thiserror::Error;

use crate::actor::{ActorError, RunningActor};

/// Why an attempt was not made.
#[derive(Debug, Error)]
pub(crate) enum AttemptError {
    /// Something it needs could not be had.
    #[error("{what}: {why}")]
    Unobtainable {
        /// What it needs.
        what: String,
        /// Why it is not there.
        why: String,
    },
    /// Its actor failed.
    #[error("{actor}: {source}")]
    Party {
        /// Who.
        actor: String,
        /// How.
        source: ActorError,
    },
}

impl AttemptError {
    /// Whether the party is lost and no further attempt can be made with it.
    pub(crate) fn is_fatal(&self) -> bool {
        matches!(self, Self::Party { source: ActorError::Died(_) | ActorError::Channel(_), .. })
    }
}

/// Who acts in a pass.
#[derive(Debug)]
pub(crate) enum Actors<'a> {
    /// One party plays every actor: a control.
    Single(&'a mut RunningActor),
    /// Each actor plays itself.
    Each {
        /// [`Actor::Host`], if any attempt is its.
        host: Option<Box<RunningActor>>,
        /// In the order they were made, so that children come after their parents.
        containers: Vec<(ContainerName, RunningActor)>,
    },
}

impl Actors<'_> {
    /// Who plays an actor.
    pub(crate) fn player(&mut self, actor: &Actor) -> Result<&mut RunningActor, AttemptError> {
        let found = match (self, actor) {
            (Self::Single(actor), _) => Some(&mut **actor),
            (Self::Each { host, .. }, Actor::Host) => host.as_deref_mut(),
            (Self::Each { containers, .. }, Actor::Container(name)) => {
                containers.iter_mut().find(|(has, _)| has == name).map(|(_, actor)| actor)
            }
        };
        found.ok_or_else(|| unobtainable(title(actor), "there is none in this case"))
    }

    /// Ends who plays an actor, unless that one plays others too.
    pub(super) fn end(&mut self, actor: &Actor) -> Result<(), AttemptError> {
        match self {
            Self::Single(_) => Ok(()),
            Self::Each { .. } => self.player(actor).map(RunningActor::end),
        }
    }
}

impl Drop for Actors<'_> {
    fn drop(&mut self) {
        if let Self::Each { containers, .. } = self {
            // Children before their parents, while their parents can still be told apart from the dead.
            while containers.pop().is_some() {}
        }
    }
}

/// An attempt that failed with its actor.
pub(crate) fn failed(actor: &Actor, source: ActorError) -> AttemptError {
    AttemptError::Party { actor: title(actor), source }
}

pub(super) fn unobtainable(what: impl Into<String>, why: &str) -> AttemptError {
    AttemptError::Unobtainable { what: what.into(), why: why.to_owned() }
}

/// What an actor is called in messages.
pub(crate) fn title(actor: &Actor) -> String {
    match actor {
        Actor::Host => "the host".to_owned(),
        Actor::Container(name) => format!("container `{name}`"),
    }
}
