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
    ground::Ground,
    kernel::{self, KernelError},
    kernel_types::{self, KernelTypesError},
    leftovers::Inventory,
    lsm::Keeper,
    object::library::{self, LibraryError},
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
    /// Its types cannot be told.
    #[error(transparent)]
    Types(#[from] KernelTypesError),
    /// The machine cannot be prepared.
    #[error("cannot prepare the machine: {0}")]
    Machine(#[from] SysError),
    /// The object files cannot be read.
    #[error(transparent)]
    Library(#[from] LibraryError),
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
        Ok((plan, machine)) => follow(machine.with(plan, record)),
        Err(error) => {
            record.add(Event::Fault { message: error.to_string() })?;
            record.sync()?;
            Err(error)
        }
    }
}

/// What scenarios share, for a plan that was not read.
pub(crate) fn open(folder: &Path, plan: Plan) -> Result<World, RunError> {
    let record = Writer::create(folder)?;
    Ok(Machine::prepare()?.with(plan, record))
}

fn prepare(folder: &Path) -> Result<(Plan, Machine), RunError> {
    let plan = plan::read(folder)?;
    kernel::prove(&plan.kernel)?;
    kernel_types::prepare(&plan)?;
    library::open(folder)?;
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

    fn with(self, plan: Plan, record: Writer) -> World {
        let ground = Ground { hierarchy: self.hierarchy, plan: Rc::new(plan) };
        World { controls: Controls::new(&ground), ground, record, inventory: self.inventory, keeper: Keeper::default() }
    }
}

fn follow(mut world: World) -> Result<(), RunError> {
    world.record.add(Event::Hello { format: FORMAT, release: kernel::release() })?;
    let scenarios = world.ground.plan.scenarios.len() as u32;
    for number in 0..scenarios {
        scenario::run(&mut world, number)?;
    }
    world.record.add(Event::End { scenarios })?;
    world.record.sync()?;
    Ok(())
}

/// A case keeps a descriptor for each object it saves, in each of its passes.
fn allow_many_files() -> Result<(), SysError> {
    const FILES: Option<u64> = Some(1 << 16);
    let limit = Rlimit { current: FILES, maximum: FILES };
    rustix::process::setrlimit(Resource::Nofile, limit).during(|| "setrlimit RLIMIT_NOFILE")
}
