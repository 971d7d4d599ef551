//! Who acts in a pass, and why an attempt was not made.

use harness_protocol::{name::ContainerName, plan::Actor};
use thiserror::Error;

use crate::actor::{ActorError, RunningActor};

/// Why an attempt was not made.
#[derive(Debug, Error)]
pub(crate) enum AttemptError {
    /// Something that it needs is not available.
    #[error("{what}: {why}")]
    Unobtainable {
        /// What it needs.
        what: String,
        /// Why that is not available.
        why: String,
    },
    /// The guard failed, or its records cannot be right.
    #[error("{0}")]
    Guard(String),
    /// Its actor failed.
    #[error("{actor}: {source}")]
    Actor {
        /// The actor's name.
        actor: String,
        /// Its error.
        source: ActorError,
    },
}

impl AttemptError {
    /// Returns whether the actor is lost and no further attempt can be made with it.
    pub(crate) fn is_fatal(&self) -> bool {
        matches!(self, Self::Actor { source: ActorError::Died(_) | ActorError::Channel(_), .. })
    }
}

/// Who acts in a pass.
#[derive(Debug)]
pub(crate) enum Actors<'a> {
    /// One running actor plays every actor: a control.
    Single(&'a mut RunningActor),
    /// Each actor plays itself.
    Each {
        /// [`Actor::Host`], if any attempt is the host's.
        host: Option<Box<RunningActor>>,
        /// In the order they were set up, so that children come after their parents.
        containers: Vec<(ContainerName, RunningActor)>,
    },
}

impl Actors<'_> {
    /// Returns who plays an actor.
    pub(crate) fn player(&mut self, actor: &Actor) -> Result<&mut RunningActor, AttemptError> {
        let found = match (self, actor) {
            (Self::Single(actor), _) => Some(&mut **actor),
            (Self::Each { host, .. }, Actor::Host) => host.as_deref_mut(),
            (Self::Each { containers, .. }, Actor::Container(name)) => {
                containers.iter_mut().find(|(has, _)| has == name).map(|(_, actor)| actor)
            }
        };
        found.ok_or_else(|| unobtainable(title(actor), "this case has none"))
    }

    /// Ends whoever plays an actor, unless it plays others as well.
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
            // Children end before their parents, whose death would kill them.
            while containers.pop().is_some() {}
        }
    }
}

/// Makes the error of an attempt that failed with its actor.
pub(crate) fn failed(actor: &Actor, source: ActorError) -> AttemptError {
    AttemptError::Actor { actor: title(actor), source }
}

pub(super) fn unobtainable(what: impl Into<String>, why: &str) -> AttemptError {
    AttemptError::Unobtainable { what: what.into(), why: why.to_owned() }
}

/// Returns an actor's name in messages.
pub(crate) fn title(actor: &Actor) -> String {
    match actor {
        Actor::Host => "the host".to_owned(),
        Actor::Container(name) => format!("container `{name}`"),
    }
}
