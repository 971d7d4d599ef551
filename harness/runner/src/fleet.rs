//! All VMs of a run, over all kernels: which starts when, and what each of them answers.
//!
//! What a kernel's VMs are to do is cut into batches; the batches of all kernels wait in one queue, the longest first. A
//! worker takes the next when the host has memory for it. Which outcomes there are does not depend on how many run.

mod decision;
mod line;
mod load;
mod memory;

use std::{
    fmt,
    num::{NonZeroUsize, ParseIntError},
    str::FromStr,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use harness_builder::cache::{Area, Lock};
use harness_model::{expand::Expanded, outcome::ScenarioOutcome};

use crate::{
    batches::{Batch, batches, size_of_micros, sized},
    launch::{Host, Launch, LaunchError},
    report::Naming,
    supplies::Supplies,
    testbed::Testbed,
};
use decision::{Decision, Yard, decide};
use line::Line;
use load::Load;

/// What a VM takes beside its guest's memory, in MiB: QEMU itself, its translated code and the process that holds it. QEMU was
/// seen to have 127 MiB resident without the guest's under emulation, of which the code grows with what the guest does.
const OVERHEAD_MIB: u64 = 256;

/// How often a VM that waits for memory looks again.
const LOOK: Duration = Duration::from_secs(1);

/// How many VMs run at a time at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jobs(NonZeroUsize);

impl Default for Jobs {
    /// One a processor: a VM has one of its own, with KVM as without.
    fn default() -> Self {
        Self(thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))
    }
}

impl Jobs {
    /// One of so many equal parts, and at least one job.
    #[must_use]
    pub fn share(self, parts: usize) -> Self {
        Self(NonZeroUsize::new(self.0.get() / parts.max(1)).unwrap_or(NonZeroUsize::MIN))
    }
}

impl FromStr for Jobs {
    type Err = ParseIntError;

    /// Reads a number above 0.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What one testbed's VMs are to do.
pub struct Order<'a> {
    /// The testbed.
    pub testbed: &'a Testbed<'a>,
    /// The scenarios whose outcomes are wanted.
    pub wanted: Vec<&'a Expanded>,
    /// Whether an outcome differs from what is recorded or expected.
    pub differs: Box<dyn Fn(&ScenarioOutcome) -> bool + Sync + 'a>,
}

impl Order<'_> {
    fn missing(&self) -> Vec<&Expanded> {
        self.wanted.iter().copied().filter(|expanded| self.testbed.load(expanded).is_none()).collect()
    }
}

/// All VMs that run at a time.
#[derive(Debug)]
pub struct Fleet {
    jobs: Jobs,
    yard: Mutex<Yard>,
    changed: Condvar,
}

/// A batch that waits for its VM.
struct Job<'a> {
    /// Index of its load.
    load: usize,
    batch: Batch,
    line: Line<'a>,
    /// In MiB.
    need: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fleet {
    /// So many VMs at a time at most; none runs yet.
    pub fn of(jobs: Jobs) -> Self {
        Self { jobs, yard: Mutex::default(), changed: Condvar::new() }
    }

    /// Sees to it that the store knows what each order wants, and boots VMs for what it does not know. One result an
    /// order: a kernel that cannot be used costs no other one anything.
    ///
    /// While one process boots VMs of a kernel, another waits and then finds the outcomes in the store.
    ///
    /// # Errors
    /// [`LaunchError`] if there is no QEMU, or nowhere to run it.
    pub fn fulfil(
        &self,
        supplies: &Supplies,
        orders: &[Order<'_>],
    ) -> Result<Vec<Result<(), LaunchError>>, LaunchError> {
        let mut results: Vec<Result<(), LaunchError>> = orders.iter().map(|_| Ok(())).collect();
        let mut open: Vec<usize> = (0..orders.len()).filter(|&index| !orders[index].missing().is_empty()).collect();
        if open.is_empty() {
            return Ok(results);
        }
        let naming = Naming::of(orders.iter().map(|order| order.testbed.ground()));
        let has_vms = open.iter().any(|&index| !orders[index].testbed.is_here());
        let host = has_vms.then(|| Host::ready(supplies)).transpose()?;
        // Always in the same order: two processes that want several locks would else wait for each other.
        open.sort_by_key(|&index| orders[index].testbed.lock_name());
        let locks =
            open.iter().map(|&index| take_lock(supplies, orders[index].testbed)).collect::<Result<Vec<_>, _>>()?;
        let (mut loads, mut queue) = (Vec::new(), Vec::new());
        for (&index, lock) in open.iter().zip(locks) {
            let order = &orders[index];
            let missing = order.missing();
            if missing.is_empty() {
                continue;
            }
            let name = naming.name(order.testbed.ground());
            match Launch::prepare(order.testbed, host.as_ref(), &name) {
                Err(error) => results[index] = Err(error),
                Ok(launch) => {
                    queue.extend(jobs(order, &name, loads.len(), &missing, self.jobs.share(open.len())));
                    let left = queue.iter().filter(|job| job.load == loads.len()).count();
                    loads.push((index, Load::new(order, launch, lock, left)));
                }
            }
        }
        self.run(queue, &loads.iter().map(|(_, load)| load).collect::<Vec<_>>());
        for (index, load) in loads {
            results[index] = load.result();
        }
        Ok(results)
    }

    fn run(&self, mut queue: Vec<Job<'_>>, loads: &[&Load<'_>]) {
        queue.sort_by_key(|job| std::cmp::Reverse(job.batch.size));
        let workers = self.jobs.0.get().min(queue.len());
        let queue = Mutex::new(queue);
        thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    while let Some(job) = self.next(&queue, loads) {
                        let _place = Place { fleet: self, need: job.need };
                        let load = loads[job.load];
                        if !load.carry_out(&job.batch, job.line) {
                            drop_rest(&mut lock(&queue), job.load, load);
                        }
                    }
                });
            }
        });
    }

    /// Waits until the host has room for one of the jobs, and takes it.
    fn next<'a>(&self, queue: &Mutex<Vec<Job<'a>>>, loads: &[&Load<'_>]) -> Option<Job<'a>> {
        let mut yard = lock(&self.yard);
        loop {
            let mut queue = lock(queue);
            let needs: Vec<u64> = queue.iter().map(|job| job.need).collect();
            let free = memory::free_mib();
            match decide(&needs, &yard, self.jobs.0.get(), free, Instant::now()) {
                Decision::Nothing => return None,
                Decision::Start(index) => {
                    let job = queue.remove(index);
                    yard.enter(job.need);
                    return Some(job);
                }
                Decision::Refuse { free_mib } => {
                    let job = queue.remove(0);
                    let load = loads[job.load];
                    load.fail(LaunchError::Memory { kernel: load.kernel().clone(), needs_mib: job.need, free_mib });
                    drop_rest(&mut queue, job.load, load);
                    continue;
                }
                Decision::AwaitMemory { free_mib } => {
                    yard.starve(Instant::now());
                    queue[0].line.waiting(needs[0], free_mib);
                }
                Decision::AwaitJob => {}
            }
            drop(queue);
            yard = self.changed.wait_timeout(yard, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The place of a running VM, free again when dropped.
struct Place<'a> {
    fleet: &'a Fleet,
    need: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        lock(&self.fleet.yard).leave(self.need);
        self.fleet.changed.notify_all();
    }
}

fn take_lock(supplies: &Supplies, testbed: &Testbed<'_>) -> Result<Lock, LaunchError> {
    Ok(supplies.cache.entry(Area::Store, &testbed.lock_name())?.lock(&supplies.progress)?)
}

/// What is missing, cut into batches for so many VMs at a time.
fn jobs<'a>(order: &Order<'a>, name: &str, load: usize, missing: &[&Expanded], vms: Jobs) -> Vec<Job<'a>> {
    let testbed = order.testbed;
    let store = &testbed.supplies.store;
    let mut all = sized(missing);
    for (expanded, size) in &mut all {
        if let Some(micros) = store.micros(&testbed.identity.artefacts, &expanded.plan) {
            *size = size_of_micros(micros);
        }
    }
    let need = u64::from(testbed.memory_mib()) + OVERHEAD_MIB;
    // Two runs on one machine would take each other's objects for leftovers.
    let vms = if testbed.is_here() { 1 } else { vms.0.get() };
    let batches = batches(&all, vms);
    let count = batches.len();
    let job = |(number, batch): (usize, Batch)| {
        let line = Line::of(&testbed.supplies.progress, name, (number + 1, count), batch.scenarios.len());
        Job { load, batch, line, need }
    };
    batches.into_iter().enumerate().map(job).collect()
}

/// A kernel that does not come up once does not do so for its other batches.
fn drop_rest(queue: &mut Vec<Job<'_>>, index: usize, load: &Load<'_>) {
    let before = queue.len();
    queue.retain(|job| job.load != index);
    load.skip(before - queue.len());
}
