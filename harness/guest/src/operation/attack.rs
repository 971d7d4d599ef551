//! Attacks on the guard, each with the system calls that an attacker would make.
//!
//! A control makes the same attack on something of the same kind that is the actor's own: it shows whether the kernel does
//! such a thing at all.

mod calls;
mod objects;
mod pins;
mod process;
mod stand_in;

use harness_protocol::{
    outcome::Answer,
    plan::{Attack, AttackTarget},
};

pub(crate) use objects::open;
pub(crate) use stand_in::{id_of, map_of};

use super::result::{AttemptResult, OperationError, stepped};
use crate::{error::SysError, target::Target};
use stand_in::StandIn;

/// What an attack led to, if that is the same in every run; or the call that failed.
type Attacked = Result<Option<String>, SysError>;

/// Attacks the target; without one, what stands in for it.
///
/// A copy of the guest program takes the place of the target, but not that of what stands in for it.
pub(crate) fn make(way: Attack, copy: Option<&str>, target: Option<&Target>) -> Result<AttemptResult, OperationError> {
    let stand_in;
    let target = match target {
        Some(target) if copy.is_none() => target,
        Some(_) => {
            stand_in = StandIn::executing(copy.unwrap_or_default())?;
            stand_in.target()
        }
        None => {
            stand_in = StandIn::new(way)?;
            stand_in.target()
        }
    };
    let attacked = match way.target() {
        AttackTarget::Pins => pins::attack(way, target),
        AttackTarget::Objects => objects::attack(way, target),
        AttackTarget::Process => process::attack(way, target),
        AttackTarget::Calls => calls::attack(way, stand_in::hook()?),
    };
    Ok(match attacked {
        Ok(detail) => AttemptResult { answer: Answer::Ok { detail }, fd: None },
        Err(error) => stepped(Err(error)),
    })
}
