//! One scenario: announced, run case by case, and cleaned up after.

use std::{rc::Rc, time::Instant};

use harness_model::{outcome::Event, plan::Scenario};

use crate::{
    case::{self, CaseError, Stage},
    cgroup::Hierarchy,
    controls::Controls,
    leftovers::{self, Inventory},
    record::{RecordError, Writer},
    sysctl::Settings,
};

/// Everything scenarios share.
pub(crate) struct World {
    /// Where cgroups are made.
    pub(crate) hierarchy: Rc<Hierarchy>,
    /// Who makes the control attempts.
    pub(crate) controls: Controls,
    /// Where outcomes go.
    pub(crate) record: Writer,
    /// What there was before the next scenario.
    pub(crate) inventory: Inventory,
}

/// Runs a scenario. Only a record that cannot be kept is an error; everything else is told in the record.
pub(crate) fn run(world: &mut World, scenario: &Scenario) -> Result<(), RecordError> {
    world.record.add(Event::ScenarioStart { scenario: scenario.name.clone() })?;
    world.record.sync()?;
    println!("scenario {}", scenario.name);
    let start = Instant::now();
    let mut settings = Settings::default();
    let fault = match settings.make(&scenario.sysctls) {
        Ok(()) => cases(world, scenario)?,
        Err(error) => Some(error.to_string()),
    };
    let mut leftovers = if scenario.own_vm { Vec::new() } else { settings.restore() };
    let fault = match leftovers::settle(&world.inventory, &world.hierarchy, &world.controls) {
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

/// Runs the cases up to the first that fails; why it did.
fn cases(world: &mut World, scenario: &Scenario) -> Result<Option<String>, RecordError> {
    let World { hierarchy, controls, record, .. } = world;
    let mut stage = Stage { hierarchy, controls, record };
    for (number, case) in scenario.cases.iter().enumerate() {
        match case::run(&mut stage, number as u32, case) {
            Ok(()) => {}
            Err(CaseError::Record(error)) => return Err(error),
            Err(error) if scenario.cases.len() == 1 => return Ok(Some(error.to_string())),
            Err(error) => return Ok(Some(format!("case {number}: {error}"))),
        }
    }
    Ok(None)
}
