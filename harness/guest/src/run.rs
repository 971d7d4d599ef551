//! The whole run: from the plan to the last line of the record.

use std::{path::Path, rc::Rc};

use harness_model::{
    outcome::Event,
    plan::{FORMAT, Plan},
};
use rustix::process::{Resource, Rlimit};
use thiserror::Error;

use crate::{
    bpf,
    cgroup::Hierarchy,
    controls::Controls,
    error::{During, SysError},
    kernel::{self, KernelError},
    leftovers::Inventory,
    plan::{self, PlanError},
    record::{RecordError, Writer},
    scenario::{self, World},
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
    /// The machine cannot be prepared.
    #[error("cannot prepare the machine: {0}")]
    Machine(#[from] SysError),
    /// A measurement failed.
    #[error("cannot measure: {0}")]
    Bench(String),
    /// The record cannot be kept.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Follows the plan in a run folder.
pub(crate) fn run(folder: &Path) -> Result<(), RunError> {
    let mut record = Writer::create(folder)?;
    match prepare(folder) {
        Ok((plan, machine)) => follow(&plan, machine.with(record)),
        Err(error) => {
            record.add(Event::Fault { message: error.to_string() })?;
            record.sync()?;
            Err(error)
        }
    }
}

/// What scenarios share, without a plan.
pub(crate) fn open(folder: &Path) -> Result<World, RunError> {
    let record = Writer::create(folder)?;
    Ok(Machine::prepare()?.with(record))
}

fn prepare(folder: &Path) -> Result<(Plan, Machine), RunError> {
    let plan = plan::read(folder)?;
    kernel::prove(&plan.kernel)?;
    Ok((plan, Machine::prepare()?))
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

    fn with(self, record: Writer) -> World {
        let controls = Controls::new(&self.hierarchy);
        World { hierarchy: self.hierarchy, controls, record, inventory: self.inventory }
    }
}

fn follow(plan: &Plan, mut world: World) -> Result<(), RunError> {
    world.record.add(Event::Hello { format: FORMAT, release: kernel::release() })?;
    for scenario in &plan.scenarios {
        scenario::run(&mut world, scenario)?;
    }
    world.record.add(Event::End { scenarios: plan.scenarios.len() as u32 })?;
    world.record.sync()?;
    Ok(())
}

/// A case keeps a descriptor for each object it saves, in each of its passes.
fn allow_many_files() -> Result<(), SysError> {
    const FILES: Option<u64> = Some(1 << 16);
    let limit = Rlimit { current: FILES, maximum: FILES };
    rustix::process::setrlimit(Resource::Nofile, limit).during(|| "setrlimit RLIMIT_NOFILE")
}
