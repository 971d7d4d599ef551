//! One scenario: announced, run case by case, and cleaned up after.

use std::{rc::Rc, time::Instant};

use harness_protocol::{
    outcome::Event,
    plan::{Case, Scenario},
};

use crate::{
    case::{self, CaseError, Stage},
    context::{CaseIndex, GuestContext},
    controls::Controls,
    leftovers::{self, Inventory},
    lockdown,
    lsm::{LsmDenyHooks, SharedSwitch},
    record::{RecordError, Writer},
    sysctl::Settings,
};

/// Everything scenarios share.
pub(crate) struct SharedResources {
    /// What parties stand on.
    pub(crate) context: GuestContext,
    /// Who makes the control attempts.
    pub(crate) controls: Controls,
    /// Where outcomes go.
    pub(crate) record: Writer,
    /// What there was before the next scenario.
    pub(crate) inventory: Inventory,
    /// What scenarios with hooks share.
    pub(crate) privileged: SharedSwitch,
}

/// Runs the scenario of this number in the plan. Only a record that cannot be kept is an error; everything else is told
/// in the record.
pub(crate) fn run(world: &mut SharedResources, number: u32) -> Result<(), RecordError> {
    let plan = Rc::clone(&world.context.plan);
    let Some(scenario) = plan.scenarios.get(number as usize) else { return Ok(()) };
    world.record.add(Event::ScenarioStart { scenario: scenario.name.clone() })?;
    world.record.sync()?;
    println!("scenario {}", scenario.name);
    let start = Instant::now();
    let mut settings = Settings::default();
    let fault = match prepare(&mut settings, scenario) {
        Ok(()) => cases_below_hooks(world, number, scenario)?,
        Err(why) => Some(why),
    };
    let mut leftovers = if scenario.own_vm { Vec::new() } else { settings.restore() };
    let fault = match leftovers::settle(&world.inventory, &world.context.hierarchy, &world.controls) {
        Ok((left, now)) => {
            leftovers.extend(left);
            world.inventory = now;
            fault
        }
        Err(error) => fault.or(Some(format!("cannot look for leftovers: {error}"))),
    };
    let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    world.record.add(Event::ScenarioEnd { scenario: scenario.name.clone(), leftovers, fault, micros })
}

/// Takes the hooks the scenario wants for its cases.
fn cases_below_hooks(
    world: &mut SharedResources,
    number: u32,
    scenario: &Scenario,
) -> Result<Option<String>, RecordError> {
    match hooks(world, scenario) {
        Ok(deny_hooks) => cases(world, &deny_hooks, number, scenario),
        Err(error) => Ok(Some(error)),
    }
}

/// Makes of the machine what the scenario wants; why that failed.
fn prepare(settings: &mut Settings, scenario: &Scenario) -> Result<(), String> {
    settings.make(&scenario.sysctls).map_err(|error| error.to_string())?;
    scenario.lockdown.map_or(Ok(()), lockdown::lock)
}

fn hooks(world: &mut SharedResources, scenario: &Scenario) -> Result<LsmDenyHooks, String> {
    if world.privileged.prepare(&scenario.lsm).map_err(|error| error.to_string())? {
        // What stays is no leftover.
        world.inventory = Inventory::take().map_err(|error| error.to_string())?;
    }
    LsmDenyHooks::on(&scenario.lsm, &world.privileged).map_err(|error| error.to_string())
}

/// Runs the cases up to the first that fails; why it did.
fn cases(
    world: &mut SharedResources,
    deny_hooks: &LsmDenyHooks,
    number: u32,
    scenario: &Scenario,
) -> Result<Option<String>, RecordError> {
    for (index, case) in scenario.cases.iter().enumerate() {
        let place = CaseIndex { scenario: number, case: index as u32 };
        match one_case(world, deny_hooks, place, case) {
            Ok(()) => {}
            Err(CaseError::Record(error)) => return Err(error),
            Err(error) if scenario.cases.len() == 1 => return Ok(Some(error.to_string())),
            Err(error) => return Ok(Some(format!("case {index}: {error}"))),
        }
    }
    Ok(None)
}

/// Runs a case with its settings.
fn one_case(
    world: &mut SharedResources,
    deny_hooks: &LsmDenyHooks,
    place: CaseIndex,
    case: &Case,
) -> Result<(), CaseError> {
    let SharedResources { context, controls, record, .. } = world;
    let mut settings = Settings::default();
    let made = settings.make(&case.sysctls).map_err(CaseError::Setting);
    let run = made.and_then(|()| case::run(&mut Stage { context, controls, record, deny_hooks }, place, case));
    match settings.restore() {
        failed if failed.is_empty() => run,
        failed => run.and(Err(CaseError::NotRestored(failed.join("; ")))),
    }
}
