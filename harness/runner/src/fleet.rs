//! Schedules all VMs of a run, over all kernels.
//!
//! The work for each environment is divided into batches; the batches of all environments wait in one queue, the
//! largest first. A worker takes the next one when the host has enough memory for it. The outcomes do not depend on how
//! many VMs run.

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
    capacity::{Need, lock},
    launch::{Host, Launch, LaunchError, memory_of},
    report::Naming,
    resources::Resources,
    testbed::Testbed,
};
use decision::{Decision, decide};
use progress_line::ProgressLine;
use request::RequestState;
pub use request::{Fulfilled, Read, RunRequest, Show};
use request_run::RequestRun;

/// Memory of a VM besides its guest's, in MiB: QEMU itself, its translated code and the worker process. Under
/// emulation, QEMU was measured with 127 MiB resident apart from the guest's memory; the translated code grows with
/// what the guest does.
const OVERHEAD_MIB: u64 = 256;

/// How often free memory is checked while a batch waits for it.
const LOOK: Duration = Duration::from_secs(1);

/// A batch that waits for its VM.
struct Job<'a> {
    /// Index of its request's run.
    run: usize,
    batch: Batch,
    line: ProgressLine<'a>,
    /// What the VM takes.
    need: Need,
}

impl Fleet {
    /// Fulfils each request from the store, and from VMs for the rest. Returns one result per request: a kernel that
    /// cannot be used does not affect the others.
    ///
    /// While one process runs VMs of an environment, another one waits and then finds the outcomes in the store.
    ///
    /// # Errors
    /// [`LaunchError`] if there is no QEMU, or no folder for VMs.
    pub fn fulfil<T: Send>(
        &self,
        resources: &Resources,
        requests: &[RunRequest<'_, T>],
    ) -> Result<Vec<Fulfilled<T>>, LaunchError> {
        let states: Vec<RequestState<'_, T>> = requests.iter().map(|request| state_of(resources, request)).collect();
        let errors = self.complete(resources, requests, &states)?;
        let fulfilled = |(state, error): (RequestState<'_, T>, _)| Fulfilled { read: state.into_read(), error };
        Ok(states.into_iter().zip(errors).map(fulfilled).collect())
    }

    /// Runs VMs for the missing outcomes. Returns one error per request, if it failed.
    fn complete<'a, T: Send>(
        &self,
        resources: &Resources,
        requests: &'a [RunRequest<'_, T>],
        states: &[RequestState<'a, T>],
    ) -> Result<Vec<Option<LaunchError>>, LaunchError> {
        let mut errors: Vec<Option<LaunchError>> = requests.iter().map(|_| None).collect();
        let mut open: Vec<usize> = (0..requests.len()).filter(|&index| !states[index].is_complete()).collect();
        if open.is_empty() {
            return Ok(errors);
        }
        let naming = Naming::of(requests.iter().map(|request| request.testbed.environment()));
        let has_vms = open.iter().any(|&index| !requests[index].testbed.is_host_mode());
        let host = has_vms.then(|| Host::ready(resources)).transpose()?;
        // Always in the same order: otherwise two processes that take several locks could deadlock.
        open.sort_by_key(|&index| requests[index].testbed.lock_name());
        let locks =
            open.iter().map(|&index| take_lock(resources, requests[index].testbed)).collect::<Result<Vec<_>, _>>()?;
        let (mut runs, mut queue) = (Vec::new(), Vec::new());
        for (&index, lock) in open.iter().zip(locks) {
            let (testbed, state) = (requests[index].testbed, &states[index]);
            // The process that held the lock may have stored the outcomes.
            state.look_up();
            if state.is_complete() {
                continue;
            }
            let name = naming.name(testbed.environment());
            match Launch::prepare(testbed, host.as_ref(), &name, requests[index].allowed_splats) {
                Err(error) => errors[index] = Some(error),
                Ok(launch) => {
                    // Two simultaneous runs on one machine would mistake each other's objects for leftovers.
                    let vms = self.jobs.share(open.len());
                    let most = |pace| if testbed.is_host_mode() { 1 } else { vms.of(pace) };
                    let batches = state.batches(most);
                    let left = batches.len();
                    queue.extend(self.to_do(testbed, &name, runs.len(), batches));
                    runs.push((index, RequestRun::new(state, launch, lock, left, &self.lost_vms)));
                }
            }
        }
        states.iter().filter(|_| !queue.is_empty()).for_each(RequestState::show_known);
        self.work_off(queue, &runs.iter().map(|(_, run)| run).collect::<Vec<_>>());
        for (index, run) in runs {
            errors[index] = run.error();
        }
        Ok(errors)
    }

    fn work_off<T: Send>(&self, mut queue: Vec<Job<'_>>, runs: &[&RequestRun<'_, '_, T>]) {
        queue.sort_by_key(|job| std::cmp::Reverse(job.batch.size));
        let workers = self.jobs.halves().min(queue.len());
        let queue = Mutex::new(queue);
        thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    while let Some(job) = self.next(&queue, runs) {
                        let _slot = VmSlot { fleet: self, need: job.need };
                        let run = runs[job.run];
                        if !run.carry_out(&job.batch, job.line) {
                            drop_rest(&mut lock(&queue), job.run, run);
                        }
                    }
                });
            }
        });
    }

    /// Waits until the host has enough memory for one of the jobs, and takes it.
    fn next<'a, T: Send>(&self, queue: &Mutex<Vec<Job<'a>>>, runs: &[&RequestRun<'_, '_, T>]) -> Option<Job<'a>> {
        let mut vms = lock(&self.running_vms);
        loop {
            let mut queue = lock(queue);
            let needs: Vec<Need> = queue.iter().map(|job| job.need).collect();
            let free = memory::free_mib();
            match decide(&needs, &vms, self.jobs.halves(), free, Instant::now()) {
                Decision::Nothing => return None,
                Decision::Start(index) => {
                    let job = queue.remove(index);
                    vms.enter(job.need);
                    return Some(job);
                }
                Decision::Refuse { free_mib } => {
                    let job = queue.remove(0);
                    let run = runs[job.run];
                    run.fail(LaunchError::Memory { kernel: run.kernel().clone(), needs_mib: job.need.mib, free_mib });
                    drop_rest(&mut queue, job.run, run);
                    continue;
                }
                Decision::AwaitMemory { free_mib } => {
                    vms.starve(Instant::now());
                    queue[0].line.waiting(needs[0].mib, free_mib);
                }
                Decision::AwaitJob => {}
            }
            drop(queue);
            vms = self.changed.wait_timeout(vms, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Returns the jobs of an environment: its batches, with what their VMs take.
    fn to_do<'a>(
        &self,
        testbed: &'a Testbed<'a>,
        name: &str,
        run: usize,
        batches: Vec<Batch>,
    ) -> impl Iterator<Item = Job<'a>> {
        let count = batches.len();
        batches.into_iter().enumerate().map(move |(number, batch)| {
            let line = ProgressLine::of(&testbed.resources.progress, name, (number + 1, count), batch.scenarios.len());
            let mib = u64::from(memory_of(&batch.scenarios).unwrap_or(testbed.memory_mib())) + OVERHEAD_MIB;
            Job { run, line, need: Need { halves: self.jobs.halves_of(batch.pace), mib }, batch }
        })
    }
}

/// The slot of a running VM, released when dropped.
struct VmSlot<'a> {
    fleet: &'a Fleet,
    need: Need,
}

impl Drop for VmSlot<'_> {
    fn drop(&mut self) {
        lock(&self.fleet.running_vms).leave(self.need);
        self.fleet.changed.notify_all();
    }
}

fn take_lock(resources: &Resources, testbed: &Testbed<'_>) -> Result<Lock, LaunchError> {
    Ok(resources.cache.entry(Area::Store, &testbed.lock_name())?.lock(&resources.progress)?)
}

/// Looks up which outcomes of a request are stored.
fn state_of<'a, T: Send>(resources: &'a Resources, request: &'a RunRequest<'_, T>) -> RequestState<'a, T> {
    let testbed = request.testbed;
    RequestState::open(
        &resources.store,
        testbed.kernel_name(),
        &testbed.identity.artefacts,
        &request.wanted,
        (&*request.read, &*request.show),
    )
}

/// Drops the other batches of a kernel that does not boot.
fn drop_rest<T: Send>(queue: &mut Vec<Job<'_>>, index: usize, run: &RequestRun<'_, '_, T>) {
    let before = queue.len();
    queue.retain(|job| job.run != index);
    run.skip(before - queue.len());
}
