//! Sessions: carries out a plan. Boots a guest, follows the record that it writes, and boots another guest for the
//! scenarios that a dead one left.
//!
//! The guest's record in the shared folder is the only source of results. Events of the VM layer serve two purposes: to
//! notice that the guest is dead, and to keep the end of its console. Whatever a guest does, each scenario gets exactly
//! one [`ScenarioOutcome`], or the session ends with a [`SessionError`], which is never a verdict.

mod deadline;
mod error;
mod folder;
mod follow;
#[doc(hidden)]
pub mod fuzzing;
mod host_machine;
mod machine;
mod notice;
mod record;
mod record_checker;
mod splats;
mod usage;

use harness_protocol::{
    outcome::ScenarioOutcome,
    plan::{FORMAT, Plan},
};

pub use deadline::Deadlines;
pub use error::SessionError;
pub use folder::{FolderError, RunFolder};
pub use host_machine::HostMachine;
pub use machine::{FillShare, GuestFolder, Machine, MachineKind, MakeRoot, QemuMachine, Running};
pub use notice::{Notice, VmTimes};
pub use record::Damage;
pub use record_checker::ProtocolViolation;
pub use splats::IsAllowed;

use follow::{Death, Ending, Followed, follow};
use record_checker::RecordChecker;

/// How many VMs the host may lose in the middle of one scenario.
const MOST_LOSSES: u32 = 2;

/// How many VMs in a row the host may lose before their guests started. `vmtest` gives up on a guest that answers
/// slowly, and on a busy host any guest may.
const MOST_EARLY_LOSSES: u32 = 3;

/// The result of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// One outcome for each scenario of the plan, in its order.
    pub outcomes: Vec<ScenarioOutcome>,
    /// The times of each VM that was used.
    pub vms: Vec<VmTimes>,
}

/// Carries out a plan on a machine, with as many VMs as necessary: one that printed a splat is not used again.
///
/// # Errors
/// As [`run_allowing`].
pub fn run(
    plan: &Plan,
    machine: &dyn Machine,
    folder: &RunFolder,
    deadlines: Deadlines,
    watch: &mut dyn FnMut(Notice<'_>),
) -> Result<Session, SessionError> {
    run_allowing(plan, machine, folder, deadlines, &|_, _| false, watch)
}

/// Carries out a plan on a machine, with as many VMs as necessary. A VM goes on after a report of UBSAN that is allowed during all
/// scenarios that are left. The kernel does not print it again, so it is charged to each of them as well.
///
/// Every VM completes at least one scenario, or ends the session, or is one of the few that the host may lose, so this
/// terminates.
///
/// # Errors
/// [`SessionError`] if no guest runs the scenarios. Outcomes before the error are reported only by [`Notice::Ended`].
pub fn run_allowing(
    plan: &Plan,
    machine: &dyn Machine,
    folder: &RunFolder,
    deadlines: Deadlines,
    is_allowed: IsAllowed<'_>,
    watch: &mut dyn FnMut(Notice<'_>),
) -> Result<Session, SessionError> {
    if plan.format != FORMAT {
        return Err(SessionError::Format(plan.format));
    }
    let mut session = Session { outcomes: Vec::new(), vms: Vec::new() };
    let (mut early_losses, mut losses) = (0, 0);
    while session.outcomes.len() < plan.scenarios.len() {
        let rest = Plan { scenarios: plan.scenarios[session.outcomes.len()..].to_vec(), ..plan.clone() };
        let vm = u32::try_from(session.vms.len() + 1).unwrap_or(u32::MAX);
        watch(Notice::Booting { vm });
        let guest = GuestFolder::create(&folder.path().join(format!("vm-{vm}")), &rest)?;
        let mut checker = RecordChecker::new(&rest);
        let Followed { ending, splats, times } = follow(machine, &guest, &mut checker, deadlines, is_allowed, watch)?;
        session.vms.push(times);
        let lost = loss(&ending, &checker);
        early_losses = if matches!(lost, Some(Loss::Early(_))) { early_losses + 1 } else { 0 };
        losses = match lost {
            // A VM that completed a scenario has begun another one.
            Some(Loss::Within(_)) if checker.has_outcomes() => 1,
            Some(Loss::Within(_)) => losses + 1,
            _ => 0,
        };
        if let Some(Loss::Early(how) | Loss::Within(how)) = lost
            && ((1..MOST_EARLY_LOSSES).contains(&early_losses) || (1..MOST_LOSSES).contains(&losses))
        {
            let during = checker.next().filter(|_| losses > 0);
            watch(Notice::Lost { during, how });
            checker.keep(checker.completed());
        } else if settle(ending, &mut checker)?
            && let Some(charged) = checker.add_splats(checker.completed() - 1, splats, true)
        {
            watch(Notice::Ended(charged));
        }
        session.outcomes.extend(checker.into_outcomes());
    }
    Ok(session)
}

/// A VM that the host lost, with what happened.
enum Loss<'a> {
    /// Before its guest started a scenario.
    Early(&'a str),
    /// Within the first scenario that has no outcome.
    Within(&'a str),
}

fn loss<'a>(ending: &'a Ending, checker: &RecordChecker<'_>) -> Option<Loss<'a>> {
    match ending {
        Ending::Blind(how) => Some(Loss::Within(how)),
        Ending::Dead { how, by: Death::Host, .. } if checker.running().is_some() => Some(Loss::Within(how)),
        Ending::Dead { how, by: Death::Host, .. } if !checker.has_begun() => Some(Loss::Early(how)),
        _ => None,
    }
}

/// Charges the end of a VM to the running scenario, and returns whether there is one.
fn settle(ending: Ending, checker: &mut RecordChecker<'_>) -> Result<bool, SessionError> {
    match ending {
        Ending::Complete | Ending::Splat => Ok(false),
        Ending::Blind(how) => {
            checker.condemn(format!("a splat of the kernel could be missed, in {MOST_LOSSES} VMs: {how}"));
            Ok(true)
        }
        Ending::Refused(message) => Err(SessionError::Refused(message)),
        Ending::GaveUp(message) => Ok(checker.fault(format!("the guest gave up: {message}"))),
        Ending::Violation(violation) => match checker.fault(format!("invalid guest record: {violation}")) {
            true => Ok(true),
            false => Err(SessionError::Untrusted(violation)),
        },
        Ending::Exceeded(message) => match checker.fault(message.clone()) {
            true => Ok(true),
            false if checker.has_outcomes() => Ok(false),
            false => Err(SessionError::Exceeded(message)),
        },
        Ending::Dead { how, by: Death::Host, .. } if checker.running().is_some() => Ok(checker
            .fault(format!("the host lost the VM {MOST_LOSSES} times during this scenario, most recently: {how}"))),
        Ending::Dead { how, console, .. } => match checker.crash(how.clone(), console.clone()) {
            true => Ok(true),
            false if checker.has_outcomes() => Ok(false),
            false => Err(SessionError::NothingStarted { how, console }),
        },
    }
}
