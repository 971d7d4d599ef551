//! One scenario: it is announced, run case by case, and cleaned up.

use std::{
    path::{Path, PathBuf},
    rc::Rc,
    time::Instant,
};

use harness_protocol::{
    outcome::{ConsoleMark, Event},
    plan::{self, Case, Scenario},
};

use crate::{
    case::{self, CaseError, Stage},
    context::{CaseIndex, GuestContext},
    controls::Controls,
    copies::Copies,
    error::SysError,
    exec::placed::Placed,
    guard::{Guard, Keep},
    kernel, kmsg,
    leftovers::{self, Inventory, Remaining},
    lockdown,
    lsm::{LsmDenyHooks, SharedSwitch},
    record::{RecordError, Writer},
    sysctl::Settings,
    target::Objects,
};

/// What all scenarios share.
pub(crate) struct SharedResources {
    /// The plan and the cgroup hierarchy.
    pub(crate) context: GuestContext,
    /// The actors of the controls.
    pub(crate) controls: Controls,
    /// Where outcomes are recorded.
    pub(crate) record: Writer,
    /// What existed before the current scenario.
    pub(crate) inventory: Inventory,
    /// The switch of the LSM programs.
    pub(crate) lsm_switch: SharedSwitch,
    /// The run folder.
    pub(crate) run_folder: PathBuf,
    /// The guard's program.
    pub(crate) guard_program: PathBuf,
    /// The guard of scenarios that have none of their own.
    pub(crate) session_guard: Option<Guard>,
    /// The kernel's taint flags before the current scenario.
    pub(crate) taint: u64,
}

/// Runs the scenario with this index in the plan. It fails only if the record cannot be kept; everything else is
/// recorded.
pub(crate) fn run(shared: &mut SharedResources, number: u32) -> Result<(), RecordError> {
    let plan = Rc::clone(&shared.context.plan);
    let Some(scenario) = plan.scenarios.get(number as usize) else { return Ok(()) };
    let marked = if plan.marks_console { kmsg::mark(&ConsoleMark::Scenario(scenario.name.clone())) } else { Ok(()) };
    shared.record.add(Event::ScenarioStart { scenario: scenario.name.clone() })?;
    shared.record.sync()?;
    println!("scenario {}", scenario.name);
    let start = Instant::now();
    let mut settings = Settings::default();
    let marked = marked.map_err(|error| format!("cannot mark the console: {error}"));
    let prepared = marked.and_then(|()| prepare(&mut settings, scenario));
    let placed = prepared.and_then(|()| Placed::put(&shared.run_folder, scenario, Path::new("/")));
    let fault = match placed {
        Ok(_placed) => cases_under_guard(shared, number, scenario)?,
        Err(why) => Some(why),
    };
    let mut leftovers = if scenario.own_vm { Vec::new() } else { settings.restore() };
    let guard = shared.session_guard.as_ref().map(Guard::pid);
    let patience = if scenario.guard.is_some() { leftovers::PATIENCE_AFTER_GUARD } else { leftovers::PATIENCE };
    let remaining = Remaining { controls: &shared.controls, guard, patience };
    let fault = match leftovers::wait(&shared.inventory, &shared.context.hierarchy, &remaining) {
        Ok((left, now)) => {
            leftovers.extend(left);
            shared.inventory = now;
            fault
        }
        Err(error) => fault.or(Some(format!("cannot look for leftovers: {error}"))),
    };
    let (tainted, fault) = match kernel::taint() {
        Ok(taint) => (taint & !std::mem::replace(&mut shared.taint, taint), fault),
        Err(error) => (0, fault.or(Some(error.to_string()))),
    };
    let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    shared.record.add(Event::ScenarioEnd { scenario: scenario.name.clone(), leftovers, fault, micros, tainted })
}

/// Runs the cases under the scenario's own guard, or that of the session, which is on meanwhile.
fn cases_under_guard(
    shared: &mut SharedResources,
    number: u32,
    scenario: &Scenario,
) -> Result<Option<String>, RecordError> {
    if let Some(plan) = &scenario.guard {
        let before = match Objects::take() {
            Ok(before) => before,
            Err(error) => return Ok(Some(error.to_string())),
        };
        let _copies = match Copies::make(plan) {
            Ok(copies) => copies,
            Err(error) => return Ok(Some(format!("cannot copy the guest program: {error}"))),
        };
        let mut guard = match Guard::start(&shared.guard_program, plan, Keep::Records) {
            Ok(guard) => guard,
            Err(error) => return Ok(Some(error.to_string())),
        };
        if let Err(error) = note_objects(shared, plan, &mut guard, &before) {
            return Ok(Some(error.to_string()));
        }
        let fault = cases_with_hooks(shared, Some(&mut guard), number, scenario)?;
        return Ok(fault.or(guard.stop().err().map(|error| error.to_string())));
    }
    if let Err(error) = shared.session_guard.as_mut().map_or(Ok(()), Guard::on) {
        return Ok(Some(error.to_string()));
    }
    let fault = cases_with_hooks(shared, None, number, scenario)?;
    let noticed = shared.session_guard.as_mut().map(|guard| guard.off().map(|window| window.calls()));
    let calls_bpf = scenario.cases.iter().flat_map(|case| &case.attempts).any(|attempt| attempt.call.is_bpf());
    Ok(fault.or(match noticed {
        Some(Ok(0)) if calls_bpf => Some("the guard noticed no call of bpf(2)".to_owned()),
        Some(Err(error)) => Some(error.to_string()),
        Some(Ok(_)) | None => None,
    }))
}

/// Finds out what the guard's objects are, by what existed before it: an attack needs their ids. What is pinned outlasts
/// the scenario.
fn note_objects(
    shared: &mut SharedResources,
    plan: &plan::Guard,
    guard: &mut Guard,
    before: &Objects,
) -> Result<(), SysError> {
    if !plan.early {
        guard.owns(Objects::take()?.beyond(before));
    }
    if plan.pinned {
        shared.inventory = Inventory::take()?;
    }
    Ok(())
}

/// Attaches the scenario's LSM programs and runs its cases.
fn cases_with_hooks(
    shared: &mut SharedResources,
    guard: Option<&mut Guard>,
    number: u32,
    scenario: &Scenario,
) -> Result<Option<String>, RecordError> {
    match hooks(shared, scenario) {
        Ok(deny_hooks) => cases(shared, &deny_hooks, guard, number, scenario),
        Err(error) => Ok(Some(error)),
    }
}

/// Applies the scenario's settings and lockdown. Returns why that failed.
fn prepare(settings: &mut Settings, scenario: &Scenario) -> Result<(), String> {
    settings.make(&scenario.sysctls).map_err(|error| error.to_string())?;
    scenario.lockdown.map_or(Ok(()), lockdown::lock)
}

fn hooks(shared: &mut SharedResources, scenario: &Scenario) -> Result<LsmDenyHooks, String> {
    if shared.lsm_switch.prepare(&scenario.lsm).map_err(|error| error.to_string())? {
        // The switch stays, so it is not a leftover.
        shared.inventory = Inventory::take().map_err(|error| error.to_string())?;
    }
    LsmDenyHooks::on(&scenario.lsm, &shared.lsm_switch).map_err(|error| error.to_string())
}

/// Runs the cases up to the first that fails. Returns why it failed.
fn cases(
    shared: &mut SharedResources,
    deny_hooks: &LsmDenyHooks,
    mut guard: Option<&mut Guard>,
    number: u32,
    scenario: &Scenario,
) -> Result<Option<String>, RecordError> {
    for (index, case) in scenario.cases.iter().enumerate() {
        let case_index = CaseIndex { scenario: number, case: index as u32 };
        match one_case(shared, deny_hooks, guard.as_deref_mut(), case_index, case) {
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
    shared: &mut SharedResources,
    deny_hooks: &LsmDenyHooks,
    guard: Option<&mut Guard>,
    case_index: CaseIndex,
    case: &Case,
) -> Result<(), CaseError> {
    let SharedResources { context, controls, record, .. } = shared;
    let mut settings = Settings::default();
    let made = settings.make(&case.sysctls).map_err(CaseError::Setting);
    let run =
        made.and_then(|()| case::run(&mut Stage { context, controls, record, deny_hooks, guard }, case_index, case));
    match settings.restore() {
        failed if failed.is_empty() => run,
        failed => run.and(Err(CaseError::NotRestored(failed.join("; ")))),
    }
}
