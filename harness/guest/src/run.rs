//! The whole run: from the plan to the last line of the record.

use std::{path::Path, rc::Rc};

use harness_protocol::{
    name::ScenarioName,
    outcome::Event,
    plan::{FORMAT, GlobalEffect, Plan},
};
use rustix::process::{Resource, Rlimit};
use thiserror::Error;

use crate::{
    bpf,
    cgroup::Hierarchy,
    context::GuestContext,
    controls::Controls,
    error::{During, SysError},
    kernel::{self, KernelError},
    kernel_types::{self, KernelTypesError},
    leftovers::Inventory,
    lsm::SharedSwitch,
    object::library::{self, LibraryError},
    plan::{self, PlanError},
    record::{RecordError, Writer},
    scenario::{self, SharedResources},
};

/// Why a run ended early. It is in the record too, as far as there is one.
#[derive(Debug, Error)]
pub(crate) enum RunError {
    /// There is no plan to follow.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The kernel is another.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// Its types cannot be told.
    #[error(transparent)]
    Types(#[from] KernelTypesError),
    /// The machine cannot be prepared.
    #[error("cannot prepare the machine: {0}")]
    Machine(#[from] SysError),
    /// The object files cannot be read.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// A scenario would reach others on the machine.
    #[error("scenario {scenario} is not run on a machine that others live on: it {}", reach.as_str())]
    GlobalEffect {
        /// Which.
        scenario: ScenarioName,
        /// How.
        reach: GlobalEffect,
    },
    /// A measurement failed.
    #[error("cannot measure: {0}")]
    Bench(String),
    /// The record cannot be kept.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// What machine a plan is followed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MachineKind {
    /// A VM made for it.
    Vm,
    /// One that others live on.
    Live,
}

/// Follows the plan in a run folder.
pub(crate) fn run(folder: &Path, machine_kind: MachineKind) -> Result<(), RunError> {
    let mut record = Writer::create(folder)?;
    match prepare(folder, machine_kind) {
        Ok((plan, machine)) => follow(machine.with(plan, record)),
        Err(error) => {
            record.add(Event::Fault { message: error.to_string() })?;
            record.sync()?;
            Err(error)
        }
    }
}

/// What scenarios share, for a plan that was not read.
pub(crate) fn open(folder: &Path, plan: Plan) -> Result<SharedResources, RunError> {
    let record = Writer::create(folder)?;
    Ok(Machine::prepare()?.with(plan, record))
}

fn prepare(folder: &Path, machine_kind: MachineKind) -> Result<(Plan, Machine), RunError> {
    let plan = plan::read(folder)?;
    if machine_kind == MachineKind::Live {
        refuse_reach(&plan)?;
    }
    kernel::prove(&plan.kernel)?;
    kernel_types::prepare(&plan)?;
    library::open(folder)?;
    Ok((plan, Machine::prepare()?))
}

/// Nothing is attempted on a machine that others live on if anything in the plan would reach them.
fn refuse_reach(plan: &Plan) -> Result<(), RunError> {
    let reaching = plan.scenarios.iter().find_map(|scenario| Some((scenario, scenario.reach()?)));
    reaching.map_or(Ok(()), |(scenario, reach)| Err(RunError::GlobalEffect { scenario: scenario.name.clone(), reach }))
}

/// The machine, made ready for scenarios.
struct Machine {
    hierarchy: Rc<Hierarchy>,
    inventory: Inventory,
}

impl Machine {
    fn prepare() -> Result<Self, SysError> {
        let hierarchy = Rc::new(Hierarchy::open()?);
        allow_many_files()?;
        // Orphans of containers come to us, so that none can hide among the children of pid 1.
        let own = rustix::process::getpid();
        rustix::process::set_child_subreaper(Some(own)).during(|| "prctl PR_SET_CHILD_SUBREAPER")?;
        bpf::settle();
        Ok(Self { hierarchy, inventory: Inventory::take()? })
    }

    fn with(self, plan: Plan, record: Writer) -> SharedResources {
        let context = GuestContext { hierarchy: self.hierarchy, plan: Rc::new(plan) };
        SharedResources {
            controls: Controls::new(&context),
            context,
            record,
            inventory: self.inventory,
            privileged: SharedSwitch::default(),
        }
    }
}

fn follow(mut world: SharedResources) -> Result<(), RunError> {
    world.record.add(Event::Hello { format: FORMAT, release: kernel::release() })?;
    let scenarios = world.context.plan.scenarios.len() as u32;
    for number in 0..scenarios {
        scenario::run(&mut world, number)?;
    }
    world.record.add(Event::End { scenarios })?;
    world.record.sync()?;
    Ok(())
}

/// A case keeps a descriptor for each object it saves, in each of its passes. A root that may not raise the limit has as
/// many as it allows.
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
