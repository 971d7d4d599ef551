//! A whole run: from the plan to the last line of the record.

use std::{
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use harness_protocol::{
    name::ScenarioName,
    outcome::{ConsoleMark, Event},
    plan::{FORMAT, GUARD_PROGRAM, GlobalEffect, Plan},
};
use rustix::process::{Resource, Rlimit};
use thiserror::Error;

use crate::{
    cgroup::Hierarchy,
    context::GuestContext,
    controls::Controls,
    error::{During, SysError},
    guard::{Guard, GuardError, Keep},
    kernel::{self, KernelError},
    kernel_types::{self, KernelTypesError},
    kmsg,
    leftovers::Inventory,
    library::{self, LibraryError},
    lsm::SharedSwitch,
    object,
    plan::{self, PlanError},
    record::{RecordError, Writer},
    scenario::{self, SharedResources},
};

/// How long this program stays after its last record. The host ends the VM as soon as it has read everything.
const FAREWELL: Duration = Duration::from_secs(20);

/// Why a run ended early. If there is a record, it contains the error too.
#[derive(Debug, Error)]
pub(crate) enum RunError {
    /// There is no usable plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The kernel is not the expected one.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The kernel's types cannot be read.
    #[error(transparent)]
    Types(#[from] KernelTypesError),
    /// The machine cannot be prepared.
    #[error("cannot prepare the machine: {0}")]
    Machine(#[from] SysError),
    /// The console cannot be marked.
    #[error("cannot mark the console: {0}")]
    Console(SysError),
    /// The object files cannot be read.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// A scenario would affect others on the machine.
    #[error("scenario {scenario} cannot run in host mode: it {}", effect.as_str())]
    GlobalEffect {
        /// The scenario.
        scenario: ScenarioName,
        /// The effect.
        effect: GlobalEffect,
    },
    /// The guard of the session does not start.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// A measurement failed.
    #[error("cannot measure: {0}")]
    Bench(String),
    /// The record cannot be kept.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// The kind of machine that a plan runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MachineKind {
    /// A VM made for it.
    Vm,
    /// The machine's own kernel: host mode.
    HostMode,
}

/// Carries out the plan in a run folder.
pub(crate) fn run(folder: &Path, machine_kind: MachineKind) -> Result<(), RunError> {
    let mut record = Writer::create(folder)?;
    match prepare(folder, machine_kind) {
        Ok((plan, machine)) => carry_out(machine.with(plan, record)),
        Err(error) => {
            record.add(Event::Fault { message: error.to_string() })?;
            record.sync()?;
            Err(error)
        }
    }
}

/// Opens what scenarios share, for a plan that was not read from a file.
pub(crate) fn open(folder: &Path, plan: Plan) -> Result<SharedResources, RunError> {
    let record = Writer::create(folder)?;
    Ok(Machine::prepare(folder, &plan)?.with(plan, record))
}

fn prepare(folder: &Path, machine_kind: MachineKind) -> Result<(Plan, Machine), RunError> {
    let plan = plan::read(folder)?;
    if machine_kind == MachineKind::HostMode {
        refuse_global_effects(&plan)?;
    }
    kernel::prove(&plan.kernel)?;
    kernel_types::prepare(&plan)?;
    library::open(folder)?;
    let machine = Machine::prepare(folder, &plan)?;
    Ok((plan, machine))
}

/// Refuses the whole plan if any scenario would affect others on the machine.
fn refuse_global_effects(plan: &Plan) -> Result<(), RunError> {
    let offending = plan.scenarios.iter().find_map(|scenario| Some((scenario, scenario.global_effect()?)));
    offending
        .map_or(Ok(()), |(scenario, effect)| Err(RunError::GlobalEffect { scenario: scenario.name.clone(), effect }))
}

/// The machine, prepared for scenarios.
struct Machine {
    folder: PathBuf,
    guard: Option<Guard>,
    hierarchy: Rc<Hierarchy>,
    inventory: Inventory,
    taint: u64,
}

impl Machine {
    fn prepare(folder: &Path, plan: &Plan) -> Result<Self, RunError> {
        let hierarchy = Rc::new(Hierarchy::open()?);
        allow_many_files()?;
        // Orphans of containers become our children, so that none can hide among those of pid 1.
        let own = rustix::process::getpid();
        rustix::process::set_child_subreaper(Some(own)).during(|| "prctl PR_SET_CHILD_SUBREAPER")?;
        object::trigger_probes();
        let start = |guard| Guard::start(&folder.join(GUARD_PROGRAM), guard, Keep::Nothing);
        let guard = plan.guard.as_ref().map(start).transpose()?;
        let (inventory, taint) = (Inventory::take()?, kernel::taint()?);
        Ok(Self { folder: folder.to_owned(), guard, hierarchy, inventory, taint })
    }

    fn with(self, plan: Plan, record: Writer) -> SharedResources {
        let context = GuestContext { hierarchy: self.hierarchy, plan: Rc::new(plan) };
        SharedResources {
            controls: Controls::new(&context),
            context,
            record,
            inventory: self.inventory,
            lsm_switch: SharedSwitch::default(),
            guard_program: self.folder.join(GUARD_PROGRAM),
            run_folder: self.folder,
            session_guard: self.guard,
            taint: self.taint,
        }
    }
}

fn carry_out(mut shared: SharedResources) -> Result<(), RunError> {
    shared.record.add(Event::Hello { format: FORMAT, release: kernel::release() })?;
    let scenarios = shared.context.plan.scenarios.len() as u32;
    for number in 0..scenarios {
        scenario::run(&mut shared, number)?;
    }
    if shared.context.plan.marks_console {
        kmsg::mark(&ConsoleMark::End).map_err(RunError::Console)?;
    }
    if let Some(guard) = shared.session_guard.take() {
        guard.stop()?;
    }
    shared.record.add(Event::End { scenarios })?;
    shared.record.sync()?;
    if shared.context.plan.marks_console {
        // The end of this program would end the VM, possibly before the host has read the console to its last mark.
        std::thread::sleep(FAREWELL);
    }
    Ok(())
}

/// Raises the limit of open files: a case keeps a descriptor for each saved object, in each pass. A root that may not
/// raise the hard limit gets as many as it allows.
fn allow_many_files() -> Result<(), SysError> {
    const FILES: Option<u64> = Some(1 << 16);
    let limit = Rlimit { current: FILES, maximum: FILES };
    match rustix::process::setrlimit(Resource::Nofile, limit) {
        Err(rustix::io::Errno::PERM) => {
            let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
            rustix::process::setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        }
        other => other,
    }
    .during(|| "setrlimit RLIMIT_NOFILE")
}

#[cfg(test)]
mod tests {
    use harness_protocol::plan::{ExpectedKernel, Scenario};

    use super::*;

    #[test]
    fn host_mode_refuses_a_plan_with_a_global_effect() {
        let plan = |own_vm| {
            let scenario = Scenario { own_vm, ..Scenario::new("token/own-vm".parse().unwrap(), 1, Vec::new()) };
            Plan {
                format: FORMAT,
                kernel: ExpectedKernel::default(),
                marks_console: false,
                guard: None,
                scenarios: vec![scenario],
            }
        };
        assert!(refuse_global_effects(&plan(false)).is_ok());
        insta::assert_snapshot!(
            refuse_global_effects(&plan(true)).unwrap_err(),
            @"scenario token/own-vm cannot run in host mode: it needs a VM of its own"
        );
    }
}
