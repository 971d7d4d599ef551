//! Carries out a plan: boots a guest, follows the record it writes, and boots another for what a dead one left undone.
//!
//! The guest's own record in the shared folder is the only source of results. What the VM layer tells is used for two
//! things: to see that the guest is dead, and to keep its last words. Whatever a guest does, a scenario ends in exactly
//! one [`ScenarioOutcome`], or the session ends in a [`SessionError`], which is never a verdict.

mod deadline;
mod error;
mod folder;
mod follow;
mod host_machine;
mod machine;
mod notice;
mod record;
mod record_checker;

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

use follow::{Death, Ending, follow};
use record_checker::RecordChecker;

/// How many VMs in a row may die on the host's side before their guests did anything. `vmtest` gives up on a guest that
/// is slow to answer, and on a busy host any may be.
const STILLBIRTHS: u32 = 3;

/// What a session came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// One for each scenario of the plan, in its order.
    pub outcomes: Vec<ScenarioOutcome>,
    /// Each VM that was needed.
    pub vms: Vec<VmTimes>,
}

/// Carries out a plan on a machine, in as many VMs as it takes.
///
/// Every VM brings at least one scenario to its outcome, or ends the session, or is one of few that the host failed to
/// boot, so this ends.
///
/// # Errors
/// [`SessionError`] if no guest can be brought to run the scenarios; outcomes reached until then were told by
/// [`Notice::Ended`] alone.
pub fn run(
    plan: &Plan,
    machine: &dyn Machine,
    folder: &RunFolder,
    deadlines: Deadlines,
    watch: &mut dyn FnMut(Notice<'_>),
) -> Result<Session, SessionError> {
    if plan.format != FORMAT {
        return Err(SessionError::Format(plan.format));
    }
    let mut session = Session { outcomes: Vec::new(), vms: Vec::new() };
    let mut stillbirths = 0;
    while session.outcomes.len() < plan.scenarios.len() {
        let rest = Plan { scenarios: plan.scenarios[session.outcomes.len()..].to_vec(), ..plan.clone() };
        let vm = u32::try_from(session.vms.len() + 1).unwrap_or(u32::MAX);
        watch(Notice::Booting { vm });
        let guest = GuestFolder::create(&folder.path().join(format!("vm-{vm}")), &rest)?;
        let mut account = RecordChecker::new(&rest);
        let (ending, times) = follow(machine, &guest, &mut account, deadlines, watch)?;
        session.vms.push(times);
        stillbirths = if is_stillborn(&ending, &account) { stillbirths + 1 } else { 0 };
        if let Ending::Dead { how, .. } = &ending
            && (1..STILLBIRTHS).contains(&stillbirths)
        {
            watch(Notice::Stillborn { how });
            continue;
        }
        let charged = settle(ending, &mut account)?;
        charged.iter().for_each(|outcome| watch(Notice::Ended(outcome)));
        session.outcomes.extend(account.into_outcomes());
    }
    Ok(session)
}

/// Whether a VM was lost by the host before its guest started a scenario.
fn is_stillborn(ending: &Ending, account: &RecordChecker<'_>) -> bool {
    matches!(ending, Ending::Dead { by: Death::Host, .. }) && !account.has_begun()
}

/// Charges the end of a VM to the scenario it ran; returns that scenario's outcome, if there is one.
fn settle(ending: Ending, account: &mut RecordChecker<'_>) -> Result<Option<ScenarioOutcome>, SessionError> {
    match ending {
        Ending::Complete => Ok(None),
        Ending::Refused(message) => Err(SessionError::Refused(message)),
        Ending::GaveUp(message) => Ok(account.fault(format!("the guest gave up: {message}"))),
        Ending::Lied(lie) => match account.fault(format!("the guest's record cannot be trusted: {lie}")) {
            Some(outcome) => Ok(Some(outcome)),
            None => Err(SessionError::Untrusted(lie)),
        },
        Ending::Dead { how, console, .. } => match account.crash(how.clone(), console.clone()) {
            Some(outcome) => Ok(Some(outcome)),
            None if account.has_outcomes() => Ok(None),
            None => Err(SessionError::NothingStarted { how, console }),
        },
    }
}
