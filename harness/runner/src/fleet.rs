//! All VMs of a run, over all kernels: which starts when, and what each of them answers.
//!
//! What a kernel's VMs are to do is cut into batches; the batches of all kernels wait in one queue, the longest first. A
//! worker takes the next when the host has memory for it. Which outcomes there are does not depend on how many run.

mod decision;
mod memory;
mod progress_line;
mod request;
mod request_run;

use std::{
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use harness_builder::cache::{Area, Lock};

pub use crate::capacity::{Fleet, Jobs};
use crate::{
    batches::Batch,
    capacity::lock,
    launch::{Host, Launch, LaunchError},
    report::Naming,
    resources::Resources,
    testbed::Testbed,
};
use decision::{Decision, decide};
use progress_line::ProgressLine;
use request::RequestState;
pub use request::{Fulfilled, Read, RunRequest};
use request_run::RequestRun;

/// What a VM takes beside its guest's memory, in MiB: QEMU itself, its translated code and the process that holds it. QEMU was
/// seen to have 127 MiB resident without the guest's under emulation, of which the code grows with what the guest does.
const OVERHEAD_MIB: u64 = 256;

/// How often a VM that waits for memory looks again.
const LOOK: Duration = Duration::from_secs(1);

/// A batch that waits for its VM.
struct Job<'a> {
    /// Index of its load.
    load: usize,
    batch: Batch,
    line: ProgressLine<'a>,
    /// In MiB.
    need: u64,
}

impl Fleet {
    /// What each order wants, from the store, or from VMs that are booted for what it does not know. One result an order: a
    /// kernel that cannot be used costs no other one anything.
    ///
    /// While one process boots VMs of a kernel, another waits and then finds the outcomes in the store.
    ///
    /// # Errors
    /// [`LaunchError`] if there is no QEMU, or nowhere to run it.
    pub fn fulfil<T: Send>(
        &self,
        resources: &Resources,
        orders: &[RunRequest<'_, T>],
    ) -> Result<Vec<Fulfilled<T>>, LaunchError> {
        let ledgers: Vec<RequestState<'_, T>> = orders.iter().map(|order| ledger(resources, order)).collect();
        let errors = self.complete(resources, orders, &ledgers)?;
        let fulfilled = |(ledger, error): (RequestState<'_, T>, _)| Fulfilled { read: ledger.into_read(), error };
        Ok(ledgers.into_iter().zip(errors).map(fulfilled).collect())
    }

    /// Has VMs answer what is missing; what went wrong, an error an order.
    fn complete<'a, T: Send>(
        &self,
        resources: &Resources,
        orders: &'a [RunRequest<'_, T>],
        ledgers: &[RequestState<'a, T>],
    ) -> Result<Vec<Option<LaunchError>>, LaunchError> {
        let mut errors: Vec<Option<LaunchError>> = orders.iter().map(|_| None).collect();
        let mut open: Vec<usize> = (0..orders.len()).filter(|&index| !ledgers[index].is_complete()).collect();
        if open.is_empty() {
            return Ok(errors);
        }
        let naming = Naming::of(orders.iter().map(|order| order.testbed.environment()));
        let has_vms = open.iter().any(|&index| !orders[index].testbed.is_here());
        let host = has_vms.then(|| Host::ready(resources)).transpose()?;
        // Always in the same order: two processes that want several locks would else wait for each other.
        open.sort_by_key(|&index| orders[index].testbed.lock_name());
        let locks =
            open.iter().map(|&index| take_lock(resources, orders[index].testbed)).collect::<Result<Vec<_>, _>>()?;
        let (mut loads, mut queue) = (Vec::new(), Vec::new());
        for (&index, lock) in open.iter().zip(locks) {
            let (testbed, ledger) = (orders[index].testbed, &ledgers[index]);
            // Whoever had the lock may have stored it.
            ledger.look_up();
            if ledger.is_complete() {
                continue;
            }
            let name = naming.name(testbed.environment());
            match Launch::prepare(testbed, host.as_ref(), &name) {
                Err(error) => errors[index] = Some(error),
                Ok(launch) => {
                    // Two runs on one machine would take each other's objects for leftovers.
                    let vms = if testbed.is_here() { 1 } else { self.jobs.share(open.len()).0.get() };
                    let batches = ledger.batches(vms);
                    let left = batches.len();
                    queue.extend(jobs(testbed, &name, loads.len(), batches));
                    loads.push((index, RequestRun::new(ledger, launch, lock, left)));
                }
            }
        }
        self.run(queue, &loads.iter().map(|(_, load)| load).collect::<Vec<_>>());
        for (index, load) in loads {
            errors[index] = load.error();
        }
        Ok(errors)
    }

    fn run<T: Send>(&self, mut queue: Vec<Job<'_>>, loads: &[&RequestRun<'_, '_, T>]) {
        queue.sort_by_key(|job| std::cmp::Reverse(job.batch.size));
        let workers = self.jobs.0.get().min(queue.len());
        let queue = Mutex::new(queue);
        thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    while let Some(job) = self.next(&queue, loads) {
                        let _place = VmSlot { fleet: self, need: job.need };
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
    fn next<'a, T>(&self, queue: &Mutex<Vec<Job<'a>>>, loads: &[&RequestRun<'_, '_, T>]) -> Option<Job<'a>> {
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
struct VmSlot<'a> {
    fleet: &'a Fleet,
    need: u64,
}

impl Drop for VmSlot<'_> {
    fn drop(&mut self) {
        lock(&self.fleet.yard).leave(self.need);
        self.fleet.changed.notify_all();
    }
}

fn take_lock(resources: &Resources, testbed: &Testbed<'_>) -> Result<Lock, LaunchError> {
    Ok(resources.cache.entry(Area::Store, &testbed.lock_name())?.lock(&resources.progress)?)
}

/// What an order asks, with what the store knows of it.
fn ledger<'a, T>(resources: &'a Resources, order: &'a RunRequest<'_, T>) -> RequestState<'a, T> {
    let testbed = order.testbed;
    RequestState::open(
        &resources.store,
        testbed.kernel_name(),
        &testbed.identity.artefacts,
        &order.wanted,
        &*order.read,
    )
}

fn jobs<'a>(testbed: &'a Testbed<'a>, name: &str, load: usize, batches: Vec<Batch>) -> Vec<Job<'a>> {
    let need = u64::from(testbed.memory_mib()) + OVERHEAD_MIB;
    let count = batches.len();
    let job = |(number, batch): (usize, Batch)| {
        let line = ProgressLine::of(&testbed.resources.progress, name, (number + 1, count), batch.scenarios.len());
        Job { load, batch, line, need }
    };
    batches.into_iter().enumerate().map(job).collect()
}

/// A kernel that does not come up once does not do so for its other batches.
fn drop_rest<T>(queue: &mut Vec<Job<'_>>, index: usize, load: &RequestRun<'_, '_, T>) {
    let before = queue.len();
    queue.retain(|job| job.load != index);
    load.skip(before - queue.len());
}
